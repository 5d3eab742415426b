INSERT INTO feed_polls (poll_id, account_id, podcast_id, polled_at, outcome, status, episodes, warnings)
VALUES ('018f0000-0000-7000-8000-000000000009', '018f0000-0000-7000-8000-000000000004', '018f0000-0000-7000-8000-000000000006', 1772300000000000, 'fetched', 200, 3, 0);
