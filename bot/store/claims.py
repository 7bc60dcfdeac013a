"""Who is next: leases for the heads of ready users, past circuits and suspects.

Functions of a connection, to be run inside a write.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.clock import parse_stamp, stamp
from bot.domain import Lease, Message, Service
from bot.store import circuits, edits, replies, users
from bot.store.rows import select, statements
from bot.store.turns import Budget

SQL = statements(__file__, IN_PLAN=replies.IN_PLAN, PART_COLUMNS=replies.PART_COLUMNS)
_READY = SQL["heads"].format(which="(h.crashes < 2 OR h.id = :suspect)")
_PLANNED = SQL["heads"].format(which=SQL["planned"])

# Moments that a clock which is put back leaves in the future.
_MOMENTS = {
    "users": ("served_at", "ready_at", "pair_full_at", "noticed_at", "limited_at", "resumed_at"),
    "outbox": ("received_at", "begun_at", "not_before_at", "finished_at"),
    "replies": ("planned_at", "sending_at", "not_before_at"),
    "circuits": ("probe_at",),
}
_WAITS = ("ready_at", "pair_full_at", "not_before_at", "probe_at")  # of which something is left; the others are over

_Row = Sequence[Any]


def adopt(db: sqlite3.Connection, now: datetime) -> int:
    """At a start every lease belongs to a dead process: back to pending, and the crash is counted.

    A row with parts planned already is not blamed: it got past what could have killed us.
    """
    db.execute("UPDATE circuits SET probing = NULL WHERE probing IS NOT NULL")
    adopted = db.execute(SQL["adopt"]).fetchall()
    users.complete_merges(db)
    edits.apply_to(db, [id_ for (id_,) in adopted], stamp(now))
    _follow_clock(db, now)
    return len(adopted)


def _follow_clock(db: sqlite3.Connection, now: datetime) -> None:
    """Let nobody wait again for hours that have been before: where the clock was put back, waits keep what was left."""
    back = "SELECT round((julianday(?) - julianday(listening_at)) * 86400, 3) FROM control"
    (seconds,) = db.execute(back, (stamp(now),)).fetchone()
    if seconds is None or seconds >= 0:
        return
    values = {"now": stamp(now), "back": f"{seconds} seconds"}
    for table, columns in _MOMENTS.items():
        for column in columns:
            left = f"max(:now, strftime('%Y-%m-%dT%H:%M:%fZ', {column}, :back))" if column in _WAITS else ":now"
            db.execute(f"UPDATE {table} SET {column} = {left} WHERE {column} > :now", values)


def claim(db: sqlite3.Connection, free: int, now: datetime, budget: Budget) -> tuple[list[Lease], str | None]:
    """Lease the heads of up to `free` users, longest ready first; if there are fewer, say when one gets ready."""
    token = stamp(now)
    if free < 1:
        return [], None
    paused, open_, suspect = db.execute(SQL["gate"], (token,)).fetchone()
    if paused:
        return [], None
    values = {"now": token, "free": free, "suspect": suspect}
    rows, probes = _next(db, values, json.loads(open_), may_ask=not budget.spent(db, now))
    later = None
    if len(rows) < free:
        later = db.execute("SELECT min(ready_at) FROM users WHERE ready_at > ?", (token,)).fetchone()[0]
    if not rows:
        return [], later
    db.execute(SQL["lease"], (token, json.dumps([row[0] for row in rows])))
    leases = []
    for row in rows:
        try:
            leases.append(_lease(db, row, token, probes))
        except ValueError as error:  # a hand edit; it must not keep everybody else waiting
            db.execute(SQL["unreadable"], (f"a date in the database can't be read: {error}", token, row[0]))
            circuits.end_probe(db, row[0], now, decided=True)
    return leases, later


def _next(
    db: sqlite3.Connection, values: dict[str, Any], open_: Sequence[_Row], *, may_ask: bool
) -> tuple[list[_Row], tuple[Service, ...]]:
    """Find whom to lease, and the services that this one probes: an open circuit lets one through when it is due.

    Planned answers still go out while only the model is shut, or may not be asked.
    """
    shut = {service for service, _, _ in open_}
    due = [service for service, probe_at, _ in open_ if probe_at <= values["now"]]
    waiting = shut - set(due)
    if due and "graph" not in waiting and all(probing is None for _, _, probing in open_):
        # Everybody in turn, planned or not: one person's message may be what is refused.
        query = _READY if may_ask and "model" not in waiting else _PLANNED
        rows = select(db, SQL["columns"], query, values | {"free": 1})
        for service in due if rows else ():
            db.execute("UPDATE circuits SET probing = ? WHERE service = ?", (rows[0][0], service))
        if rows:
            return rows, tuple(due)
    if "graph" in shut:
        return [], ()
    return select(db, SQL["columns"], _READY if may_ask and not shut else _PLANNED, values), ()


def _lease(db: sqlite3.Connection, row: _Row, token: str, probes: tuple[Service, ...]) -> Lease:
    id_, wamid, kind, body, sent_at, received_at, phone_number_id, quoted = row[:8]
    user_id, name, attempts, crashes, manual, error, last_message_at, planned = row[8:]
    quotes = words_of(db, quoted, user_id, phone_number_id) if quoted else None
    message = Message(id_, wamid, kind, body, parse_stamp(sent_at), parse_stamp(received_at), quotes)
    newest, parts = parse_stamp(last_message_at), tuple(map(replies.part_of, planned))
    return Lease((message,), user_id, name, token, attempts, crashes, bool(manual), error, newest, parts, probes)


def words_of(db: sqlite3.Connection, wamid: object, user_id: int, phone_number_id: str) -> str | None:
    """Return the text that a message replies to, by the wamid which it quotes, where that is known."""
    row = (
        db.execute("SELECT body FROM replies WHERE wamid = ? AND user_id = ?", (wamid, user_id)).fetchone()
        or db.execute(SQL["theirs"], (phone_number_id, wamid, user_id)).fetchone()
    )
    return row[0] if row else None
