-- name: outbox
outbox (phone_number_id, wamid, user_id, type, body, payload, state, error, target_wamid, sent_at,
        received_at, finished_at)

-- name: known
json_each(?) WHERE EXISTS (SELECT 1 FROM outbox o WHERE o.phone_number_id = value ->> 0 AND o.wamid = value ->> 1)
                OR EXISTS (SELECT 1 FROM forgotten WHERE told IN (value ->> 2, value ->> 3))

-- name: echo
INSERT INTO replies (user_id, part, kind, type, body, state, wamid, planned_at, sent_at)
SELECT ?, 1, 'human', ?, ?, 'sent', ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM replies WHERE wamid = ?)

-- name: warning
INSERT OR IGNORE INTO warnings (kind, text, grave, at, received_at) SELECT ?1, ?2, ?3, ?4, ?5
 WHERE NOT EXISTS (SELECT 1 FROM warnings
                    WHERE kind = ?1 AND text = ?2 AND abs(julianday(at) - julianday(?4)) < ?6)

-- name: newest
UPDATE users SET last_message_at = value ->> 1 FROM json_each(?) WHERE users.id = value ->> 0
