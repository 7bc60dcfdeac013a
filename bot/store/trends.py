"""How the last minutes went: a row for each, made of what came in and ended in it; and what the day has used."""

import sqlite3

from bot.clock import Clock, parse_stamp, stamp
from bot.store.rows import Row, dicts, statements
from bot.store.turns import Budget

SQL = statements(__file__)


def note(db: sqlite3.Connection, clock: Clock) -> None:
    """Store the minute that ends now, and take out what is over a week old, or of a clock that was ahead."""
    now = {"now": stamp(clock.now())}  # asked in here: whatever else this transaction sees had ended by then
    db.execute("DELETE FROM minutes WHERE at < strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-8 days') OR at > :now", now)
    db.execute(SQL["minute"], now)


def today(db: sqlite3.Connection, at: Row, budget: Budget) -> Row:
    """Return what the UTC day has used: answers, tokens, `cost` (None: bot.toml has no prices), `cost_per_day`."""
    cost = budget.cost(db, parse_stamp(at["now"])) if budget.input_price or budget.output_price else None
    return dicts(db, SQL["today"], at)[0] | {"cost": cost, "cost_per_day": budget.per_day}
