"""The queue itself: who is next, leases, and what an outcome makes of a row. Functions of a connection, for a write."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import parse_stamp, stamp
from bot.domain import Cancelled, Done, Failed, InDoubt, Lease, Message, Outcome, Part, Released, Retry
from bot.store import replies, users

PROBE_MOST_SECONDS = 30.0

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


@dataclass(frozen=True, slots=True)
class Budget:
    """What the model may cost in a UTC day: 0 is no limit; prices per million tokens."""

    per_day: float = 0.0
    input_price: float = 0.0
    output_price: float = 0.0

    def spent(self, db: sqlite3.Connection, now: datetime) -> bool:
        """Whether today's budget is used up."""
        return bool(self.per_day) and self.cost(db, now) >= self.per_day

    def cost(self, db: sqlite3.Connection, now: datetime) -> float:
        """Return what the model cost today so far."""
        row = db.execute(
            "SELECT input_tokens, output_tokens FROM usage WHERE day = ?", (f"{now:%Y-%m-%d}",)
        ).fetchone() or (0, 0)
        return float(row[0] * self.input_price + row[1] * self.output_price) / 1_000_000


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
        following = db.execute("SELECT min(ready_at) FROM users WHERE ready_at > ?", (text_now,)).fetchone()[
            0
        ]
        return [], following
    ids = [row[0] for row in rows]
    db.execute(
        """UPDATE outbox SET state = 'leased', leased_at = ?1, begun_at = coalesce(begun_at, ?1), not_before_at = NULL
            WHERE id IN (SELECT value FROM json_each(?2))""",
        (text_now, json.dumps(ids)),
    )
    return _leases(db, rows, text_now, probe), None


def settle(
    db: sqlite3.Connection, lease: Lease, outcome: Outcome, now: datetime, overtaken: replies.Overtaken
) -> bool:
    """Turn an outcome into the row's next state; False when the lease is no longer held, and nothing changed then.

    A receipt is recorded in any case: it happened outside.
    """
    text_now, lead = stamp(now), lease.messages[0].id
    receipt = getattr(outcome, "receipt", None)
    if receipt is not None:
        replies.record_sent(db, receipt, text_now, overtaken)
    changed = False
    match outcome:
        case Done():
            changed = _decide(db, lead, lease.token, "done", None, text_now)
        case Failed(error=error):
            changed = _decide(db, lead, lease.token, "failed", error, text_now)
        case Cancelled(error=error):
            changed = _decide(db, lead, lease.token, "cancelled", error, text_now)
        case Retry(after_seconds=seconds, error=error):
            changed = _give_back(db, lead, lease.token, now + timedelta(seconds=seconds), error, attempts=1)
        case InDoubt(until=until):
            changed = _give_back(db, lead, lease.token, until if _in_doubt(db, lead) else None, None)
        case Released(until=moment):
            changed = _give_back(db, lead, lease.token, moment, None)
    if changed:
        _after(db, lease, outcome, now)
    return changed


def _after(db: sqlite3.Connection, lease: Lease, outcome: Outcome, now: datetime) -> None:
    text_now, lead = stamp(now), lease.messages[0].id
    if isinstance(outcome, Cancelled) and outcome.pause:
        db.execute(
            "UPDATE users SET paused_at = ?, paused_by = ? WHERE id = (SELECT user_id FROM outbox WHERE id = ?)",
            (text_now, outcome.error, lead),
        )
    if isinstance(outcome, Released) and outcome.refused_by:
        _open_circuit(db, outcome, now)
    if lease.probe:
        db.execute("UPDATE circuits SET probing = NULL WHERE probing = ?", (lead,))
    if not isinstance(outcome, Done) and (row := _attempt(outcome)):
        db.execute(
            "INSERT INTO attempts (outbox_id, at, stage, outcome, code, error) VALUES (?, ?, 'turn', ?, ?, ?)",
            (lead, text_now, *row),
        )
    users.complete_merges(db)


def _attempt(outcome: Outcome) -> tuple[str, str | None, str | None] | None:
    match outcome:
        case Failed(error=error):
            return "failed", None, error
        case Cancelled(error=error):
            return "cancelled", None, error
        case Retry(error=error, code=code):
            return "retry", code, error
        case InDoubt():
            return "in_doubt", None, None
        case Released(refused_by=service, reason=reason, code=code) if service:
            return "refused", code, reason
    return None


def _rows_past_circuits(
    db: sqlite3.Connection, circuits: Sequence[tuple[str, str, int | None]], free: int, now: datetime
) -> tuple[list[_Row], bool]:
    """Let one probe through when it is due; planned answers still go out while only the model is shut."""
    text_now, shut = stamp(now), {service for service, _, _ in circuits}
    if all(probing is None for _, _, probing in circuits) and (
        due := [c for c in circuits if c[1] <= text_now]
    ):
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
             WHERE outbox_id IN (SELECT value FROM json_each(?)) ORDER BY outbox_id, part""",
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
    return Lease(
        (message,), user_id, name, token, attempts, crashes, bool(manual), error, newest, parts, probe
    )


def _quoted(db: sqlite3.Connection, wamid: str) -> str | None:
    row = (
        db.execute("SELECT body FROM replies WHERE wamid = ?", (wamid,)).fetchone()
        or db.execute("SELECT body FROM outbox WHERE wamid = ?", (wamid,)).fetchone()
    )
    return row[0] if row else None


def _decide(db: sqlite3.Connection, id_: int, token: str, state: str, error: str | None, now: str) -> bool:
    cursor = db.execute(
        """UPDATE outbox SET state = ?, error = ?, finished_at = ?, leased_at = NULL, not_before_at = NULL
            WHERE id = ? AND state = 'leased' AND leased_at = ?""",
        (state, error, now, id_, token),
    )
    return cursor.rowcount == 1


def _give_back(
    db: sqlite3.Connection,
    id_: int,
    token: str,
    until: datetime | None,
    error: str | None,
    *,
    attempts: int = 0,
) -> bool:
    cursor = db.execute(
        """UPDATE outbox SET state = 'pending', leased_at = NULL, not_before_at = ?, attempts = attempts + ?,
                             error = coalesce(?, error)
            WHERE id = ? AND state = 'leased' AND leased_at = ?""",
        (stamp(until) if until else None, attempts, error, id_, token),
    )
    return cursor.rowcount == 1


def _in_doubt(db: sqlite3.Connection, id_: int) -> bool:
    found = db.execute("SELECT 1 FROM replies WHERE outbox_id = ? AND state = 'sending'", (id_,))
    return found.fetchone() is not None


def _open_circuit(db: sqlite3.Connection, refusal: Released, now: datetime) -> None:
    """Open it, or count a failed probe: the next is due after 1, 2, 4… at most 30 seconds, or as the service asks."""
    row = db.execute("SELECT state, probes FROM circuits WHERE service = ?", (refusal.refused_by,)).fetchone()
    probes = row[1] + 1 if row[0] == "open" else 0
    wait = max(min(PROBE_MOST_SECONDS, 2.0 ** min(probes, 10)), refusal.probe_after_seconds)
    db.execute(
        """UPDATE circuits SET state = 'open', reason = ?, code = ?, opened_at = coalesce(opened_at, ?), probe_at = ?,
                               probes = ? WHERE service = ?""",
        (
            refusal.reason,
            refusal.code,
            stamp(now),
            stamp(now + timedelta(seconds=wait)),
            probes,
            refusal.refused_by,
        ),
    )
