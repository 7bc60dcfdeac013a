"""What the owner writes to people oneself: what is due, and what came of a try. For use inside a read or a write."""

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from bot.clock import moment_of, stamp
from bot.domain import Done, Failed, InDoubt, Letter, Outcome, Receipt, Released
from bot.store import circuits, statuses
from bot.store.operators import WINDOW
from bot.store.replies import PART_COLUMNS, part_of

_WAITING = "outbox_id IS NULL AND state IN ('planned', 'sending')"
# The oldest that waits of each person: the next one goes when it is decided. Two users who are about to become one have
# an oldest letter each, and no order between them.
_DUE = f"""
SELECT r.user_id, coalesce(u.last_message_at, '') <= :window, {PART_COLUMNS}
  FROM replies r JOIN users u ON u.id = r.user_id
 WHERE r.id IN (SELECT min(id) FROM replies INDEXED BY replies_letters WHERE {_WAITING} GROUP BY user_id)
   AND coalesce(r.not_before_at, '') <= :now
   AND r.sending_at IS strftime('%Y-%m-%dT%H:%M:%fZ', r.sending_at)  -- nonsense by hand takes nobody's place
   AND u.merging_into IS NULL AND u.id NOT IN (SELECT merging_into FROM users WHERE merging_into IS NOT NULL)
 ORDER BY coalesce(r.not_before_at, r.planned_at), r.id LIMIT :most"""
_NEXT = f"""
SELECT min(not_before_at) FROM replies INDEXED BY replies_letters WHERE {_WAITING} AND not_before_at > :now"""
# Beside the probes of the turns, not instead: it may be the letter that WhatsApp refuses.
_SHUT = f"""
SELECT probe_at > :now
       OR EXISTS (SELECT 1 FROM replies WHERE {_WAITING} AND sending_at BETWEEN max(probe_at, :tried) AND :now)
  FROM circuits WHERE service = 'graph' AND state = 'open'"""


def due(db: sqlite3.Connection, most: int, now: datetime) -> tuple[list[Letter], datetime | None]:
    """Find up to `most` letters to be sent now, one of a person, those under way included; and when one will be due.

    While WhatsApp's circuit is open, one: when a probe is due, and no letter was tried since or within 30 seconds.
    """
    tried = now - timedelta(seconds=circuits.PROBE_MOST_SECONDS)
    values = {"now": stamp(now), "window": stamp(now - WINDOW), "tried": stamp(tried)}
    shut = db.execute(_SHUT, values).fetchone()
    if shut and shut[0]:
        return [], None
    letters = []
    for user_id, late, *part in db.execute(_DUE, values | {"most": 1 if shut else most}):
        with suppress(ValueError):  # a date that somebody edited into nonsense: others go on
            letters.append(Letter(user_id, part_of(part), bool(late)))
    return letters, moment_of(db.execute(_NEXT, values).fetchone()[0])


def settle(
    db: sqlite3.Connection, letter: Letter, outcome: Outcome, now: datetime, overtaken: statuses.Overtaken
) -> None:
    """Store what came of a try; what a status decided meanwhile stays so."""
    match outcome:
        case Done(receipt=Receipt() as receipt):
            statuses.record_sent(db, [receipt], stamp(now), overtaken)
        case Failed(error=error):
            db.execute(
                f"UPDATE replies SET state = 'failed', error = ? WHERE id = ? AND {_WAITING}", (error, letter.part.id)
            )
        case InDoubt(until=until) | Released(until=datetime() as until):
            db.execute("UPDATE replies SET not_before_at = ? WHERE id = ?", (stamp(until), letter.part.id))
    if isinstance(outcome, Released) and outcome.refused_by:
        circuits.open_(db, outcome, now, probe=False)
