-- How polls of feeds went, kept for 30 days.
CREATE TABLE feed_polls (
    poll_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    podcast_id TEXT NOT NULL,
    polled_at BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    status BIGINT,
    episodes BIGINT,
    warnings BIGINT
);

CREATE INDEX feed_polls_listed ON feed_polls (account_id, polled_at, poll_id);
CREATE INDEX feed_polls_by_time ON feed_polls (polled_at, poll_id);
