"""A person with the sqlite3 command line, beside a store that is open."""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

CLI = shutil.which("sqlite3")


class Refused(Exception):
    """SQLite said no; the text is what the person reads."""


def by_hand(path: Path, statement: str) -> None:
    """Run statements as a person would. Raises Refused.

    With the real sqlite3 program where there is one, else with a second connection, which is the same to SQLite.
    """
    if CLI is not None:
        ran = subprocess.run([CLI, "-bail", str(path), statement], capture_output=True, text=True, timeout=30)
        if ran.returncode or ran.stderr:
            raise Refused(ran.stderr)
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            connection.executescript(statement)
        except sqlite3.Error as error:
            raise Refused(str(error)) from error


def rows(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Read with a connection of one's own."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def check_sums(path: Path) -> None:
    """Assert all that triggers keep: who is next, both depths, one lease a person."""
    off = rows(path, "SELECT u.id, u.ready_at, r.ready_at FROM users u JOIN readiness r ON r.user_id = u.id"
                     " WHERE u.ready_at IS NOT r.ready_at")  # fmt: skip
    assert off == [], "ready_at is not what the view says"
    off = rows(
        path,
        """SELECT u.id, u.depth, count(o.id) FROM users u
             LEFT JOIN outbox o ON o.user_id = u.id AND o.state IN ('pending', 'leased')
            GROUP BY u.id HAVING u.depth <> count(o.id)""",
    )
    assert off == [], "users.depth is off"
    total = rows(path, "SELECT depth, (SELECT count(*) FROM outbox WHERE state IN ('pending', 'leased')) FROM control")
    assert total[0][0] == total[0][1], "control.depth is off"
    twice = rows(path, "SELECT user_id FROM outbox WHERE state = 'leased' GROUP BY user_id HAVING count(*) > 1")
    assert twice == [], "somebody has two leases"
    orphans = rows(path, "SELECT id FROM replies WHERE outbox_id NOT IN (SELECT id FROM outbox)")
    assert orphans == [], "replies to messages that are gone"
