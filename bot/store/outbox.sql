-- name: done
UPDATE outbox SET state = 'done', error = NULL, finished_at = ?, leased_at = NULL FROM json_each(?)
 WHERE outbox.id = value ->> 0 AND state = 'leased' AND leased_at = value ->> 1

-- name: tried
INSERT INTO attempts (outbox_id, at, stage, outcome, code, error, request_id, duration_ms)
VALUES (?, ?, 'turn', ?, ?, nullif(?, ''), ?, ?)

-- name: decide
UPDATE outbox SET state = ?, error = ?, finished_at = ?, leased_at = NULL, attempts = attempts + ?
 WHERE id = ? AND state = 'leased' AND leased_at = ?

-- name: give_back
UPDATE outbox AS o SET state = 'pending', leased_at = NULL, not_before_at = ?, attempts = attempts + ?,
   error = iif(EXISTS (SELECT 1 FROM replies r
                        WHERE r.outbox_id = o.id AND r.kind <> 'answer' AND {IN_PLAN}),
               error, coalesce(?, error))
WHERE id = ? AND state = 'leased' AND leased_at = ?

-- name: pause
UPDATE users SET paused_at = ?, paused_by = ? WHERE id = (SELECT user_id FROM outbox WHERE id = ?)
