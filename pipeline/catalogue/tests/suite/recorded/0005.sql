INSERT INTO campaigns (campaign_id, account_id, name_folded, state, terms, version, created_at, updated_at) VALUES
    ('018f0000-0000-7000-8000-000000000007', '018f0000-0000-7000-8000-000000000004', 'spring', 'active',
     '{"name":"Spring","currency":"EUR","budget":100000,"starts_on":"2026-03-02","ends_on":"2026-03-31","placements":[{"id":"a","position":"pre_roll"}],"attribution":{"promo_codes":["SPRING"]}}',
     3, 1772366400000001, 1772366400000002);

INSERT INTO claims (kind, scope, word, campaign_id) VALUES
    ('promo_code', '018f0000-0000-7000-8000-000000000004', 'spring', '018f0000-0000-7000-8000-000000000007');
