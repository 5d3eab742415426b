CREATE TABLE campaigns (
    campaign_id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    -- The name in lower case, to search in.
    name_folded TEXT NOT NULL,
    state TEXT NOT NULL,
    terms TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX campaigns_listed ON campaigns (account_id, created_at, campaign_id);
CREATE INDEX campaigns_moving ON campaigns (state) WHERE state IN ('scheduled', 'active', 'paused');

CREATE TABLE campaign_versions (
    campaign_id TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    state TEXT NOT NULL,
    terms TEXT NOT NULL,
    version BIGINT NOT NULL,
    change BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, valid_from)
);

CREATE INDEX campaign_versions_changed ON campaign_versions (change);

-- Words that lead to one campaign only: promo codes within an account, vanity slugs everywhere
-- (their scope is empty).
CREATE TABLE claims (
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    word TEXT NOT NULL,
    campaign_id TEXT NOT NULL,
    PRIMARY KEY (kind, scope, word)
);

CREATE INDEX claims_of_campaign ON claims (campaign_id);
