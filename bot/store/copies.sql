-- name: pause
-- What a restore does to a copy, of whatever version, before it counts.
INSERT INTO audit (at, who, action)
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'restore', 'pause' FROM control WHERE depth > 0 AND paused_at IS NULL;
UPDATE control SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE depth > 0 AND paused_at IS NULL;

-- name: found
SELECT :name || strftime('%Y-%m-%dT%H%M%fZ', 'now') AS kept, depth AS waiting,
       (SELECT min(received_at) FROM outbox WHERE state IN ('pending', 'leased')) AS oldest
  FROM control

-- name: shut
-- The WAL into the file, and nobody else in it. Again, in case another program came between and took the WAL up: that is
-- an error within a transaction, and nothing to do otherwise.
PRAGMA journal_mode = DELETE;
BEGIN EXCLUSIVE;
PRAGMA journal_mode = DELETE;
