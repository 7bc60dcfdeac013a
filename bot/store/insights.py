"""What people look at: queries on the reading connection, shaped for JSON. They change nothing."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from bot.clock import Clock, stamp
from bot.errors import BadValue, NotFound
from bot.store import events, failures, people
from bot.store.asked import Instructions, asked
from bot.store.db import Database
from bot.store.failures import Failing
from bot.store.rows import AGE, dicts
from bot.store.trends import Trends
from bot.store.turns import Budget

Row = dict[str, Any]
T = TypeVar("T")

_STATS = f"""
SELECT totalMessages, activeUsers, :now AS timestamp, pending, leased, failed, paused, {AGE} AS oldestAgeSeconds
  FROM figures"""
_CIRCUITS = """
SELECT service, reason, code, opened_at, probe_at,
       iif(service = 'graph', 'WhatsApp', 'The model') || ' is tried again '
       || iif(probe_at > :now, 'at ' || probe_at, 'with the next message')
       || '; bot check --online may tell more.' AS next_try
  FROM circuits WHERE state = 'open'"""

_REASONS = """
SELECT iif(service = 'graph', 'WhatsApp', 'the model') || ' can''t be used since ' || opened_at || ': ' || reason
  FROM circuits WHERE state = 'open'
UNION ALL SELECT 'everything is paused since ' || paused_at FROM control WHERE paused_at IS NOT NULL"""
_AUDIT = """
SELECT id, at, who, address, action, 'u' || user_id AS user_id, messages
  FROM audit WHERE id < :before ORDER BY id DESC LIMIT :most"""


class Insights:
    """Read-only queries. Times come as text stamps, ages in seconds, people as u17.

    `discreet`: people are found by name and as u17 alone. Where numbers and texts are hidden, whether one is found by
    them would tell them, guess by guess.
    """

    def __init__(self, database: Database, clock: Clock, budget: Budget, *, discreet: bool = False) -> None:
        self._read, self._clock, self._budget = database.read, clock, budget
        self._discreet, self._unsearched = discreet, dict.fromkeys(("text", "number", "whole")) if discreet else {}
        last = Trends(database, clock, budget)
        self.trends, self.today, self.headline, self.changes = last.trends, last.today, last.headline, last.changes

    async def queue_stats(self) -> Row:
        """Return the whole queue's figures: `totalMessages` is pending + leased, `activeUsers` who has any of them."""
        return await self._query(lambda db, at: dicts(db, _STATS, at)[0])

    async def users(
        self, limit: int = 50, after: str | None = None, *, search: str = "", state: str = "", sort: str = "depth"
    ) -> Row:
        """Return a page of people: `{"users": [...], "next": cursor or None}`.

        `sort`: depth (deepest queue first), recent (who wrote last), failed (most failures; who has none is left out),
        oldest (who waits longest, by the 10,000 messages that wait longest; who doesn't wait is left out).
        `state`: one of STATES, "" for all. `search`: in names, in numbers and ids (former ones too), in the newest
        20,000 messages and replies; it ignores the case of a to z. Raises BadValue.
        """
        self._allow(search=search)
        return await self._query(
            lambda db, at: people.listed(db, at, limit, after, search=search, state=state, sort=sort)
        )

    async def find_user(self, known_as: str) -> int:
        """Find a person by u17, a phone with or without plus, or a business-scoped id. Raises NotFound."""
        self._allow(known_as)
        return await self._query(lambda db, _: people.find(db, known_as))

    async def user(self, known_as: str) -> Row:
        """Return one person: `user`, what waits (`queue`), the newest of the `conversation`, and `failures`.

        The conversation's lines are messages (`message_id`, with the last 100 `attempts` at each) and parts
        of replies (`reply_id`, and the `message_id` that they answer). Raises NotFound, as `find_user` does.
        """
        self._allow(known_as)

        def query(db: sqlite3.Connection, at: Row) -> Row:
            found = people.person(db, at, known_as)
            failing = failures.page(db, at, people.CONVERSATION_MOST, None, Failing(user=known_as))
            return found | {"failures": failing["failures"]}

        return await self._query(query)

    async def failures(
        self, limit: int = 50, after: str | None = None, *, cause: str = "", user: str = "", search: str = ""
    ) -> Row:
        """Return a page of what failed, newest first: messages, and replies that couldn't be delivered.

        `{"failures": [...], "next", "total", "retryable"}`: `total` and `retryable` (how many of them a retry puts
        back) count all that the filter means, on this page and the others. `cause` is an `error` of `causes`, `user`
        whatever a person is known by, `search` a part of text, error, name, number or id of the newest 10,000.
        Raises NotFound (no such user) and BadValue.
        """
        self._allow(user, search)
        return await self._query(lambda db, at: failures.page(db, at, limit, after, Failing(cause, user, search)))

    async def causes(self) -> list[Row]:
        """Return why messages failed, most common first: error, count, and how many of them are `retryable`."""
        return await self._query(failures.causes)

    async def audit(self, limit: int = 50, after: str | None = None) -> Row:
        """Return a page of what operators did, newest first: `{"audit": [...], "next"}`.

        Entries have id, at, who, address, action, user_id (None: everybody, or several) and messages.
        """

        def query(db: sqlite3.Connection, _: Row) -> Row:
            rows = dicts(db, _AUDIT, {"before": int(after) if after else 2**62, "most": limit + 1})
            return {"audit": rows[:limit], "next": str(rows[limit - 1]["id"]) if len(rows) > limit else None}

        return await self._query(query)

    async def asked(self, message_id: int, *, instructions: Instructions, messages: int, characters: int) -> Row:
        """Return what the model was sent for a message, or would be now: user_id, instructions, history, quotes, text.

        As far as the rows tell: the instructions are today's, with that time and name (`instructions` makes them of
        both, like OpenAI.render_instructions), and what was decided after it was asked is left out of its history, for
        which the bounds are. `quotes` is the text it replies to. Raises NotFound.
        """
        return await self._query(lambda db, at: asked(db, at, message_id, instructions, messages, characters))

    async def events(self, position: events.Position, last: int = 0) -> tuple[list[Row], events.Position]:
        """Return what happened since a position, as events.behind does."""
        return await self._read(lambda db: events.behind(db, position, last))

    async def circuits(self) -> list[Row]:
        """Return the open circuits: service, reason, code, opened_at, probe_at, and `next_try` in words."""
        return await self._query(lambda db, at: dicts(db, _CIRCUITS, at))

    async def reasons(self) -> list[str]:
        """Say in words why messages can't be answered, as far as the file knows; nothing: they can."""
        now = self._clock.now()

        def query(db: sqlite3.Connection) -> list[str]:
            spent = "the day's budget for the model is spent; it goes on at 00:00 UTC"
            return [reason for (reason,) in db.execute(_REASONS)] + [spent] * self._budget.spent(db, now)

        return await self._read(query)

    def _allow(self, known_as: str = "", search: str = "") -> None:
        own = "u[0-9]+|"
        if self._discreet and not re.fullmatch(own, known_as):
            raise NotFound("numbers are hidden here, so nobody is found by one: write u17")
        if self._discreet and re.search("[0-9]", search) and not re.fullmatch(own, search):
            raise BadValue("search", "numbers are hidden here, so nobody is found by one: search for a name or u17")

    async def _query(self, query: Callable[[sqlite3.Connection, Row], T]) -> T:
        at = {"now": stamp(self._clock.now()), **self._unsearched}
        return await self._read(lambda db: query(db, at))
