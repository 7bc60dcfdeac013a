"""A clock that stands still until a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


class FakeClock:
    """Time as a test sets it: `now` stands still, who sleeps wakes when `advance` reaches their time.

    `now` may be asked from any thread; sleep and advance belong to the test's event loop.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        """Return the time that the test set last."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved time so far; 0 and less only let others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._now + timedelta(seconds=seconds), asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        self._changed.set()
        try:
            await sleeper[1]
        finally:
            if sleeper in self._sleepers:  # cancelled
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> datetime:
        """Move time on, wake whoever's time has come (the earliest first), and return the new time."""
        self._now += timedelta(seconds=seconds)
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, future in sorted(due, key=lambda sleeper: sleeper[0]):
            if not future.done():
                future.set_result(None)
        return self._now

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return len(self._sleepers)

    async def until_sleeping(
        self, count: int = 1, timeout_seconds: float = 5.0, *, woken_in: float | None = None
    ) -> None:
        """Wait until at least so many wait, or so many whose time comes in exactly `woken_in` seconds.

        Then it is sure that `advance` wakes them. Raises TimeoutError.
        """
        async with asyncio.timeout(timeout_seconds):
            while self._sleeping(woken_in) < count:
                self._changed.clear()
                await self._changed.wait()

    def _sleeping(self, woken_in: float | None) -> int:
        if woken_in is None:
            return self.sleeping
        return sum(until == self._now + timedelta(seconds=woken_in) for until, _ in self._sleepers)
