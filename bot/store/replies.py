"""What goes out: planning an answer's parts, marking them as sent, and what statuses say of them.

Functions of a connection, to be run inside a write.
"""

import json
import secrets
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.clock import parse_stamp, stamp
from bot.domain import Identity, Lease, Part, Receipt, ReplyKind, Status

PART_COLUMNS = "r.id, r.part, r.kind, r.body, r.state, r.tries, r.doubts, r.sending_at, r.error"
# Of the replies `r` to a message `o`: not what was said before it was put back by hand, an apology as a rule.
IN_PLAN = "(r.kind = 'answer' OR r.planned_at >= o.begun_at)"
_RANK = {None: 0, "sent": 1, "delivered": 2, "read": 3, "played": 4}
OVERTAKEN_SECONDS = 60
OVERTAKEN_MOST = 10_000


class LeaseLost(Exception):
    """Somebody else decided about the message meanwhile: its turn ends and changes nothing."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A part is marked as sending: where it goes and the callback data of this try."""

    to: Identity
    callback: str


@dataclass(frozen=True, slots=True)
class Wait:
    """WhatsApp's limit for one user is used up until then; nothing was marked."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """The part needs no sending any more: a status told how it ended."""

    state: str


Admission = Permit | Wait | Settled


@dataclass(frozen=True, slots=True)
class PairLimit:
    """One message to one user per `interval_seconds` after a burst of `burst`; an interval of 0 turns it off."""

    interval_seconds: float = 0.0
    burst: int = 1


class Overtaken:
    """Statuses without a callback id that came before the answer of their send: kept for a minute, bounded."""

    def __init__(self) -> None:
        self._statuses: OrderedDict[str, tuple[str, list[Status]]] = OrderedDict()

    def keep(self, status: Status, now: str) -> None:
        """Remember a status whose wamid nobody knows yet."""
        oldest = stamp(parse_stamp(now) - timedelta(seconds=OVERTAKEN_SECONDS))
        while self._statuses and (
            len(self._statuses) >= OVERTAKEN_MOST or next(iter(self._statuses.values()))[0] < oldest
        ):
            self._statuses.popitem(last=False)
        said = self._statuses.setdefault(status.wamid, (now, []))[1]
        if status not in said:
            said.append(status)

    def said_of(self, wamid: str) -> list[Status]:
        """Return what was said of a wamid; it stays, as the transaction that asks may have to run again."""
        return self._statuses.get(wamid, ("", []))[1]


def part_of(row: Sequence[Any]) -> Part:
    """Read a Part from PART_COLUMNS."""
    id_, number, kind, body, state, tries, doubts, sending_at, error = row
    moment = parse_stamp(sending_at) if sending_at else None
    return Part(id_, number, kind, body, state, tries, doubts, moment, error)


def plan(
    db: sqlite3.Connection, lease: Lease, kind: ReplyKind, bodies: Sequence[str], limit: PairLimit | None, now: datetime
) -> tuple[list[Part], Admission | None]:
    """Add parts behind those that the message has; the model is never asked again from here on.

    With a limit, the first of them is marked as sending, where it allows that. Raises LeaseLost.
    """
    outbox_id, text_now = lease.messages[0].id, stamp(now)
    row = db.execute(
        """SELECT u.id, u.phone, u.bsuid, u.pair_full_at, (SELECT max(part) FROM replies r WHERE r.outbox_id = o.id)
             FROM outbox o JOIN users u ON u.id = o.user_id
            WHERE o.id = ? AND o.state = 'leased' AND o.leased_at = ?""",
        (outbox_id, lease.token),
    ).fetchone()
    if row is None:
        raise LeaseLost
    if kind == "apology" and _spoken(db, outbox_id):
        return [], None
    user_id, phone, bsuid, full_at, last = row
    begun: Admission | None = _wait(db, user_id, full_at, limit, now) if limit and bodies else None
    parts: list[Part] = []
    for number, body in enumerate(bodies, (last or 0) + 1):
        callback_id, begins = secrets.token_hex(12), limit is not None and begun is None
        cursor = db.execute(
            """INSERT INTO replies (user_id, outbox_id, part, kind, body, state, callback_id, planned_at, tries,
                                    sending_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (user_id, outbox_id, number, kind, body, "sending" if begins else "planned", callback_id, text_now, begins,
             text_now if begins else None),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        parts.append(Part(cursor.lastrowid, number, kind, body, "planned", 0, 0, None))
        if begins:
            begun = Permit(Identity(phone, bsuid), f"{callback_id}.1")
    return parts, begun


def _spoken(db: sqlite3.Connection, outbox_id: int) -> bool:
    """Whether a part of the answer went out, or may have; what was planned besides is cancelled."""
    db.execute("UPDATE replies SET state = 'cancelled' WHERE outbox_id = ? AND state = 'planned'", (outbox_id,))
    found = db.execute(
        """SELECT 1 FROM replies
            WHERE outbox_id = ? AND kind = 'answer' AND (state IN ('sending', 'sent') OR doubts > 0)""",
        (outbox_id,),
    )
    return found.fetchone() is not None


def begin_send(db: sqlite3.Connection, part_id: int, token: str, limit: PairLimit, now: datetime) -> Admission:
    """Mark a part as sending, for the holder of the lease `token` alone; what is in doubt is sent again and counted."""
    row = db.execute(
        """SELECT r.state, r.callback_id, r.tries, u.id, u.phone, u.bsuid, u.pair_full_at, o.leased_at
             FROM replies r JOIN users u ON u.id = r.user_id JOIN outbox o ON o.id = r.outbox_id WHERE r.id = ?""",
        (part_id,),
    ).fetchone()
    if row is None or row[0] not in ("planned", "sending") or row[7] != token:
        return Settled(row[0] if row and row[7] == token else "cancelled")
    _, callback_id, tries, user_id, phone, bsuid, full_at, _ = row
    if (wait := _wait(db, user_id, full_at, limit, now)) is not None:
        return wait
    db.execute(
        """UPDATE replies SET doubts = doubts + (state = 'sending'), state = 'sending', tries = tries + 1,
                              sending_at = ?, error = NULL WHERE id = ?""",
        (stamp(now), part_id),
    )
    return Permit(Identity(phone, bsuid), f"{callback_id}.{tries + 1}")


def _wait(db: sqlite3.Connection, user_id: int, full_at: str | None, limit: PairLimit, now: datetime) -> Wait | None:
    """Take a place in the limit for one user, or say when there is one."""
    if not limit.interval_seconds or not limit.burst:
        return None
    interval = timedelta(seconds=limit.interval_seconds)
    full = max(parse_stamp(full_at), now) if full_at else now
    free_at = full - interval * (limit.burst - 1)
    if free_at > now:
        return Wait(free_at)
    db.execute("UPDATE users SET pair_full_at = ? WHERE id = ?", (stamp(full + interval), user_id))
    return None


def record_sent(db: sqlite3.Connection, receipts: Sequence[Receipt], now: str, overtaken: Overtaken) -> None:
    """Store that the Graph API took parts; whatever else became of the turn, this is true."""
    for receipt in receipts:
        _mark_sent(db, receipt.part_id, receipt.wamid, now)
        apply_statuses(db, overtaken.said_of(receipt.wamid), now, overtaken)
    db.executemany(
        """INSERT INTO attempts (outbox_id, at, stage, outcome, duration_ms)
           SELECT outbox_id, ?, 'send', 'sent', ? FROM replies WHERE id = ?""",
        [(now, receipt.duration_ms, receipt.part_id) for receipt in receipts],
    )
    if receipts:
        close_circuit(db, "graph")


def refuse_part(db: sqlite3.Connection, part_id: int, error: str, *, final: bool) -> None:
    """Store that the Graph API did not take a part: it is planned again, or failed for good."""
    state = "failed" if final else "planned"
    db.execute("UPDATE replies SET state = ?, error = ? WHERE id = ? AND state = 'sending'", (state, error, part_id))


def apply_statuses(db: sqlite3.Connection, statuses: Sequence[Status], now: str, overtaken: Overtaken) -> int:
    """Let statuses settle sends and raise deliveries; return how many named a reply of ours."""
    matched = 0
    for status in statuses:
        base, _, number = (status.callback or "").rpartition(".")
        row = _find_reply(db, base, status.wamid)
        if row is None:
            if status.callback is None:
                overtaken.keep(status, now)
            continue
        matched += 1
        _apply_status(db, row, status, int(number) if base and number.isdecimal() else None, now)
    return matched


def close_circuit(db: sqlite3.Connection, service: str) -> None:
    """Note that a service did what it was asked: nothing stands in its way any more."""
    db.execute(
        """UPDATE circuits SET state = 'closed', reason = NULL, code = NULL, opened_at = NULL, probe_at = NULL,
                               probes = 0, probing = NULL WHERE service = ? AND state = 'open'""",
        (service,),
    )


def _find_reply(db: sqlite3.Connection, callback_id: str, wamid: str) -> tuple[int, int, str, int, str, str] | None:
    columns = "SELECT id, outbox_id, state, tries, wamid, delivery FROM replies WHERE "
    row = db.execute(columns + "callback_id = ?", (callback_id,)).fetchone() if callback_id else None
    found: tuple[int, int, str, int, str, str] | None = row or db.execute(columns + "wamid = ?", (wamid,)).fetchone()
    return found


def _apply_status(
    db: sqlite3.Connection,
    row: tuple[int, int, str, int, str, str],
    status: Status,
    number: int | None,
    now: str,
) -> None:
    id_, outbox_id, state, tries, known, delivery = row
    at = stamp(status.at) if status.at else now
    if status.delivery == "failed":
        older_try = number is not None and number < tries  # a newer one is under way or went out
        if older_try or state == "planned" or delivery not in (None, "sent"):
            return
        # A part that nobody saw go out fails; one that did keeps its state, and shows as undelivered.
        db.execute(
            """UPDATE replies SET delivery = 'failed', error = ?, wamid = coalesce(wamid, ?),
                                  state = iif(state = 'sending', 'failed', state) WHERE id = ?""",
            (status.error or "failed", status.wamid, id_),
        )
    else:
        if (state, known) != ("sent", status.wamid):
            _mark_sent(db, id_, status.wamid, at)  # in whole seconds: never before the send began
        if delivery != "failed" and _RANK[status.delivery] > _RANK[delivery]:
            db.execute("UPDATE replies SET delivery = ? WHERE id = ?", (status.delivery, id_))
    if state == "sending":
        db.execute(
            """UPDATE outbox SET not_before_at = NULL
                WHERE id = ? AND state = 'pending' AND not_before_at IS NOT NULL""",
            (outbox_id,),
        )


def _mark_sent(db: sqlite3.Connection, part_id: int, wamid: str, at: str) -> None:
    sent = """UPDATE replies SET state = 'sent', error = NULL, wamid = coalesce(wamid, ?),
                                 sent_at = coalesce(sent_at, max(?, coalesce(sending_at, '')))
               WHERE id = ? AND """
    if db.execute(sent + "state = 'sending' AND wamid IS NULL", (wamid, at, part_id)).rowcount:
        return
    for state, first, duplicates in db.execute(
        "SELECT state, wamid, duplicates FROM replies WHERE id = ?", (part_id,)
    ).fetchall():
        wamids = json.loads(duplicates or "[]")
        if first not in (None, wamid) and wamid not in wamids:
            db.execute("UPDATE replies SET duplicates = ? WHERE id = ?", (json.dumps([*wamids, wamid]), part_id))
        if state != "sent" or first is None:
            db.execute(sent + "delivery IS NOT 'failed'", (wamid, at, part_id))
