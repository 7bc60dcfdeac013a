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

-- name: examined
-- How each thing is that `bot doctor` looks at, by the words of check.json, with what these name. An update copies the
-- file, so as much has to be free; copies are made each night.
WITH need AS (SELECT max(200000000, :database_bytes + :wal_bytes) AS bytes),
     heard AS (SELECT max(id), received_at AS at, julianday(:now) - julianday(received_at) AS days FROM outbox)
SELECT 'disk' AS topic, iif(:disk_free_bytes < bytes, 'full', 'room') AS how,
       json_object('free', :disk_free_bytes / 1000000, 'file', (:database_bytes + :wal_bytes) / 1000000,
                   'need', bytes / 1000000) AS known
  FROM need
UNION ALL
SELECT 'integrity', iif(integrity_check = 'ok', 'sound', 'damaged'),
       json_object('found', replace(integrity_check, char(10), ' '), 'schema', user_version, 'sqlite', sqlite_version())
  FROM pragma_integrity_check(1), pragma_user_version
UNION ALL
SELECT 'copies', iif(:copied IS NULL, 'none', iif(unixepoch(:now) - :copied < 172800, 'fresh', 'old')),
       json_object('hours', max(0, cast((unixepoch(:now) - :copied) / 3600 AS INTEGER)))
UNION ALL
SELECT 'daemon', iif(NOT :running, 'stopped', iif(julianday(:now) - julianday(listening_at) > 1 / 1440.0, 'hangs', 'runs')),
       json_object('since', coalesce(', and could last take webhooks at ' || listening_at, ''))
  FROM control
UNION ALL
SELECT 'answers', iif(:reasons = '', 'given', 'withheld'), json_object('reasons', :reasons)
UNION ALL
SELECT 'heard', iif(at IS NULL, 'never', iif(:silent_hours > 0 AND days * 24 > :silent_hours, 'long ago', 'lately')),
       json_object('at', at, 'hours', round(days * 24, 1), 'most', :silent_hours)
  FROM heard
