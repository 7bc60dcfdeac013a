"""What operators do: retry, pause, resume, clear, probe, look, write, forget: the same statements for all who do them.

Functions of a connection, to be run inside a write; each that changes something leaves a row in `audit`.
"""

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from bot.clock import stamp
from bot.domain import Operator
from bot.errors import NotFound, WrongState
from bot.store.failures import Failing, Retried, meant
from bot.store.rows import Row, digest, statements

SQL = statements(__file__)
WINDOW = timedelta(hours=24)
CLOSED = "WhatsApp lets nothing be sent 24 hours after the person's last message"
TAKEN = "another reply has this key already: give each one of its own (on the page: load it again)"
FORGET = SQL["hashed"], SQL["nobodys"], SQL["heard"], SQL["told"], SQL["notices"], SQL["known_as"], SQL["themselves"]
MOST_AT_ONCE = 1000  # SQLite keeps in memory what one statement may have to take back
# Why a message is not put back, by its state.
SKIPPED: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))


def retry(
    db: sqlite3.Connection, which: Sequence[int] | Failing, now: datetime, who: Operator, unsearched: Row
) -> Retried:
    """Put those failed messages back to pending that can be, of a list or of all that a filter means.

    `unsearched` overrules what a filter looks for, as for Insights.failures: what a page lists is what it means.
    Raises NotFound where a list has unknown ones alone, WrongState where none of it can be retried.
    """
    if isinstance(which, Failing):
        chosen, values = meant(db, which)
        chosen = f"SELECT id FROM ({chosen}) WHERE retry_until IS NOT NULL"
        wanted = [id_ for (id_,) in db.execute(chosen, values | unsearched)]
    else:
        wanted = sorted(set(which))
    states = dict(db.execute(SQL["states"], {"now": stamp(now), "ids": json.dumps(wanted)}))
    chances = [id_ for id_ in wanted if states.get(id_) == "retryable"]
    for start in range(0, len(chances), MOST_AT_ONCE):
        ids = json.dumps(chances[start : start + MOST_AT_ONCE])
        db.execute("UPDATE outbox SET state = 'pending' WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    counts = Counter(states.get(id_, "unknown") for id_ in wanted)
    retried = Retried(len(chances), {why: counts[state] for state, why in SKIPPED.items() if counts[state]})
    if retried.why and not chances and not isinstance(which, Failing):
        told = str(retried) if len(wanted) > 1 else f"message {wanted[0]} {next(iter(retried.why))}"
        raise NotFound(told) if set(counts) == {"unknown"} else WrongState(f"{told}: only a failed one can be retried")
    if chances:
        (whose,) = db.execute(SQL["whose"], (json.dumps(chances),)).fetchone()
        _audit(db, now, who, "retry", whose, len(chances))
    return retried


def pause(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator) -> int:
    """Stop answering somebody, or (None) everybody by a switch of its own; who is being answered is answered.

    Changes nothing where that is so already.
    """
    values = {"now": stamp(now), "who": who.name, "user": user_id}
    users = _concerned(db, user_id)
    if user_id is None:
        paused = db.execute("UPDATE control SET paused_at = :now WHERE paused_at IS NULL", values)
    else:
        paused = db.execute(SQL["pause"], values)
    if paused.rowcount:
        _audit(db, now, who, "pause", user_id, None)
    return users


def resume(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator, *, skip: bool) -> tuple[int, int]:
    """Answer somebody, or (None) everybody, again; `skip` cancels what waits of them. Returns users, messages skipped.

    Who is paused alone stays so, and keeps what waits. Changes nothing where nobody is paused: a second click must not
    skip what came since.
    """
    users, skipped = _concerned(db, user_id), 0
    if user_id is None:
        resumed = db.execute("UPDATE control SET paused_at = NULL WHERE paused_at IS NOT NULL")
    else:
        resumed = db.execute(SQL["resume"], (stamp(now), user_id))
    if resumed.rowcount:
        if skip:
            _, skipped = _cancel(db, user_id, "skipped", now, paused_too=user_id is not None)
        _audit(db, now, who, "resume", user_id, skipped)
    return users, skipped


def clear(db: sqlite3.Connection, user_id: int | None, now: datetime, who: Operator) -> tuple[int, int]:
    """Cancel what waits, of somebody or (None) everybody; the rows stay. Returns users and messages."""
    _concerned(db, user_id)
    cleared = _cancel(db, user_id, "cleared", now)
    if cleared[1]:
        _audit(db, now, who, "clear", user_id, cleared[1])
    return cleared


def try_circuit(db: sqlite3.Connection, service: str, now: datetime, who: Operator) -> bool:
    """Make the next probe of a service due now; False when nothing is wrong with it."""
    cursor = db.execute("UPDATE circuits SET probe_at = ? WHERE service = ? AND state = 'open'", (stamp(now), service))
    db.execute("UPDATE circuits SET probing = NULL WHERE probing NOT IN (SELECT id FROM outbox WHERE state = 'leased')")
    if cursor.rowcount:
        _audit(db, now, who, f"try {service}", None, None)
    return cursor.rowcount == 1


def reveal(db: sqlite3.Connection, user_id: int, now: datetime, who: Operator) -> None:
    """Note that somebody looked at what is hidden of a user."""
    _audit(db, now, who, "reveal", user_id, None)


def say(db: sqlite3.Connection, user_id: int, bodies: Sequence[str], now: datetime, who: Operator, key: str) -> int:
    """Plan what the owner writes to somebody oneself, once under a `key`; return how many parts.

    The parts' callback ids are made of the key and not of the user, who may have become another. Raises NotFound,
    WrongState.
    """
    _concerned(db, user_id)
    name = digest(key)[:24] if key else secrets.token_hex(12)
    if before := db.execute(SQL["said"], (f"{name}-", f"{name}-~")).fetchall():
        if [row[:2] for row in before] != [(user_id, body) for body in bodies]:
            raise WrongState(TAKEN)
        if error := next(filter(None, (row[2] for row in before)), None):
            raise WrongState(f"this reply failed: {error}. To write it again, give it another key")
        return len(before)
    values = {"user": user_id, "bodies": json.dumps(bodies), "now": stamp(now), "window": stamp(now - WINDOW)}
    planned = db.execute(SQL["say"], values | {"name": name}).rowcount
    if not planned:
        raise WrongState(CLOSED)
    _audit(db, now, who, "reply", user_id, planned)
    return planned


def forget(db: sqlite3.Connection, user_id: int, now: datetime, who: Operator) -> int:
    """Take out a person with all that was said; return how many messages that was. Counts and hashed wamids stay.

    Raises NotFound, and WrongState where a message is being answered or a send isn't over.
    """
    _concerned(db, user_id)
    ids, messages, busy = db.execute(SQL["whom"], {"user": user_id, "now": stamp(now)}).fetchone()
    if busy:
        raise WrongState(f"u{user_id} is being answered or written to: pause them, and try again in a minute")
    db.create_function("sha256", 1, digest, deterministic=True)
    for statement in FORGET:
        while db.execute(statement, {"ids": ids}).rowcount > 0:
            pass
    _audit(db, now, who, "forget", 0, messages)
    return int(messages)


def _cancel(
    db: sqlite3.Connection, user_id: int | None, error: str, now: datetime, *, paused_too: bool = True
) -> tuple[int, int]:
    waiting = "FROM outbox WHERE state = 'pending'" + " AND user_id = :user" * (user_id is not None)
    waiting += " AND user_id NOT IN (SELECT id FROM users WHERE paused_at IS NOT NULL)" * (not paused_too)
    values, cancelled = {"user": user_id, "error": error, "now": stamp(now), "most": MOST_AT_ONCE}, 0
    users = db.execute(f"SELECT count(DISTINCT user_id) {waiting}", values).fetchone()[0]
    while changed := db.execute(f"{SQL['cancel']} WHERE id IN (SELECT id {waiting} LIMIT :most)", values).rowcount:
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
    db.execute(SQL["audit"], (stamp(now), who.name, who.address, action, user_id, messages))
