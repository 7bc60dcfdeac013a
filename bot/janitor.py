"""What has to be done now and then: note that webhooks can arrive, take out what is old."""

import structlog

from bot.clock import Clock
from bot.store.store import Store

log = structlog.get_logger(__name__)
ROUND_SECONDS = 15.0  # well under the minute after which the daemon counts as having been deaf
PRUNE_EVERY_ROUNDS = 240
PRUNE_BATCH = 500


class Janitor:
    """Go round until cancelled."""

    def __init__(self, store: Store, clock: Clock, keep_days: int) -> None:
        self._store, self._clock, self._keep_days = store, clock, keep_days

    async def run(self) -> None:
        """Work for ever, a round every 15 seconds."""
        rounds = 0
        while True:
            if rounds % PRUNE_EVERY_ROUNDS == 0:
                await self._prune()
            rounds += 1
            await self._clock.sleep(ROUND_SECONDS)
            await self._store.listening()

    async def _prune(self) -> None:
        """Take out decided messages older than `store.keep_days`, in batches that delay nobody."""
        total = 0
        while taken := await self._store.prune(self._keep_days, PRUNE_BATCH):
            total += taken
            await self._clock.sleep(0.1)
        if total:
            log.info("pruned", messages=total)
