"""What people look at: queries on the reading connection, shaped for JSON. They change nothing."""

import re
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from bot.clock import Clock, stamp
from bot.errors import NotFound
from bot.store import events
from bot.store.db import Database
from bot.store.operators import WINDOW
from bot.store.trends import Trends
from bot.store.turns import Budget

Row = dict[str, Any]
T = TypeVar("T")
CONVERSATION_MOST = 100

# NULL where there is none, or a hand edit went wrong.
_OLDEST = "max(0.0, round((julianday(:now) - julianday(min(received_at))) * 86400, 3))"
_USERS = f"""
SELECT 'u' || u.id AS user_id, u.phone, u.bsuid, u.name, u.depth,
       (SELECT {_OLDEST} FROM outbox o WHERE o.user_id = u.id AND o.finished_at IS NULL) AS oldest_age_seconds,
       CASE WHEN EXISTS (SELECT 1 FROM outbox l WHERE l.user_id = u.id AND l.state = 'leased') THEN 'leased'
            WHEN u.paused_at IS NOT NULL THEN 'paused'
            WHEN u.depth = 0 THEN 'idle'
            WHEN u.ready_at > :now THEN 'retrying' ELSE 'waiting' END AS state,
       u.paused_at IS NOT NULL AS paused, u.paused_by,
       (SELECT count(*) FROM outbox f WHERE f.user_id = u.id AND f.state = 'failed') AS failed,
       u.ready_at, u.last_message_at
  FROM users u"""
_FAILURES = """
SELECT o.id, 'u' || o.user_id AS user_id, u.name, coalesce(u.phone, u.bsuid) AS phone, o.type, o.body,
       coalesce(iif(o.state = 'failed', o.error, NULL), (SELECT r.error FROM replies r
          WHERE r.outbox_id = o.id AND r.delivery = 'failed' ORDER BY r.part LIMIT 1), o.error) AS error,
       o.attempts, coalesce(o.finished_at, o.received_at) AS failed_at,
       o.state = 'failed' AND (o.error IS NOT 'expired' OR u.last_message_at > :window) AS retryable
  FROM outbox o JOIN users u ON u.id = o.user_id"""

_QUEUE = """
SELECT id, state, type, body, attempts, crashes, error, sent_at, received_at, begun_at, not_before_at, leased_at
  FROM outbox WHERE user_id = :id AND state IN ('pending', 'leased')
 ORDER BY state = 'pending', begun_at IS NULL, sent_at, id LIMIT :most"""
_CONVERSATION = """
SELECT at, direction, kind, type, body, state, delivery, error, message_id, wamid FROM (
  SELECT sent_at AS at, sent_at AS place, 0 AS part, 'in' AS direction, type AS kind, type, body, state,
         NULL AS delivery, error, id AS message_id, wamid
    FROM (SELECT * FROM outbox WHERE user_id = :id ORDER BY id DESC LIMIT :most)
  UNION ALL
  SELECT coalesce(sent_at, sending_at, planned_at), planned_at, part, 'out', kind, type, body, state,
         delivery, error, outbox_id, wamid
    FROM (SELECT * FROM replies WHERE user_id = :id ORDER BY planned_at DESC LIMIT :most))
 ORDER BY place, direction, message_id, part"""
_STATS = f"""
SELECT depth AS totalMessages, (SELECT count(*) FROM users WHERE depth > 0) AS activeUsers, :now AS timestamp,
       depth - (SELECT count(*) FROM outbox WHERE state = 'leased') AS pending,
       (SELECT count(*) FROM outbox WHERE state = 'leased') AS leased,
       (SELECT count(*) FROM outbox WHERE state = 'failed') AS failed, paused_at IS NOT NULL AS paused,
       (SELECT {_OLDEST} FROM outbox WHERE finished_at IS NULL) AS oldestAgeSeconds
  FROM control"""
_CIRCUITS = """
SELECT service, reason, code, opened_at, probe_at,
       iif(service = 'graph', 'WhatsApp', 'The model') || ' is tried again '
       || iif(probe_at > :now, 'at ' || probe_at, 'with the next message')
       || '; bot check --online may tell more.' AS next_try
  FROM circuits WHERE state = 'open'"""

_REASONS = """
SELECT iif(service = 'graph', 'WhatsApp', 'the model') || ' can''t be used since ' || opened_at || ': ' || reason
  FROM circuits WHERE state = 'open'
UNION ALL SELECT 'everything is paused since ' || paused_at FROM control WHERE paused_at IS NOT NULL"""


