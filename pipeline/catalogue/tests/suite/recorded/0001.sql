INSERT INTO meta (name, value) VALUES
    ('slots', '16'),
    ('installation_id', '018f0000-0000-7000-8000-000000000001'),
    ('account_id', '018f0000-0000-7000-8000-000000000002');

UPDATE counters SET value = 7 WHERE name = 'commit';
