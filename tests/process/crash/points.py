"""Named points at which a daemon under test dies: functions of bot are wrapped, in the process that is to die alone.

CRASH_POINT names a point, CRASH_HIT the how manieth time that it is reached (1).
CRASH_CHECKPOINT_PAGES lets the WAL be copied into the file more often than in production; CRASH_DAYS sets the clock
ahead, so that there is something to prune.

`append@commit` is the moment before the COMMIT of a transaction that stores messages, `append@committed` the one after
it, when nobody was told yet; `letter` is the mark before a letter's send, `posted` what came of it. What has no
transaction is named by what happens: `answer.leaves`, `answer.wire` (the request was written, its answer not read),
`answer.answered`. `migrate.tick` is 10,000 steps of SQLite further in a migration, or its end where it has fewer left.
"""

import asyncio
import contextvars
import functools
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

TRANSACTIONS = (
    "append", "status", "adopt", "claim", "plan", "apology", "notice", "receipt", "mark", "settle", "merge", "prune",
    "say", "letter", "posted",
)  # fmt: skip
AT_COMMIT = tuple(f"{name}@{when}" for name in TRANSACTIONS for when in ("commit", "committed"))
AT_SENDS = tuple(
    f"{kind}.{when}" for kind in ("answer", "apology", "notice", "human") for when in ("leaves", "wire", "answered")
)
ELSEWHERE = (
    "migrate.statement", "migrate.commit", "migrate.ended", "listening", "model.asked", "model.answered",
    "drain.begins", "drain.ended", "close.begins", "close.ended",
)  # fmt: skip
POINTS = (*AT_COMMIT, *AT_SENDS, *ELSEWHERE)
OF_AN_OLDER_FILE = ("copy.step", "copy.sync", "migrate.tick")  # where one is renewed: test_upgrade.py
TICK = 10_000
APOLOGY, NOTICE = "sorry: error", "sorry: unreadable"  # replies.error and replies.unsupported of a daemon under test
LETTER = "letter "  # so begins what the owner writes

_Work = Callable[..., Any]
_sending: contextvars.ContextVar[str] = contextvars.ContextVar("sending", default="")


