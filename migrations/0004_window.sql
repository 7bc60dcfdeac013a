-- What the owner's window shows and does: audit from where, replies of the owner's own, minutes, warnings, alerts.
ALTER TABLE audit ADD COLUMN address TEXT; /* from where: the client's address; NULL: a terminal on this machine */

ALTER TABLE replies ADD COLUMN not_before_at TEXT; /* one that answers nothing (kind human): not sent before */
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

CREATE INDEX users_stopped ON users (paused_by) WHERE paused_at IS NOT NULL;
CREATE VIEW signs AS
-- What alerts are made of; each figure costs the same with a million rows as with ten.
SELECT c.depth,
       (SELECT o.received_at FROM outbox o CROSS JOIN users u ON u.id = o.user_id
         WHERE o.finished_at IS NULL AND u.paused_at IS NULL
         ORDER BY o.received_at LIMIT 1) AS waiting_since,                               -- the oldest that isn't paused
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
