"""What an outcome makes of a row. Functions of a connection, to be run inside a write."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.clock import parse_stamp, stamp
from bot.domain import Cancelled, Done, Failed, InDoubt, Lease, Outcome, Released, Retry
from bot.store import circuits, edits, replies, statuses, users
from bot.store.rows import statements

SQL = statements(__file__, IN_PLAN=replies.IN_PLAN)

Undone = Failed | Cancelled | Retry | InDoubt | Released


def settle(
    db: sqlite3.Connection, ended: Sequence[tuple[Lease, Outcome]], now: datetime, overtaken: statuses.Overtaken
) -> None:
    """Turn outcomes into the rows' next states; a lease that is no longer held changes nothing.

    A receipt is recorded in any case: it happened outside.
    """
    text_now = stamp(now)
    receipts = [outcome.receipt for _, outcome in ended if isinstance(outcome, Done | Failed | Cancelled)]
    statuses.record_sent(db, [receipt for receipt in receipts if receipt], text_now, overtaken)
    done = [(lease.messages[0].id, lease.token) for lease, outcome in ended if isinstance(outcome, Done)]
    db.execute(SQL["done"], (text_now, json.dumps(done)))
    for lease, outcome in ended:
        if not isinstance(outcome, Done):
            _settle_undone(db, lease, outcome, now)
        elif lease.probes:
            circuits.end_probe(db, lease.messages[0].id, now, decided=True)
    users.complete_merges(db)


def _settle_undone(db: sqlite3.Connection, lease: Lease, outcome: Undone, now: datetime) -> None:
    lead = lease.messages[0].id
    changed = False
    match outcome:
        case Failed(error=error, attempts=attempts):
            changed = _decide(db, lease, "failed", error, now, attempts=attempts)
        case Cancelled(error=error):
            changed = _decide(db, lease, "cancelled", error, now)
        case Retry(after_seconds=seconds, error=error):
            changed = _give_back(db, lease, now + timedelta(seconds=seconds), error, attempts=1)
        case InDoubt(until=until):
            doubts = db.execute("SELECT 1 FROM replies WHERE outbox_id = ? AND state = 'sending'", (lead,)).fetchone()
            changed = _give_back(db, lease, until if doubts else None)
        case Released(until=moment):
            changed = _give_back(db, lease, moment)
    if lease.probes:
        circuits.end_probe(db, lead, now, decided=isinstance(outcome, Failed | Cancelled))
    if not changed:
        return
    edits.apply_to(db, [lead], stamp(now))
    if isinstance(outcome, Released) and outcome.pause:
        db.execute(SQL["pause"], (stamp(now), outcome.error, lead))
    if isinstance(outcome, Released) and outcome.refused_by:
        circuits.open_(db, outcome, now, probe=bool(lease.probes))
    if isinstance(outcome, Retry | InDoubt) and outcome.service:
        failure = Released(refused_by=outcome.service, error=outcome.error, code=outcome.code)
        circuits.stumble(db, lead, failure, now, spent=isinstance(outcome, Retry), probe=bool(lease.probes))
    if not isinstance(outcome, Released) or outcome.refused_by:
        known_as = {InDoubt: "in_doubt", Released: "refused"}.get(type(outcome), type(outcome).__name__.lower())
        code, request_id = getattr(outcome, "code", None), getattr(outcome, "request_id", None)
        spent = round((now - parse_stamp(lease.token)) / timedelta(milliseconds=1))
        db.execute(SQL["tried"], (lead, stamp(now), known_as, code, outcome.error, request_id, spent))


def _decide(db: sqlite3.Connection, lease: Lease, state: str, error: str, now: datetime, *, attempts: int = 0) -> bool:
    cursor = db.execute(SQL["decide"], (state, error, stamp(now), attempts, lease.messages[0].id, lease.token))
    return cursor.rowcount == 1


def _give_back(
    db: sqlite3.Connection, lease: Lease, until: datetime | None, error: str | None = None, *, attempts: int = 0
) -> bool:
    # An apology or a notice that has to be sent again keeps the reason that its message will end with.
    values = (stamp(until) if until else None, attempts, error, lease.messages[0].id, lease.token)
    return db.execute(SQL["give_back"], values).rowcount == 1
