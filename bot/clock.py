"""Where time comes from: a clock that tests control, the text form of times in the database, and that for people."""

import asyncio
import re
import time
from calendar import month_abbr
from contextlib import suppress
from datetime import UTC, datetime


class Clock:
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
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def parse_stamp(text: str) -> datetime:
    """Read a time that `stamp` (or a person with the sqlite3 CLI) wrote. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_of(text: str | None) -> datetime | None:
    """Read a time as parse_stamp does; None for none, and for nonsense that a hand wrote, which must hold up nobody."""
    with suppress(ValueError):
        return parse_stamp(text) if text else None
    return None


def ms_since(began: float) -> int:
    """Return the whole milliseconds since a moment of `time.perf_counter`."""
    return round((time.perf_counter() - began) * 1000)


def age(seconds: float | None) -> str:
    """Write a duration as people say it: `12 s`, `4 min`, `3 h`, `2 d`; `–` for none."""
    if seconds is None:
        return "–"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    unit, length = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{int(seconds // length)} {unit}"


def readable(text: str | None) -> str:
    """Write the stamps in a text as people read them: `24 Nov 10:41:07 UTC`; `–` for none."""
    stamps = r"[0-9]{4}-(0[1-9]|1[0-2])-([0-9]{2})T([0-9:]{8})[0-9.]*Z"
    return re.sub(stamps, lambda found: f"{found[2]} {month_abbr[int(found[1])]} {found[3]} UTC", text or "–")
