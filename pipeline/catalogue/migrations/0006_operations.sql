-- Events of changes made over the API, written with the change, sent by a relay.
CREATE TABLE outbox (
    seq BIGINT PRIMARY KEY NOT NULL,
    event_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    account_id TEXT NOT NULL,
    record_key TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE reports (
    report_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    user_id TEXT,
    kind TEXT NOT NULL,
    campaign_id TEXT,
    range_from BIGINT NOT NULL,
    range_to BIGINT NOT NULL,
    state TEXT NOT NULL,
    progress BIGINT NOT NULL,
    files TEXT NOT NULL,
    failure TEXT,
    attempts BIGINT NOT NULL,
    owner TEXT,
    lease_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);

CREATE INDEX reports_listed ON reports (account_id, created_at, report_id);
CREATE INDEX reports_waiting ON reports (created_at) WHERE state IN ('queued', 'running');

CREATE TABLE agent_runs (
    run_id TEXT PRIMARY KEY NOT NULL,
    agent TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    outcome TEXT,
    detail TEXT
);

CREATE INDEX agent_runs_of_agent ON agent_runs (agent, started_at);

CREATE TABLE registry_schemas (
    schema_id BIGINT PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);

CREATE TABLE registry_versions (
    subject TEXT NOT NULL,
    version BIGINT NOT NULL,
    schema_id BIGINT NOT NULL REFERENCES registry_schemas (schema_id),
    PRIMARY KEY (subject, version)
);

CREATE UNIQUE INDEX registry_once ON registry_versions (subject, schema_id);
