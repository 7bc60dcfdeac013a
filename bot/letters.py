"""What the owner writes to people oneself: sent as answers are, beside the turns, so that it waits for no model."""

import asyncio
import contextlib
from datetime import timedelta

import structlog

from bot.backoff import backoff_seconds
from bot.clock import Clock
from bot.domain import Failed, Letter, Outcome, Released
from bot.errors import Kind, ServiceError, StoreUnavailable
from bot.sender import FINAL, Sender
from bot.store.circuits import PROBE_MOST_SECONDS
from bot.store.operators import CLOSED
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
MOST = 8  # at once
LOOK_SECONDS, LEAST_SECONDS = 1.0, 0.01  # between two looks: the end of a wait rings no bell


class Letters:
    """Send what is due, round by round, of each person one letter: the next when that one is decided."""

    def __init__(self, store: Store, sender: Sender, graph: GraphClient, clock: Clock, base_seconds: float) -> None:
        self._store, self._sender, self._graph, self._clock = store, sender, graph, clock
        self._base, self._stopping, self._round = base_seconds, False, asyncio.Lock()

    async def go_round(self) -> None:
        """Look for what is due and send it, until drained; cancelled, what is being sent is in doubt."""
        while not self._stopping:
            async with self._round:
                soon = LOOK_SECONDS
                with contextlib.suppress(StoreUnavailable):  # the store says why
                    letters, following = await self._store.letters(MOST)
                    await asyncio.gather(*map(self._post, letters))
                    if following:  # WhatsApp's limits put letters off for milliseconds
                        soon = min(soon, max((following - self._clock.now()).total_seconds(), LEAST_SECONDS))
            await self._store.said.wait(soon)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and wait so long for the end of what is being sent."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._round:
                pass

    async def _post(self, letter: Letter) -> None:
        about = {"user": f"u{letter.user_id}", "reply": letter.part.id}
        try:
            outcome = await self._outcome(letter)
            log.info("letter", **about, outcome=type(outcome).__name__.lower(), error=getattr(outcome, "error", None))
            await self._store.settle_letter(letter, outcome)
            self._store.said.ring()  # the person's next one may be due
        except StoreUnavailable:
            pass  # the daemon is about to end, and says why
        except Exception:  # a defect of ours must not stop the others
            log.exception("letter broke", **about)

    async def _outcome(self, letter: Letter) -> Outcome:
        try:
            if letter.late and await self._graph.clock_is_right():
                return self._sender.doubt([letter.part]) or Failed(CLOSED)
            return await self._sender.deliver(letter, [letter.part])
        except ServiceError as error:
            return self._outcome_of(error, tries=letter.part.tries + 1)

    def _outcome_of(self, error: ServiceError, *, tries: int) -> Outcome:
        """Map an error to what becomes of the letter: it fails for good, or waits as long as it takes."""
        if error.kind in FINAL:
            return Failed(error.reason)
        now, asked = self._clock.now(), error.retry_after
        if error.kind is Kind.EVERYBODY:
            self._sender.limit.hold(now + timedelta(seconds=asked or 0.0))
        wait = backoff_seconds(tries, base=self._base, maximum=PROBE_MOST_SECONDS, retry_after=asked)
        refused = error.kind in (Kind.DOWN, Kind.REFUSED)
        until = now + timedelta(seconds=wait)
        return Released(until, error.service if refused else None, error=error.reason, code=error.code)
