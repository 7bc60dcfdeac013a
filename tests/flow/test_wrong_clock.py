"""A VPS whose clock is days off: the Graph API's `Date` says so, it is told once, and no question is too old."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import Clock, stamp
from bot.emulator import StatusPlan
from tests.flow.conftest import World

DAYS = 2 * 86_400


class Wrong(Clock):
    """The machine's clock, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return a wrong time."""
        return super().now() + self.ahead


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


async def test_a_message_of_the_year_9999_is_answered_like_any_other(world: World) -> None:
    """An absurd timestamp is nobody's loss: there is no date a day after it."""
    async with world.running():
        await world.emu.say(world.ana, "hi", timestamp=253_402_300_799)
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")


@pytest.mark.parametrize(("code", "ahead"), [(1, DAYS), (131000, DAYS), (100, DAYS), (1, 0)])
async def test_what_the_number_answers_matters_less_than_when(world: World, code: int, ahead: int) -> None:
    """An error has a date, too: nobody gets an apology because the clock was asked for."""
    world.emu.faults.add("error", service="graph.number", code=code)
    async with world.running(clock=Wrong(ahead), queue={"max_age_seconds": 3600}):
        await world.emu.say(world.ana, "hello", timestamp=int(time.time()) - (0 if ahead else 7200))
        await world.settled("done" if ahead else "failed")
    assert world.emu.sends() == (["answer to: hello"] if ahead else [])


async def test_a_clock_that_is_weeks_ahead_prunes_nothing(world: World) -> None:
    """What Meta delivers again would be answered again."""
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.settled("done")
    for clock in (Wrong(40 * 86_400), Clock()):
        async with world.running(clock=clock):
            await world.emu.say(world.bea, "what time is it?")
            await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
            assert await world.emu.redeliver(world.ana) == 200
    assert world.emu.sends(world.ana) == ["answer to: hi"]


async def test_a_send_in_doubt_of_before_the_clock_was_put_back_waits_as_after_any_downtime(world: World) -> None:
    """Its moment would lie after the start; it was sent before, and its status may be one that nobody heard."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(names=())
    emu.faults.add("cut", after=True)
    waits = {"confirm_seconds": 0.3, "confirm_after_downtime_seconds": 600}
    async with world.running(clock=Wrong(7200), whatsapp={**waits, "confirm_seconds": 60}):
        await emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
    world.write("UPDATE control SET listening_at = strftime('%Y-%m-%dT%H:%M:%fZ', listening_at, '-10 seconds')")
    world.write("UPDATE outbox SET not_before_at = NULL")
    async with world.running(whatsapp=waits):
        (until,) = await world.eventually(
            lambda: world.rows("SELECT not_before_at FROM outbox WHERE not_before_at > ''")
        )
    assert until[0] > stamp(datetime.now(UTC) + timedelta(seconds=500))
    assert len(emu.sends()) == 1


async def test_who_was_deaf_while_running_waits_as_after_any_downtime(world: World) -> None:
    """A suspended machine, a file that was locked: statuses found nobody for over a minute."""
    emu, clock = world.emu, Wrong(0)
    emu.settings.statuses = StatusPlan(names=())
    emu.faults.add("cut", after=True)
    async with world.running(clock=clock, whatsapp={"confirm_seconds": 2, "confirm_after_downtime_seconds": 600}):
        await emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        clock.ahead += timedelta(seconds=66)
        later = stamp(clock.now() + timedelta(seconds=500))
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at > ?", later))
    assert len(emu.sends()) == 1
