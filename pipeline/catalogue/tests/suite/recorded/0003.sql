INSERT INTO accounts (account_id, tier, created_at) VALUES
    ('018f0000-0000-7000-8000-000000000002', 'enterprise', 1772366400000000),
    ('018f0000-0000-7000-8000-000000000004', 'professional', 1772366400000001);

INSERT INTO users
    (user_id, account_id, email, email_folded, password_hash, name, operator, email_verified_at, created_at)
VALUES
    ('018f0000-0000-7000-8000-000000000005', '018f0000-0000-7000-8000-000000000004', 'Ada@example.com',
     'ada@example.com', '', 'Ada', 0, NULL, 1772366400000001);
