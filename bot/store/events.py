"""What happens, as it happens: the view `events`, followed by the ids of the rows that it stands in."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from bot.store.rows import dicts, statements

SQL = statements(__file__)

Position = dict[str, int]  # by source, the last row that was read
SOURCES = ("outbox", "attempts", "replies", "audit", "warnings")
MOST = 1000  # of a source at a time


def behind(db: sqlite3.Connection, position: Mapping[str, int], last: int) -> tuple[list[dict[str, Any]], Position]:
    """Return what happened since, in the order of time, and the position then; of a source without one, the `last`."""
    found, reached = [], {}
    for source in SOURCES:
        newest = db.execute(f"SELECT coalesce(max(id), 0) FROM {source}").fetchone()[0]
        since = min(position.get(source, newest - last), newest)  # the id of a row that is deleted is given again
        reached[source] = min(since + MOST, newest)
        found += dicts(db, SQL["events"].format(source=source), (since, reached[source]))
    return sorted(found, key=lambda row: row["at"]), reached
