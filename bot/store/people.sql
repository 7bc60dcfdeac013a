-- name: state
CASE WHEN u.leased THEN 'leased' WHEN u.paused_at IS NOT NULL THEN 'paused' WHEN u.depth = 0 THEN 'idle'
WHEN u.ready_at > :now THEN 'retrying' ELSE 'waiting' END

-- name: person
SELECT 'u' || u.id AS user_id, u.phone, u.bsuid, u.name, u.depth, {state} AS state, u.paused_at IS NOT NULL AS paused,
       {AGE} AS oldest_age_seconds, u.paused_by, u.failed, u.ready_at, u.last_message_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', u.last_message_at, '+1 day') > :now AS reachable

-- name: found
SELECT :exact AS id UNION SELECT user_id FROM user_ids WHERE id = :whole
UNION SELECT user_id FROM recent_words WHERE body LIKE :text ESCAPE '!'

-- name: fits
(u.name LIKE :name ESCAPE '!' OR u.phone LIKE :number ESCAPE '!' OR u.bsuid LIKE :number ESCAPE '!'
 OR u.id IN found)

-- name: queue
SELECT id, state, type, body, attempts, crashes, error, sent_at, received_at, begun_at, not_before_at, leased_at
  FROM outbox WHERE user_id = :id AND state IN ('pending', 'leased')
 ORDER BY state = 'pending', begun_at IS NULL, sent_at, id LIMIT :most

-- name: conversation
SELECT * FROM heard WHERE message_id IN (SELECT id FROM outbox WHERE user_id = :id ORDER BY id DESC LIMIT :most)
UNION ALL SELECT * FROM (SELECT * FROM told WHERE user_id = :id ORDER BY place DESC LIMIT :most)
ORDER BY place, direction, message_id, part

-- All that is kept of a person, as the lines of one JSON document in four parts: where a line belongs, what stands before
-- a row, and the row, every column of it. Nothing is sorted or held but numbers, however much somebody wrote.

-- name: all_users
SELECT 0, '{{"user": ', json_object('user_id', 'u' || id, 'phone', phone, 'bsuid', bsuid, 'name', name,
         'ids', (SELECT json_group_array(json_object('id', id, 'linked_at', linked_at)) FROM user_ids WHERE user_id = :user),
         'created_at', created_at, 'last_message_at', last_message_at, 'depth', depth, 'ready_at', ready_at,
         'served_at', served_at, 'paused_at', paused_at, 'paused_by', paused_by, 'resumed_at', resumed_at,
         'merging_into', merging_into, 'pair_full_at', pair_full_at, 'noticed_at', noticed_at, 'limited_at', limited_at)
  FROM users WHERE id = :user

-- name: all_messages
SELECT 0 AS place, ', "messages": [', '' UNION ALL
SELECT id, iif(id > (SELECT min(id) FROM outbox WHERE user_id = :user), ', ', '  '),
       json_object('id', id, 'phone_number_id', phone_number_id, 'wamid', wamid, 'type', type, 'body', body,
         'payload', json(iif(json_valid(payload), payload, json_quote(payload))), 'state', state, 'attempts', attempts,
         'crashes', crashes, 'manual', manual, 'error', error, 'target_wamid', target_wamid, 'edited_at', edited_at,
         'sent_at', sent_at, 'received_at', received_at, 'begun_at', begun_at, 'not_before_at', not_before_at,
         'leased_at', leased_at, 'finished_at', finished_at,
         'tried', json((SELECT json_group_array(json_object('id', a.id, 'at', at, 'stage', stage, 'outcome', outcome,
                          'code', code, 'error', a.error, 'duration_ms', duration_ms, 'input_tokens', input_tokens,
                          'output_tokens', output_tokens, 'request_id', request_id))
                          FROM attempts a WHERE outbox_id = outbox.id)))
  FROM outbox WHERE id IN (SELECT id FROM outbox WHERE user_id = :user) ORDER BY place

-- name: all_replies
SELECT 0 AS place, '], "replies": [', '' UNION ALL
SELECT id, iif(id > (SELECT min(id) FROM replies WHERE user_id = :user), ', ', '  '),
       json_object('id', id, 'outbox_id', outbox_id, 'part', part, 'kind', kind, 'type', type, 'body', body,
         'state', state, 'callback_id', callback_id, 'tries', tries, 'doubts', doubts, 'wamid', wamid,
         'duplicates', json(duplicates), 'delivery', delivery, 'error', error, 'planned_at', planned_at,
         'not_before_at', not_before_at, 'sending_at', sending_at, 'sent_at', sent_at)
  FROM replies WHERE id IN (SELECT id FROM replies WHERE user_id = :user) ORDER BY place

-- name: all_audit
SELECT 0 AS place, '], "audit": [', '' UNION ALL
SELECT id, iif(id > (SELECT min(id) FROM audit WHERE user_id = :user), ', ', '  '),
       json_object('id', id, 'at', at, 'who', who, 'address', address, 'action', action, 'messages', messages)
  FROM audit WHERE user_id = :user UNION ALL
SELECT 9e999, ']}}', '' ORDER BY place
