"""The wake-up call between the rooms that write and those that wait: no data, only "look at the store"."""

import asyncio


class Bell:
    """Ring it when there may be something to do; whoever waits looks at the store. Rings are never lost, may merge."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, now or when it next waits."""
        self._rung.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a ring, at most so long; True when it rang. One waiter at a time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
