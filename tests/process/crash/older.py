"""A file as an older version of bot left it: so many messages of a tenth as many people, and some that wait."""

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from bot.clock import stamp
from bot.store import migrate

LATEST = migrate.known_migrations()[-1].version
WAITING = {"34600777001": ["one", "two"], "34600777002": ["three", "four"]}
# Columns of schema 1, which every later one has, too. Sums are right without triggers: nothing of it waits.
ROWS = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows} / 10)
INSERT INTO users (id, phone, name, created_at, last_message_at)
SELECT n, printf('52%08d', n), 'P' || n, {at}, {at} FROM n;
INSERT INTO user_ids (id, user_id, linked_at) SELECT phone, id, created_at FROM users;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
INSERT INTO outbox (id, phone_number_id, wamid, user_id, type, body, payload, state, error, sent_at, received_at,
                    begun_at, finished_at)
SELECT n, '1', printf('w%07d', n), 1 + n % ({rows} / 10), 'text', 'message ' || n, '{{}}',
       iif(n % 20, 'done', 'failed'), iif(n % 20, NULL, 'bad'), {at}, {at}, {at}, {at} FROM n;
INSERT INTO replies (user_id, outbox_id, part, kind, body, state, callback_id, tries, wamid, delivery, planned_at,
                     sent_at)
SELECT user_id, id, 1, 'answer', 're ' || body, 'sent', printf('c%07d', id), 1, printf('o%07d', id), 'read', {at}, {at}
  FROM outbox WHERE state = 'done';
"""
WAITS = """
INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at)
SELECT '1', ?2, id, 'text', ?2, '{}', 'pending', ?3, ?3 FROM users WHERE phone = ?1"""
HELD = """
SELECT (SELECT count(*) || ' ' || sum(id) || ' ' || sum(length(body)) FROM outbox),
       (SELECT count(*) || ' ' || sum(id) || ' ' || sum(length(body)) FROM replies),
       (SELECT count(*) || ' ' || sum(id) || ' ' || sum(length(phone)) FROM users), (SELECT count(*) FROM user_ids)"""


def older_file(path: Path, version: int, rows: int) -> None:
    """Write it: a million in ten seconds."""
    migrated(path, version)
    now = datetime.now(UTC)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN")
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in ROWS.format(rows=rows, at=f"'{stamp(now - timedelta(hours=2))}'").split(";"):
            db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)
        for phone, texts in WAITING.items():
            db.execute(
                "INSERT INTO users (phone, last_message_at, created_at) VALUES (?1, ?2, ?2)", (phone, stamp(now))
            )
            db.execute("INSERT INTO user_ids SELECT phone, id, created_at FROM users WHERE phone = ?", (phone,))
            for number, text in enumerate(texts):
                db.execute(WAITS, (phone, text, stamp(now + timedelta(milliseconds=number))))
        db.execute("COMMIT")


def migrated(path: Path, version: int) -> None:
    """Make an empty file of a version."""
    known = migrate.known_migrations()[:version]
    with mock.patch.object(migrate, "known_migrations", return_value=known):
        migrate.migrate(path, datetime.now(UTC))


def looked_at(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Read, and leave to the next start what is to be mended."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def version_of(path: Path) -> int:
    """Return the schema's version."""
    return int(looked_at(path, "PRAGMA user_version")[0][0])


def schema_of(path: Path) -> list[tuple[Any, ...]]:
    """Return all that the file consists of but its rows, and which migrations it says were applied."""
    return [
        *looked_at(path, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"),
        *looked_at(path, "SELECT version, name, checksum FROM migrations ORDER BY version"),
    ]
