"""What operators do: retry, pause, resume, clear, probe. The same few statements for page, API, terminal and tests.

Functions of a connection, to be run inside a write; each leaves a row in `audit`.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.clock import stamp
from bot.errors import NotFound, WrongState

WINDOW = timedelta(hours=24)
_RETRYABLE = """state = 'failed' AND (error IS NOT 'expired' OR EXISTS
  (SELECT 1 FROM users u WHERE u.id = outbox.user_id AND u.last_message_at > :window))"""


def retry(db: sqlite3.Connection, ids: Sequence[int], now: datetime, who: str) -> int:
    """Put failed messages back to pending; all or none. Raises NotFound, WrongState."""
    wanted = sorted(set(ids))
    states = dict(
        db.execute("SELECT id, state FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(wanted),))
    )
    for id_ in wanted:
        if id_ not in states:
            raise NotFound(f"there is no message {id_}")
        if states[id_] != "failed":
            raise WrongState(
                f"message {id_} is {states[id_].replace('leased', 'being answered')}: only a failed one can be retried"
            )
    retried = _reopen(db, "id IN (SELECT value FROM json_each(:ids))", now, who, json.dumps(wanted))
    if retried < len(wanted):
        raise WrongState("the message expired: WhatsApp lets nothing be sent 24 hours after the person's last message")
    return retried


def retry_all(db: sqlite3.Connection, now: datetime, who: str) -> int:
    """Put every failed message that can still be answered back to pending."""
    return _reopen(db, "1", now, who, None)


def _reopen(db: sqlite3.Connection, which: str, now: datetime, who: str, ids: str | None) -> int:
    cursor = db.execute(
        f"UPDATE outbox SET state = 'pending' WHERE {_RETRYABLE} AND {which}",
        {"window": stamp(now - WINDOW), "ids": ids},
    )
    if cursor.rowcount:
        _audit(db, now, who, "retry", None, cursor.rowcount)
    return cursor.rowcount


def pause(db: sqlite3.Connection, user_id: int | None, now: datetime, who: str) -> int:
    """Stop answering somebody, or (None) everybody by a switch of its own; who is being answered is answered."""
    if user_id is None:
        db.execute("UPDATE control SET paused_at = coalesce(paused_at, ?)", (stamp(now),))
        users = _count(db, "SELECT count(*) FROM users WHERE depth > 0")
    else:
        _must_exist(db, user_id)
        db.execute(
            "UPDATE users SET paused_at = ?, paused_by = ? WHERE id = ? AND paused_at IS NULL",
            (stamp(now), who, user_id),
        )
        users = 1
    _audit(db, now, who, "pause", user_id, None)
    return users


def resume(db: sqlite3.Connection, user_id: int | None, now: datetime, who: str, *, skip: bool) -> tuple[int, int]:
    """Answer somebody, or (None) everybody, again; `skip` cancels what waits. Returns users, messages skipped."""
    skipped = _cancel(db, user_id, "skipped", now) if skip else (0, 0)
    if user_id is None:
        db.execute("UPDATE control SET paused_at = NULL")
        users = _count(db, "SELECT count(*) FROM users WHERE depth > 0")
    else:
        _must_exist(db, user_id)
        db.execute(
            "UPDATE users SET paused_at = NULL, resumed_at = ? WHERE id = ? AND paused_at IS NOT NULL",
            (stamp(now), user_id),
        )
        users = 1
    _audit(db, now, who, "resume", user_id, skipped[1])
    return users, skipped[1]


def clear(db: sqlite3.Connection, user_id: int | None, now: datetime, who: str) -> tuple[int, int]:
    """Cancel what waits, of somebody or (None) everybody; the rows stay. Returns users and messages."""
    if user_id is not None:
        _must_exist(db, user_id)
    cleared = _cancel(db, user_id, "cleared", now)
    _audit(db, now, who, "clear", user_id, cleared[1])
    return cleared


def try_circuit(db: sqlite3.Connection, service: str, now: datetime, who: str) -> bool:
    """Make the next probe of a service due now; False when nothing is wrong with it."""
    cursor = db.execute("UPDATE circuits SET probe_at = ? WHERE service = ? AND state = 'open'", (stamp(now), service))
    db.execute("UPDATE circuits SET probing = NULL WHERE probing NOT IN (SELECT id FROM outbox WHERE state = 'leased')")
    if cursor.rowcount:
        _audit(db, now, who, "try", None, None)
    return cursor.rowcount == 1


def _cancel(db: sqlite3.Connection, user_id: int | None, error: str, now: datetime) -> tuple[int, int]:
    of_user = "" if user_id is None else " AND user_id = :user"
    values = {"user": user_id, "error": error, "now": stamp(now)}
    users = db.execute(
        f"SELECT count(DISTINCT user_id) FROM outbox WHERE state = 'pending'{of_user}", values
    ).fetchone()[0]
    cancelled = 0
    while changed := db.execute(  # in steps: SQLite keeps in memory what one statement may have to take back
        f"""UPDATE outbox SET state = 'cancelled', error = :error, finished_at = :now
             WHERE id IN (SELECT id FROM outbox WHERE state = 'pending'{of_user} LIMIT 1000)""",
        values,
    ).rowcount:
        cancelled += changed
    return users, cancelled


def _must_exist(db: sqlite3.Connection, user_id: int) -> None:
    if not _count(db, "SELECT count(*) FROM users WHERE id = ?", user_id):
        raise NotFound(f"there is no user u{user_id}")


def _count(db: sqlite3.Connection, query: str, *values: int) -> int:
    count: int = db.execute(query, values).fetchone()[0]
    return count


def _audit(
    db: sqlite3.Connection, now: datetime, who: str, action: str, user_id: int | None, messages: int | None
) -> None:
    db.execute(
        "INSERT INTO audit (at, who, action, user_id, messages) VALUES (?, ?, ?, ?, ?)",
        (stamp(now), who, action, user_id, messages),
    )
