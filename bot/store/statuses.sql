-- name: columns
key, r.id, r.state, r.wamid,
iif(json_valid(r.duplicates), iif(json_type(r.duplicates) = 'array', r.duplicates, NULL), NULL),
r.delivery, r.error, r.sent_at, r.outbox_id, r.tries, r.sending_at

-- name: by_names
json_each(?) CROSS JOIN replies r ON r.id = coalesce(
(SELECT id FROM replies WHERE callback_id = value ->> 0), (SELECT id FROM replies WHERE wamid = value ->> 1))

-- name: settled
UPDATE outbox SET not_before_at = NULL
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'pending' AND not_before_at IS NOT NULL

-- name: sent
INSERT INTO attempts (outbox_id, at, stage, outcome, duration_ms)
SELECT r.outbox_id, ?, 'send', 'sent', value ->> 1
  FROM json_each(?) CROSS JOIN replies r ON r.id = value ->> 0 AND r.outbox_id IS NOT NULL

-- name: save
UPDATE replies SET state = value ->> 1, wamid = value ->> 2, duplicates = value ->> 3,
                   delivery = value ->> 4, error = value ->> 5, sent_at = value ->> 6
  FROM json_each(?) WHERE replies.id = value ->> 0
