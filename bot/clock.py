"""Where time comes from: a clock that tests control, and the one text form that times have in the database."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Time for everything that has an opinion about it."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC; never steps while the process runs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""
        ...


class SystemClock:
    """The machine's clock as it stood at the start, carried on by CLOCK_BOOTTIME.

    So a step of the wall clock neither stalls nor hurries the queue, and a suspended machine's hours count
    (CLOCK_MONOTONIC leaves them out).
    """

    def __init__(self) -> None:
        self._epoch = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.fromtimestamp(self._epoch + time.clock_gettime(time.CLOCK_BOOTTIME), UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await asyncio.sleep(seconds)


def stamp(moment: datetime) -> str:
    """Write a time as the database keeps it: `2026-11-24T10:41:07.123Z`; text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_stamp(text: str) -> datetime:
    """Read a time that `stamp` (or a person with the sqlite3 CLI) wrote. Raises ValueError."""
    return datetime.fromisoformat(text)


def seconds_after(moment: datetime, seconds: float) -> datetime:
    """Return the time so many seconds after `moment`."""
    return moment + timedelta(seconds=seconds)
