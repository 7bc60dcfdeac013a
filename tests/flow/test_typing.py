"""The dots and the blue ticks: at once, kept up while a slow model thinks, gone with the reply, never in the way."""

import asyncio
from datetime import UTC, datetime

import pytest

from bot.domain import Answer, Question
from bot.emulator import Fault
from bot.turn import TYPING_SECONDS
from tests.clock import FakeClock
from tests.flow.conftest import World


class Thinking:
    """A handler that thinks for a minute of the clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    async def answer(self, question: Question) -> Answer:
        await self.clock.sleep(60)
        return Answer((f"answer to: {question.messages[0].body}",))

    async def close(self) -> None:
        pass


async def test_a_message_is_marked_read_with_typing_dots_at_once(world: World) -> None:
    """While the model has not said a word yet; the mark names the user's message."""
    emu = world.emu
    emu.model.responder = lambda _: asyncio.sleep(0.1, "well")
    async with world.running():
        wamid = await emu.say(world.ana, "hi")
        await emu.wait_for(lambda: emu.log.of("graph.read"))
        assert emu.sends() == []
        await world.sent(1)
        await world.settled("done")
    (mark,) = emu.log.of("graph.read")
    (asked,) = emu.log.of("model")
    assert (mark.wamid, mark.typing, mark.status) == (wamid, True, 200)
    assert mark.began_at < (asked.ended_at or 0)


async def test_a_model_of_60_seconds_sees_at_least_two_more_typing_calls(world: World) -> None:
    """The dots go after 25 s; none is sent after the reply."""
    emu, clock = world.emu, FakeClock(datetime.now(UTC))
    async with world.running(clock=clock, handler=Thinking(clock)):
        await emu.say(world.ana, "hi")
        await clock.until_sleeping(woken_in=60)  # the handler
        for marks in (1, 2, 3):
            await emu.wait_for(lambda n=marks: len(emu.log.of("graph.read")) == n)
            assert emu.sends() == []
            await clock.until_sleeping(woken_in=TYPING_SECONDS)
            clock.advance(TYPING_SECONDS)
        await world.sent(1)
        await world.settled("done")
        clock.advance(60)
        await emu.say(world.bea, "hello")
        await emu.wait_for(lambda: emu.log.of("graph.read", world.bea.ids))
    marks = emu.log.of("graph.read", world.ana.ids)
    (reply,) = emu.log.of("graph.send")
    assert len(marks) in (3, 4)
    assert all(mark.typing and (mark.ended_at or 0) <= reply.began_at for mark in marks)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", "graph.read", times=0, code=100),
        Fault("error", "graph.read", times=0, code=190),
        Fault("error", "graph.read", times=0, code=131000),
        Fault("http", "graph.read", times=0, status=503),
        Fault("cut", "graph.read", times=0),
        Fault("html", "graph.read", times=0),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.code}",
)
async def test_a_failing_read_mark_does_not_fail_the_turn(world: World, fault: Fault) -> None:
    """Nor does it open a circuit, delay the reply, or cost an attempt."""
    world.emu.faults.add(fault)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
        assert (await world.get("/readyz"))[0] == 200
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]
    assert world.logged("turn")[0]["outcome"] == "done"


async def test_a_slow_read_mark_is_over_before_the_reply_goes(world: World) -> None:
    """Or its dots would come after the reply and stay for 25 seconds."""
    world.emu.faults.add("slow", service="graph.read", seconds=0.3)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
    (mark,), (reply,) = world.emu.log.of("graph.read"), world.emu.log.of("graph.send")
    assert mark.began_at < (mark.ended_at or 0) <= reply.began_at


async def test_a_read_mark_that_hangs_delays_the_reply_by_two_seconds_at_most(world: World) -> None:
    """The reply matters more than the dots."""
    world.emu.faults.add("hang", service="graph.read")
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
    (mark,), (reply,) = world.emu.log.of("graph.read"), world.emu.log.of("graph.send")
    assert 1.5 <= reply.began_at - mark.began_at <= 4
