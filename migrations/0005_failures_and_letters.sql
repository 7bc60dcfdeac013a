-- Failures are listed by when they failed: what came long ago and failed just now stands first.
CREATE INDEX outbox_failed_at ON outbox (coalesce(finished_at, received_at), id) WHERE state = 'failed';
DROP INDEX outbox_causes;
CREATE INDEX outbox_causes ON outbox (error, coalesce(finished_at, received_at), id, user_id, state) WHERE state = 'failed';

DROP VIEW failing;
CREATE VIEW failing AS
-- Each message that failed, and each whose answer WhatsApp took and then couldn't deliver, once. A retry puts it back
-- while that time is to come: never for a reply, for 24 hours after the person's last message for one that expired.
SELECT id, user_id, error,
       iif(error IS NOT 'expired', '9999',
         (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', last_message_at, '+1 day') FROM users WHERE users.id = user_id)) AS retry_until,
       coalesce(finished_at, received_at) AS failed_at
  FROM outbox WHERE state = 'failed'
UNION ALL
SELECT r.outbox_id, r.user_id, r.error, NULL,
       (SELECT coalesce(o.finished_at, o.received_at) FROM outbox o WHERE o.id = r.outbox_id)
  FROM replies r
 WHERE r.delivery = 'failed' AND r.outbox_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM outbox o INDEXED BY outbox_failed WHERE o.id = r.outbox_id AND o.state = 'failed')
   AND NOT EXISTS (SELECT 1 FROM replies e
                    WHERE e.outbox_id = r.outbox_id AND e.delivery = 'failed' AND e.part < r.part);

-- An id that was given is never given again: a page that still names who was forgotten must not lead to a stranger.
ALTER TABLE control ADD COLUMN last_user INTEGER NOT NULL DEFAULT 0 /* the highest id of a person whose row was deleted */;
CREATE TRIGGER users_deleted AFTER DELETE ON users WHEN OLD.id > (SELECT last_user FROM control)
BEGIN
  UPDATE control SET last_user = OLD.id;
END;
CREATE TRIGGER replies_guard_delete BEFORE DELETE ON replies
WHEN OLD.state = 'sending' AND OLD.sending_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')
BEGIN
  SELECT RAISE(ABORT, 'it is being sent, or nobody knows yet how its send ended: delete it when its state is another');
END;

-- What the owner writes goes out whole or ends where it failed, as an answer does.
CREATE TRIGGER replies_letter_failed AFTER UPDATE OF state ON replies WHEN NEW.state = 'failed' AND NEW.outbox_id IS NULL
BEGIN
  UPDATE replies SET state = 'cancelled', error = 'the part before it failed'
   WHERE callback_id BETWEEN substr(NEW.callback_id, 1, instr(NEW.callback_id, '-')) AND substr(NEW.callback_id, 1, instr(NEW.callback_id, '-')) || '~'
     AND part > NEW.part AND state = 'planned';
END;

-- Nothing lands between the parts of what is said: what has begun and isn't whole goes on, what hasn't begun waits for it.
CREATE VIEW begun AS
SELECT r.id, r.user_id, r.outbox_id, b.sending_at AS since
  FROM replies r CROSS JOIN replies b ON b.user_id = r.user_id AND b.planned_at = r.planned_at AND b.part = r.part - 1
   AND b.outbox_id IS r.outbox_id
 WHERE r.state IN ('planned', 'sending') AND b.state <> 'planned';
CREATE VIEW letters_begun AS
SELECT r.user_id, b.since FROM replies r INDEXED BY replies_letters CROSS JOIN begun b ON b.id = r.id
 WHERE r.outbox_id IS NULL AND r.state IN ('planned', 'sending');
CREATE VIEW answers_begun AS
SELECT o.user_id FROM outbox o CROSS JOIN begun b ON b.outbox_id = o.id WHERE o.state = 'leased';
