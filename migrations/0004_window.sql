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
  id   INTEGER PRIMARY KEY,
  at   TEXT NOT NULL,
  kind TEXT NOT NULL,  -- the webhook's field, like account_update
  text TEXT NOT NULL   -- in words, without numbers of people
) STRICT;
CREATE UNIQUE INDEX warnings_once ON warnings (kind, text, at);

CREATE TABLE alerts (
  -- What the owner was told is wrong ([alerts] in bot.toml): raised once, reminded after a pause, taken out when it is over.
  name      TEXT PRIMARY KEY,  -- backlog_age, depth, failures, circuit_model…
  text      TEXT NOT NULL,
  raised_at TEXT NOT NULL,
  told_at   TEXT               -- when somebody could last be told; NULL: not yet
) STRICT, WITHOUT ROWID;

CREATE VIEW gauges AS
-- What GET /metrics tells of the queue, by the names it has there (behind a colon: the label).
SELECT control.depth - (SELECT count(*) FROM outbox WHERE state = 'leased') AS "queue_messages:pending",
       (SELECT count(*) FROM outbox WHERE state = 'leased') AS "queue_messages:leased",
       (SELECT count(*) FROM users WHERE depth > 0) AS queue_users,
       (SELECT count(*) FROM outbox WHERE state = 'failed') AS failed_messages,
       (SELECT unixepoch(received_at) FROM outbox WHERE id = (SELECT max(id) FROM outbox)) AS newest_message_timestamp_seconds,
       (SELECT state = 'open' FROM circuits WHERE service = 'graph') AS "circuit_open:graph",
       (SELECT state = 'open' FROM circuits WHERE service = 'model') AS "circuit_open:model",
       control.paused_at IS NOT NULL AS paused
  FROM control;
