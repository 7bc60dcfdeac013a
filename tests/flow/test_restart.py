"""Stopping and starting again: nothing is lost, nothing is spent, and what came meanwhile is answered."""

import asyncio
import time
from typing import Any

import pytest

from bot.daemon import Daemon
from bot.emulator import StatusPlan
from bot.errors import StartError
from bot.store.store import Store
from tests.flow.conftest import World


async def stop(world: World, running: Any) -> float:
    """Leave `running()`, as SIGTERM does; give the seconds that took."""
    began = time.monotonic()
    await running.__aexit__(None, None, None)
    return time.monotonic() - began


async def test_a_slow_turn_is_given_back_when_the_drain_is_over(world: World) -> None:
    """Exit within drain_seconds; the row is pending, no attempt and no crash is counted; the next start answers it."""
    emu = world.emu
    emu.faults.add("hang", service="model")
    running = world.running(queue={"drain_seconds": 0.3}, openai={"timeout_seconds": 30.0})
    await running.__aenter__()
    await emu.say(world.ana, "hi")
    await world.asked(1)
    assert 0.3 <= await stop(world, running) < 1.5
    assert world.rows("SELECT state, attempts, crashes, leased_at FROM outbox") == [("pending", 0, 0, None)]
    async with world.running():
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")


async def test_a_turn_that_ends_within_the_drain_is_finished(world: World) -> None:
    """It is answered, the user's next message waits for the next start, and the stop is no longer than the turn."""
    emu = world.emu
    emu.settings.model_delay_seconds = 0.3
    running = world.running(queue={"drain_seconds": 10})
    await running.__aenter__()
    await emu.batch([(world.ana, "one"), (world.ana, "two")])
    await world.asked(1)
    assert await stop(world, running) < 3
    assert emu.sends() == ["answer to: one"]
    assert world.rows("SELECT state, attempts FROM outbox") == [("done", 0), ("pending", 0)]
    async with world.running():
        assert await world.sent(2) == ["answer to: one", "answer to: two"]


async def test_webhooks_are_taken_and_statuses_settle_sends_while_it_drains(world: World) -> None:
    """The public listener stays open until the turns ended; /readyz says that it stops."""
    emu = world.emu
    emu.settings.model_delay_seconds = 0.4
    running = world.running(queue={"drain_seconds": 5})
    bot = await running.__aenter__()
    await emu.say(world.ana, "hi")
    await world.asked(1)
    stopping = asyncio.create_task(stop(world, running))
    await world.eventually(lambda: bot.reasons)
    assert await world.get("/readyz") == (503, {"ready": False, "reasons": ["stopping"]})
    await emu.say(world.bea, "hello")
    await stopping
    assert emu.sends() == ["answer to: hi"]
    assert world.rows("SELECT state FROM outbox") == [("done",), ("pending",)]
    async with world.running():
        await world.sent(2)
        await world.settled("done", "done")


async def test_a_send_under_way_when_the_drain_ends_is_in_doubt_not_lost(world: World) -> None:
    """It had gone out; the next start learns so from its status and sends nothing again."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(("sent",), (0.6,))  # when nobody listens any more: Meta delivers it again
    emu.faults.add("slow", after=True, seconds=5)
    running = world.running(queue={"drain_seconds": 0.2})
    await running.__aenter__()
    await emu.say(world.ana, "hi")
    await world.sent(1)
    await stop(world, running)
    assert world.rows("SELECT state, attempts FROM outbox") == [("pending", 0)]
    assert world.rows("SELECT state FROM replies") == [("sending",)]
    assert [line["outcome"] for line in world.logged("send")] == ["interrupted"]
    async with world.running(whatsapp={"confirm_seconds": 5}):
        await world.settled("done")
    assert emu.sends() == ["answer to: hi"]


async def test_what_a_dead_process_left_leased_is_answered_after_the_start(world: World) -> None:
    """A crash is counted, an attempt is not."""
    async with world.running():
        await world.post("/api/pause")
        await world.emu.batch([(world.ana, "one"), (world.ana, "two")])
    world.write("UPDATE control SET paused_at = NULL")
    stamp = "2026-01-01T00:00:00.000Z"
    world.write("UPDATE outbox SET state = 'leased', leased_at = ?, begun_at = ? WHERE id = 1", stamp, stamp)
    async with world.running():
        assert await world.sent(2) == ["answer to: one", "answer to: two"]
        await world.settled("done", "done")
    assert world.rows("SELECT attempts, crashes FROM outbox WHERE id = 1") == [(0, 1)]


async def test_a_message_that_keeps_killing_the_daemon_is_set_aside_with_an_apology(world: World) -> None:
    """At max_attempts crashes; the user's next message is answered."""
    async with world.running():
        await world.post("/api/pause")
        await world.emu.batch([(world.ana, "poison"), (world.ana, "harmless")])
    world.write("UPDATE control SET paused_at = NULL")
    world.write("UPDATE outbox SET crashes = 3 WHERE id = 1")
    async with world.running(queue={"max_attempts": 3}):
        await world.sent(2)
        await world.settled("failed", "done")
    assert "died" in world.rows("SELECT error FROM outbox WHERE id = 1")[0][0]
    assert len(world.emu.log.of("model")) == 1