class Points:
    """Count what is reached, and die at the one that was asked for."""

    def __init__(self, wanted: str, hit: int) -> None:
        assert wanted in (*POINTS, *OF_AN_OLDER_FILE), f"no point {wanted!r}"
        self._wanted, self._left = wanted, hit

    def reach(self, name: str) -> None:
        """Die here when it is the point and the time."""
        if name == self._wanted:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal comes before this ends

    def install(self) -> None:
        """Wrap what the points are in."""
        import aiohttp

        from bot.model import handler
        from bot.scheduler import Scheduler
        from bot.store import claims, inbox, letters, operators, outbox, replies, retention, statuses, users
        from bot.store.store import Store
        from bot.whatsapp.client import GraphClient

        self._in_transaction(inbox, "append", lambda db, batches, *_: [
            *(["append"] if any(batch.messages for batch in batches) else []),
            *(["status"] if any(batch.statuses for batch in batches) else []),
        ])  # fmt: skip
        self._in_transaction(claims, "adopt", lambda *_: ["adopt"])
        self._in_transaction(claims, "claim", lambda *_: ["claim"], only=lambda found: found[0])
        self._in_transaction(replies, "plan", lambda db, plans, *_: [
            {"answer": "plan"}.get(plan.kind, plan.kind) for plan in plans
        ])  # fmt: skip
        self._in_transaction(replies, "begin_send", lambda db, part, token, *_: ["mark" if token else "letter"])
        self._in_transaction(operators, "say", lambda *_: ["say"])
        self._in_transaction(letters, "settle", lambda *_: ["posted"])
        self._in_transaction(statuses, "record_sent", lambda db, receipts, *_: ["receipt"] if receipts else [])
        self._in_transaction(outbox, "settle", lambda *_: ["settle"])
        self._in_transaction(retention, "prune", lambda *_: ["prune"], only=lambda pruned: pruned.messages)
        self._in_transaction(users, "_join", lambda *_: ["merge"])
        self._around(Store, "listening", "", "listening")
        self._around(Store, "close", "close.begins", "close.ended")
        self._around(Scheduler, "drain", "drain.begins", "drain.ended")
        self._around(handler.OpenAIHandler, "answer", "model.asked", "model.answered")
        self._around_sends(GraphClient, aiohttp.ClientResponse)
        self._in_migrations()

    def connection_factory(self) -> type[sqlite3.Connection]:
        """Make connections that know what a transaction holds when it is committed."""
        points = self

        class Connection(sqlite3.Connection):
            held: set[str]

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith("BEGIN"):
                    self.held = set()
                names = self.held if sql == "COMMIT" else ()
                for name in names:
                    points.reach(f"{name}@commit")
                cursor = super().execute(sql, *values)
                for name in names:
                    points.reach(f"{name}@committed")
                return cursor

        return Connection

    def _in_transaction(
        self, module: Any, name: str, holds: Callable[..., list[str]], *, only: Callable[[Any], Any] = lambda _: True
    ) -> None:
        function: _Work = getattr(module, name)

        @functools.wraps(function)
        def wrapped(db: Any, *arguments: Any, **keywords: Any) -> Any:
            result = function(db, *arguments, **keywords)
            if only(result):
                db.held.update(holds(db, *arguments))
            return result

        setattr(module, name, wrapped)

    def _around(self, owner: type, name: str, before: str, after: str) -> None:
        function: _Work = getattr(owner, name)

        @functools.wraps(function)
        async def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.reach(before)
            result = await function(*arguments, **keywords)
            self.reach(after)
            return result

        setattr(owner, name, wrapped)

    def _around_sends(self, client: type, response: type) -> None:
        send: _Work = client.send_text
        start: _Work = response.start

        async def send_text(self_: Any, to: Any, body: str, **keywords: Any) -> Any:
            kind = {APOLOGY: "apology", NOTICE: "notice"}.get(body, "human" if body.startswith(LETTER) else "answer")
            token = _sending.set(kind)
            self.reach(f"{kind}.leaves")
            try:
                wamid = await send(self_, to, body, **keywords)
            finally:
                _sending.reset(token)
            self.reach(f"{kind}.answered")
            return wamid

        async def begin(self_: Any, connection: Any) -> Any:
            if kind := _sending.get():
                await asyncio.sleep(0)  # a task of aiohttp's may still be writing
                self.reach(f"{kind}.wire")
            return await start(self_, connection)

        client.send_text = send_text
        response.start = begin

    def _in_migrations(self) -> None:
        from bot.store import copies, migrate

        apply, back_up, sync = migrate._apply, migrate.back_up, copies._sync

        def traced(connection: sqlite3.Connection, *arguments: Any) -> None:
            def statement(sql: str) -> None:
                sql = sql.lstrip()
                self.reach("migrate.commit" if sql.startswith("COMMIT") else "migrate.statement")
                if self._wanted == "migrate.tick" and sql.startswith("PRAGMA user_version"):
                    self._left = 1
                    self.reach("migrate.tick")

            connection.set_trace_callback(statement)
            connection.set_progress_handler(lambda: self.reach("migrate.tick"), TICK)
            apply(connection, *arguments)
            connection.set_progress_handler(None, 0)
            connection.set_trace_callback(None)
            self.reach("migrate.ended")

        def synced(place: Path) -> None:
            self.reach("copy.sync")
            sync(place)

        migrate._apply, copies._sync = traced, synced
        migrate.back_up = lambda path, copy: back_up(path, copy, lambda _: self.reach("copy.step"))


def install() -> None:
    """Do what the environment asks for."""
    from bot.clock import Clock
    from bot.store import db

    if days := os.environ.get("CRASH_DAYS"):
        now = Clock.now
        Clock.now = lambda self: now(self) + timedelta(days=float(days))
    keywords: dict[str, Any] = {}
    if wanted := os.environ.get("CRASH_POINT"):
        points = Points(wanted, int(os.environ.get("CRASH_HIT", "1")))
        points.install()
        keywords["factory"] = points.connection_factory()
    if pages := os.environ.get("CRASH_CHECKPOINT_PAGES"):
        db.SQL["opened"] += f"PRAGMA wal_autocheckpoint = {pages};"
    connect = db.aiosqlite.connect

    async def connected(*arguments: Any, **options: Any) -> Any:
        return await connect(*arguments, **options, **keywords)

    db.aiosqlite.connect = connected
