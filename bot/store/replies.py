"""What goes out: planning an answer's parts and marking them as being sent. For use inside a write."""

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from bot.clock import moment_of, parse_stamp, stamp
from bot.domain import Answer, Identity, Lease, Part, ReplyKind, Service
from bot.store import circuits
from bot.store.rows import insert, select, statements

SQL = statements(__file__)
PART_COLUMNS = "r.id, r.part, r.kind, r.body, r.state, r.tries, r.doubts, r.sending_at, r.error"
# Of the replies `r` to a message `o`: not what was said before it was put back by hand, an apology as a rule.
IN_PLAN = "(r.kind = 'answer' OR r.planned_at >= o.begun_at)"
SAID = timedelta(seconds=0.5)  # until what is being said to somebody may be over
WHOLE = timedelta(minutes=1)  # that an answer waits for the rest of a letter at most: WhatsApp may refuse it for long
_REPLIES = "replies (id, user_id, outbox_id, part, kind, body, state, callback_id, planned_at, tries, sending_at)"


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What a turn wants to say, in parts, and what is stored with it.

    `begin` marks the first part as being sent, too, as `begin_send` does. `error` is the reason that the row will end
    with after an apology or notice; no apology is planned when a part of the answer may have gone out. `works` names
    a service that did what it was asked, though it rejected this message.
    """

    lease: Lease
    kind: ReplyKind
    bodies: Sequence[str]
    error: str | None = None
    begin: bool = False
    answer: Answer | None = None
    duration_ms: int = 0
    notice: Literal["noticed_at", "limited_at"] | None = None
    attempts: int = 0
    works: Service | None = None


Planned = tuple[list[Part], Admission | None]
_Taken = list[tuple[int, str]]  # users, and when the limit of each will be whole again


def part_of(row: Sequence[Any]) -> Part:
    """Read a Part from PART_COLUMNS."""
    id_, number, kind, body, state, tries, doubts, sending_at, error = row
    moment = parse_stamp(sending_at) if sending_at else None
    return Part(id_, number, kind, body, state, tries, doubts, moment, error)


def plan(db: sqlite3.Connection, plans: Sequence[Plan], limit: PairLimit, now: datetime) -> list[Planned | LeaseLost]:
    """Add parts behind those that the messages have; the model is never asked again from here on.

    The second value is the first part's admission where that was to begin; LeaseLost stands for a lease that is gone.
    """
    leases = json.dumps([(plan.lease.messages[0].id, plan.lease.token) for plan in plans])
    found = select(db, SQL["held_columns"], SQL["held"], (stamp(now - WHOLE), leases))
    held = {(id_, token): user for id_, token, _, *user in found}
    ids = count(1 + max((newest or 0 for _, _, newest, *_ in found), default=0))
    results: list[Planned | LeaseLost] = []
    rows: list[tuple[Any, ...]] = []
    taken: _Taken = []
    answered = []
    for plan in plans:
        lead = plan.lease.messages[0].id
        if (user := held.get((lead, plan.lease.token))) is None:
            results.append(LeaseLost())
        else:
            results.append(_plan(db, plan, user, limit, now, ids, rows, taken))
            answered += [(lead, plan.answer, plan.duration_ms)] if plan.answer else []
    insert(db, _REPLIES, rows)
    db.execute(SQL["take"], (json.dumps(taken),))
    _record_answers(db, answered, now)
    return results


def _plan(
    db: sqlite3.Connection, plan: Plan, held: Any, limit: PairLimit, now: datetime, ids: Iterator[int], rows: list[Any],
    taken: _Taken,
) -> Planned:  # fmt: skip
    """Make the parts of one plan; their rows join `rows`, and the place in its user's limit `taken`."""
    user_id, phone, bsuid, full_at, last, letter_begun = held
    lead, text_now = plan.lease.messages[0].id, stamp(now)
    bodies = [] if plan.kind == "apology" and _spoken(db, lead) else plan.bodies
    begun: Admission | None = None
    if plan.begin and bodies:
        begun = Wait(now + SAID) if letter_begun else _wait(taken, user_id, full_at, limit, now)
    parts: list[Part] = []
    for number, body in enumerate(bodies, (last or 0) + 1):
        callback_id, begins = random.randbytes(12).hex(), plan.begin and begun is None
        state, sending_at = ("sending", text_now) if begins else ("planned", None)
        parts.append(Part(next(ids), number, plan.kind, body, "planned", 0, 0, None))
        rows.append(
            (parts[-1].id, user_id, lead, number, plan.kind, body, state, callback_id, text_now, begins, sending_at)
        )
        if begins:
            begun = Permit(Identity(phone, bsuid), f"{callback_id}.1")
    if plan.kind != "answer" and parts:
        db.execute(SQL["spend"], (plan.error, plan.attempts, lead))
    if plan.works is not None:
        circuits.close(db, plan.works, [lead])
    if plan.notice is not None:
        db.execute(f"UPDATE users SET {plan.notice} = ? WHERE id = ?", (text_now, user_id))
    return parts, begun


