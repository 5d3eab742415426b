CREATE TABLE units (
    unit TEXT PRIMARY KEY NOT NULL,
    owner TEXT,
    epoch BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    positions TEXT NOT NULL
);

-- Commits whose object holds something; removed_at is set when nothing refers to it any more.
CREATE TABLE commits (
    revision BIGINT PRIMARY KEY NOT NULL,
    object_key TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);

-- What a unit put into a commit's object, until it is compacted into segments.
CREATE TABLE slices (
    revision BIGINT NOT NULL,
    unit TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (revision, unit)
);

CREATE TABLE segments (
    object_key TEXT PRIMARY KEY NOT NULL,
    table_name TEXT NOT NULL,
    slot BIGINT NOT NULL,
    day BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    min_revision BIGINT NOT NULL,
    max_revision BIGINT NOT NULL,
    body TEXT NOT NULL,
    added_at_revision BIGINT NOT NULL,
    removed_at BIGINT
);

CREATE INDEX segments_live ON segments (table_name, slot, day) WHERE removed_at IS NULL;
CREATE INDEX segments_removed ON segments (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX commits_removed ON commits (removed_at) WHERE removed_at IS NOT NULL;

-- Input of a unit that is not on the log: recounts, accepted gaps, replays.
CREATE TABLE unit_requests (
    id BIGINT PRIMARY KEY NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);

CREATE INDEX unit_requests_waiting ON unit_requests (unit, id) WHERE state = 'waiting';
