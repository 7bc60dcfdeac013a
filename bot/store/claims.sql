-- name: head_id
(SELECT o.id FROM outbox o WHERE o.user_id = u.id AND o.state = 'pending'
 ORDER BY o.begun_at IS NULL, o.sent_at, o.id LIMIT 1)

-- name: columns
h.id, h.wamid, h.type, h.body, h.sent_at, h.received_at, h.phone_number_id,
iif(json_valid(h.payload), CAST(h.payload ->> '$.context.id' AS TEXT), NULL),
u.id, u.name, h.attempts, h.crashes, h.manual, h.error, coalesce(u.last_message_at, h.sent_at),
json((SELECT json_group_array(json(planned)) FROM
      (SELECT json_array({PART_COLUMNS}) AS planned
         FROM outbox o JOIN replies r ON r.outbox_id = o.id AND {IN_PLAN} WHERE o.id = h.id ORDER BY r.part)))

-- name: heads
-- Of ready users, longest ready first; `which` is said of the messages `h`.
(SELECT u.id AS user, h.id AS head FROM users u JOIN outbox h ON h.id = {head_id}
  WHERE u.ready_at <= :now AND {{which}} ORDER BY u.ready_at LIMIT :free)
CROSS JOIN users u ON u.id = user CROSS JOIN outbox h ON h.id = head

-- name: planned
u.id IN (SELECT r.user_id FROM replies r WHERE r.state IN ('planned', 'sending'))
AND EXISTS (SELECT 1 FROM replies r WHERE r.outbox_id = h.id AND r.state IN ('planned', 'sending'))

-- name: gate
-- Whether all is paused, which circuits are open, and the suspect: rows found leased at two starts share one slot, so
-- that blame is certain and nobody else waits for them.
SELECT paused_at, (SELECT json_group_array(json_array(service, probe_at, probing)) FROM circuits WHERE state = 'open'),
       (SELECT s.id FROM outbox s CROSS JOIN users u ON u.id = s.user_id
         WHERE s.crashes >= 2 AND s.state = 'pending' AND u.ready_at <= ? AND s.id = {head_id}
           AND NOT EXISTS (SELECT 1 FROM outbox l WHERE l.crashes >= 2 AND l.state = 'leased')
         ORDER BY u.ready_at LIMIT 1)
  FROM control

-- name: adopt
UPDATE outbox AS o SET state = 'pending', leased_at = NULL,
  crashes = crashes + NOT EXISTS (SELECT 1 FROM replies r WHERE r.outbox_id = o.id AND {IN_PLAN})
WHERE state = 'leased' RETURNING id

-- name: lease
UPDATE outbox SET state = 'leased', leased_at = ?1, begun_at = coalesce(begun_at, ?1), not_before_at = NULL
 WHERE id IN (SELECT value FROM json_each(?2))

-- name: unreadable
UPDATE outbox SET state = 'failed', error = ?, leased_at = NULL, finished_at = ? WHERE id = ?

-- name: theirs
SELECT body FROM outbox WHERE phone_number_id = ? AND wamid = ? AND user_id = ?
