-- name: changes
-- Whoever knows a wamid: only its author changes it, and only while nothing of an answer is planned for it. A revoke
-- comes first, then the newest edit. The plus keeps SQLite from looking through all that a person ever wrote.
SELECT o.id, c.type, c.body, c.payload, c.sent_at
  FROM json_each(?) CROSS JOIN outbox c ON c.phone_number_id = value ->> 0 AND c.target_wamid = value ->> 1
       CROSS JOIN outbox o
    ON o.wamid = c.target_wamid AND o.phone_number_id = c.phone_number_id AND +o.user_id = +c.user_id
 WHERE o.state IN ('pending', 'failed') AND NOT EXISTS (SELECT 1 FROM replies r
       WHERE r.outbox_id = o.id AND {IN_PLAN} AND (r.kind = 'answer' OR o.state = 'pending'))
 ORDER BY c.type = 'revoke' DESC, c.sent_at DESC, c.id DESC
