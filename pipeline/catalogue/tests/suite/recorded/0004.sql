INSERT INTO podcasts
    (podcast_id, account_id, feed_url, title, status, download_window, feed_state, facts, last_error, last_poll_at,
     next_poll_at, poll_owner, poll_lease_until, created_at, deleted_at)
VALUES
    ('018f0000-0000-7000-8000-000000000006', '018f0000-0000-7000-8000-000000000004', 'https://feeds.example.com/a',
     'A podcast', 'active', 'last_touch_24h', '{"etag":"x"}', '{"language":"en"}', NULL, 1772366400000002, NULL, NULL, 0,
     1772366400000001, NULL);
