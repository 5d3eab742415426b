-- How far each relay has come, by commit number.
CREATE TABLE relays (
    name TEXT PRIMARY KEY NOT NULL,
    revision BIGINT NOT NULL
);
