INSERT INTO units (unit, owner, epoch, lease_until, positions) VALUES
    ('counting/3', 'gone', 4, 0, '{"conversions":5,"listener-requests":12}');

INSERT INTO commits (revision, object_key, created_at, removed_at) VALUES
    (7, 'commits/018f0000-0000-7000-8000-000000000003', 1772366400000000, NULL);
