-- What remains of who was forgotten (bot forget): counts (usage, minutes, audit) and what keeps a webhook that Meta
-- delivers again from being answered again.
CREATE TABLE forgotten (
  -- Messages of people who were forgotten, for as long as they would have been kept: one that comes again is no news.
  told    TEXT PRIMARY KEY,  -- SHA-256 of the wamid. It holds a phone, but a random part, too: nobody can try them all
  sent_at TEXT NOT NULL      -- when it was sent or received, the later one; gone after store.keep_days
) STRICT, WITHOUT ROWID;
CREATE INDEX forgotten_sent ON forgotten (sent_at);

-- A hash of phones and a time can be found by trying: it goes with its person, and else once Meta delivers no more.
ALTER TABLE identity_changes ADD COLUMN user_id INTEGER /* whom it told of; NULL: somebody unknown, or from before schema 6 */;
ALTER TABLE identity_changes ADD COLUMN told_at TEXT /* when it came; gone after store.keep_days */;
UPDATE identity_changes SET told_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now');

-- audit.user_id is 0 where it was somebody who is forgotten since; audit.action may be forget.
