"""How the last minutes went: a row for each, made of what came in and ended in it; and what the day has used."""

import sqlite3
from pathlib import Path

from bot.clock import Clock, parse_stamp, stamp
from bot.store.rows import Row, dicts
from bot.store.turns import Budget

MINUTE = Path(__file__).with_name("minute.sql").read_text("utf-8")
HOUR = """
SELECT *, strftime('%s', :now) / 60 - strftime('%s', at) / 60 AS ago FROM minutes
 WHERE at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-1 hour') AND at <= :now ORDER BY at"""
_TODAY = """
SELECT coalesce(sum(answers), 0) AS answers, coalesce(sum(input_tokens), 0) AS input_tokens,
       coalesce(sum(output_tokens), 0) AS output_tokens FROM usage WHERE day = substr(:now, 1, 10)"""


def note(db: sqlite3.Connection, clock: Clock) -> None:
    """Store the minute that ends now, and take out what is over a week old, or of a clock that was ahead."""
    now = {"now": stamp(clock.now())}  # asked in here: whatever else this transaction sees had ended by then
    db.execute("DELETE FROM minutes WHERE at < strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-8 days') OR at > :now", now)
    db.execute(MINUTE, now)


def today(db: sqlite3.Connection, at: Row, budget: Budget) -> Row:
    """Return what the UTC day has used: answers, tokens, `cost` (None: bot.toml has no prices), `cost_per_day`."""
    cost = budget.cost(db, parse_stamp(at["now"])) if budget.input_price or budget.output_price else None
    return dicts(db, _TODAY, at)[0] | {"cost": cost, "cost_per_day": budget.per_day}
