INSERT INTO relays (name, revision) VALUES ('topics', 6);
