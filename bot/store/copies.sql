-- name: pause
-- What a restore does to a copy, of whatever version, before it counts. A hand may have taken the one row of control.
INSERT OR IGNORE INTO control (id, depth) SELECT 1, count(*) FROM outbox WHERE state IN ('pending', 'leased');
INSERT INTO audit (at, who, action)
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'restore', 'pause' FROM control WHERE depth > 0 AND paused_at IS NULL;
UPDATE control SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE depth > 0 AND paused_at IS NULL;
-- What was being answered waits, too, so that a skip before the start reaches it. But for what was edited or revoked
-- meanwhile: the start does that, to what it finds leased.
UPDATE outbox AS o SET state = 'pending', leased_at = NULL
 WHERE state = 'leased' AND NOT EXISTS (
       SELECT 1 FROM outbox c WHERE c.target_wamid = o.wamid AND c.received_at >= o.leased_at);
-- As the commands want it: to change it, somebody who reads would have to be waited for.
PRAGMA journal_mode = WAL;

-- name: found
SELECT :name || strftime('%Y-%m-%dT%H%M%fZ', 'now') AS kept, depth AS waiting,
       (SELECT min(received_at) FROM outbox WHERE state IN ('pending', 'leased')) AS oldest,
       (SELECT count(*) FROM replies WHERE outbox_id IS NULL AND state IN ('planned', 'sending')) AS letters
  FROM control

-- name: shut
-- The WAL into the file, and nobody else in it. Again, in case another program came between and took the WAL up: that is
-- an error within a transaction, and nothing to do otherwise.
PRAGMA journal_mode = DELETE;
BEGIN EXCLUSIVE;
PRAGMA journal_mode = DELETE;
