CREATE TABLE control (
  -- One row: switches and counts of the whole daemon.
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  depth        INTEGER NOT NULL DEFAULT 0,  -- rows of outbox that are pending or leased; kept by triggers
  paused_at    TEXT,                        -- set: nobody is answered (bot pause --all); NULL: as usual
  listening_at TEXT                         -- when the daemon last could receive webhooks; renewed every few seconds
) STRICT;
INSERT INTO control (id) VALUES (1);

CREATE TABLE users (
  -- The people who write. Outside, 17 is written u17.
  id              INTEGER PRIMARY KEY,
  phone           TEXT,                        -- digits as Meta writes them, no plus; NULL: known by bsuid alone
  bsuid           TEXT,                        -- business-scoped user id
  name            TEXT,                        -- as in their WhatsApp profile
  depth           INTEGER NOT NULL DEFAULT 0,  -- their rows of outbox that are pending or leased; kept by triggers
  ready_at        TEXT,                        -- from when on their head of line may be claimed; NULL: nothing to claim. Kept by triggers
  served_at       TEXT,                        -- when a slot last ended for them: who was served joins the end
  paused_at       TEXT,                        -- set: they are not answered. UPDATE users SET paused_at=NULL resumes
  paused_by       TEXT,                        -- who or what paused: page, cli, limit_per_hour…
  resumed_at      TEXT,                        -- when they were last resumed: the limits count from then on
  merging_into    INTEGER REFERENCES users (id),  -- the same person as that user: joined as soon as at most one is being answered
  last_message_at TEXT,                        -- their newest message, by its own timestamp: WhatsApp's 24-hour window
  pair_full_at    TEXT,                        -- the limit of sends to one user (GCRA): the time up to which they are used up
  noticed_at      TEXT,                        -- when they last got replies.unsupported
  limited_at      TEXT,                        -- when they last got replies.limit
  created_at      TEXT NOT NULL
) STRICT;
CREATE INDEX users_ready ON users (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX users_depth ON users (depth);
CREATE INDEX users_merging ON users (merging_into) WHERE merging_into IS NOT NULL;

CREATE TABLE user_ids (
  -- Every phone and business-scoped id that somebody is or was known by.
  id        TEXT PRIMARY KEY,
  user_id   INTEGER NOT NULL REFERENCES users (id),
  linked_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX user_ids_user ON user_ids (user_id);

CREATE TABLE outbox (
  -- Each inbound message: the queue, and the conversation's log.
  -- pending -> leased -> done | failed | cancelled; ignored is kept for the conversation and never answered.
  -- By hand: UPDATE outbox SET state='pending' WHERE id=7 (a failed one: try again), SET state='cancelled' (don't).
  id              INTEGER PRIMARY KEY,
  phone_number_id TEXT NOT NULL,              -- the business number it came to
  wamid           TEXT NOT NULL,              -- WhatsApp's id of the message
  user_id         INTEGER NOT NULL REFERENCES users (id),
  type            TEXT NOT NULL,              -- text, image, audio…
  body            TEXT NOT NULL,              -- what the model reads; empty: this version can't read it
  payload         TEXT NOT NULL,              -- the message as Meta sent it, JSON
  state           TEXT NOT NULL
    CONSTRAINT outbox_state CHECK (state IN ('pending', 'leased', 'done', 'failed', 'cancelled', 'ignored')),
  attempts        INTEGER NOT NULL DEFAULT 0, -- tries that ended in an error
  crashes         INTEGER NOT NULL DEFAULT 0, -- starts of the daemon that found it leased
  manual          INTEGER NOT NULL DEFAULT 0, -- 1: put back by hand; its reply quotes it
  error           TEXT,                       -- why it failed, was cancelled, or waits for its next try
  target_wamid    TEXT,                       -- an edit or a revoke: the message it speaks of
  edited_at       TEXT,                       -- the timestamp of the newest edit that was applied
  sent_at         TEXT NOT NULL,              -- WhatsApp's own timestamp: the order within a user
  received_at     TEXT NOT NULL,              -- when it was stored
  begun_at        TEXT,                       -- when its first lease began: from then on it stays head of line
  not_before_at   TEXT,                       -- not claimed before (backoff, a send in doubt, a limit)
  leased_at       TEXT,                       -- when the running turn began; names the lease
  finished_at     TEXT,                       -- when it was decided
  UNIQUE (phone_number_id, wamid),
  CONSTRAINT outbox_lease CHECK ((state = 'leased') = (leased_at IS NOT NULL)),
  -- Text order is time order only in one form: strftime('%Y-%m-%dT%H:%M:%fZ', 'now').
  CONSTRAINT outbox_times_are_like_2026_11_24T10_41_07_123Z CHECK (
    sent_at GLOB '????-??-??T??:??:??.???Z' AND received_at GLOB '????-??-??T??:??:??.???Z'
    AND coalesce(not_before_at, received_at) GLOB '????-??-??T??:??:??.???Z'
    AND coalesce(finished_at, received_at) GLOB '????-??-??T??:??:??.???Z')
) STRICT;
CREATE INDEX outbox_line ON outbox (user_id, begun_at IS NULL, sent_at, id) WHERE state = 'pending';
CREATE UNIQUE INDEX outbox_one_lease ON outbox (user_id) WHERE state = 'leased';
CREATE INDEX outbox_suspects ON outbox (state, user_id) WHERE crashes >= 2;
CREATE INDEX outbox_waiting ON outbox (received_at) WHERE finished_at IS NULL;
CREATE INDEX outbox_user ON outbox (user_id, finished_at);
CREATE INDEX outbox_failed ON outbox (id) WHERE state = 'failed';
CREATE INDEX outbox_failed_user ON outbox (user_id) WHERE state = 'failed';
CREATE INDEX outbox_target ON outbox (target_wamid) WHERE target_wamid IS NOT NULL;

CREATE TABLE replies (
  -- Each outgoing part. planned -> sending -> sent | failed | cancelled.
  -- A part found in sending is in doubt: a status that carries its callback_id settles it.
  id          INTEGER PRIMARY KEY,
  user_id     INTEGER NOT NULL REFERENCES users (id),
  outbox_id   INTEGER REFERENCES outbox (id), -- the message it answers; NULL: none
  part        INTEGER NOT NULL,               -- 1, 2… within that message
  kind        TEXT NOT NULL
    CONSTRAINT replies_kind CHECK (kind IN ('answer', 'apology', 'notice', 'human')),
  type        TEXT NOT NULL DEFAULT 'text',
  body        TEXT NOT NULL,
  state       TEXT NOT NULL
    CONSTRAINT replies_state CHECK (state IN ('planned', 'sending', 'sent', 'failed', 'cancelled')),
  callback_id TEXT UNIQUE,                    -- random; with .1, .2… for each try it is biz_opaque_callback_data
  tries       INTEGER NOT NULL DEFAULT 0,     -- sends that were begun
  doubts      INTEGER NOT NULL DEFAULT 0,     -- sends that were begun again because nothing told how the last one ended
  wamid       TEXT,                           -- WhatsApp's id of what was sent
  duplicates  TEXT,                           -- further wamids of the same part, JSON: it went out more than once
  delivery    TEXT
    CONSTRAINT replies_delivery CHECK (delivery IN ('sent', 'delivered', 'read', 'played', 'failed')),
  error       TEXT,
  planned_at  TEXT NOT NULL,
  sending_at  TEXT,                           -- when the last try began
  sent_at     TEXT
) STRICT;
CREATE UNIQUE INDEX replies_part ON replies (outbox_id, part) WHERE outbox_id IS NOT NULL;
CREATE INDEX replies_user ON replies (user_id, planned_at);
CREATE INDEX replies_human ON replies (user_id, planned_at) WHERE kind = 'human';
CREATE INDEX replies_wamid ON replies (wamid) WHERE wamid IS NOT NULL;
CREATE INDEX replies_undecided ON replies (outbox_id) WHERE state IN ('planned', 'sending');
CREATE INDEX replies_undelivered ON replies (outbox_id) WHERE delivery = 'failed';

CREATE TABLE attempts (
  -- Each try: what came of it. Only ever added to.
  id            INTEGER PRIMARY KEY,
  outbox_id     INTEGER NOT NULL,
  at            TEXT NOT NULL,
  stage         TEXT NOT NULL CONSTRAINT attempts_stage CHECK (stage IN ('model', 'send', 'turn')),
  outcome       TEXT NOT NULL,  -- answered, sent, retry, failed, in_doubt, refused…
  code          TEXT,           -- the service's own code
  error         TEXT,
  duration_ms   INTEGER,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  request_id    TEXT            -- the service's id, for its support
) STRICT;
CREATE INDEX attempts_outbox ON attempts (outbox_id);

CREATE TABLE usage (
  -- What the model used on a day (UTC); prices are in bot.toml.
  day           TEXT PRIMARY KEY,
  answers       INTEGER NOT NULL DEFAULT 0,
  input_tokens  INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE circuits (
  -- A service that refuses us: nothing is asked of it but one probe at a time, until one succeeds.
  service   TEXT PRIMARY KEY CHECK (service IN ('graph', 'model')),
  state     TEXT NOT NULL DEFAULT 'closed' CONSTRAINT circuits_state CHECK (state IN ('closed', 'open')),
  reason    TEXT,
  code      TEXT,
  opened_at TEXT,
  probe_at  TEXT,                        -- the next probe is not due before
  probes    INTEGER NOT NULL DEFAULT 0,  -- that failed since it opened
  probing   INTEGER                      -- the message whose turn is the probe under way
) STRICT, WITHOUT ROWID;
INSERT INTO circuits (service) VALUES ('graph'), ('model');

CREATE TABLE audit (
  -- What operators did.
  id       INTEGER PRIMARY KEY,
  at       TEXT NOT NULL,
  who      TEXT NOT NULL,  -- page, api, cli…
  action   TEXT NOT NULL,  -- retry, pause, resume, clear, try
  user_id  INTEGER,        -- NULL: everybody
  messages INTEGER         -- how many were changed
) STRICT;

-- Who is next: what users.ready_at has to be. The triggers below keep the column equal to `readiness`;
-- `heads` says it without the place in the round that served_at gives.
CREATE VIEW heads AS
SELECT u.id AS user_id,
       CASE
         WHEN u.paused_at IS NOT NULL OR u.merging_into IS NOT NULL
           OR EXISTS (SELECT 1 FROM outbox l WHERE l.user_id = u.id AND l.state = 'leased')
           OR EXISTS (SELECT 1 FROM users m WHERE m.merging_into = u.id) THEN NULL
         ELSE (SELECT max(h.received_at, coalesce(h.not_before_at, ''))
                 FROM outbox h WHERE h.user_id = u.id AND h.state = 'pending'
                ORDER BY h.begun_at IS NULL, h.sent_at, h.id LIMIT 1)
       END AS ready_at
  FROM users u;
CREATE VIEW readiness AS
SELECT u.id AS user_id, max((SELECT ready_at FROM heads WHERE user_id = u.id), coalesce(u.served_at, '')) AS ready_at
  FROM users u;

-- Guards: what only the daemon may do.
CREATE TRIGGER outbox_guard_insert BEFORE INSERT ON outbox WHEN NEW.state = 'leased'
BEGIN
  SELECT raise(ABORT, 'only the daemon leases a message: insert it as pending');
END;
CREATE TRIGGER outbox_guard_lease BEFORE UPDATE OF state ON outbox
WHEN NEW.state = 'leased' AND OLD.state <> 'leased' AND (NEW.leased_at IS NULL OR OLD.state <> 'pending')
BEGIN
  SELECT raise(ABORT, 'only the daemon leases a message: set it to pending and it is answered when its turn comes');
END;
CREATE TRIGGER outbox_guard_release BEFORE UPDATE OF state ON outbox
WHEN OLD.state = 'leased' AND NEW.state <> 'leased' AND NEW.leased_at IS OLD.leased_at
BEGIN
  SELECT raise(ABORT, 'this message is being answered right now: change it when its turn has ended');
END;
CREATE TRIGGER outbox_guard_delete BEFORE DELETE ON outbox WHEN OLD.state = 'leased'
BEGIN
  SELECT raise(ABORT, 'this message is being answered right now: delete it when its turn has ended');
END;
CREATE TRIGGER users_guard_delete BEFORE DELETE ON users WHEN EXISTS (SELECT 1 FROM outbox WHERE user_id = OLD.id)
BEGIN
  SELECT raise(ABORT, 'this user has messages: delete those first, as docs/sqlite.md says');
END;

-- The line: depth and ready_at follow every change, whoever makes it.
CREATE TRIGGER outbox_arrived AFTER INSERT ON outbox WHEN NEW.state = 'pending'
BEGIN
  UPDATE control SET depth = depth + 1;
  UPDATE users SET depth = depth + 1, ready_at = (SELECT ready_at FROM readiness WHERE user_id = NEW.user_id)
   WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_claimed AFTER UPDATE OF state ON outbox WHEN NEW.state = 'leased' AND OLD.state = 'pending'
BEGIN
  UPDATE users SET ready_at = NULL WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_released AFTER UPDATE OF state ON outbox WHEN NEW.state = 'pending' AND OLD.state = 'leased'
BEGIN
  UPDATE users SET served_at = OLD.leased_at,
                   ready_at = max((SELECT ready_at FROM heads WHERE user_id = NEW.user_id), OLD.leased_at)
   WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_decided AFTER UPDATE OF state ON outbox
WHEN NEW.state NOT IN ('pending', 'leased') AND OLD.state IN ('pending', 'leased')
BEGIN
  UPDATE replies SET state = 'cancelled' WHERE outbox_id = NEW.id AND state = 'planned';
  UPDATE control SET depth = depth - 1;
  UPDATE users SET depth = depth - 1,
                   served_at = iif(OLD.state = 'leased', NEW.finished_at, served_at),
                   ready_at = max((SELECT ready_at FROM heads WHERE user_id = NEW.user_id),
                                  coalesce(iif(OLD.state = 'leased', NEW.finished_at, served_at), ''))
   WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_ended AFTER UPDATE OF state ON outbox
WHEN NEW.finished_at IS NULL AND NEW.state NOT IN ('pending', 'leased')
BEGIN
  UPDATE outbox SET finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
CREATE TRIGGER outbox_reopened AFTER UPDATE OF state ON outbox
WHEN NEW.state = 'pending' AND OLD.state NOT IN ('pending', 'leased')
BEGIN
  UPDATE outbox SET attempts = 0, crashes = 0, manual = 1, error = NULL, begun_at = NULL, finished_at = NULL,
                    not_before_at = NULL
   WHERE id = NEW.id;
  UPDATE replies SET state = 'planned', doubts = 0, error = NULL, wamid = NULL, delivery = NULL
   WHERE outbox_id = NEW.id AND kind = 'answer' AND state IN ('failed', 'cancelled');
  UPDATE control SET depth = depth + 1;
  UPDATE users SET depth = depth + 1, ready_at = (SELECT ready_at FROM readiness WHERE user_id = NEW.user_id)
   WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_rescheduled AFTER UPDATE OF not_before_at, sent_at, begun_at, received_at ON outbox
WHEN NEW.state = 'pending' AND OLD.state = 'pending'
BEGIN
  UPDATE users SET ready_at = (SELECT ready_at FROM readiness WHERE user_id = NEW.user_id) WHERE id = NEW.user_id;
END;
CREATE TRIGGER outbox_moved AFTER UPDATE OF user_id ON outbox
WHEN NEW.user_id <> OLD.user_id AND NEW.state IN ('pending', 'leased')
BEGIN
  UPDATE users SET depth = depth - 1 WHERE id = OLD.user_id;
  UPDATE users SET depth = depth + 1 WHERE id = NEW.user_id;
  UPDATE users SET ready_at = (SELECT ready_at FROM readiness WHERE user_id = users.id)
   WHERE id IN (OLD.user_id, NEW.user_id);
END;
CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox
BEGIN
  DELETE FROM replies WHERE outbox_id = OLD.id;
  DELETE FROM attempts WHERE outbox_id = OLD.id;
  UPDATE control SET depth = depth - 1 WHERE OLD.state = 'pending';
  UPDATE users SET depth = depth - 1, ready_at = (SELECT ready_at FROM readiness WHERE user_id = OLD.user_id)
   WHERE id = OLD.user_id AND OLD.state = 'pending';
END;
CREATE TRIGGER users_switched AFTER UPDATE OF paused_at, merging_into ON users
WHEN NEW.paused_at IS NOT OLD.paused_at OR NEW.merging_into IS NOT OLD.merging_into
BEGIN
  UPDATE users SET paused_by = NULL WHERE id = NEW.id AND NEW.paused_at IS NULL;
  UPDATE users SET resumed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
   WHERE id = NEW.id AND NEW.paused_at IS NULL AND OLD.paused_at IS NOT NULL AND NEW.resumed_at IS OLD.resumed_at;
  UPDATE users SET ready_at = (SELECT ready_at FROM readiness WHERE user_id = users.id)
   WHERE id IN (NEW.id, NEW.merging_into, OLD.merging_into);
END;

-- For people with the sqlite3 CLI.
CREATE VIEW queue_depth AS
SELECT u.id AS user_id, u.name, coalesce(u.phone, u.bsuid) AS known_as, u.depth,
       (SELECT min(o.sent_at) FROM outbox o WHERE o.user_id = u.id AND o.state = 'pending') AS oldest_sent_at,
       u.ready_at, u.paused_at
  FROM users u WHERE u.depth > 0 ORDER BY u.depth DESC, u.id;

CREATE VIEW failures AS
-- Messages that failed, and replies that WhatsApp took and then couldn't deliver (retryable 0).
SELECT o.id, o.user_id, o.body, o.error, o.attempts, o.finished_at AS failed_at, 1 AS retryable
  FROM outbox o WHERE o.state = 'failed'
UNION ALL
SELECT o.id, o.user_id, r.body, r.error, o.attempts, r.sent_at, 0
  FROM replies r JOIN outbox o ON o.id = r.outbox_id
 WHERE r.delivery = 'failed' AND o.state <> 'failed';

CREATE VIEW conversation AS
SELECT o.user_id, o.sent_at AS at, 'in' AS direction, o.type AS kind, o.body, o.state, NULL AS delivery, o.error,
       o.id AS outbox_id
  FROM outbox o
UNION ALL
SELECT r.user_id, coalesce(r.sent_at, r.sending_at, r.planned_at), 'out', r.kind, r.body, r.state, r.delivery, r.error,
       r.outbox_id
  FROM replies r;
