CREATE TABLE podcasts (
    podcast_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    feed_url TEXT NOT NULL,
    title TEXT,
    status TEXT NOT NULL,
    download_window TEXT NOT NULL,
    -- What the poller keeps between polls (validators, error budget), JSON.
    feed_state TEXT NOT NULL,
    -- What the feed says of the podcast, JSON.
    facts TEXT NOT NULL,
    last_error TEXT,
    last_poll_at BIGINT,
    next_poll_at BIGINT,
    poll_owner TEXT,
    poll_lease_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX podcasts_feed ON podcasts (account_id, feed_url) WHERE deleted_at IS NULL;
CREATE INDEX podcasts_listed ON podcasts (account_id, created_at, podcast_id);
CREATE INDEX podcasts_due ON podcasts (next_poll_at) WHERE deleted_at IS NULL;

CREATE TABLE podcast_versions (
    podcast_id TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    download_window TEXT NOT NULL,
    deleted BIGINT NOT NULL,
    change BIGINT NOT NULL,
    PRIMARY KEY (podcast_id, valid_from)
);

CREATE INDEX podcast_versions_changed ON podcast_versions (change);

CREATE TABLE episodes (
    episode_id TEXT PRIMARY KEY NOT NULL,
    podcast_id TEXT NOT NULL REFERENCES podcasts (podcast_id),
    account_id TEXT NOT NULL,
    guid TEXT NOT NULL,
    title TEXT,
    enclosure_url TEXT NOT NULL,
    byte_length BIGINT,
    duration_ms BIGINT,
    published_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX episodes_guid ON episodes (podcast_id, guid);
CREATE INDEX episodes_listed ON episodes (podcast_id, created_at, episode_id);

CREATE TABLE episode_versions (
    episode_id TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    podcast_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    guid TEXT NOT NULL,
    title TEXT,
    enclosure_url TEXT NOT NULL,
    byte_length BIGINT,
    duration_ms BIGINT,
    published_at BIGINT,
    change BIGINT NOT NULL,
    PRIMARY KEY (episode_id, valid_from)
);

CREATE INDEX episode_versions_changed ON episode_versions (change);
