"""The store's verbs, as the rest of the house speaks them. A second store has the same and passes the same tests."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from bot.bell import Bell
from bot.clock import Clock, moment_of, stamp
from bot.config import settings
from bot.domain import Appended, Batch, Lease, Letter, Operator, Outcome, Part, Receipt, Service
from bot.errors import StoreError, StoreUnavailable
from bot.store import claims, inbox, letters, migrate, operators, outbox, replies, retention, statuses, trends, turns
from bot.store.damage import touch
from bot.store.db import Database, Ran
from bot.store.failures import Failing, Retried
from bot.store.headline import Headline
from bot.store.insights import Insights
from bot.store.rows import insert

T = TypeVar("T")
WEBHOOK_PATIENCE_SECONDS = 5.0
DEAF_SECONDS = 60.0


class Store:
    """Everything that is kept. Writes return when they are on disk."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        door: inbox.Door | None = None,
        budget: turns.Budget | None = None,
        pair_limit: replies.PairLimit | None = None,
        discreet: bool = False,
    ) -> None:
        self._db, self._clock, self._door = database, clock, door or inbox.Door()
        self._budget, self._pair_limit = budget or turns.Budget(), pair_limit or replies.PairLimit()
        self._overtaken = statuses.Overtaken()
        # Made once for all callers that gathered; see Database.write_together.
        self._append_all = lambda db, batches: inbox.append(db, batches, self._door, clock.now(), self._overtaken)
        self._claim_all = lambda db, frees: [claims.claim(db, free, clock.now(), self._budget) for free in frees]
        self._plan_all = lambda db, plans: replies.plan(db, plans, self._pair_limit, clock.now())
        self._standings = lambda db, asked: turns.standings(db, asked, clock.now())
        self.broken = database.broken  # done when the file can't be used any more, with the sentence that says why
        self.insights = Insights(database, clock, self._budget, discreet=discreet)
        self.said = Bell()  # rung when the owner wrote to somebody

    @classmethod
    async def open(cls, path: Path, *, clock: Clock, committed: Ran | None = None, **limits: Any) -> "Store":
        """Create or renew the file and open it; `limits` as above. Raises StartError, StoreUnavailable."""
        migrate.migrate(path, clock.now())
        return cls(await Database.open(path, committed), clock, **limits)

    @classmethod
    async def open_existing(cls, path: Path, *, clock: Clock, **limits: Any) -> "Store":
        """Open a file as it is, for the terminal's commands. Raises StartError, StoreUnavailable."""
        migrate.check_file(path)
        return cls(await Database.open(path), clock, **limits)

    def limit(self, door: inbox.Door, budget: turns.Budget) -> None:
        """Let other limits count from now on."""
        self._door, self._budget, self.insights.budget = door, budget, budget

    async def close(self) -> None:
        """Store what is under way and let go of the file."""
        await self._db.close()

    @property
    def trouble(self) -> str | None:
        """Why the last write failed, in words; None while all is well."""
        return self._db.trouble

    async def try_writing(self) -> None:
        """Write without changing anything, so that `trouble` says how it is now."""
        with suppress(StoreUnavailable):
            await self._db.write(touch, give_up_seconds=1.0)

    async def reasons(self) -> list[str]:
        """Say in words why messages can't be answered, as far as the file tells; nothing: they can."""
        return list((await self.named_reasons()).values())

    async def named_reasons(self) -> dict[str, str]:
        """Return the reasons by a name: write, read, and those of `insights`."""
        try:
            return self._troubles() | await self.insights.named_reasons()
        except StoreError as error:
            return self._troubles() | {"read": f"the file can't be read: {error}"}

    async def headline(self, known: Sequence[str] = ()) -> Headline:
        """Say in one sentence how it goes; `known` is what only the process knows, like "starting"."""
        try:
            return await self.insights.headline([*known, *self._troubles().values()])
        except StoreError as error:
            return Headline(f"The file can't be read: {error}", "bad")

    def _troubles(self) -> dict[str, str]:
        return {"write": f"the file can't be written: {self.trouble}"} if self.trouble else {}

    async def keep_alerts(self, alerts: Sequence[Sequence[Any]]) -> None:
        """Store the alerts that are raised (name, text, raised_at, told_at) and no others. Raises StoreUnavailable."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM alerts")
            insert(db, "alerts (name, text, raised_at, told_at)", alerts)

        await self._db.write(work, give_up_seconds=WEBHOOK_PATIENCE_SECONDS)

    async def append(self, batch: Batch) -> Appended:
        """Store all that a webhook held, once. Raises StoreUnavailable (nothing stored), StoreFull (no new ones)."""
        return await self._db.write_together(self._append_all, batch, give_up_seconds=WEBHOOK_PATIENCE_SECONDS)

    async def signing_key(self) -> str:
        """Return what sign-in cookies are signed with beside the token; made where there is none."""

        def work(db: sqlite3.Connection) -> str:
            missing = "WHERE coalesce(signing_key, '') = ''"
            db.execute(f"UPDATE control SET signing_key = lower(hex(randomblob(32))) {missing}")
            return str(db.execute("SELECT signing_key FROM control").fetchone()[0])

        return await self._db.keep(work)

    async def adopt(self) -> int:
        """Take over what a dead process left leased; return how many rows."""
        now = self._clock.now()
        return await self._db.keep(lambda db: claims.adopt(db, now))

    async def listening(self) -> bool:
        """Note that webhooks can arrive now; True when that hadn't been so for over a minute."""
        now = self._clock.now()

        def mark(db: sqlite3.Connection) -> bool:
            last = db.execute("SELECT listening_at FROM control").fetchone()[0]
            db.execute("UPDATE control SET listening_at = ?", (stamp(now),))
            return last is not None and not stamp(now - timedelta(seconds=DEAF_SECONDS)) <= last <= stamp(now)

        return await self._db.keep(mark)

    async def claim(self, free: int) -> tuple[Sequence[Lease], datetime | None]:
        """Lease up to `free` heads of line; when there are fewer, also say when the next one gets ready.

        A bulk of its own: whatever shares its transaction, what was appended before it is found.
        """
        leases, following = await self._db.keep_together(self._claim_all, free)
        return leases, moment_of(following)

    async def settle(self, lease: Lease, outcome: Outcome, *, claim: bool) -> Lease | None:
        """Store what came of a turn; with `claim`, lease the next head in the same transaction."""
        return await self._db.keep_together(self._settle_together, (lease, outcome, claim))

    def _settle_together(
        self, db: sqlite3.Connection, ended: Sequence[tuple[Lease, Outcome, bool]]
    ) -> Sequence[Lease | None]:
        now = self._clock.now()
        outbox.settle(db, [(lease, outcome) for lease, outcome, _ in ended], now, self._overtaken)
        leases, _ = claims.claim(db, sum(claim for _, _, claim in ended), now, self._budget)
        fresh = iter(leases)
        return [next(fresh, None) if claim else None for _, _, claim in ended]

    async def plan(self, plan: replies.Plan) -> replies.Planned:
        """Store what will be sent, before anything is: from here on the model is never asked again.

        Returns the parts and, where the first was to begin, its admission. Raises LeaseLost.
        """
        return await self._db.keep_together(self._plan_all, plan)

    async def begin_send(self, lease: Lease | Letter, part: Part, receipt: Receipt | None = None) -> replies.Admission:
        """Mark a part as being sent, and record the receipt of the one before it."""
        now, token = self._clock.now(), lease.token if isinstance(lease, Lease) else None

        def work(db: sqlite3.Connection) -> replies.Admission:
            if receipt is not None:
                statuses.record_sent(db, [receipt], stamp(now), self._overtaken)
            return replies.begin_send(db, part, token, self._pair_limit, now)

        return await self._db.keep(work)

    async def record_sent(self, receipt: Receipt) -> None:
        """Store that the Graph API took a part, where nothing else is to be stored with it."""
        now = stamp(self._clock.now())
        await self._db.keep(lambda db: statuses.record_sent(db, [receipt], now, self._overtaken))

    async def refuse_part(self, part: Part, error: str, *, final: bool) -> None:
        """Store that a send was refused: the part is planned again, or failed for good."""
        await self._db.keep(lambda db: replies.refuse_part(db, part.id, error, final=final))

    async def say(self, user_id: int, bodies: Sequence[str], who: Operator, key: str = "") -> int:
        """Plan what the owner writes to somebody oneself; return how many parts. Raises NotFound, WrongState.

        The same `key` plans nothing again and returns the same; with other words or for somebody else it is WrongState.
        """
        planned = await self._act(lambda db, now: operators.say(db, user_id, bodies, now, who, key))
        self.said.ring()
        return planned

    async def letters(self, most: int) -> tuple[Sequence[Letter], datetime | None]:
        """Return what the owner wrote and is due, those under way included; and when a letter that waits will be."""
        return await self._db.read(lambda db: letters.due(db, most, self._clock.now()))

    async def settle_letter(self, letter: Letter, outcome: Outcome) -> None:
        """Store what came of a letter's try."""
        await self._db.keep(lambda db: letters.settle(db, letter, outcome, self._clock.now(), self._overtaken))

    async def standing(self, message_id: int, messages: int = 0, characters: int = 0) -> turns.Standing:
        """Return what a message's user had already, and their newest utterances, oldest first, within both bounds."""
        return await self._db.read_together(self._standings, (message_id, messages, characters))

    async def prune(self, keep: settings.Store, after: int, most: int) -> retention.Pruned:
        """Take out what is older than `keep` says, a step of `most` messages and people behind the id `after`."""
        return await self._db.keep(lambda db: retention.prune(db, keep, after, most, self._clock.now()))

    async def note_minute(self) -> None:
        """Store how the minute went that ended now, for the charts."""
        await self._db.keep(lambda db: trends.note(db, self._clock))

    async def retry(self, which: Sequence[int] | Failing, *, who: Operator) -> Retried:
        """Put failed messages back to pending: what can be of a list, or of what a filter means.

        What can't be is left, and told. Raises NotFound or WrongState where nothing of a list can be retried, and for a
        filter what Insights.failures raises.
        """
        if isinstance(which, Failing):
            self.insights.allow(which.user, which.search)
        return await self._act(lambda db, now: operators.retry(db, which, now, who, self.insights.unsearched))

    async def pause(self, user_id: int | None, *, who: Operator) -> int:
        """Stop answering somebody, or (None) everybody; return how many people that concerns. Raises NotFound."""
        return await self._act(lambda db, now: operators.pause(db, user_id, now, who))

    async def resume(self, user_id: int | None, *, skip: bool, who: Operator) -> tuple[int, int]:
        """Answer again; `skip` cancels what waits. Returns people and skipped messages. Raises NotFound."""
        return await self._act(lambda db, now: operators.resume(db, user_id, now, who, skip=skip))

    async def clear(self, user_id: int | None, *, who: Operator) -> tuple[int, int]:
        """Cancel what waits; return people and messages. Raises NotFound."""
        return await self._act(lambda db, now: operators.clear(db, user_id, now, who))

    async def try_circuit(self, service: Service, *, who: Operator) -> bool:
        """Let the next probe of a service be due now; False when its circuit isn't open."""
        return await self._act(lambda db, now: operators.try_circuit(db, service, now, who))

    async def reveal(self, user_id: int, *, who: Operator) -> None:
        """Note, before it is shown, that somebody looks at what is hidden of a user."""
        await self._act(lambda db, now: operators.reveal(db, user_id, now, who))

    async def forget(self, user_id: int, *, who: Operator) -> tuple[int, bool]:
        """Take out a person with all that was said, and tell how many messages that was.

        The second value: no unused byte of the file or its WAL holds any of it either. For a process of its own: that
        takes a second for 30 MB. Raises NotFound, WrongState (not now).
        """
        messages = await self._act(lambda db, now: operators.forget(db, user_id, now, who))
        return messages, await self._db.scrub()

    async def _act(self, work: Callable[[sqlite3.Connection, datetime], T]) -> T:
        now = self._clock.now()
        return await self._db.write(lambda db: work(db, now), give_up_seconds=WEBHOOK_PATIENCE_SECONDS)
