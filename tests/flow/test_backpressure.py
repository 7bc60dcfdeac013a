"""Floods and loops cost the others nothing: a person takes one slot, and two bots are stopped by [limits]."""

import asyncio
import contextlib

from bot.emulator import Customer
from tests.flow.conftest import World

UNLIMITED = {"answers_per_user_per_hour": 0, "answers_per_user_per_day": 0}


async def talk_back(world: World, who: Customer) -> None:
    """Be a bot: answer every answer at once, for ever."""
    heard = 0
    await world.emu.say(who, "hello, I am a bot")
    while True:
        await world.emu.wait_for(lambda heard=heard: len(world.emu.sends(who)) > heard, timeout=60)
        heard += 1
        await world.emu.say(who, f"you said {heard} things")


async def test_two_bots_that_answer_each_other_are_stopped_and_the_owner_is_told(world: World) -> None:
    """After answers_per_user_per_hour; it is logged, shown as paused with the reason, and nobody else notices."""
    async with world.running(limits={"answers_per_user_per_hour": 8}, queue={"concurrency": 1}):
        bot = asyncio.create_task(talk_back(world, world.ana))
        await world.eventually(lambda: world.rows("SELECT 1 FROM users WHERE paused_by = 'limit_per_hour'"))
        (line,) = world.logged("turn", error="limit_per_hour")
        _, shown = await world.get("/api/users/u1")
        await world.emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
        bot.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bot
    assert line["log_level"] == "warning"
    assert (shown["user"]["state"], shown["user"]["paused_by"]) == ("paused", "limit_per_hour")
    assert len(world.emu.sends(world.ana)) == len(world.emu.log.of("model", world.ana.ids)) == 8
    assert world.rows("SELECT count(*) FROM outbox WHERE user_id = 1 AND state = 'pending'") == [(1,)]


async def test_a_flood_costs_the_others_nothing(world: World) -> None:
    """Who floods takes one slot of several: another's question is asked before the flood's next but one."""
    emu = world.emu
    emu.settings.model_delay_seconds = 0.02
    async with world.running(queue={"concurrency": 2, "max_depth_per_user": 100}, limits=UNLIMITED):
        flood = asyncio.create_task(emu.burst(world.ana, [f"flood {n}" for n in range(150)]))
        await world.asked(3)
        for n in range(5):
            await emu.say(world.bea, f"question {n}")
            stored = len(emu.log.of("model", world.ana.ids))
            await world.sent(n + 1, world.bea)
            (asked,) = [entry for entry in emu.log.of("model") if entry.text.endswith(f"question {n}")]
            between = [e for e in emu.log.of("model", world.ana.ids)[stored:] if e.number < asked.number]
            assert len(between) <= 1
        await flood
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)], timeout_seconds=30)
    states = dict(world.rows("SELECT coalesce(error, state), count(*) FROM outbox WHERE user_id = 1 GROUP BY 1"))
    assert states["done"] >= 100
    assert sum(states.values()) == 150
    assert set(states) <= {"done", "over_limit"}
