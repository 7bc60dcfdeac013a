"""Run `bot` with one more migration, that takes its time; `$MIGRATING` is a file that appears when it begins."""

import os
import sqlite3
from pathlib import Path

from bot.store import migrate

ROWS = 1_000_000  # half a second
SQL = f"""CREATE TABLE slow (n INTEGER PRIMARY KEY) STRICT;
INSERT INTO slow SELECT value FROM (WITH RECURSIVE counted (value) AS
  (SELECT 1 UNION ALL SELECT value + 1 FROM counted WHERE value < {ROWS}) SELECT value FROM counted);"""


def add() -> None:
    """Put it behind those that there are."""
    known, apply = migrate.known_migrations, migrate._apply

    def slowly(connection: sqlite3.Connection, migration: migrate.Migration, *rest: object) -> None:
        if migration.version == 9999:
            Path(os.environ["MIGRATING"]).touch()
        apply(connection, migration, *rest)

    migrate.known_migrations = lambda *of: [*known(*of), migrate.Migration(9999, "9999_slow.sql", SQL)]
    migrate._apply = slowly


if __name__ == "__main__":
    add()
    from bot.cli import main

    main()
