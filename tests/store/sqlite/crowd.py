"""A file with as many people as one wants, made in seconds: half of them wait, the others were answered or failed."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bot.store import migrate
from tests.clock import START

PEOPLE = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {people})
INSERT INTO users (id, phone, name, created_at, last_message_at)
SELECT n, printf('52%08d', n), 'P' || n, '2026-11-24T09:00:00.000Z', '2026-11-24T09:00:00.000Z' FROM n;
INSERT INTO user_ids (id, user_id, linked_at) SELECT phone, id, created_at FROM users;
INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at, begun_at,
                    finished_at, error)
SELECT '1', 'w' || id, id, 'text', 'm' || id, '{{}}',
       CASE WHEN id % 2 = 0 THEN 'pending' WHEN id % 20 = 1 THEN 'failed' ELSE 'done' END,
       strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-24 09:00:00', '+' || (id / 1000.0) || ' seconds'),
       strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-24 09:00:00', '+' || (id / 1000.0) || ' seconds'),
       iif(id % 2, '2026-11-24T09:30:00.000Z', NULL), iif(id % 2, '2026-11-24T09:30:00.000Z', NULL),
       iif(id % 20 = 1, 'bad', NULL)
  FROM users;
INSERT INTO replies (user_id, outbox_id, part, kind, body, state, callback_id, tries, wamid, delivery, planned_at,
                     sent_at)
SELECT user_id, id, 1, 'answer', 're ' || body, 'sent', 'c' || id, 1, 'out.' || id, 'read',
       '2026-11-24T09:30:00.000Z', '2026-11-24T09:30:00.000Z'
  FROM outbox WHERE state = 'done';
"""


def crowd(path: Path, people: int) -> None:
    """Write the file."""
    migrate.migrate(path, START)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(f"BEGIN; {PEOPLE.format(people=people)} COMMIT;")
