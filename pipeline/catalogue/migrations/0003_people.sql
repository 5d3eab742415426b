CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY NOT NULL,
    tier TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    user_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    email TEXT NOT NULL,
    -- The address in lower case: one person, one account.
    email_folded TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    operator BIGINT NOT NULL,
    email_verified_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE INDEX users_of_account ON users (account_id);

CREATE TABLE api_keys (
    api_key_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    user_id TEXT NOT NULL REFERENCES users (user_id),
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    origins TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE INDEX api_keys_of_account ON api_keys (account_id, created_at);

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (user_id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id);

-- One-time links: to sign in, to set a password, to verify an address.
CREATE TABLE links (
    token_hash TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (user_id),
    purpose TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE INDEX links_of_user ON links (user_id);

-- Keys of keyed hashes; key is null once it has died.
CREATE TABLE hash_keys (
    purpose TEXT NOT NULL,
    scope TEXT NOT NULL,
    hash_key TEXT,
    created_at BIGINT NOT NULL,
    last_received BIGINT NOT NULL,
    died_at BIGINT,
    PRIMARY KEY (purpose, scope)
);

CREATE TABLE idempotency (
    account_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    route TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    reserved_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, idempotency_key)
);

CREATE INDEX idempotency_age ON idempotency (reserved_at);
