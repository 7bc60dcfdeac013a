-- What is taken out of the file as it gets old; bot.toml's [store] says after how many days (:keep_before and the others
-- are times). One step of a walk by id through outbox and users at once, which assumes nothing of dates that somebody may
-- have set by hand: one that makes no sense keeps its own row and holds up no other. how_far says what the step looks at,
-- NULL: nothing is left. Then all the others run in this order, and change at most :most rows each (and what hangs on them).

-- name: how_far
SELECT min(id)
  FROM (SELECT max(id) AS id FROM (SELECT id FROM outbox WHERE id > :after ORDER BY id LIMIT 20 * :most)
        UNION ALL
        SELECT max(id) FROM (SELECT id FROM users WHERE id > :after ORDER BY id LIMIT 20 * :most))

-- name: messages
-- Messages: decided long ago, and old by WhatsApp's own time too, as finished_at may be of a clock that was wrong. A time
-- of theirs that is yet to come says nothing. What was put back in line by a hand that left finished_at is still to be
-- answered; a reply that is being sent can't be deleted (replies_guard_delete).
DELETE FROM outbox WHERE id IN (
  SELECT o.id FROM outbox o
   WHERE o.id > :after AND o.id <= :upto AND o.finished_at < :keep_before AND o.state NOT IN ('pending', 'leased')
     AND o.sent_at NOT BETWEEN :keep_before AND :tomorrow
     AND NOT EXISTS (SELECT 1 FROM replies r
                      WHERE r.outbox_id = o.id AND r.state = 'sending' AND r.sending_at > :keep_before)
   ORDER BY o.id LIMIT :most)

-- name: people
-- People of whom nothing is left; their ids go below. Who is paused stays, so that they stay paused.
DELETE FROM users WHERE id IN (
  SELECT u.id FROM users u
   WHERE u.id > :after AND u.id <= :upto AND u.paused_at IS NULL AND u.merging_into IS NULL
     AND u.created_at NOT BETWEEN :keep_before AND :tomorrow
     AND coalesce(u.last_message_at, '') NOT BETWEEN :keep_before AND :tomorrow
     AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.user_id = u.id)
     AND NOT EXISTS (SELECT 1 FROM replies r WHERE r.user_id = u.id)
     AND NOT EXISTS (SELECT 1 FROM users m WHERE m.merging_into = u.id)
   LIMIT :most)

-- name: letters
-- What the owner wrote.
DELETE FROM replies WHERE id IN (
  SELECT r.id FROM users u CROSS JOIN replies r ON r.user_id = u.id AND r.kind = 'human' AND r.planned_at < :keep_before
   WHERE u.id > :after AND u.id <= :upto AND r.state NOT IN ('planned', 'sending') LIMIT :most)

-- name: payloads
-- What Meta sent, but for what the message quotes: all that is read of it. A failed one may be retried: it keeps it.
UPDATE outbox SET payload = kept.payload
  FROM (SELECT * FROM (
          SELECT id, payload AS whole,
                 CASE WHEN NOT json_valid(payload) THEN '{{}}'
                      WHEN payload ->> '$.context.id' IS NULL THEN '{{}}'
                      ELSE json_object('context', json_object('id', payload -> '$.context.id')) END AS payload
            FROM outbox
           WHERE id > :after AND id <= :upto AND state IN ('done', 'cancelled', 'ignored')
             AND finished_at < :payloads_before)
         WHERE whole <> payload LIMIT :most) AS kept
 WHERE outbox.id = kept.id

-- name: ids
DELETE FROM user_ids
 WHERE user_id > :after AND user_id <= :upto AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = user_id)

-- name: attempts
-- The oldest of what only ever grows at its end, whatever stands before it with a time that is yet to come.
DELETE FROM attempts WHERE id IN (
  SELECT id FROM (SELECT id, at FROM attempts WHERE at < :tomorrow ORDER BY id LIMIT :most) WHERE at < :attempts_before)

-- name: audit
DELETE FROM audit WHERE id IN (
  SELECT id FROM (SELECT id, at FROM audit WHERE at < :tomorrow ORDER BY id LIMIT :most) WHERE at < :audit_before)

-- name: usage
DELETE FROM usage WHERE day < substr(:audit_before, 1, 10)

-- name: warnings
DELETE FROM warnings WHERE id IN (
  SELECT id FROM (SELECT id, received_at FROM warnings WHERE received_at < :tomorrow ORDER BY id LIMIT :most)
   WHERE received_at < :keep_before)

-- name: notices
DELETE FROM identity_changes WHERE told_at < :keep_before

-- name: forgotten
DELETE FROM forgotten WHERE told IN (SELECT told FROM forgotten WHERE sent_at < :keep_before LIMIT :most)
