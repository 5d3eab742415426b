-- When an account was first answered with a counted download.
ALTER TABLE accounts ADD COLUMN first_value_at BIGINT;
