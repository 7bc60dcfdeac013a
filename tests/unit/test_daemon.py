"""What the composition root keeps an eye on: the tasks beside the turns, and that there is one of it."""

import asyncio
import fcntl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.daemon import only_instance
from bot.errors import StartError, StoreUnavailable
from bot.janitor import feed_watchdog
from bot.logs import owned


async def test_a_side_task_that_breaks_is_told_at_once() -> None:
    """Not when the daemon ends, which may be in a year; and once."""

    async def broken() -> None:
        raise LookupError("of its own")

    with capture_logs() as lines:
        async with owned(broken()):
            for _ in range(3):
                await asyncio.sleep(0)
            told = list(lines)
    assert [(line["event"], str(line["exc_info"])) for line in told] == [("a side task broke", "of its own")]
    assert lines == told


async def test_a_side_task_that_ends_with_the_file_or_the_daemon_is_no_news() -> None:
    """Why the file can't be used is told by the daemon; to be cancelled is how they all end."""

    async def without_file() -> None:
        raise StoreUnavailable("gone")

    async def for_ever() -> None:
        await asyncio.Event().wait()

    with capture_logs() as lines:
        async with owned(without_file()), owned(for_ever()):
            await asyncio.sleep(0)
    assert lines == []


def test_who_only_looks_whether_a_daemon_runs_keeps_none_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bot status` shares the lock for microseconds: a start tries once more."""
    lock = tmp_path / "bot.db.lock"
    with lock.open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        with only_instance(lock, "another bot runs", "mend it"):
            pass


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """Also at the second try."""
    lock = tmp_path / "bot.db.lock"
    with (
        only_instance(lock, "another bot runs", "mend it"),
        pytest.raises(StartError, match="another bot runs"),
        only_instance(lock, "another bot runs", "mend it"),
    ):
        pass


async def test_the_watchdog_is_fed_only_while_the_file_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be read is restarted by the service manager; what is well again is left alone."""
    told: list[str] = []
    answers: list[Exception | None] = [StoreUnavailable("gone"), None, StoreUnavailable("gone")]

    class File:
        @property
        def insights(self) -> "File":
            return self

        async def named_reasons(self) -> None:
            if not answers:
                raise asyncio.CancelledError
            if error := answers.pop(0):
                raise error
            told.append("read")

    monkeypatch.setattr("bot.janitor.notify", told.append)
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    with pytest.raises(asyncio.CancelledError):
        await feed_watchdog(File())
    assert told == ["read", "WATCHDOG=1"]
