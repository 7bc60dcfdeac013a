-- What the owner's window shows and does: audit from where, replies of the owner's own, minutes, warnings, alerts.
-- A comment stands before the semicolon here: so .schema shows it, too.
ALTER TABLE audit ADD COLUMN address TEXT /* from where: the client's address; NULL: a terminal here. Actions are also reply, reveal */;

ALTER TABLE control ADD COLUMN signing_key TEXT /* of sign-in cookies, together with the token: who guesses tokens can't try them at home */;

-- A day that no month has would be read by nobody.
CREATE TRIGGER outbox_guard_wait BEFORE UPDATE OF not_before_at ON outbox
WHEN NEW.not_before_at IS NOT NULL AND strftime('%Y-%m-%dT%H:%M:%fZ', NEW.not_before_at, '+0 days') IS NOT NEW.not_before_at
BEGIN
  SELECT RAISE(ABORT, 'not_before_at is no time: write it like 2026-11-24T10:41:07.123Z');
END;

ALTER TABLE replies ADD COLUMN not_before_at TEXT /* one that answers nothing (kind human): not sent before */;
CREATE INDEX replies_letters ON replies (user_id, id) WHERE outbox_id IS NULL AND state IN ('planned', 'sending');

CREATE TABLE minutes (
  -- How each of the last minutes went, for the charts; a minute in which the daemon was down is missing.
  at            TEXT PRIMARY KEY,  -- when the minute ended
  depth         INTEGER NOT NULL,  -- rows of outbox that were pending or leased then
  arrived       INTEGER NOT NULL,  -- messages that came in
  answered      INTEGER NOT NULL,
  failed        INTEGER NOT NULL,
  wait_p50_ms   INTEGER,           -- from received_at to begun_at, of what was answered; NULL: nothing was
  wait_p95_ms   INTEGER,
  answer_p50_ms INTEGER,           -- from begun_at to finished_at
  answer_p95_ms INTEGER,
  last_outbox   INTEGER NOT NULL,  -- the newest row of outbox and of attempts that is counted: the next minute begins
  last_attempt  INTEGER NOT NULL   -- behind them
) STRICT, WITHOUT ROWID;

