-- name: opened
PRAGMA busy_timeout = {BUSY_MS};
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA journal_size_limit = 67108864;
-- In pages: what is written again and again is copied into the file less often.
PRAGMA wal_autocheckpoint = 4000;
-- One message touches over 64 KiB of pages: a statement's own journal would be a file each time.
PRAGMA temp_store = MEMORY;
