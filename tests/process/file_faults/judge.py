"""Judge a daemon whose file is in trouble: by what it answered, sent and asked for, never by what it says it did."""

import asyncio
import os
import time

from bot.emulator import Emulator
from bot.emulator.journal import Entry
from tests.process.harness import POLL_SECONDS, Bot, Process

HEALS_SECONDS = 5.0
STORY = " ".join(["a long story"] * 300)  # so that a few of them fill a disk, or a WAL
LONG = os.environ.get("FILE_FAULTS") == "long"  # `make file-faults`: every variant, and a lock of a minute


def messages_posted(emu: Emulator) -> list[Entry]:
    """List the deliveries of webhooks that brought messages, and were answered."""
    posts = [entry for entry in emu.log.of("webhook") if entry.ended_at is not None]
    return [post for post in posts if "messages" in post.request["entry"][0]["changes"][0]["value"]]


def assert_200_or_503(emu: Emulator) -> None:
    """No webhook was answered anything but 200, or 503 with a time to come back; never 500, never nothing."""
    answers = {(post.status, bool(post.retry_after)) for post in emu.log.of("webhook") if post.ended_at is not None}
    assert answers <= {(200, False), (503, True)}


def assert_said_once(process: Process, times: int = 1) -> None:
    """The log has one line for the trouble and one for its end, and no trace of anything."""
    events = [event["event"] for event in process.events]
    assert [event for event in events if event.startswith("store ")] == [
        "store can't write",
        "store writes again",
    ] * times
    assert "Traceback" not in process.output


async def reason_not_ready(bot: Bot, seconds: float = 5.0) -> str:
    """Wait until /readyz says 503 and return its reasons."""
    deadline = time.monotonic() + seconds
    while (answer := await bot.get("/readyz"))[0] != 503:
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(POLL_SECONDS)
    return "; ".join(answer[1]["reasons"])


async def healed(bot: Bot, emu: Emulator) -> None:
    """Wait until /readyz has nothing to say of the file, which takes seconds; then let redeliveries come at once."""
    deadline = time.monotonic() + HEALS_SECONDS
    while "the file can't be" in str(answer := await bot.get("/readyz")):
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(POLL_SECONDS)
    emu.deliveries.hurry()
