-- name: pause
UPDATE users SET paused_at = :now, paused_by = :who WHERE id = :user AND paused_at IS NULL

-- name: resume
UPDATE users SET paused_at = NULL, resumed_at = ? WHERE id = ? AND paused_at IS NOT NULL

-- name: audit
INSERT INTO audit (at, who, address, action, user_id, messages) VALUES (?, ?, ?, ?, ?, ?)

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

-- What holds something of a person, table by table: how one is forgotten, in one transaction. :ids are users, JSON: of
-- somebody whose queues are about to be joined there are several. Each statement is run until it changes nothing more,
-- a thousand rows at a time: SQLite keeps in memory what one may have to take back.
--   goes:          users (phone, bsuid, name, and when they wrote and were answered), user_ids (former ones, too),
--                  outbox (body, payload, wamid, target_wamid; error may quote; all else says how and when they wrote),
--                  replies (body, wamid, duplicates, callback_id, error), attempts (error and code may quote, request_id
--                  leads to what a service keeps) and stumbles with the messages, identity_changes (phones could be
--                  guessed from told)
--   stays:         audit, without whom; the wamids of outbox and of what the owner wrote from the phone, hashed, as those
--                  come again; control.last_user: the 17 of u17 is never given again
--   is of nobody:  usage, minutes, control (they count), circuits, alerts (services, the whole queue), warnings (the
--                  account), migrations; views keep nothing

-- name: whom
WITH RECURSIVE same (id) AS (
  VALUES (:user)
  UNION SELECT iif(u.id = s.id, u.merging_into, u.id)
    FROM same s JOIN users u ON u.merging_into = s.id OR (u.id = s.id AND u.merging_into IS NOT NULL))
SELECT json_group_array(id), (SELECT count(*) FROM outbox WHERE user_id IN same),
       EXISTS (SELECT 1 FROM outbox WHERE state = 'leased' AND user_id IN same)
       OR EXISTS (SELECT 1 FROM replies WHERE user_id IN same AND state = 'sending'
                     AND sending_at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-1 hour'))
  FROM same

-- name: hashed
INSERT OR IGNORE INTO forgotten (told, sent_at)
SELECT sha256(wamid), max(sent_at, received_at) FROM outbox WHERE user_id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT sha256(wamid), planned_at FROM replies
 WHERE user_id IN (SELECT value FROM json_each(:ids)) AND kind = 'human' AND wamid IS NOT NULL

-- name: nobodys
UPDATE audit SET user_id = 0 WHERE user_id IN (SELECT value FROM json_each(:ids))

-- name: heard
DELETE FROM outbox WHERE id IN (
  SELECT id FROM outbox WHERE user_id IN (SELECT value FROM json_each(:ids)) LIMIT 1000)

-- name: told
DELETE FROM replies WHERE id IN (
  SELECT id FROM replies WHERE user_id IN (SELECT value FROM json_each(:ids)) LIMIT 1000)

-- name: notices
DELETE FROM identity_changes WHERE user_id IN (SELECT value FROM json_each(:ids))

-- name: known_as
DELETE FROM user_ids WHERE user_id IN (SELECT value FROM json_each(:ids))

-- name: themselves
DELETE FROM users WHERE id IN (SELECT value FROM json_each(:ids))

-- name: cancel
UPDATE outbox SET state = 'cancelled', error = :error, finished_at = :now