def _record_answers(db: sqlite3.Connection, answered: Sequence[tuple[int, Answer, int]], now: datetime) -> None:
    """Store what the model's answers took, and that the model answers."""
    if not answered:
        return
    tried = [
        (lead, stamp(now), "model", "answered", ms, answer.input_tokens, answer.output_tokens, answer.request_id)
        for lead, answer, ms in answered
    ]
    insert(db, "attempts (outbox_id, at, stage, outcome, duration_ms, input_tokens, output_tokens, request_id)", tried)
    used = (now.date().isoformat(), len(tried), sum(row[5] for row in tried), sum(row[6] for row in tried))
    db.execute(SQL["usage"], used)
    circuits.close(db, "model", [row[0] for row in tried])


def _spoken(db: sqlite3.Connection, outbox_id: int) -> bool:
    """Whether a part of the answer went out, or may have; what was planned besides is cancelled."""
    db.execute("UPDATE replies SET state = 'cancelled' WHERE outbox_id = ? AND state = 'planned'", (outbox_id,))
    found = db.execute(SQL["spoken"], (outbox_id,))
    return found.fetchone() is not None


def begin_send(db: sqlite3.Connection, part: Part, token: str | None, limit: PairLimit, now: datetime) -> Admission:
    """Mark a part as sending, for the holder of the lease `token` alone; what is in doubt is sent again and counted.

    A letter has no lease: only who knows of its last try may begin another, and its words: where a person is forgotten,
    an id is given again.
    """
    row = db.execute(SQL["held_part"], (part.tries, part.body, token, stamp(now - WHOLE), part.id)).fetchone()
    if row is None or row[0] not in ("planned", "sending") or not row[7]:
        return Settled(row[0] if row and row[7] else "cancelled")
    _, callback_id, tries, user_id, phone, bsuid, full_at, _, other_begun = row
    if other_begun:
        return Wait(now + SAID)
    taken: _Taken = []
    if (wait := _wait(taken, user_id, full_at, limit, now)) is not None:
        return wait
    db.execute(SQL["take"], (json.dumps(taken),))
    db.execute(SQL["begin"], (stamp(now), part.id))
    return Permit(Identity(phone, bsuid), f"{callback_id}.{tries + 1}")


def _wait(taken: _Taken, user_id: int, full_at: str | None, limit: PairLimit, now: datetime) -> Wait | None:
    """Take a place in the limit for one user: it joins `taken`. Or say when there is one."""
    if not limit.interval_seconds or not limit.burst:
        return None
    interval = timedelta(seconds=limit.interval_seconds)
    full = max(moment_of(full_at) or now, now)
    free_at = full - interval * (limit.burst - 1)
    if free_at > now:
        return Wait(free_at)
    taken.append((user_id, stamp(full + interval)))
    return None


def refuse_part(db: sqlite3.Connection, part_id: int, error: str, *, final: bool) -> None:
    """Store that the Graph API did not take a part: it is planned again, or failed for good."""
    state = "failed" if final else "planned"
    db.execute("UPDATE replies SET state = ?, error = ? WHERE id = ? AND state = 'sending'", (state, error, part_id))