class Insights:
    """Read-only queries. Times come as text stamps, ages in seconds, people as u17."""

    def __init__(self, database: Database, clock: Clock, budget: Budget) -> None:
        self._read, self._clock, self._budget = database.read, clock, budget
        last = Trends(database, clock, budget)
        self.trends, self.today, self.headline, self.changes = last.trends, last.today, last.headline, last.changes

    async def queue_stats(self) -> Row:
        """Return the whole queue's figures: `totalMessages` is pending + leased, `activeUsers` who has any of them."""
        return await self._query(lambda db, now: _rows(db, _STATS, now)[0])

    async def users(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of people, deepest queue first. Raises ValueError on a cursor that isn't ours."""
        depth, user_id = (int(number) for number in after.split("-")) if after else (2**62, 2**62)

        def query(db: sqlite3.Connection, now: datetime) -> Row:
            # Not (depth, id) < (?, ?): SQLite looks through all who share the depth then.
            page = f"""{_USERS} WHERE u.id IN
                  (SELECT * FROM (SELECT id FROM users WHERE depth = :depth AND id < :id ORDER BY id DESC LIMIT :most)
                   UNION ALL
                   SELECT * FROM (SELECT id FROM users WHERE depth < :depth ORDER BY depth DESC, id DESC LIMIT :most))
                ORDER BY u.depth DESC, u.id DESC LIMIT :most"""
            rows = _rows(db, page, now, depth=depth, id=user_id, most=limit + 1)
            last = rows[limit - 1] if len(rows) > limit else None
            return {"users": rows[:limit], "next": last and f"{last['depth']}-{last['user_id'][1:]}"}

        return await self._query(query)

    async def find_user(self, known_as: str) -> int:
        """Find a person by u17, a phone with or without plus, or a business-scoped id. Raises NotFound."""
        return await self._query(lambda db, _: _find(db, known_as))

    async def user(self, known_as: str) -> Row:
        """Return one person: `user`, what waits (`queue`), the newest of the `conversation`, and `failures`.

        Raises NotFound, as `find_user` does.
        """

        def query(db: sqlite3.Connection, now: datetime) -> Row:
            user_id = _find(db, known_as)
            failures = f"{_FAILURES} WHERE o.user_id = :id AND o.state = 'failed' ORDER BY o.id DESC LIMIT :most"
            return {
                "user": _rows(db, f"{_USERS} WHERE u.id = :id", now, id=user_id)[0],
                "queue": _rows(db, _QUEUE, now, id=user_id, most=CONVERSATION_MOST),
                "conversation": _rows(db, _CONVERSATION, now, id=user_id, most=CONVERSATION_MOST)[-CONVERSATION_MOST:],
                "failures": _rows(db, failures, now, id=user_id, most=CONVERSATION_MOST),
            }

        return await self._query(query)

    async def failures(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of what failed, newest first: messages, and replies that couldn't be delivered."""
        before = int(after) if after else 2**62

        def query(db: sqlite3.Connection, now: datetime) -> Row:
            page = f"""{_FAILURES} WHERE o.id IN
                  (SELECT id FROM outbox WHERE state = 'failed' AND id < :before
                   UNION SELECT outbox_id FROM replies WHERE delivery = 'failed' AND outbox_id < :before
                   ORDER BY 1 DESC LIMIT :most)
                ORDER BY o.id DESC"""
            rows = _rows(db, page, now, before=before, most=limit + 1)
            return {"failures": rows[:limit], "next": str(rows[limit - 1]["id"]) if len(rows) > limit else None}

        return await self._query(query)

    async def events(self, position: events.Position, last: int = 0) -> tuple[list[Row], events.Position]:
        """Return what happened since a position, as events.behind does."""
        return await self._read(lambda db: events.behind(db, position, last))

    async def circuits(self) -> list[Row]:
        """Return the open circuits: service, reason, code, opened_at, probe_at, and `next_try` in words."""
        return await self._query(lambda db, now: _rows(db, _CIRCUITS, now))

    async def reasons(self) -> list[str]:
        """Say in words why messages can't be answered, as far as the file knows; nothing: they can."""

        def query(db: sqlite3.Connection, now: datetime) -> list[str]:
            spent = "the day's budget for the model is spent; it goes on at 00:00 UTC"
            return [reason for (reason,) in db.execute(_REASONS)] + [spent] * self._budget.spent(db, now)

        return await self._query(query)

    async def _query(self, query: Callable[[sqlite3.Connection, datetime], T]) -> T:
        return await self._read(lambda db: query(db, self._clock.now()))


def _find(db: sqlite3.Connection, known_as: str) -> int:
    query, ids = "SELECT user_id FROM user_ids WHERE id IN (?, ?)", [known_as, known_as.removeprefix("+")]
    if re.fullmatch("u[0-9]{1,18}", known_as):
        query, ids = "SELECT id FROM users WHERE id = ?", [known_as[1:]]
    row = db.execute(query, ids).fetchone() if known_as.isprintable() else None  # a lone surrogate can't be asked for
    if row is None:
        raise NotFound("there is no such user; write u17, a phone number or a business-scoped id")
    return int(row[0])


def _rows(db: sqlite3.Connection, query: str, now: datetime, **values: object) -> list[Row]:
    cursor = db.execute(query, {"now": stamp(now), "window": stamp(now - WINDOW), **values})
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return [row | {name: bool(row[name]) for name in ("paused", "retryable") if name in row} for row in rows]
