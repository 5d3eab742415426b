-- Texts that SQLite and PostgreSQL both understand: TEXT, BIGINT and DOUBLE PRECISION only.
-- Times are microseconds UTC, flags are 0 or 1, bytes are base64url, documents are JSON texts.

CREATE TABLE meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

-- A number is taken by an update of its row, which stays locked to the end of the
-- transaction: no lower number appears after a higher one was seen.
CREATE TABLE counters (
    name TEXT PRIMARY KEY NOT NULL,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES
    ('commit', 0),
    ('change', 0),
    ('compaction', 0),
    ('unit_request', 0),
    ('outbox', 0),
    ('schema', 0);

-- Work that one process at a time does.
CREATE TABLE leases (
    name TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    lease_until BIGINT NOT NULL
);
