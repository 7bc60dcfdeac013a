"""What is taken out of the file as it gets old, a step at a time. For use inside a write."""

import sqlite3
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from bot.clock import stamp
from bot.config import settings
from bot.store.rows import statements

SQL = statements(__file__)
_WALKED = {"messages", "people", "letters", "payloads"}  # the others begin with the oldest each time


class Pruned(NamedTuple):
    """What a step took out, and the id behind which the next one begins; None: all was gone through."""

    messages: int
    people: int
    after: int | None


def prune(db: sqlite3.Connection, keep: settings.Store, after: int, most: int, now: datetime) -> Pruned:
    """Take out what is older than `keep` says, up to `most` of each kind, of the next messages and people by id."""
    before = {f"{name[:-5]}_before": stamp(now - timedelta(days=age)) for name, age in keep if name.endswith("_days")}
    values: dict[str, Any] = before | {"after": after, "most": most, "tomorrow": stamp(now + timedelta(days=1))}
    (values["upto"],) = db.execute(SQL["how_far"], values).fetchone()
    db.execute("PRAGMA defer_foreign_keys = ON")  # until the COMMIT: people go before their ids
    rows = {name: db.execute(SQL[name], values).rowcount for name in SQL if name != "how_far"}
    again = any(count >= most for name, count in rows.items() if values["upto"] is None or name in _WALKED)
    return Pruned(rows["messages"], rows["people"], after if again else values["upto"])
