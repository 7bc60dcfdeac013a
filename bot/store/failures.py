"""What failed: which messages a filter means, pages of them, their causes.

Functions of a connection, for reading; `at` holds `now`, as a stamp.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.store.people import find, patterns, unbroken
from bot.store.rows import Row, dicts, statements

SQL = statements(__file__)
EMPTY = "an empty filter would mean all: leave it out if that is meant"  # a script's variable was, as a rule
SEARCHED = 10_000  # the newest failures: a page over a million messages takes no longer


@dataclass(frozen=True, slots=True)
class Failing:
    """Which failures are meant: by their error, whatever their person is known by, and words; empty fields mean all."""

    cause: str = ""
    user: str = ""
    search: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry by hand put back, and why others were left: words like "was answered meanwhile", and how many."""

    retried: int
    why: Mapping[str, int] = field(default_factory=dict)

    def as_row(self) -> Row:
        """Return `{"retried": 17, "skipped": 1, "why": {"was answered meanwhile": 1}}`, the latter two if some were."""
        return {"retried": self.retried} | ({"skipped": sum(self.why.values()), "why": self.why} if self.why else {})

    def __str__(self) -> str:
        """Say it: `17 of 18 put back; 1 was answered meanwhile`."""
        left = (f"; {count} {why if count == 1 else why.replace('was', 'were', 1)}" for why, count in self.why.items())
        return f"{self.retried} of {self.retried + sum(self.why.values())} put back{''.join(left)}"


def meant(db: sqlite3.Connection, which: Failing) -> tuple[str, Row]:
    """Return a SELECT of the rows of `failing` that a filter means, and its values.

    A search looks through the newest 10,000 of them. Raises NotFound (no such user) and BadValue.
    """
    values: Row = {"cause": unbroken(which.cause), "user": find(db, which.user) if which.user else None}
    chosen = "SELECT * FROM failing WHERE 1"
    chosen += " AND error = :cause" * bool(which.cause) + " AND user_id = :user" * bool(which.user)
    if which.search:
        places = {"name": ("u.name",), "text": ("o.body", "f.error"), "number": ("u.phone", "u.bsuid", "o.id")}
        likes = [f"{column} LIKE :{words} ESCAPE '!'" for words in places for column in places[words]]
        newest = f"SELECT f.* FROM ({chosen} ORDER BY failed_at DESC, id DESC LIMIT {SEARCHED}) f"
        chosen = f"{newest} {SQL['whose']} WHERE u.id = :exact OR {' OR '.join(likes)}"
    return chosen, values | patterns(which.search)


def page(db: sqlite3.Connection, at: Row, limit: int, after: str | None, which: Failing) -> Row:
    """Return a page of what a filter means; see Insights.failures."""
    chosen, values = meant(db, which)
    before, _, id_ = (after or "~-0").rpartition("-")  # all that is a time comes before ~
    values |= at | {"before": before, "id": int(id_), "most": limit + 1}
    once = "" if which.search else "NOT"  # a search is made once, an index is looked at twice
    counts, found = db.execute(f"WITH meant AS {once} MATERIALIZED ({chosen}) {SQL['counted']}", values).fetchone()
    total, retryable = json.loads(counts)
    rows = dicts(db, SQL["page"], {"page": found})
    following = "{failed_at}-{id}".format(**rows[limit - 1]) if len(rows) > limit else None
    return {"failures": rows[:limit], "next": following, "total": total, "retryable": retryable}


def causes(db: sqlite3.Connection, at: Row) -> list[Row]:
    """Count failures by their error, the most common first."""
    return [{"error": error, "count": count, "retryable": can} for error, count, can in db.execute(SQL["causes"], at)]