CREATE TABLE warnings (
  -- What WhatsApp told about the account and the number: quality, limits, bans, templates. Nothing of messages.
  id          INTEGER PRIMARY KEY,
  at          TEXT NOT NULL,     -- by WhatsApp's own clock
  kind        TEXT NOT NULL,     -- the webhook's field, like account_update
  text        TEXT NOT NULL,     -- in words, without numbers of people
  grave       INTEGER NOT NULL,  -- 1: an alert goes out; 0: good to know
  received_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX warnings_once ON warnings (kind, text, at);

CREATE TABLE alerts (
  -- What the owner was told is wrong ([alerts] in bot.toml): raised once, reminded after a pause, taken out when it is over.
  name      TEXT PRIMARY KEY,  -- backlog_age, depth, failures, circuit_model…
  text      TEXT NOT NULL,
  raised_at TEXT NOT NULL,
  told_at   TEXT               -- when what was last told could be told to somebody; NULL: nothing could yet
) STRICT, WITHOUT ROWID;

-- What failed, for lists by cause: these are written when something fails, never for the other messages.
CREATE INDEX outbox_causes ON outbox (error, id, user_id, state) WHERE state = 'failed';
CREATE INDEX replies_causes ON replies (outbox_id, part, error, user_id, delivery) WHERE delivery = 'failed';
DROP INDEX replies_undelivered;

-- What the window shows: its queries choose from these views.
CREATE VIEW failing AS
-- Each message that failed, and each whose answer WhatsApp took and then couldn't deliver, once. A retry puts it back
-- while that time is to come: never for a reply, for 24 hours after the person's last message for one that expired.
SELECT id, user_id, error,
       iif(error IS NOT 'expired', '9999',
         (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', last_message_at, '+1 day') FROM users WHERE users.id = user_id)) AS retry_until
  FROM outbox WHERE state = 'failed'
UNION ALL
SELECT r.outbox_id, r.user_id, r.error, NULL
  FROM replies r
 WHERE r.delivery = 'failed' AND r.outbox_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM outbox o INDEXED BY outbox_failed WHERE o.id = r.outbox_id AND o.state = 'failed')
   AND NOT EXISTS (SELECT 1 FROM replies e
                    WHERE e.outbox_id = r.outbox_id AND e.delivery = 'failed' AND e.part < r.part);

CREATE VIEW figures AS
-- Of the whole queue.
SELECT control.depth AS totalMessages, (SELECT count(*) FROM users WHERE depth > 0) AS activeUsers,
       control.depth - (SELECT count(*) FROM outbox WHERE state = 'leased') AS pending,
       (SELECT count(*) FROM outbox WHERE state = 'leased') AS leased,
       (SELECT count(*) FROM outbox WHERE state = 'failed') AS failed, control.paused_at IS NOT NULL AS paused,
       (SELECT min(received_at) FROM outbox WHERE finished_at IS NULL) AS waiting_since
  FROM control;
CREATE VIEW people AS
-- Everybody, with what their line in the list of users is made of.
SELECT u.id, u.phone, u.bsuid, u.name, u.depth,
       (SELECT o.received_at FROM outbox o WHERE o.user_id = u.id AND o.finished_at IS NULL
         ORDER BY o.id LIMIT 1) AS waiting_since,
       EXISTS (SELECT 1 FROM outbox l WHERE l.user_id = u.id AND l.state = 'leased') AS leased,
       u.paused_at, u.paused_by, u.ready_at, u.last_message_at,
       (SELECT count(*) FROM outbox f WHERE f.user_id = u.id AND f.state = 'failed') AS failed
  FROM users u;
CREATE VIEW longest_waits AS
-- Of the 10,000 messages that wait longest: whose they are, and since when the first of each person's.
SELECT user_id, min(received_at) AS since
  FROM (SELECT user_id, received_at FROM outbox WHERE finished_at IS NULL ORDER BY received_at LIMIT 10000)
 GROUP BY user_id;
CREATE VIEW recent_words AS
-- Where people are looked for by what was said.
SELECT user_id, body FROM (SELECT user_id, body FROM outbox ORDER BY id DESC LIMIT 20000)
UNION ALL
SELECT user_id, body FROM (SELECT user_id, body FROM replies ORDER BY id DESC LIMIT 20000);

CREATE VIEW heard AS
-- What people wrote, as lines of their conversations, with the last 20 tries at answering each.
SELECT o.user_id, o.sent_at AS place, 0 AS part, o.sent_at AS at, 'in' AS direction, o.type AS kind, o.type, o.body,
       o.state, NULL AS delivery, o.error, o.id AS message_id, NULL AS reply_id, o.wamid,
       (SELECT json_group_array(json_object('at', at, 'stage', stage, 'outcome', outcome, 'code', code, 'error', error,
                 'duration_ms', duration_ms, 'input_tokens', input_tokens, 'output_tokens', output_tokens,
                 'request_id', request_id))
          FROM (SELECT * FROM (SELECT * FROM attempts WHERE outbox_id = o.id ORDER BY id DESC LIMIT 20) ORDER BY id)
       ) AS attempts
  FROM outbox o;
CREATE VIEW told AS
-- What was written to them.
SELECT user_id, planned_at AS place, part, coalesce(sent_at, sending_at, planned_at) AS at, 'out' AS direction, kind,
       type, body, state, delivery, error, outbox_id AS message_id, id AS reply_id, wamid, NULL AS attempts
  FROM replies;

CREATE VIEW questions AS
-- What the model is asked about each message, and when it was: as its answer's attempt began or, without an answer, its
-- last turn did. NULL: not decided yet.
SELECT o.id, o.body, o.user_id, o.phone_number_id, u.name,
       iif(json_valid(o.payload), o.payload ->> '$.context.id', NULL) AS quoted_wamid,
       iif(o.finished_at IS NULL, NULL, coalesce(max(o.begun_at, coalesce(
         (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', a.at, '-' || (coalesce(a.duration_ms, 0) / 1000.0) || ' seconds')
            FROM attempts a WHERE a.outbox_id = o.id AND a.stage IN ('model', 'turn')
           ORDER BY a.stage, a.id DESC LIMIT 1), '')), o.finished_at)) AS asked_at
  FROM outbox o JOIN users u ON u.id = o.user_id;
CREATE VIEW gauges AS
-- What GET /metrics tells of the queue, by the names it has there (behind a colon: the label).
SELECT pending AS "queue_messages:pending", leased AS "queue_messages:leased", activeUsers AS queue_users,
       failed AS failed_messages, paused,
       (SELECT unixepoch(received_at) FROM outbox WHERE id = (SELECT max(id) FROM outbox)) AS newest_message_timestamp_seconds,
       (SELECT state = 'open' FROM circuits WHERE service = 'graph') AS "circuit_open:graph",
       (SELECT state = 'open' FROM circuits WHERE service = 'model') AS "circuit_open:model"
  FROM figures;

CREATE INDEX users_stopped ON users (paused_by) WHERE paused_at IS NOT NULL;
CREATE VIEW signs AS
-- What alerts are made of; each figure costs the same with a million rows as with ten.
SELECT c.depth,
       coalesce((SELECT received_at
                   FROM (SELECT user_id, received_at FROM outbox WHERE finished_at IS NULL ORDER BY received_at LIMIT 1000)
                  CROSS JOIN users u ON u.id = user_id WHERE u.paused_at IS NULL LIMIT 1),
                (SELECT min(ready_at) FROM users)) AS waiting_since,  -- the oldest that isn't paused, or who is next
       (WITH tried AS (
          SELECT o.state, max(a.id) AS last
            FROM (SELECT id, outbox_id FROM attempts ORDER BY id DESC LIMIT 200) a JOIN outbox o ON o.id = a.outbox_id
           WHERE o.state IN ('done', 'failed') GROUP BY o.id)
        SELECT count(*) FROM tried
         WHERE state = 'failed' AND last > coalesce((SELECT max(last) FROM tried WHERE state = 'done'), 0)
       ) AS failed_in_a_row,
       (SELECT count(*) FROM users WHERE paused_at IS NOT NULL AND paused_by = 'limit_per_hour') AS limited,
       (SELECT received_at FROM outbox ORDER BY id DESC LIMIT 1) AS heard_at,            -- the newest message of anybody
       (SELECT state = 'open' FROM circuits WHERE service = 'graph') AS graph_open
  FROM control c;

-- For people with the sqlite3 CLI: the views of 0001, explained, and one for what happens as it happens.
DROP VIEW queue_depth;
CREATE VIEW queue_depth AS
-- Who waits, the deepest line first; a ready_at that is to come is the next try, NULL while one is answered or paused.
SELECT u.id AS user_id, u.name, coalesce(u.phone, u.bsuid) AS known_as, u.depth,
       (SELECT min(o.sent_at) FROM outbox o WHERE o.user_id = u.id AND o.finished_at IS NULL) AS oldest_sent_at,
       u.ready_at, u.paused_at
  FROM users u WHERE u.depth > 0 ORDER BY u.depth DESC, u.id;

DROP VIEW failures;
CREATE VIEW failures AS
-- Messages that failed, by their id, and replies that WhatsApp took and then couldn't deliver or, the owner's own, never
-- took: by the message that they answer, if any. retryable 1: UPDATE outbox SET state='pending' WHERE id=… has it answered.
SELECT o.id, o.user_id, o.body, o.error, o.attempts, o.finished_at AS failed_at,
       o.error IS NOT 'expired' OR u.last_message_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-24 hours') AS retryable
  FROM outbox o JOIN users u ON u.id = o.user_id WHERE o.state = 'failed'
UNION ALL
SELECT r.outbox_id, r.user_id, r.body, r.error, r.tries, r.sent_at, 0
  FROM replies r LEFT JOIN outbox o ON o.id = r.outbox_id WHERE r.delivery = 'failed' AND o.state IS NOT 'failed'
UNION ALL
SELECT NULL, r.user_id, r.body, r.error, r.tries, coalesce(r.sending_at, r.planned_at), 0
  FROM replies r
 WHERE r.kind = 'human' AND r.outbox_id IS NULL AND r.state = 'failed' AND r.delivery IS NOT 'failed';

DROP VIEW conversation;
CREATE VIEW conversation AS
-- What was said, both ways: ask for one user_id, ORDER BY at. delivery is what WhatsApp tells of a reply.
SELECT o.user_id, o.sent_at AS at, 'in' AS direction, o.type AS kind, o.body, o.state, NULL AS delivery, o.error,
       o.id AS outbox_id
  FROM outbox o
UNION ALL
SELECT r.user_id, coalesce(r.sent_at, r.sending_at, r.planned_at), 'out', r.kind, r.body, r.state, r.delivery, r.error,
       r.outbox_id
  FROM replies r;

CREATE VIEW events AS
-- What happens, as it happens: `bot tail` follows it. event: arrival (what: the message's type), attempt (its outcome),
-- operator (the action), letter (the state of what the owner wrote), warning (WhatsApp's own word for it).
-- source and id are the row that it stands in: whatever has a larger id there came later.
SELECT 'outbox' AS source, id, received_at AS at, 'arrival' AS event, user_id, id AS message_id, type AS what,
       NULL AS stage, NULL AS code, NULL AS error, NULL AS duration_ms, NULL AS input_tokens, NULL AS output_tokens,
       NULL AS request_id, NULL AS who, NULL AS address, NULL AS messages, body AS text
  FROM outbox
UNION ALL
SELECT 'attempts', a.id, a.at, 'attempt', o.user_id, a.outbox_id, a.outcome, a.stage, a.code, a.error, a.duration_ms,
       a.input_tokens, a.output_tokens, a.request_id, NULL, NULL, NULL,
       iif(a.stage = 'model', (SELECT group_concat(r.body, char(10)) FROM replies r
                                WHERE r.outbox_id = a.outbox_id AND r.kind = 'answer'), NULL)
  FROM attempts a LEFT JOIN outbox o ON o.id = a.outbox_id
UNION ALL
SELECT 'replies', id, planned_at, 'letter', user_id, NULL, state, NULL, NULL, error, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, body
  FROM replies WHERE outbox_id IS NULL
UNION ALL
SELECT 'audit', id, at, 'operator', user_id, NULL, action, NULL, NULL, NULL, NULL, NULL, NULL, NULL, who, address,
       messages, NULL
  FROM audit
UNION ALL
SELECT 'warnings', id, received_at, 'warning', NULL, NULL, kind, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, text
  FROM warnings;
