"""The way in: what webhooks brought goes into the outbox, exactly once. Functions of a connection, for a write."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from bot.clock import stamp
from bot.domain import AccountWarning, Appended, Batch, Echo, IdentityChange, Inbound
from bot.errors import StoreFull
from bot.store import edits, statuses
from bot.store.rows import digest, insert, select, statements
from bot.store.users import People, User

SQL = statements(__file__)

NEVER, EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)  # before and after all that is sent


@dataclass(frozen=True, slots=True)
class Door:
    """Who and how much gets in: depth limits (0: none) and prefixes of numbers that are or aren't answered."""

    max_depth_total: int = 0
    max_depth_per_user: int = 0
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def answers(self, phone: str | None, bsuid: str | None) -> bool:
        """Whether this person is answered at all; prefixes may be written with or without a plus."""

        def among(prefixes: tuple[str, ...]) -> bool:
            return any(id_ and id_.startswith(prefix.lstrip("+")) for prefix in prefixes for id_ in (phone, bsuid))

        return not among(self.deny) and (not self.allow or among(self.allow))


def append(
    db: sqlite3.Connection, batches: Sequence[Batch], door: Door, now: datetime, overtaken: statuses.Overtaken
) -> list[Appended | StoreFull]:
    """Store batches; StoreFull stands where max_depth_total kept new messages out (the rest is stored)."""
    all_statuses = [status for batch in batches for status in batch.statuses]
    named = iter(statuses.apply(db, all_statuses, stamp(now), overtaken))
    arrival = _Arrival(db, batches, door, stamp(now))
    results = [arrival.take(batch, sum(islice(named, len(batch.statuses)))) for batch in batches]
    arrival.write()
    return results


class _Arrival:
    """Messages on their way in: what has to be known of them is looked up together, and they are written together."""

    def __init__(self, db: sqlite3.Connection, batches: Sequence[Batch], door: Door, now: str) -> None:
        messages = [message for batch in batches for message in batch.messages]
        self._db, self._door, self._now = db, door, now
        self._people = People(db, [message.sender for message in messages], self.write)
        self._known = _known(db, messages) if messages else set()
        self._depth = door.max_depth_total  # or less: looked up when it is reached
        self._rows: list[tuple[Any, ...]] = []
        self._newest: dict[int, str] = {}  # by user: the time of their newest message

    def take(self, batch: Batch, matched: int) -> Appended | StoreFull:
        """Take in what a webhook held, besides its statuses."""
        for echo in batch.echoes:
            self._store_echo(echo)
        for warning in batch.warnings:
            self._store_warning(warning)
        users: dict[int, None] = {}
        new, full = 0, False
        changes = sorted(batch.identity_changes, key=_when, reverse=True)
        for message in batch.messages:
            while changes and _when(changes[-1]) < (message.sent_at or EVER):  # in the order in which they happened
                self._people.change_identity(changes.pop(), self._now)
            if (message.phone_number_id, message.wamid) in self._known:
                continue
            if message.answerable and self._is_full():
                full = True
                continue
            users[self._add(message)] = None
            new += 1
        for change in reversed(changes):
            self._people.change_identity(change, self._now)
        if full:
            return StoreFull("max_depth_total messages wait already")
        return Appended(new, len(batch.messages) - new, matched, tuple(users))

    def _add(self, message: Inbound) -> int:
        sent_at = stamp(message.sent_at) if message.sent_at else self._now
        user = self._people.resolve(message.sender, self._now, sent_at)
        if 0 < self._door.max_depth_per_user <= user.depth:  # a revoke that came along may have made room
            self._people.forget()
            user = self._people.resolve(message.sender, self._now, sent_at)
        state, error = self._state(message, user)
        self._known.add((message.phone_number_id, message.wamid))
        self._rows.append(
            (message.phone_number_id, message.wamid, user.id, message.type, message.body, message.payload, state, error,
             message.target, sent_at, self._now, None if state == "pending" else self._now)
        )  # fmt: skip
        self._depth += state == "pending"
        user.depth += state == "pending"
        if sent_at > (user.last_message_at or ""):
            user.last_message_at = self._newest[user.id] = sent_at
        return user.id

    def _state(self, message: Inbound, user: User) -> tuple[str, str | None]:
        if not message.answerable or not self._door.answers(user.phone, user.bsuid):
            return "ignored", None
        if 0 < self._door.max_depth_per_user <= user.depth:
            return "cancelled", "over_limit"
        return "pending", None

    def _is_full(self) -> bool:
        if 0 < self._door.max_depth_total <= self._depth:
            self.write()
            (self._depth,) = self._db.execute("SELECT depth FROM control").fetchone()
        return 0 < self._door.max_depth_total <= self._depth

    def write(self) -> None:
        """Write what was taken in so far."""
        if not self._rows:
            return
        insert(self._db, SQL["outbox"], self._rows)
        self._db.execute(SQL["newest"], (json.dumps(list(self._newest.items())),))
        edits.apply(self._db, [(row[0], row[8] or row[1]) for row in self._rows], self._now)
        self._rows.clear()
        self._newest.clear()

    def _store_echo(self, echo: Echo) -> None:
        """Keep what the owner wrote from the phone: the model reads it as history."""
        if self._db.execute("SELECT 1 FROM forgotten WHERE told = ?", (digest(echo.wamid),)).fetchone():
            return
        user = self._people.resolve(echo.recipient, self._now)
        sent_at = stamp(echo.sent_at) if echo.sent_at else self._now
        self._db.execute(SQL["echo"], (user.id, echo.type, echo.body, echo.wamid, sent_at, sent_at, echo.wamid))

    def _store_warning(self, warning: AccountWarning) -> None:
        """Keep what WhatsApp tells of the account: within an hour, and without a time within a week, only once."""
        at, days = (stamp(warning.at), 1 / 24) if warning.at else (self._now, 7)
        self._db.execute(SQL["warning"], (warning.kind, warning.text, warning.grave, at, self._now, days))


def _when(change: IdentityChange) -> datetime:
    return change.at or NEVER


def _known(db: sqlite3.Connection, messages: Sequence[Inbound]) -> set[tuple[str, str]]:
    """Return number and wamid of those that are stored, or that are or speak of what went with who was forgotten."""
    asked = json.dumps([(m.phone_number_id, m.wamid, digest(m.wamid), digest(m.target or "")) for m in messages])
    return {(number, wamid) for number, wamid in select(db, "value ->> 0, value ->> 1", SQL["known"], (asked,))}
