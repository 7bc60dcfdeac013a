"""The daemon was off for an hour or for days: nothing goes twice, what is too old shows, the backlog goes in order."""

import asyncio
import itertools
import random
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.clock import Clock
from bot.emulator import StatusPlan, payloads
from tests.flow.conftest import World
from tests.flow.test_order import assert_nothing_was_overtaken, assert_one_at_a_time

HOUR, DAYS = 3600.0, 3 * 86_400.0
UNLIMITED = {"answers_per_user_per_hour": 0, "answers_per_user_per_day": 0}


class Earlier(Clock):
    """The machine's clock as it stood so many seconds ago."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._back = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return the time then."""
        return super().now() - self._back


async def leave_in_doubt(world: World, ago: float, after: bool) -> str:
    """Be on a while ago, have a send cut and go off before its status came; return its callback data."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(names=())
    emu.faults.add("cut", after=after, contains="doubtful")
    emu.faults.add("hang", service="model", contains="waiting")
    async with world.running(clock=Earlier(ago), queue={"drain_seconds": 0.1}, whatsapp={"confirm_seconds": 30}):
        await emu.say(world.ana, "doubtful", timestamp=int(time.time() - ago))
        await emu.say(world.bea, "waiting", timestamp=int(time.time() - ago))
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        await world.asked(2)
    emu.faults.clear()
    emu.settings.statuses = StatusPlan(("sent",), (0.0,))
    return emu.log.of("graph.send", world.ana.ids)[0].callback_data


async def tell(world: World, callback: str) -> None:
    """Redeliver the status that nobody took."""
    wamid = world.emu.log.of("graph.send", world.ana.ids)[0].wamid
    status = payloads.status(wamid=wamid, status="delivered", callback_data=callback)
    await world.emu.deliveries.deliver(world.emu.deliveries.wrap(statuses=[status]))


@pytest.mark.parametrize("ago", [HOUR, DAYS])
async def test_a_send_in_doubt_is_settled_by_the_status_that_meta_redelivers(world: World, ago: float) -> None:
    """However long it took: it went out, its message is answered, and nothing is sent again."""
    callback = await leave_in_doubt(world, ago, after=True)
    async with world.running(whatsapp={"confirm_seconds": 0.1, "confirm_after_downtime_seconds": 20}):
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE id = 1 AND not_before_at IS NOT NULL"))
        await tell(world, callback)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    assert len(world.emu.log.of("graph.send", world.ana.ids)) == 1
    assert world.rows("SELECT state, error FROM outbox WHERE id = 1") == [("done", None)]


@pytest.mark.parametrize("ago", [HOUR, DAYS])
async def test_a_send_in_doubt_that_no_status_names_waits_long_and_then_goes_while_it_may(
    world: World, ago: float
) -> None:
    """After confirm_after_downtime_seconds it is sent again; after the 24 hours nothing is, and it shows."""
    await leave_in_doubt(world, ago, after=False)
    began = time.monotonic()  # the daemon counts from its start, which takes a while by itself
    async with world.running(whatsapp={"confirm_seconds": 0.1, "confirm_after_downtime_seconds": 1.5}):
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
        assert time.monotonic() - began >= 1.5
    sends = world.emu.log.of("graph.send", world.ana.ids)
    state = world.rows("SELECT state, error FROM outbox WHERE id = 1")
    assert (len(sends), state) == ((2, [("done", None)]) if ago == HOUR else (1, [("failed", "expired")]))


@pytest.mark.parametrize("ago", [HOUR, DAYS])
async def test_questions_that_are_too_old_expire_and_show(world: World, ago: float) -> None:
    """What waited, and what Meta only delivers now; nobody is asked, and nobody apologised to."""
    emu = world.emu
    await leave_in_doubt(world, ago, after=True)
    before = len(emu.log.of("model"))
    async with world.running(whatsapp={"confirm_after_downtime_seconds": 0.3}):
        await emu.say(world.cora, "redelivered", timestamp=int(time.time() - ago))
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
        states = dict(world.rows("SELECT body, coalesce(error, state) FROM outbox WHERE id > 1"))
        _, shown = await world.get("/api/failures")
    if ago == HOUR:
        assert states == {"waiting": "done", "redelivered": "done"}
    else:
        assert states == {"waiting": "expired", "redelivered": "expired"}
        assert {failure["body"] for failure in shown["failures"]} >= {"waiting", "redelivered"}
        assert not any(failure["retryable"] for failure in shown["failures"])
        assert len(emu.log.of("model")) == before
        assert emu.sends(world.bea) + emu.sends(world.cora) == []


async def test_a_question_of_today_is_answered_although_older_ones_expired(world: World) -> None:
    """Three days' worth comes at once, newest first: what is too old is told from what isn't."""
    emu = world.emu
    async with world.running():
        await world.post("/api/pause")
        for hours in (1, 30, 60):
            await emu.say(world.ana, f"{hours} hours ago", timestamp=int(time.time() - hours * HOUR))
        await world.post("/api/resume")
        await world.settled("done", "failed", "failed")
    (asked,) = emu.log.of("model")
    assert asked.text.endswith("1 hours ago")
    assert len(emu.sends()) == 1


async def test_a_backlog_that_comes_in_shuffled_bursts_goes_in_order_within_whatsapps_limits(world: World) -> None:
    """As far as it is there: nothing that waits is overtaken, and nobody gets ten answers at once."""
    emu, rng, start = world.emu, random.Random(9), int(time.time()) - 3600
    limits = {"pair_interval_seconds": 0.1, "pair_burst": 3}
    people = [world.ana, world.bea, world.cora]
    async with world.running(whatsapp=limits, limits=UNLIMITED, clock=Earlier(HOUR)):
        await emu.batch([(world.ana, f"before {n}") for n in range(3)])
        await world.sent(3)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    before = emu.log.of("graph.send")[-1].number  # an hour ago
    texts = [(who, f"{who.name} says {n:02}", start + n) for who in people for n in range(12)]
    built: list[Any] = [
        emu.compose([(who, payloads.text_message, {"body": t, "timestamp": at})]) for who, t, at in texts
    ]
    rng.shuffle(built)
    async with world.running(whatsapp=limits, limits=UNLIMITED):
        for burst in range(0, len(built), 9):
            some = built[burst : burst + 9]
            await asyncio.gather(*(emu.deliveries.deliver(payload) for payload in some + some[:3]))
        await world.sent(3 + len(texts), timeout_seconds=20)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    assert_one_at_a_time(emu, people)
    assert_nothing_was_overtaken(world)
    for who in people:
        assert sorted(emu.sends(who))[:12] == [f"answer to: {who.name} says {n:02}" for n in range(12)]
        began = [entry.began_at for entry in emu.log.of("graph.send", who.ids, since=before)]
        for first, last in itertools.combinations(range(len(began)), 2):
            assert last - first < 3 + (began[last] - began[first]) / 0.1 + 0.5
