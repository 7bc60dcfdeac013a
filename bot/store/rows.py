"""Many rows by few steps: at each one, SQLite's thread gives the interpreter away and waits to get it back."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROWS_A_STATEMENT = 32
YES_OR_NO = ("paused", "reachable", "retryable", "grave")  # columns
# Of `waiting_since`, in seconds; NULL where nothing waits, or a hand edit went wrong.
AGE = "max(0.0, round((julianday(:now) - julianday(waiting_since)) * 86400, 3))"


def statements(module: str, **parts: str) -> dict[str, str]:
    """Read the .sql file beside a module: statements by what `-- name:` stands over them.

    `{name}` in one stands for one of the `parts`, or for a statement above it.
    """
    text = Path(module).with_suffix(".sql").read_text("utf-8")
    for name, statement in re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", text, re.MULTILINE | re.DOTALL):
        parts[name] = statement.strip().format_map(parts)
    return parts


def select(db: sqlite3.Connection, columns: str, source: str, parameters: Any) -> list[Any]:
    """Return the `columns` of all rows of `source` ("table WHERE …"), each row a list, in one step."""
    (rows,) = db.execute(f"SELECT json_group_array(json_array({columns})) FROM {source}", parameters).fetchone()
    return list(json.loads(rows))


def digest(text: str) -> str:
    """Return the SHA-256 of a text, hex: what may be known again and not be read."""
    return hashlib.sha256(text.encode()).hexdigest()


def insert(db: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows `into` "table (columns)" by as few statements as there can be."""
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        some = rows[start : start + ROWS_A_STATEMENT]
        row = f"({', '.join('?' * len(some[0]))})"
        values = [value for one in some for value in one]
        db.execute(f"INSERT INTO {into} VALUES {', '.join([row] * len(some))}", values)


def dicts(db: sqlite3.Connection, query: str, values: Any) -> list[Row]:
    """Return the rows of a query by their columns' names, shaped for JSON: what is yes or no becomes a bool."""
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return [row | {name: bool(row[name]) for name in YES_OR_NO if name in row} for row in rows]
