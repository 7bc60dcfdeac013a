CREATE TABLE stumbles (
  -- Failures that may be the message's own or the service's (a timeout, a cut connection, a 5xx), since the service
  -- last did what it was asked. The third user in a row opens its circuit, and what they spent is given back.
  service   TEXT NOT NULL REFERENCES circuits (service),
  outbox_id INTEGER NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
  spent     INTEGER NOT NULL,  -- attempts; a send in doubt spends none
  PRIMARY KEY (service, outbox_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX stumbles_outbox ON stumbles (outbox_id);
CREATE TRIGGER stumbles_forgiven AFTER DELETE ON stumbles
WHEN OLD.spent > 0 AND (SELECT state FROM circuits WHERE service = OLD.service) = 'open'
BEGIN
  UPDATE outbox SET attempts = max(attempts - OLD.spent, 0), not_before_at = NULL
   WHERE id = OLD.outbox_id AND state IN ('pending', 'leased');
END;
