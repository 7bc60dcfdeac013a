"""A service that refuses us, or fails one after the other, is asked nothing but one probe at a time. For a write."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.clock import stamp
from bot.domain import Released, Service
from bot.store.rows import statements

SQL = statements(__file__)
PROBE_MOST_SECONDS = 30.0
STUMBLES_MOST = 2  # users in a row; one more is an outage


def close(db: sqlite3.Connection, service: Service, asked_by: Sequence[int] | None = None) -> None:
    """Note that a service did what it was asked: nothing stands in its way any more.

    `asked_by` are the messages it was asked for, where only the probe closes it, and no turn that was under way before.
    """
    if db.execute(SQL["troubled"], (service,)).fetchone():
        db.execute(SQL["close"], (service, None if asked_by is None else json.dumps(asked_by)))
        db.execute("DELETE FROM stumbles WHERE service = ?", (service,))


def open_(db: sqlite3.Connection, refusal: Released, now: datetime, *, probe: bool) -> None:
    """Open it, or count a failed probe: the next is due after 1, 2, 4… at most 30 seconds, or as the service asks.

    A turn that was under way when it opened and is refused too says nothing new. Stumbles get back what they spent.
    """
    state, probes = db.execute("SELECT state, probes FROM circuits WHERE service = ?", (refusal.refused_by,)).fetchone()
    if state == "closed" or probe:
        probes = probes + 1 if state == "open" else 0
        wait = max(min(PROBE_MOST_SECONDS, 2.0 ** min(probes, 10)), refusal.probe_after_seconds)
        next_probe = stamp(now + timedelta(seconds=wait))
        db.execute(SQL["open"], (refusal.error, refusal.code, stamp(now), next_probe, probes, refusal.refused_by))
    db.execute("DELETE FROM stumbles WHERE service = ?", (refusal.refused_by,))


def stumble(
    db: sqlite3.Connection, outbox_id: int, refusal: Released, now: datetime, *, spent: int, probe: bool
) -> None:
    """Count a failure that may be the message's own or the service's; with the third user in a row it is an outage."""
    db.execute(SQL["stumble"], (refusal.refused_by, outbox_id, spent))
    (outage,) = db.execute(SQL["outage"], (STUMBLES_MOST, refusal.refused_by)).fetchone()
    if outage:
        open_(db, refusal, now, probe=probe)


def end_probe(db: sqlite3.Connection, outbox_id: int, now: datetime, *, decided: bool) -> None:
    """Note that the turn of this message ended. One that was put off asked nobody: a second passes before the next."""
    db.execute(SQL["end_probe"], ("" if decided else stamp(now + timedelta(seconds=1)), outbox_id))
