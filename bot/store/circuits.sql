-- name: troubled
SELECT 1 FROM circuits c WHERE service = ?
   AND (state = 'open' OR EXISTS (SELECT 1 FROM stumbles s WHERE s.service = c.service))

-- name: close
UPDATE circuits SET state = 'closed', reason = NULL, code = NULL, opened_at = NULL, probe_at = NULL,
                    probes = 0, probing = NULL
 WHERE service = ? AND state = 'open' AND (?2 IS NULL OR probing IN (SELECT value FROM json_each(?2)))

-- name: open
UPDATE circuits SET state = 'open', reason = ?, code = ?, opened_at = coalesce(opened_at, ?),
                    probe_at = ?, probes = ? WHERE service = ?

-- name: stumble
INSERT INTO stumbles (service, outbox_id, spent) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET spent = spent + excluded.spent

-- name: outage
SELECT state = 'open' OR ? < (SELECT count(DISTINCT o.user_id) FROM stumbles s JOIN outbox o
                                  ON o.id = s.outbox_id WHERE s.service = c.service)
  FROM circuits c WHERE service = ?

-- name: end_probe
UPDATE circuits SET probing = NULL, probe_at = max(probe_at, ?) WHERE probing = ?
