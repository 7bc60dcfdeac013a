"""A VPS whose clock is days off: the Graph API's `Date` says so, it is told once, and no question is too old."""

import time
from datetime import datetime, timedelta

import pytest

from bot.clock import Clock
from tests.flow.conftest import World

DAYS = 2 * 86_400


class Wrong(Clock):
    """The machine's clock, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return a wrong time."""
        return super().now() + self._ahead


async def test_a_clock_that_is_days_ahead_lets_nothing_expire(world: World) -> None:
    """Not even the first message, before which nothing was asked of WhatsApp; it is said once."""
    async with world.running(clock=Wrong(DAYS)):
        for who in (world.ana, world.bea, world.cora):
            await world.emu.say(who, "just now")
        await world.settled("done", "done", "done")
    (told,) = world.logged("this machine's clock is ahead", log_level="error")
    assert DAYS - 60 < told["seconds"] < DAYS + 60


@pytest.mark.parametrize("ahead", [0, 200])
async def test_a_clock_that_is_about_right_lets_old_questions_expire(world: World, ahead: int) -> None:
    """Some minutes are no matter, and nothing is said."""
    async with world.running(clock=Wrong(ahead)):
        await world.emu.say(world.ana, "long ago", timestamp=int(time.time() - DAYS))
        await world.settled("failed")
    assert world.rows("SELECT error FROM outbox") == [("expired",)]
    assert world.logged("this machine's clock is ahead") == []


async def test_nothing_expires_by_a_clock_that_nobody_confirms(world: World) -> None:
    """While WhatsApp can't be reached it is not known whose clock is right: the question waits, and is answered."""
    unplugged = world.emu.graph_url.replace("127.0.0.1", "unplugged.invalid")
    async with world.running(clock=Wrong(DAYS), whatsapp={"base_url": unplugged}):
        await world.emu.say(world.ana, "just now")
        await world.eventually(lambda: world.opened("graph"))
        assert world.rows("SELECT state, attempts FROM outbox") == [("pending", 0)]
    async with world.running(clock=Wrong(DAYS)):
        await world.settled("done")
