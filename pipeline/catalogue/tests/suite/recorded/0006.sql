INSERT INTO registry_schemas (schema_id, fingerprint, body) VALUES (1, 'f', '"long"');

INSERT INTO registry_versions (subject, version, schema_id) VALUES ('a-value', 1, 1);
