"""What the owner writes to people oneself: what is due, and what came of a try. For use inside a read or a write."""

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from bot.clock import moment_of, stamp
from bot.domain import Done, Failed, InDoubt, Letter, Outcome, Receipt, Released
from bot.store import circuits, statuses
from bot.store.operators import WINDOW
from bot.store.replies import PART_COLUMNS, part_of
from bot.store.rows import statements

_WAITING = "outbox_id IS NULL AND state IN ('planned', 'sending')"
SQL = statements(__file__, PART_COLUMNS=PART_COLUMNS, waiting=_WAITING)


def due(db: sqlite3.Connection, most: int, now: datetime) -> tuple[list[Letter], datetime | None]:
    """Find up to `most` letters to be sent now, one of a person, those under way included; and when one will be due.

    While WhatsApp's circuit is open, one: when a probe is due, and no letter was tried since or within 30 seconds.
    """
    tried = now - timedelta(seconds=circuits.PROBE_MOST_SECONDS)
    values = {"now": stamp(now), "window": stamp(now - WINDOW), "tried": stamp(tried)}
    shut = db.execute(SQL["shut"], values).fetchone()
    if shut and shut[0]:
        return [], None
    letters = []
    for user_id, late, *part in db.execute(SQL["due"], values | {"most": 1 if shut else most}):
        with suppress(ValueError):  # a date that somebody edited into nonsense: others go on
            letters.append(Letter(user_id, part_of(part), bool(late)))
    return letters, moment_of(db.execute(SQL["next"], values).fetchone()[0])


def settle(
    db: sqlite3.Connection, letter: Letter, outcome: Outcome, now: datetime, overtaken: statuses.Overtaken
) -> None:
    """Store what came of a try; what a status decided meanwhile stays so."""
    match outcome:
        case Done(receipt=Receipt() as receipt):
            statuses.record_sent(db, [receipt], stamp(now), overtaken)
        case Failed(error=error):
            db.execute(SQL["failed"], (error, letter.part.id))
        case InDoubt(until=until) | Released(until=datetime() as until):
            db.execute("UPDATE replies SET not_before_at = ? WHERE id = ?", (stamp(until), letter.part.id))
    if isinstance(outcome, Released) and outcome.refused_by:
        circuits.open_(db, outcome, now, probe=False)
