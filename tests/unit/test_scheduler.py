"""The end of the scheduler, at the moments that a whole daemon rarely meets: a claim or an outcome is being stored."""

import asyncio
from datetime import datetime
from typing import Any

from bot.bell import Bell
from bot.domain import Done, Lease, Message, Outcome, Released
from bot.metrics import Metrics
from bot.scheduler import Scheduler
from tests.clock import START, FakeClock

LEASE = Lease((Message(1, "wamid.1", "text", "hi", START, START, None),), 1, None, "token", 0, 0, False, None, START)


class SlowStore:
    """A store that has one message, and whose file takes a claim or an outcome only when a test lets it."""

    def __init__(self) -> None:
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()
        self.waiting, self.settled = [LEASE], list[tuple[Outcome, bool]]()
        self.slow = "claim"

    async def _be_slow(self, at: str) -> None:
        if at == self.slow:
            self.reached.set()
            await self.goes_on.wait()

    async def claim(self, free: int) -> tuple[list[Lease], datetime | None]:
        """Lease the one message."""
        taken, self.waiting = self.waiting[:free], self.waiting[free:]
        await self._be_slow("claim")
        return taken, None

    async def settle(self, _: Lease, outcome: Outcome, *, claim: bool) -> Lease | None:
        """Note an outcome, and lease the next one where that is asked for."""
        self.settled.append((outcome, claim))
        following = LEASE if claim and len(self.settled) == 1 else None
        await self._be_slow("settle")
        return following


async def ended(store: Any, turns: list[Lease]) -> None:
    """Run a scheduler that is drained while the store is slow."""

    async def turn(lease: Lease) -> Outcome:
        turns.append(lease)
        return Done()

    scheduler = Scheduler(store, turn, Bell(), FakeClock(), 1, Metrics())
    scheduler.start()
    await store.reached.wait()
    draining = asyncio.create_task(scheduler.drain(5))
    await asyncio.sleep(0)
    store.goes_on.set()
    await draining


async def test_what_a_claim_brings_after_the_end_has_begun_is_given_back_unasked() -> None:
    """Nothing is spent and nobody is asked: a turn that begins now would only be cut off."""
    store, turns = SlowStore(), list[Lease]()
    await ended(store, turns)
    assert turns == []
    assert store.settled == [(Released(), False)]


async def test_what_an_outcome_brought_along_after_the_end_has_begun_is_given_back_unasked() -> None:
    """The next lease came in the transaction that stored the last outcome; from then on none is claimed."""
    store, turns = SlowStore(), list[Lease]()
    store.slow = "settle"
    await ended(store, turns)
    assert turns == [LEASE]
    assert store.settled == [(Done(), True), (Released(), False)]
