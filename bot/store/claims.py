"""Who is next: leases for the heads of ready users, past circuits and suspects.

Functions of a connection, to be run inside a write.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from bot.clock import parse_stamp, stamp
from bot.domain import Lease, Message, Part
from bot.store import replies, users
from bot.store.turns import Budget

_HEAD = """h.id, h.wamid, h.type, h.body, h.sent_at, h.received_at, u.id, u.name, h.attempts, h.crashes, h.manual,
       h.error, u.last_message_at, json_extract(h.payload, '$.context.id')
  FROM users u JOIN outbox h ON h.id =
       (SELECT o.id FROM outbox o WHERE o.user_id = u.id AND o.state = 'pending'
         ORDER BY o.begun_at IS NULL, o.sent_at, o.id LIMIT 1)"""
_READY = f"SELECT {_HEAD} WHERE u.ready_at <= ? AND h.crashes < 2 ORDER BY u.ready_at LIMIT ?"
_PLANNED = f"""SELECT {_HEAD} WHERE u.ready_at <= ? AND u.id IN
       (SELECT p.user_id FROM replies r JOIN outbox p ON p.id = r.outbox_id
         WHERE r.state IN ('planned', 'sending') AND p.state = 'pending')
   AND EXISTS (SELECT 1 FROM replies r WHERE r.outbox_id = h.id AND r.state IN ('planned', 'sending'))
 ORDER BY u.ready_at LIMIT ?"""
_SUSPECT = f"""SELECT {_HEAD} WHERE u.ready_at <= ? AND h.crashes >= 2 AND u.id IN
       (SELECT s.user_id FROM outbox s WHERE s.state = 'pending' AND s.crashes >= 2)
 ORDER BY u.ready_at LIMIT ?"""
_SUSPECTS = "SELECT max(state = 'leased') FROM outbox WHERE crashes >= 2 AND state IN ('pending', 'leased')"

_Row = tuple[int, str, str, str, str, str, int, str | None, int, int, int, str | None, str | None, str | None]


def adopt(db: sqlite3.Connection) -> int:
    """At a start every lease belongs to a dead process: back to pending, and the crash is counted.

    A row with parts planned already is not blamed: it got past what could have killed us.
    """
    db.execute("UPDATE circuits SET probing = NULL WHERE probing IS NOT NULL")
    cursor = db.execute(
        """UPDATE outbox SET state = 'pending', leased_at = NULL,
              crashes = crashes + NOT EXISTS (SELECT 1 FROM replies r WHERE r.outbox_id = outbox.id)
            WHERE state = 'leased'"""
    )
    users.complete_merges(db)
    return cursor.rowcount


def claim(db: sqlite3.Connection, free: int, now: datetime, budget: Budget) -> tuple[list[Lease], str | None]:
    """Lease the heads of up to `free` users, longest ready first; also say when the next one gets ready, at most."""
    text_now = stamp(now)
    if free < 1 or db.execute("SELECT paused_at FROM control").fetchone()[0]:
        return [], None
    circuits = db.execute("SELECT service, probe_at, probing FROM circuits WHERE state = 'open'").fetchall()
    if circuits:
        rows, probe = _rows_past_circuits(db, circuits, free, now)
    elif budget.spent(db, now):
        rows, probe = db.execute(_PLANNED, (text_now, free)).fetchall(), False
    else:
        rows, probe = db.execute(_READY, (text_now, free)).fetchall(), False
        rows += _suspect(db, text_now) if len(rows) < free else []
    if not rows:
        following = db.execute("SELECT min(ready_at) FROM users WHERE ready_at > ?", (text_now,)).fetchone()[0]
        return [], following
    ids = [row[0] for row in rows]
    db.execute(
        """UPDATE outbox SET state = 'leased', leased_at = ?1, begun_at = coalesce(begun_at, ?1), not_before_at = NULL
            WHERE id IN (SELECT value FROM json_each(?2))""",
        (text_now, json.dumps(ids)),
    )
    return _leases(db, rows, text_now, probe), None


def _rows_past_circuits(
    db: sqlite3.Connection, circuits: Sequence[tuple[str, str, int | None]], free: int, now: datetime
) -> tuple[list[_Row], bool]:
    """Let one probe through when it is due; planned answers still go out while only the model is shut."""
    text_now, shut = stamp(now), {service for service, _, _ in circuits}
    if all(probing is None for _, _, probing in circuits) and (due := [c for c in circuits if c[1] <= text_now]):
        query = _PLANNED if "graph" in shut else _READY
        rows = db.execute(query, (text_now, 1)).fetchall()
        rows = rows or db.execute(_READY, (text_now, 1)).fetchall() or _suspect(db, text_now)
        for service, _, _ in due if rows else ():
            db.execute("UPDATE circuits SET probing = ? WHERE service = ?", (rows[0][0], service))
        if rows:
            return rows, True
    return ([] if "graph" in shut else db.execute(_PLANNED, (text_now, free)).fetchall()), False


def _suspect(db: sqlite3.Connection, now: str) -> list[_Row]:
    """Rows found leased at two starts share one slot, so that blame is certain and nobody else waits for them."""
    if db.execute(_SUSPECTS).fetchone()[0] == 0:
        return db.execute(_SUSPECT, (now, 1)).fetchall()
    return []


def _leases(db: sqlite3.Connection, rows: Sequence[_Row], token: str, probe: bool) -> list[Lease]:
    ids = json.dumps([row[0] for row in rows])
    parts: dict[int, list[Part]] = {}
    for outbox_id, *part in db.execute(
        f"""SELECT outbox_id, {replies.PART_COLUMNS} FROM replies
             WHERE outbox_id IN (SELECT value FROM json_each(?))
               AND (kind = 'answer' OR planned_at >= (SELECT begun_at FROM outbox o WHERE o.id = outbox_id))
             ORDER BY outbox_id, part""",
        (ids,),
    ):
        parts.setdefault(outbox_id, []).append(replies.part_of(part))
    return [_lease(db, row, token, tuple(parts.get(row[0], ())), probe) for row in rows]


def _lease(db: sqlite3.Connection, row: _Row, token: str, parts: tuple[Part, ...], probe: bool) -> Lease:
    (
        id_,
        wamid,
        kind,
        body,
        sent_at,
        received_at,
        user_id,
        name,
        attempts,
        crashes,
        manual,
        error,
        last,
        quoted,
    ) = row
    message = Message(
        id_,
        wamid,
        kind,
        body,
        parse_stamp(sent_at),
        parse_stamp(received_at),
        _quoted(db, quoted) if quoted else None,
    )
    newest = parse_stamp(last or sent_at)
    return Lease((message,), user_id, name, token, attempts, crashes, bool(manual), error, newest, parts, probe)


def _quoted(db: sqlite3.Connection, wamid: str) -> str | None:
    row = (
        db.execute("SELECT body FROM replies WHERE wamid = ?", (wamid,)).fetchone()
        or db.execute("SELECT body FROM outbox WHERE wamid = ?", (wamid,)).fetchone()
    )
    return row[0] if row else None
