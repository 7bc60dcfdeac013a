"""Look at what a fuzzed daemon left: its pages while it runs, its file once it has stopped."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

from tests.fuzz.people import is_neighbour

Fail = Callable[[str], None]
MOST_USERS_READ = 300  # the deepest first


async def looked_at_from_outside(admin_url: str, fail: Fail) -> None:
    """Read every page and every list to its end: a row that can't be read shows here."""
    async with ClientSession(admin_url, timeout=ClientTimeout(total=30)) as client:

        async def read(path: str) -> dict:
            async with client.get(path) as response:
                text = await response.text()
                if response.status != 200:
                    fail(f"GET {path}: {response.status} {text[:300]}")
                    return {}
                return json.loads(text) if text.startswith("{") else {}

        for path in ("/", "/queue-stats", "/readyz"):
            await read(path)
        users: list[str] = []
        for listing in ("users", "failures"):
            after: str | int | None = ""
            while after is not None:
                page = await read(f"/api/{listing}?limit=200" + (f"&after={after}" if after else ""))
                users += [row["user_id"] for row in page.get("users", []) if not is_neighbour(row["phone"] or "")]
                after = page.get("next")
        for user in users[:MOST_USERS_READ]:
            await read(f"/api/users/{user}")


def wrong_in_the_file(path: Path, fail: Fail) -> int:
    """Check the file with SQLite's own means and ours; return how many messages it holds."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for pragma, fine in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            if (said := db.execute(f"PRAGMA {pragma}").fetchall()) != fine:
                fail(f"{pragma}: {said[:5]}")
        differ = db.execute(
            """SELECT u.id, u.ready_at, r.ready_at FROM users u JOIN readiness r ON r.user_id = u.id
                WHERE u.ready_at IS NOT r.ready_at LIMIT 5"""
        ).fetchall()
        if differ:
            fail(f"ready_at is not what the view says (user, is, should be): {differ}")
        (depth,) = db.execute("SELECT depth FROM control").fetchone()
        counted = db.execute("SELECT count(*) FROM outbox WHERE state IN ('pending', 'leased')").fetchone()[0]
        if depth != counted:
            fail(f"control.depth is {depth}, {counted} messages wait")
        db.text_factory = bytes
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in db.execute(f'SELECT * FROM "{table.decode()}"'):
                _check_texts(table.decode(), row, fail)
        return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


def _check_texts(table: str, row: tuple[object, ...], fail: Fail) -> None:
    for value in row:
        if not isinstance(value, bytes):
            continue
        try:
            clean = "\0" not in value.decode()
        except UnicodeDecodeError:
            clean = False
        if not clean:
            fail(f"{table} holds a text that is no clean UTF-8, row {row[0]}: {value[:200]!r}")
