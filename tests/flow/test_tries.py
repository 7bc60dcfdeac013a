"""Which tries are counted, and what one of them shows of a service; rows that nobody can read."""

from datetime import timedelta

import pytest

from bot.emulator import Answer, Fault
from bot.sender import NumberLimit
from tests.clock import START
from tests.flow.conftest import World


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (400, 1)])
async def test_the_try_that_sets_a_message_aside_is_counted_too(world: World, status: int, tries: int) -> None:
    """`attempts` says how often the model was asked; the table has a row for each, with the service's code.

    Where it was the last of several, the apology is a turn of its own: by then it is sure that no outage was to blame.
    """
    world.emu.faults.add("error", service="model", times=0, status=status)
    async with world.running(queue={"max_attempts": 3}):
        await world.emu.say(world.ana, "hi")
        await world.settled("failed")
    assert len(world.emu.log.of("model")) == tries
    assert world.rows("SELECT attempts FROM outbox") == [(tries,)]
    rows = world.rows("SELECT outcome, code IS NOT NULL, duration_ms >= 0 FROM attempts WHERE stage = 'turn'")
    assert rows == ([("failed", 1, 1)] if tries == 1 else [("retry", 1, 1)] * tries + [("failed", 0, 1)])


async def test_a_rejected_message_shows_that_the_service_takes_us(world: World) -> None:
    """The key was refused, then repaired: a 400 for the probe's own message proves it, and the circuit closes."""
    world.emu.model.script += [Fault("error", service="model", status=401), Fault("error", service="model", status=400)]
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.settled("failed", timeout_seconds=8)
        assert (await world.get("/readyz"))[0] == 200


async def test_a_date_that_nobody_can_read_stops_its_message_alone(world: World) -> None:
    """A hand edit gone wrong keeps nobody else waiting, and shows among the failures."""
    async with world.running():
        await world.post("/api/pause")
        await world.emu.say(world.ana, "one")
        await world.emu.say(world.bea, "two")
        world.write("UPDATE users SET last_message_at = 'yesterday' WHERE id = 1")
        await world.post("/api/resume")
        assert await world.sent(1, world.bea)
        await world.settled("failed", "done")
        _, found = await world.get("/api/failures")
    assert "date" in found["failures"][0]["error"]


async def test_try_now_ends_a_probe_whose_turn_is_gone(world: World) -> None:
    """Somebody took the row out of the probe's hands: the next look probes again."""
    world.emu.model.script += [Fault("error", service="model", status=401)]
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM circuits WHERE state = 'open'"))
        world.write("UPDATE circuits SET probing = 999, probe_at = '2099-01-01T00:00:00.000Z' WHERE service = 'model'")
        world.emu.model.script.append(Answer("hello"))
        assert (await world.post("/api/circuits/model/try"))[0] == 200
        await world.settled("done")


def test_no_second_sees_more_sends_than_the_number_may_make() -> None:
    """Whoever comes back at the time that was said gets in, one after the other."""
    limit, now, sent = NumberLimit(10, START), START, []
    waiting = [START] * 60
    while waiting:
        now = max(now, min(waiting))
        waiting.remove(min(waiting))
        come_back = limit.take(now)
        if come_back is None:
            sent.append(now)
        else:
            waiting.append(come_back)
    for first in sent:
        assert sum(first <= moment < first + timedelta(seconds=1) for moment in sent) <= 10
    assert sent[-1] - sent[0] < timedelta(seconds=7)
