"""A service that refuses us is asked nothing but one probe at a time. Functions of a connection, for a write."""

import sqlite3
from datetime import datetime, timedelta

from bot.clock import stamp
from bot.domain import Released, Service

PROBE_MOST_SECONDS = 30.0


def close(db: sqlite3.Connection, service: Service) -> None:
    """Note that a service did what it was asked: nothing stands in its way any more."""
    db.execute(
        """UPDATE circuits SET state = 'closed', reason = NULL, code = NULL, opened_at = NULL, probe_at = NULL,
                               probes = 0, probing = NULL WHERE service = ? AND state = 'open'""",
        (service,),
    )


def open_(db: sqlite3.Connection, refusal: Released, now: datetime, *, probe: bool) -> None:
    """Open it, or count a failed probe: the next is due after 1, 2, 4… at most 30 seconds, or as the service asks.

    A turn that was under way when it opened and is refused too says nothing new.
    """
    state, probes = db.execute("SELECT state, probes FROM circuits WHERE service = ?", (refusal.refused_by,)).fetchone()
    if state == "open" and not probe:
        return
    probes = probes + 1 if state == "open" else 0
    wait = max(min(PROBE_MOST_SECONDS, 2.0 ** min(probes, 10)), refusal.probe_after_seconds)
    next_probe = stamp(now + timedelta(seconds=wait))
    db.execute(
        """UPDATE circuits SET state = 'open', reason = ?, code = ?, opened_at = coalesce(opened_at, ?), probe_at = ?,
                               probes = ? WHERE service = ?""",
        (refusal.reason, refusal.code, stamp(now), next_probe, probes, refusal.refused_by),
    )


def end_probe(db: sqlite3.Connection, outbox_id: int) -> None:
    """Note that the turn of this message ended, whatever it found."""
    db.execute("UPDATE circuits SET probing = NULL WHERE probing = ?", (outbox_id,))
