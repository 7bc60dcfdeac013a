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
    """Assert all that triggers keep, as a connection of one's own sees it."""
    with closing(sqlite3.connect(path)) as connection:
        check_sums_of(connection)


SUMS = {
    "who is next": """SELECT u.id, u.ready_at, r.ready_at FROM users u JOIN readiness r ON r.user_id = u.id
                       WHERE u.ready_at IS NOT r.ready_at""",
    "depth of a user": """SELECT u.id, u.depth, count(o.id) FROM users u
                            LEFT JOIN outbox o ON o.user_id = u.id AND o.state IN ('pending', 'leased')
                           GROUP BY u.id HAVING u.depth <> count(o.id)""",
    "depth of all": """SELECT depth FROM control
                        WHERE depth <> (SELECT count(*) FROM outbox WHERE state IN ('pending', 'leased'))""",
    "one lease a user": "SELECT user_id FROM outbox WHERE state = 'leased' GROUP BY user_id HAVING count(*) > 1",
    "replies to messages that are gone": """SELECT id FROM replies
        WHERE outbox_id IS NOT NULL AND outbox_id NOT IN (SELECT id FROM outbox)""",
    "rows of users who are gone": """SELECT user_id FROM
        (SELECT user_id FROM outbox UNION SELECT user_id FROM replies UNION SELECT user_id FROM user_ids)
         WHERE user_id NOT IN (SELECT id FROM users)""",
}


def check_sums_of(connection: sqlite3.Connection) -> None:
    """Assert that who is next, the depths and the leases are right, and that nothing hangs in the air."""
    for what, query in SUMS.items():
        assert connection.execute(query).fetchall() == [], what
    assert dict(connection.execute("SELECT id, ready_at FROM users")) == counted_again(connection), "who is next"


def counted_again(connection: sqlite3.Connection) -> dict[int, str | None]:
    """Say from when on each person's head may be claimed, from the rows alone: the views may be wrong themselves."""
    people = connection.execute("SELECT id, served_at, paused_at, merging_into FROM users").fetchall()
    joining = {merging_into for *_, merging_into in people}
    lines: dict[int, list[tuple[Any, ...]]] = {}
    for user_id, *row in connection.execute(
        """SELECT user_id, state, begun_at IS NULL, sent_at, id, received_at, not_before_at FROM outbox
            WHERE state IN ('pending', 'leased')"""
    ):
        lines.setdefault(user_id, []).append(tuple(row))
    ready: dict[int, str | None] = {}
    for id_, served_at, paused_at, merging_into in people:
        line = min(lines.get(id_, []), default=None, key=lambda row: row[:4])
        free = not (paused_at or merging_into or id_ in joining) and line is not None and line[0] == "pending"
        ready[id_] = max(line[4], line[5] or "", served_at or "") if line and free else None
    return ready
