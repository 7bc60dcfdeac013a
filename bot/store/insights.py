"""What people look at: queries on a reading connection of their own, shaped for JSON. They change nothing."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from bot.clock import Clock, stamp
from bot.config import OpenAI
from bot.errors import BadValue, NotFound
from bot.store import events, failures, people, trends
from bot.store.asked import asked
from bot.store.db import Database
from bot.store.failures import Failing
from bot.store.headline import Headline, headline
from bot.store.rows import AGE, Row, dicts, statements
from bot.store.turns import Budget

SQL = statements(__file__, AGE=AGE)
T = TypeVar("T")


_WARNINGS = "SELECT id, at, kind, text, grave FROM warnings ORDER BY received_at DESC, id DESC LIMIT 5"


class Insights:
    """Read-only queries. Times come as text stamps, ages in seconds, people as u17.

    `discreet`: people are found by name and as u17 alone. Where numbers and texts are hidden, whether one is found by
    them would tell them, guess by guess.
    """

    def __init__(self, database: Database, clock: Clock, budget: Budget, *, discreet: bool = False) -> None:
        self._look, self._read, self._clock, self.budget = database.look, database.read, clock, budget
        self._discreet, self.unsearched = discreet, dict.fromkeys(("text", "number", "whole")) if discreet else {}

    async def queue_stats(self) -> Row:
        """Return the whole queue's figures: `totalMessages` is pending + leased, `activeUsers` who has any of them."""
        return await self._query(lambda db, at: dicts(db, SQL["stats"], at)[0])

    async def users(
        self, limit: int = 50, after: str | None = None, *, search: str = "", state: str = "", sort: str = "depth"
    ) -> Row:
        """Return a page of people: `{"users": [...], "next": cursor or None}`.

        `sort`: depth (deepest queue first), recent (who wrote last), failed (most failures; who has none is left out),
        oldest (who waits longest, by the 10,000 messages that wait longest; who doesn't wait is left out).
        `state`: one of STATES, "" for all. `search`: in names, in numbers and ids (former ones too), in the newest
        20,000 messages and replies; it ignores the case of a to z. Raises BadValue.
        """
        self.allow(search=search)
        return await self._query(
            lambda db, at: people.listed(db, at, limit, after, search=search, state=state, sort=sort)
        )

    async def find_user(self, known_as: str) -> int:
        """Find a person by u17, a phone with or without plus, or a business-scoped id. Raises NotFound."""
        self.allow(known_as)
        return await self._query(lambda db, _: people.find(db, known_as))

    async def user(self, known_as: str) -> Row:
        """Return one person: `user`, what waits (`queue`), the newest of the `conversation` and of the `failures`.

        The conversation's lines are messages (`message_id`, with the last 20 `attempts` at each) and parts
        of replies (`reply_id`, and the `message_id` that they answer). `retryable` counts the failures that a retry
        puts back, listed or not. Raises NotFound, as `find_user` does.
        """
        self.allow(known_as)

        def query(db: sqlite3.Connection, at: Row) -> Row:
            found = people.person(db, at, known_as)
            failing = failures.page(db, at, people.CONVERSATION_MOST, None, Failing(user=known_as))
            return found | {name: failing[name] for name in ("failures", "retryable")}

        return await self._query(query)

    async def export(self, user_id: int, write: Callable[[str], None], fits: Callable[[str], bool]) -> None:
        """Hand all that is kept of a person to `write`: the lines of a JSON document, as of one moment.

        `user`, `messages` (each with what was `tried`), `replies`, `audit`: every column of every row, whatever it
        takes; one is in memory at a time. A row that doesn't fit (str.isprintable: a terminal) is in ASCII.
        """
        await self._read(lambda db: people.export(db, user_id, write, fits))

    async def failures(
        self, limit: int = 50, after: str | None = None, *, cause: str = "", user: str = "", search: str = ""
    ) -> Row:
        """Return a page of what failed, newest first: messages, and replies that couldn't be delivered.

        `{"failures": [...], "next", "total", "retryable"}`: `total` and `retryable` (how many of them a retry puts
        back) count all that the filter means, on this page and the others. `cause` is an `error` of `causes`, `user`
        whatever a person is known by, `search` a part of text, error, name, number or id of the newest 10,000.
        Raises NotFound (no such user) and BadValue.
        """
        self.allow(user, search)
        return await self._query(lambda db, at: failures.page(db, at, limit, after, Failing(cause, user, search)))

    async def causes(self) -> list[Row]:
        """Return why messages failed, most common first: error, count, and how many of them are `retryable`."""
        return await self._query(failures.causes)

    async def audit(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of what operators did, newest first: `{"audit": [...], "next"}`.

        Entries have id, at, who, address, action, user_id (None: everybody, or several) and messages.
        """

        def query(db: sqlite3.Connection, _: Row) -> Row:
            rows = dicts(db, SQL["audit"], {"before": int(after) if after else 2**62, "most": limit + 1})
            return {"audit": rows[:limit], "next": str(rows[limit - 1]["id"]) if len(rows) > limit else None}

        return await self._query(query)

    async def asked(self, message_id: int, openai: OpenAI) -> Row:
        """Return what the model was sent for a message, or would be now: user_id, instructions, history, quotes, text.

        As far as the rows tell: the instructions and the bounds of the history are today's, and what was decided since
        is left out of the history. `quotes` is the text it replies to. Raises NotFound.
        """
        return await self._query(lambda db, at: asked(db, at, message_id, openai))

    async def trends(self) -> Row:
        """Return the last hour's `minutes`, oldest first, each with how many minutes `ago`; and five `warnings`.

        These are what WhatsApp told about the account, newest first: id, at, kind, text, grave.
        """
        return await self._query(
            lambda db, at: {"minutes": dicts(db, trends.SQL["hour"], at), "warnings": dicts(db, _WARNINGS, at)}
        )

    async def today(self) -> Row:
        """Return what the UTC day has used: answers, tokens, `cost` (None: bot.toml has no prices), `cost_per_day`."""
        return await self._query(lambda db, at: trends.today(db, at, self.budget))

    async def headline(self, known: Sequence[str] = ()) -> Headline:
        """Say in one sentence how it goes; `known` is what only the process knows, like "starting"."""
        now = self._clock.now()
        return await self._query(lambda db, at: headline(db, at, known, spent=self.budget.spent(db, now)))

    async def changes(self) -> int:
        """Return a number that is another one once anybody has written to the file."""
        return await self._query(lambda db, _: int(db.execute("PRAGMA data_version").fetchone()[0]))

    async def events(self, position: events.Position, last: int = 0) -> tuple[list[Row], events.Position]:
        """Return what happened since a position, as events.behind does."""
        return await self._look(lambda db: events.behind(db, position, last))

    async def circuits(self) -> list[Row]:
        """Return the open circuits: service, reason, code, opened_at, probe_at, and `next_try` in words."""
        return await self._query(lambda db, at: dicts(db, SQL["circuits"], at))

    async def named_reasons(self) -> dict[str, str]:
        """Return the reasons why nothing is answered, by a name: circuit_graph, circuit_model, paused, budget."""

        def query(db: sqlite3.Connection) -> dict[str, str]:
            reasons = dict(db.execute(SQL["reasons"]).fetchall())
            if self.budget.spent(db, self._clock.now()):
                reasons["budget"] = "the day's budget for the model is spent; it goes on at 00:00 UTC"
            return reasons

        return await self._read(query)  # short, and no search may keep /readyz waiting

    def allow(self, known_as: str = "", search: str = "") -> None:
        """Raise NotFound or BadValue where somebody is looked for by what is hidden; `unsearched` hides the rest."""
        own = "u[0-9]+|"
        if self._discreet and not re.fullmatch(own, known_as):
            raise NotFound("numbers are hidden here, so nobody is found by one: write u17")
        if self._discreet and re.search("[0-9]", search) and not re.fullmatch(own, search):
            raise BadValue("search", "numbers are hidden here, so nobody is found by one: search for a name or u17")

    async def figures(self) -> Row:
        """Return the gauges of /metrics that the file knows, named as in bot/metrics.json."""

        def query(db: sqlite3.Connection, at: Row) -> Row:
            path = db.execute("PRAGMA database_list").fetchone()[2]
            return dicts(db, SQL["gauges"], at)[0] | {
                "cost_today": self.budget.cost(db, self._clock.now()),
                "cost_limit": self.budget.per_day,
                "database_bytes": os.stat(path).st_size,
                "wal_bytes": os.stat(f"{path}-wal").st_size,
                "disk_free_bytes": shutil.disk_usage(os.path.dirname(path)).free,
            }

        return await self._query(query)

    async def alerts(self) -> list[Row]:
        """Return what the owner was told is wrong and isn't over yet: name, text, raised_at, told_at."""
        return await self._query(lambda db, at: dicts(db, "SELECT * FROM alerts ORDER BY raised_at, name", at))

    async def signs(self, phone: str = "") -> Row:
        """Return what alerts are made of: view `signs`, today's grave `warnings`, when that phone last wrote."""
        return await self._query(
            lambda db, at: dicts(db, SQL["signs"], at | {"phone": phone})[0] | {"warnings": dicts(db, SQL["grave"], at)}
        )

    async def examined(self, known: Row) -> list[Row]:
        """Judge the file, its disk and what stands in it: rows of topic, how (words of check.json) and `known`, JSON.

        Raises StoreUnavailable. All of the file is read, which takes as long as it takes.
        """
        at = known | await self.figures() | {"now": stamp(self._clock.now())}
        return await self._read(lambda db: dicts(db, SQL["examined"], at))

    async def _query(self, query: Callable[[sqlite3.Connection, Row], T]) -> T:
        at = {"now": stamp(self._clock.now()), **self.unsearched}
        return await self._look(lambda db: query(db, at))
