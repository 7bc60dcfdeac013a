-- name: stats
SELECT totalMessages, activeUsers, :now AS timestamp, pending, leased, failed, paused, {AGE} AS oldestAgeSeconds
  FROM figures

-- name: circuits
SELECT service, reason, code, opened_at, probe_at,
       iif(service = 'graph', 'WhatsApp', 'The model') || ' is tried again '
       || iif(probe_at > :now, 'at ' || probe_at, 'with the next message')
       || '; bot check --online may tell more.' AS next_try
  FROM circuits WHERE state = 'open'

-- name: reasons
SELECT 'circuit_' || service,
       iif(service = 'graph', 'WhatsApp', 'the model') || ' can''t be used since ' || opened_at || ': ' || reason
  FROM circuits WHERE state = 'open'
UNION ALL SELECT 'paused', 'everything is paused since ' || paused_at FROM control WHERE paused_at IS NOT NULL

-- name: audit
SELECT id, at, who, address, action, 'u' || user_id AS user_id, messages
  FROM audit WHERE id < :before ORDER BY id DESC LIMIT :most

-- name: gauges
SELECT gauges.*, coalesce({AGE}, 0) AS queue_oldest_age_seconds,
       (SELECT coalesce((julianday(:now) - julianday(min(ready_at))) * 86400, 0)
          FROM users WHERE ready_at <= :now) AS queue_delay_seconds
  FROM gauges CROSS JOIN (SELECT waiting_since FROM figures)

-- name: grave
SELECT id, text FROM warnings
 WHERE grave AND received_at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-1 day') ORDER BY id DESC LIMIT 20

-- name: signs
SELECT signs.*, (SELECT u.last_message_at FROM user_ids i JOIN users u ON u.id = i.user_id WHERE i.id = :phone)
                AS owner_wrote_at FROM signs
