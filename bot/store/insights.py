"""What people look at: queries on the reading connection, shaped for JSON. They change nothing."""

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bot.clock import Clock, parse_stamp, stamp
from bot.store.db import Database
from bot.store.operators import WINDOW
from bot.store.turns import Budget

Row = dict[str, Any]
T = TypeVar("T")
CONVERSATION_MOST = 100
LONGEST_ID = 140  # a business-scoped id has up to 135 characters

_USERS = """
SELECT u.id, u.phone, u.bsuid, u.name, u.depth, u.paused_at, u.paused_by, u.ready_at, u.last_message_at,
       (SELECT count(*) FROM outbox f WHERE f.user_id = u.id AND f.state = 'failed') AS failed,
       (SELECT min(o.received_at) FROM outbox o WHERE o.user_id = u.id AND o.state = 'pending') AS oldest,
       (SELECT l.received_at FROM outbox l WHERE l.user_id = u.id AND l.state = 'leased') AS leased
  FROM users u"""
_FAILURES = """
SELECT o.id, o.user_id, u.name, u.phone, u.bsuid, o.body, o.type, o.attempts, o.state, u.last_message_at,
       coalesce(iif(o.state = 'failed', o.error, NULL), (SELECT r.error FROM replies r
          WHERE r.outbox_id = o.id AND r.delivery = 'failed' ORDER BY r.part LIMIT 1), o.error) AS error,
       coalesce(o.finished_at, o.received_at) AS failed_at
  FROM outbox o JOIN users u ON u.id = o.user_id"""


