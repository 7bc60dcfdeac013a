-- name: page
SELECT o.id, 'u' || o.user_id AS user_id, u.name, coalesce(u.phone, u.bsuid) AS phone, o.type, o.body,
       value ->> 1 AS error, o.attempts, value ->> 3 AS failed_at, value ->> 2 AS retryable
  FROM json_each(:page) CROSS JOIN outbox o ON o.id = value ->> 0 CROSS JOIN users u ON u.id = o.user_id
 ORDER BY failed_at DESC, o.id DESC

-- name: counted
SELECT (SELECT json_array(count(*), count(*) FILTER (WHERE retry_until > :now)) FROM meant),
       (SELECT json_group_array(json_array(id, error, coalesce(retry_until > :now, 0), failed_at)) FROM
         (SELECT * FROM meant WHERE (failed_at, id) < (:before, :id) ORDER BY failed_at DESC, id DESC LIMIT :most))

-- name: causes
SELECT error, count(*) AS count, count(*) FILTER (WHERE retry_until > :now) AS can FROM failing
 GROUP BY error ORDER BY count DESC, error

-- name: whose
CROSS JOIN outbox o ON o.id = f.id CROSS JOIN users u ON u.id = o.user_id
