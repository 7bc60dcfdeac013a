"""Claim the heads of ready users, run their turns, store the outcomes; drain. Nothing about the queue is kept here."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.bell import Bell
from bot.clock import Clock, ms_since
from bot.domain import Done, Failed, Lease, Outcome, Released, Retry
from bot.errors import StoreUnavailable
from bot.metrics import Metrics
from bot.store.replies import LeaseLost
from bot.store.store import Store

log = structlog.get_logger(__name__)
Run = Callable[[Lease], Awaitable[Outcome]]
BREAKS_MOST = 5
GIVE_BACK_SECONDS = 1.0
LOOK_SECONDS = 1.0  # a hand edit rings no bell


class Scheduler:
    """Run up to `concurrency` turns at once; a slot that ends claims the next head in the transaction that ends it."""

    def __init__(
        self, store: Store, run_turn: Run, bell: Bell, clock: Clock, concurrency: int, metrics: Metrics
    ) -> None:
        self._store, self._run_turn, self._bell, self._clock = store, run_turn, bell, clock
        self._concurrency, self._metrics = concurrency, metrics
        self._slots: set[asyncio.Task[Outcome]] = set()
        self._turning: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to claim."""
        self._loop = asyncio.create_task(self._claim_loop(), name="scheduler")

    async def drain(self, seconds: float) -> None:
        """Claim nothing new, give running turns so long, and give back what isn't finished: nothing is spent."""
        self._stopping = True
        self._bell.ring()
        await self._all_ended(seconds)
        # Turns alone: what is claimed, or stored with a claim, has to come back to be given back.
        for slot in self._turning:
            slot.cancel()
        await self._all_ended(GIVE_BACK_SECONDS)
        for task in self._running():  # while the file is locked nothing can be given back: the next start takes it over
            task.cancel()

    def _running(self) -> set[asyncio.Task[Any]]:
        return {task for task in (self._loop, *self._slots) if task and not task.done()}

    async def _all_ended(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while running := self._running():
                    await asyncio.wait(running)

    async def _claim_loop(self) -> None:
        while not self._stopping:
            free = self._concurrency - len(self._slots)
            leases, following = await self._claim(free)
            for lease in leases:
                slot = asyncio.create_task(self._slot(lease), name=f"slot-m{lease.messages[0].id}")
                self._slots.add(slot)
                slot.add_done_callback(self._slot_ended)
            if len(leases) < max(free, 1):
                wait = (following - self._clock.now()).total_seconds() if following else LOOK_SECONDS
                await self._bell.wait(min(max(wait, 0.001), LOOK_SECONDS))

    async def _claim(self, free: int) -> tuple[Sequence[Lease], datetime | None]:
        try:
            return await self._store.claim(free) if free > 0 else ((), None)
        except Exception as error:  # a row that somebody edited into nonsense: it may be right at the next look
            if not isinstance(error, StoreUnavailable):  # then the daemon is about to end, and says why
                log.exception("claim broke")
            return (), None

    async def _slot(self, first: Lease) -> Outcome:
        """Run turns until none can be claimed; return the last one's outcome."""
        lease = first
        while True:
            outcome = Released() if self._stopping else await self._turn(lease)
            try:
                following = await self._store.settle(lease, outcome, claim=not self._stopping)
            except Exception:  # what was to follow can't be claimed: what ended is stored all the same
                await self._store.settle(lease, outcome, claim=False)
                raise
            if following is None:
                return outcome
            lease = following

    async def _turn(self, lease: Lease) -> Outcome:
        """Run a turn; one that is cut off, as the drain took too long, spends nothing."""
        slot = asyncio.current_task()
        assert slot is not None
        self._turning.add(slot)
        try:
            return await self._outcome(lease)
        except asyncio.CancelledError:
            slot.uncancel()
            return Released()
        finally:
            self._turning.discard(slot)

    async def _outcome(self, lease: Lease) -> Outcome:
        began = time.perf_counter()
        try:
            outcome = await self._run_turn(lease)
        except LeaseLost:
            outcome = Released()
        except StoreUnavailable as trouble:  # the file's, not the message's
            outcome = Released(self._clock.now() + timedelta(seconds=LOOK_SECONDS), error=str(trouble))
        except Exception:  # a defect of ours must not stop the other users: this message counts as "try later"
            log.exception("turn broke", user=f"u{lease.user_id}", message=lease.messages[0].id)
            defect = "an error inside the bot, see its log"
            outcome = Retry(2.0**lease.attempts, defect) if lease.attempts < BREAKS_MOST else Failed(defect, attempts=1)
        self._metrics.turn(lease, outcome, self._clock.now(), time.perf_counter() - began)
        error = getattr(outcome, "error", None) or None
        line = log.warning if error else log.info
        line(
            "turn", user=f"u{lease.user_id}", message=lease.messages[0].id, outcome=type(outcome).__name__.lower(),
            error=error, ms=ms_since(began),
        )  # fmt: skip
        return outcome

    def _slot_ended(self, slot: asyncio.Task[Outcome]) -> None:
        error = None if slot.cancelled() else slot.exception()
        # A slot that found nothing more to claim leaves nothing to look for, but what its outcome put off.
        if error or slot.cancelled() or len(self._slots) >= self._concurrency or not isinstance(slot.result(), Done):
            self._bell.ring()
        self._slots.discard(slot)
        if error and not isinstance(error, StoreUnavailable):
            log.error("slot broke", exc_info=error)