class Insights:
    """Read-only queries. Times come as text stamps, ages in seconds, people as u17."""

    def __init__(self, database: Database, clock: Clock, budget: Budget) -> None:
        self._read = database.read
        self._clock = clock
        self._budget = budget

    async def queue_stats(self) -> Row:
        """Return the whole queue's figures: `totalMessages` is pending + leased, `activeUsers` who has any of them."""
        return await self._query(_queue_stats)

    async def users(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of people, deepest queue first. Raises ValueError on a cursor that isn't ours."""
        depth, user_id = (int(number) for number in after.split("-")) if after else (2**62, 2**62)

        def query(db: sqlite3.Connection, now: datetime) -> Row:
            rows = _rows(
                db,
                # Not (depth, id) < (?, ?): SQLite looks through all who share the depth then.
                f"""{_USERS} WHERE u.id IN
                      (SELECT * FROM (SELECT id FROM users WHERE depth = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)
                       UNION ALL
                       SELECT * FROM (SELECT id FROM users WHERE depth < ?1 ORDER BY depth DESC, id DESC LIMIT ?3))
                    ORDER BY u.depth DESC, u.id DESC LIMIT ?3""",
                depth, user_id, limit + 1,
            )  # fmt: skip
            page = rows[:limit]
            following = f"{page[-1]['depth']}-{page[-1]['id']}" if len(rows) > limit else None
            return {"users": [_user(row, now) for row in page], "next": following}

        return await self._query(query)

    async def find_user(self, known_as: str) -> int | None:
        """Find a person by u17, a phone with or without plus, or a business-scoped id; any text is a question."""
        if len(known_as) > LONGEST_ID or not known_as.isprintable():
            return None
        number = known_as[1:] if known_as[:1] == "u" and known_as[1:].isdecimal() and known_as.isascii() else None

        def query(db: sqlite3.Connection, _: datetime) -> int | None:
            if number is not None:
                row = db.execute("SELECT id FROM users WHERE id = ?", (min(int(number), 2**62),)).fetchone()
            else:
                row = db.execute(
                    "SELECT user_id FROM user_ids WHERE id IN (?, ?)", (known_as, known_as.removeprefix("+"))
                ).fetchone()
            return row[0] if row else None

        return await self._query(query)

    async def user(self, user_id: int) -> Row | None:
        """Return one person: `user`, what waits (`queue`), the newest of the `conversation`, and `failures`."""

        def query(db: sqlite3.Connection, now: datetime) -> Row | None:
            found = _rows(db, f"{_USERS} WHERE u.id = ?", user_id)
            if not found:
                return None
            return {
                "user": _user(found[0], now),
                "queue": _queue(db, user_id),
                "conversation": _conversation(db, user_id),
                "failures": [
                    _failure(row, now)
                    for row in _rows(
                        db,
                        f"{_FAILURES} WHERE o.user_id = ? AND o.state = 'failed' ORDER BY o.id DESC LIMIT ?",
                        user_id,
                        CONVERSATION_MOST,
                    )
                ],
            }

        return await self._query(query)

    async def failures(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of what failed, newest first: messages, and replies that couldn't be delivered."""
        before = int(after) if after else 2**62

        def query(db: sqlite3.Connection, now: datetime) -> Row:
            rows = _rows(
                db,
                f"""{_FAILURES} WHERE o.id IN
                      (SELECT id FROM outbox WHERE state = 'failed' AND id < ?1
                       UNION SELECT outbox_id FROM replies WHERE delivery = 'failed' AND outbox_id < ?1
                       ORDER BY 1 DESC LIMIT ?2)
                    ORDER BY o.id DESC""",
                before, limit + 1,
            )  # fmt: skip
            page = rows[:limit]
            following = str(page[-1]["id"]) if len(rows) > limit else None
            return {"failures": [_failure(row, now) for row in page], "next": following}

        return await self._query(query)

    async def circuits(self) -> list[Row]:
        """Return the open circuits: service, reason, code, opened_at, probe_at."""
        return await self._query(
            lambda db, _: _rows(
                db, "SELECT service, reason, code, opened_at, probe_at FROM circuits WHERE state = 'open'"
            )
        )

    async def reasons(self) -> list[str]:
        """Say in words why messages can't be answered, as far as the file knows; nothing: they can."""
        return await self._query(self._reasons)

    def _reasons(self, db: sqlite3.Connection, now: datetime) -> list[str]:
        reasons = [
            f"{'WhatsApp' if row['service'] == 'graph' else 'the model'} can't be used since {row['opened_at']}: "
            f"{row['reason']}"
            for row in _rows(db, "SELECT service, reason, opened_at FROM circuits WHERE state = 'open'")
        ]
        paused_at = db.execute("SELECT paused_at FROM control").fetchone()[0]
        if paused_at:
            reasons.append(f"everything is paused since {paused_at}")
        if self._budget.spent(db, now):
            reasons.append("the day's budget for the model is spent; it goes on at 00:00 UTC")
        return reasons

    async def _query(self, query: Callable[[sqlite3.Connection, datetime], T]) -> T:
        return await self._read(lambda db: query(db, self._clock.now()))


def _rows(db: sqlite3.Connection, query: str, *values: object) -> list[Row]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _queue_stats(db: sqlite3.Connection, now: datetime) -> Row:
    depth, paused_at = db.execute("SELECT depth, paused_at FROM control").fetchone()
    active = db.execute("SELECT count(*) FROM users WHERE depth > 0").fetchone()[0]
    leased = db.execute("SELECT count(*) FROM outbox WHERE state = 'leased'").fetchone()[0]
    failed = db.execute("SELECT count(*) FROM outbox WHERE state = 'failed'").fetchone()[0]
    oldest = db.execute("SELECT min(received_at) FROM outbox WHERE finished_at IS NULL").fetchone()[0]
    return {
        "totalMessages": depth,
        "activeUsers": active,
        "timestamp": stamp(now),
        "pending": depth - leased,
        "leased": leased,
        "failed": failed,
        "paused": paused_at is not None,
        "oldestAgeSeconds": _age(oldest, now),
    }


def _user(row: Row, now: datetime) -> Row:
    return {
        "user_id": f"u{row['id']}",
        "phone": row["phone"],
        "bsuid": row["bsuid"],
        "name": row["name"],
        "depth": row["depth"],
        "oldest_age_seconds": _age(min(filter(None, (row["oldest"], row["leased"])), default=None), now),
        "state": _state(row, now),
        "paused": row["paused_at"] is not None,
        "paused_by": row["paused_by"],
        "failed": row["failed"],
        "ready_at": row["ready_at"],
        "last_message_at": row["last_message_at"],
    }


def _state(row: Row, now: datetime) -> str:
    if row["leased"]:
        return "leased"
    if row["paused_at"]:
        return "paused"
    if not row["depth"]:
        return "idle"
    return "retrying" if row["ready_at"] and row["ready_at"] > stamp(now) else "waiting"


def _queue(db: sqlite3.Connection, user_id: int) -> list[Row]:
    return _rows(
        db,
        """SELECT id, state, type, body, attempts, crashes, error, sent_at, received_at, begun_at, not_before_at,
                  leased_at
             FROM outbox WHERE user_id = ? AND state IN ('pending', 'leased')
            ORDER BY state = 'pending', begun_at IS NULL, sent_at, id LIMIT ?""",
        user_id, CONVERSATION_MOST,
    )  # fmt: skip


def _conversation(db: sqlite3.Connection, user_id: int) -> list[Row]:
    rows = _rows(
        db,
        """SELECT at, direction, kind, type, body, state, delivery, error, message_id, wamid FROM (
             SELECT sent_at AS at, sent_at AS place, 0 AS part, 'in' AS direction, type AS kind, type, body, state,
                    NULL AS delivery, error, id AS message_id, wamid
               FROM (SELECT * FROM outbox WHERE user_id = ?1 ORDER BY id DESC LIMIT ?2)
             UNION ALL
             SELECT coalesce(sent_at, sending_at, planned_at), planned_at, part, 'out', kind, type, body, state,
                    delivery, error, outbox_id, wamid
               FROM (SELECT * FROM replies WHERE user_id = ?1 ORDER BY planned_at DESC LIMIT ?2))
            ORDER BY place, direction, message_id, part""",
        user_id, CONVERSATION_MOST,
    )  # fmt: skip
    return rows[-CONVERSATION_MOST:]


def _failure(row: Row, now: datetime) -> Row:
    open_window = (row["last_message_at"] or "") > stamp(now - WINDOW)
    return {
        "id": row["id"],
        "user_id": f"u{row['user_id']}",
        "name": row["name"],
        "phone": row["phone"] or row["bsuid"],
        "type": row["type"],
        "body": row["body"],
        "error": row["error"],
        "attempts": row["attempts"],
        "failed_at": row["failed_at"],
        "retryable": row["state"] == "failed" and (row["error"] != "expired" or open_window),
    }


def _age(text: str | None, now: datetime) -> float | None:
    try:
        return max(0.0, round((now - parse_stamp(text or "")) / timedelta(seconds=1), 3))
    except ValueError:  # none, or a hand edit gone wrong
        return None
