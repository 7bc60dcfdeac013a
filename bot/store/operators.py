"""What operators do: retry, pause, resume, clear, probe, write. The same few statements for all who do them.

Functions of a connection, to be run inside a write; each leaves a row in `audit`.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.clock import stamp
from bot.domain import Operator
from bot.errors import NotFound, WrongState

WINDOW = timedelta(hours=24)
CLOSED = "WhatsApp lets nothing be sent 24 hours after the person's last message"
_RETRYABLE = """state = 'failed' AND (error IS NOT 'expired' OR EXISTS
  (SELECT 1 FROM users u WHERE u.id = outbox.user_id AND u.last_message_at > :window))"""


def retry(db: sqlite3.Connection, ids: Sequence[int] | None, now: datetime, who: Operator) -> int:
    """Put failed messages back to pending, all or none; None: every one that can be. Raises NotFound, WrongState."""
    wanted = None if ids is None else sorted(set(ids))
    values = {"ids": json.dumps(wanted), "window": stamp(now - WINDOW)}
    states = dict(db.execute("SELECT id, state FROM outbox WHERE id IN (SELECT value FROM json_each(:ids))", values))
    for id_ in wanted or ():
        if id_ not in states:
            raise NotFound(f"there is no message {id_}")
        if states[id_] != "failed":
            raise WrongState(
                f"message {id_} is {states[id_].replace('leased', 'being answered')}: only a failed one can be retried"
            )
    which = "" if wanted is None else "AND id IN (SELECT value FROM json_each(:ids))"
    retried = db.execute(f"UPDATE outbox SET state = 'pending' WHERE {_RETRYABLE} {which}", values).rowcount
    if wanted is not None and retried < len(wanted):
        raise WrongState(f"the message expired: {CLOSED}")
    if retried:
        _audit(db, now, who, "retry", None, retried)
    return retried


def pause(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator) -> int:
    """Stop answering somebody, or (None) everybody by a switch of its own; who is being answered is answered."""
    users = _concerned(db, user_id)
    if user_id is None:
        db.execute("UPDATE control SET paused_at = coalesce(paused_at, ?)", (stamp(now),))
    else:
        db.execute(
            "UPDATE users SET paused_at = ?, paused_by = ? WHERE id = ? AND paused_at IS NULL",
            (stamp(now), who.name, user_id),
        )
    _audit(db, now, who, "pause", user_id, None)
    return users


def resume(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator, *, skip: bool) -> tuple[int, int]:
    """Answer somebody, or (None) everybody, again; `skip` cancels what waits of them. Returns users, messages skipped.

    Who is paused alone stays so, and keeps what waits.
    """
    _, skipped = _cancel(db, user_id, "skipped", now, paused_too=user_id is not None) if skip else (0, 0)
    users = _concerned(db, user_id)
    if user_id is None:
        db.execute("UPDATE control SET paused_at = NULL")
    else:
        db.execute(
            "UPDATE users SET paused_at = NULL, resumed_at = ? WHERE id = ? AND paused_at IS NOT NULL",
            (stamp(now), user_id),
        )
    _audit(db, now, who, "resume", user_id, skipped)
    return users, skipped


def clear(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator) -> tuple[int, int]:
    """Cancel what waits, of somebody or (None) everybody; the rows stay. Returns users and messages."""
    _concerned(db, user_id)
    cleared = _cancel(db, user_id, "cleared", now)
    _audit(db, now, who, "clear", user_id, cleared[1])
    return cleared


def try_circuit(db: sqlite3.Connection, service: str, now: datetime, who: Operator) -> bool:
    """Make the next probe of a service due now; False when nothing is wrong with it."""
    cursor = db.execute("UPDATE circuits SET probe_at = ? WHERE service = ? AND state = 'open'", (stamp(now), service))
    db.execute("UPDATE circuits SET probing = NULL WHERE probing NOT IN (SELECT id FROM outbox WHERE state = 'leased')")
    if cursor.rowcount:
        _audit(db, now, who, "try", None, None)
    return cursor.rowcount == 1


def say(db: sqlite3.Connection, user_id: int, bodies: Sequence[str], now: datetime, who: Operator) -> int:
    """Plan what the owner writes to somebody oneself; return how many parts. Raises NotFound, WrongState."""
    _concerned(db, user_id)
    values = {"user": user_id, "bodies": json.dumps(bodies), "now": stamp(now), "window": stamp(now - WINDOW)}
    planned = db.execute(
        """INSERT INTO replies (user_id, part, kind, body, state, callback_id, planned_at)
           SELECT u.id, key + 1, 'human', value, 'planned', lower(hex(randomblob(12))), :now
             FROM json_each(:bodies) CROSS JOIN users u ON u.id = :user AND u.last_message_at > :window""",
        values,
    ).rowcount
    if not planned:
        raise WrongState(CLOSED)
    _audit(db, now, who, "reply", user_id, planned)
    return planned


def _cancel(
    db: sqlite3.Connection, user_id: int | None, error: str, now: datetime, *, paused_too: bool = True
) -> tuple[int, int]:
    of_user = "" if user_id is None else " AND user_id = :user"
    if not paused_too:
        of_user += " AND user_id NOT IN (SELECT id FROM users WHERE paused_at IS NOT NULL)"
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


def _concerned(db: sqlite3.Connection, user_id: int | None) -> int:
    """Count the people whom a switch concerns: somebody, or (None) everybody with something in line."""
    which = "depth > 0" if user_id is None else "id = :user"
    count: int = db.execute(f"SELECT count(*) FROM users WHERE {which}", {"user": user_id}).fetchone()[0]
    if user_id is not None and not count:
        raise NotFound(f"there is no user u{user_id}")
    return count


def _audit(
    db: sqlite3.Connection, now: datetime, who: Operator, action: str, user_id: int | None, messages: int | None
) -> None:
    db.execute(
        "INSERT INTO audit (at, who, address, action, user_id, messages) VALUES (?, ?, ?, ?, ?, ?)",
        (stamp(now), who.name, who.address, action, user_id, messages),
    )
