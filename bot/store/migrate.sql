-- name: apply
-- A migration, and the record of it. All in one script: executescript would commit a transaction that was begun outside.
BEGIN IMMEDIATE;
{{new.sql}}
;
CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,
                                       applied_at TEXT NOT NULL) STRICT;
INSERT INTO migrations VALUES ({{new.version}}, '{{new.name}}', '{{new.checksum}}', '{{now}}');
PRAGMA user_version = {{new.version}};
COMMIT;