async def test_what_was_delivered_to_nobody_is_delivered_again_and_answered(world: World) -> None:
    """Meta tries again while we are down; everything is answered in order once we are back."""
    emu = world.emu
    async with world.running():
        await emu.say(world.ana, "one")
        await world.sent(1)
    late = [
        asyncio.create_task(emu.say(world.ana, text, timestamp=int(time.time()) + n))
        for n, text in enumerate(("two", "three"), 1)
    ]
    await emu.wait_for(lambda: len([e for e in emu.log.of("webhook") if e.status == 0 and e.ended_at]) >= 2)
    async with world.running():
        emu.deliveries.hurry()
        await asyncio.gather(*late)
        await world.sent(3)
    assert sorted(emu.sends()) == sorted(f"answer to: {text}" for text in ("one", "two", "three"))


async def test_a_second_daemon_on_the_file_is_refused_and_touches_nothing(world: World) -> None:
    """The first goes on."""
    async with world.running():
        first = world.bot
        with pytest.raises(StartError, match="another bot"):
            async with Daemon(world.config()).running():
                pass
        assert world.bot is first
        await world.emu.say(world.ana, "hi")
        await world.sent(1)


async def test_starting_and_stopping_leaves_nothing_behind(world: World) -> None:
    """No task, and the file can be opened by the next one at once."""
    before = asyncio.all_tasks()
    for _ in range(3):
        async with world.running():
            pass
    assert asyncio.all_tasks() - before == set()


async def test_a_row_edited_into_nonsense_fails_alone_and_can_be_mended(world: World) -> None:
    """It shows among the failures; what was being answered is stored, and a retry answers it once it is mended."""
    emu, answering = world.emu, asyncio.Event()

    async def hold(_: Any) -> str:
        await answering.wait()
        return "well"

    emu.model.responder = hold
    async with world.running(queue={"concurrency": 1}):
        await emu.say(world.bea, "hello")
        await world.asked(1)
        await emu.say(world.ana, "hi")
        world.write("UPDATE users SET last_message_at = 'yesterday' WHERE phone = ?", world.ana.wa_id)
        answering.set()
        await world.sent(1, world.bea)
        await world.settled("done", "failed")
        world.write("UPDATE users SET last_message_at = '2999-01-01T00:00:00.000Z'")
        assert await world.post("/api/failures/retry") == (200, {"retried": 1})
        assert await world.sent(1, world.ana) == ["well"]
        await world.settled("done", "done")


async def test_a_drain_that_ends_in_the_middle_of_a_claim_gives_back_what_it_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row stays leased, so the next start blames nobody."""
    claiming, claim = asyncio.Event(), Store.claim

    async def slowly(store: Store, free: int) -> Any:
        claimed = await claim(store, free)
        if claimed[0]:
            claiming.set()
            await world.eventually(lambda: world.logged("draining"))  # the commit takes its time
        return claimed

    monkeypatch.setattr(Store, "claim", slowly)
    async with world.running(queue={"drain_seconds": 0.0}):
        await world.emu.say(world.ana, "hi")
        await asyncio.wait_for(claiming.wait(), 5)
    assert world.rows("SELECT state, attempts, crashes FROM outbox") == [("pending", 0, 0)]
