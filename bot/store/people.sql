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
