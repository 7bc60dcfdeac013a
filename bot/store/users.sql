-- name: create
INSERT INTO users (id, phone, bsuid, name, created_at)
SELECT 1 + max(last_user, coalesce((SELECT max(id) FROM users), 0)), ?, ?, ?, ? FROM control

-- name: bind
INSERT INTO user_ids (id, user_id, linked_at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, linked_at = excluded.linked_at

-- name: mergeable
SELECT u.id, u.merging_into FROM users u WHERE u.merging_into IS NOT NULL
   AND (SELECT count(*) FROM outbox o WHERE o.state = 'leased' AND o.user_id IN (u.id, u.merging_into)) < 2
 ORDER BY u.id LIMIT 1

-- name: update
UPDATE users SET phone = ?, bsuid = ?, name = ? WHERE id = ?

-- name: later
-- Whether all that is known of somebody was written after a moment: who had their phone then was another.
SELECT min(sent_at) > ? FROM outbox WHERE user_id = ?
