-- name: states
SELECT o.id, CASE WHEN (SELECT f.retry_until FROM failing f WHERE f.id = o.id) > :now THEN 'retryable'
                  WHEN o.state = 'done' AND EXISTS (SELECT 1 FROM failing f WHERE f.id = o.id) THEN 'undelivered'
                  ELSE o.state END
  FROM json_each(:ids) CROSS JOIN outbox o ON o.id = value

-- name: whose
SELECT iif(count(DISTINCT user_id) = 1, max(user_id), NULL)
  FROM json_each(?) CROSS JOIN outbox o ON o.id = value

-- name: said
SELECT user_id, body, iif(state = 'failed', error, NULL) FROM replies
 WHERE callback_id BETWEEN ? AND ? ORDER BY part

-- name: say
INSERT INTO replies (user_id, part, kind, body, state, callback_id, planned_at)
SELECT u.id, key + 1, 'human', value, 'planned', :name || '-' || (key + 1), :now
  FROM json_each(:bodies) CROSS JOIN users u ON u.id = :user AND u.last_message_at > :window
