-- name: due
-- The oldest that waits of each person: the next one goes when it is decided. Two users who are about to become one have
-- an oldest letter each, and no order between them.
SELECT r.user_id, coalesce(u.last_message_at, '') <= :window, {PART_COLUMNS}
  FROM replies r JOIN users u ON u.id = r.user_id
 WHERE r.id IN (SELECT min(id) FROM replies INDEXED BY replies_letters WHERE {waiting} GROUP BY user_id)
   AND coalesce(r.not_before_at, '') <= :now
   AND r.sending_at IS strftime('%Y-%m-%dT%H:%M:%fZ', r.sending_at)  -- nonsense by hand takes nobody's place
   AND u.merging_into IS NULL AND u.id NOT IN (SELECT merging_into FROM users WHERE merging_into IS NOT NULL)
 ORDER BY coalesce(r.not_before_at, r.planned_at), r.id LIMIT :most

-- name: next
SELECT min(not_before_at) FROM replies INDEXED BY replies_letters WHERE {waiting} AND not_before_at > :now

-- name: shut
-- Beside the probes of the turns, not instead: it may be the letter that WhatsApp refuses.
SELECT probe_at > :now
       OR EXISTS (SELECT 1 FROM replies WHERE {waiting} AND sending_at BETWEEN max(probe_at, :tried) AND :now)
  FROM circuits WHERE service = 'graph' AND state = 'open'

-- name: failed
UPDATE replies SET state = 'failed', error = ? WHERE id = ? AND {waiting}
