"""The wall clock is set by an hour, or is off by one: no storm, no stall, no loss, no early expiry."""

import time
from collections import Counter
from pathlib import Path

import pytest

from bot.emulator import Emulator, StatusPlan
from tests.process.harness import Bot, Process, until
from tests.process.shifted_clock import WallClock

ANA, LUIS, EVA = "34600111222", "34600333444", "34600555666"
HOUR = 3600.0


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    """Give a wall clock that is right so far."""
    return WallClock(tmp_path)


async def start(bot: Bot, wall: WallClock) -> Process:
    """Start the daemon on a machine with this clock."""
    return await bot.start(*wall.argv, env=wall.env)


def hours_ago(hours: float) -> int:
    """Give a timestamp as WhatsApp writes it; its clock is right."""
    return int(time.time() - hours * HOUR)


def assert_once(emu: Emulator, *texts: str) -> None:
    """Each question was put to the model once, and each has one answer."""
    assert Counter(entry.text for entry in emu.log.of("model")) == Counter(texts)
    assert Counter(emu.sends()) == Counter(f"answer to: {text}" for text in texts)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_step_while_it_runs_changes_nothing(bot: Bot, emu: Emulator, wall: WallClock, step: float) -> None:
    """Neither waits, nor the limit of sends to one person, nor the age of a question of 23 hours and a half."""
    bot.configure(
        queue={"backoff_base_seconds": 1.0, "backoff_max_seconds": 1.0},
        whatsapp={"pair_interval_seconds": 1.0, "pair_burst": 1},
    )
    await start(bot, wall)
    emu.faults.add("error", service="model", status=500, contains="busy")
    await emu.batch([(LUIS, "one"), (LUIS, "two"), (EVA, "busy")])
    await until(lambda: bot.sql("SELECT 1 FROM outbox WHERE attempts = 1"))
    began = time.monotonic()
    wall.step(step)
    await emu.say(ANA, "old", timestamp=hours_ago(23.5))
    await until(lambda: not bot.waiting(), seconds=10)
    assert time.monotonic() - began < 8
    assert emu.sends(LUIS) == ["answer to: one", "answer to: two"]
    first, second = (entry.began_at for entry in emu.log.of("graph.send", LUIS))
    assert second - first >= 0.95, "a step must not hurry what has to wait"
    assert sorted(emu.sends()) == sorted(f"answer to: {text}" for text in ("one", "two", "busy", "old"))
    assert set(bot.states().values()) == {"done"}


@pytest.mark.parametrize(("step", "killed"), [(HOUR, False), (-HOUR, True)])
async def test_a_step_across_a_restart_changes_nothing(
    bot: Bot, emu: Emulator, wall: WallClock, step: float, killed: bool
) -> None:
    """What waited, was being answered or was just served is answered within seconds of the start, once."""
    bot.configure(
        queue={"drain_seconds": 0.2}, whatsapp={"pair_interval_seconds": 0.5, "pair_burst": 2, "confirm_seconds": 1.0}
    )
    emu.faults.add("hang", service="model", contains="thinking")
    process = await start(bot, wall)
    await emu.say(LUIS, "served")
    await emu.wait_for(emu.sends)
    await emu.batch([(LUIS, "thinking"), (LUIS, "next"), (EVA, "thinking too")])
    await emu.wait_for(lambda: len(emu.log.of("model")) == 3)
    if killed:
        await process.kill()
    else:
        assert await process.stop() == 0
    emu.faults.clear()
    wall.step(step)
    await start(bot, wall)
    await emu.say(EVA, "later")
    await until(lambda: not bot.waiting(), seconds=10)
    assert emu.sends(LUIS) == [f"answer to: {text}" for text in ("served", "thinking", "next")]
    assert emu.sends(EVA) == [f"answer to: {text}" for text in ("thinking too", "later")]
    assert set(bot.states().values()) == {"done"}


@pytest.mark.parametrize(("step", "went_out"), [(HOUR, True), (-HOUR, False)])
async def test_a_send_in_doubt_is_settled_across_a_step(
    bot: Bot, emu: Emulator, wall: WallClock, step: float, went_out: bool
) -> None:
    """An hour's step looks like an hour's deafness, whichever way it goes: its status is waited for, and no longer."""
    bot.configure(whatsapp={"confirm_after_downtime_seconds": 2.0})
    emu.settings.statuses = StatusPlan(("sent",), (0.5,))  # later than the kill
    emu.faults.add("hang", after=went_out)
    process = await start(bot, wall)
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: emu.log.of("graph.send"))
    await process.kill()
    wall.step(step)
    restarted = time.monotonic()
    await start(bot, wall)
    await until(lambda: not bot.waiting(), seconds=10)
    assert emu.sends() == ["answer to: hola"]
    assert len(emu.log.of("graph.send")) == (1 if went_out else 2)
    if not went_out:
        assert emu.log.of("graph.send")[-1].began_at - restarted >= 2.0
    assert bot.sql("SELECT state, attempts FROM outbox") == [("done", 0)]


async def test_a_clock_that_is_slow_by_an_hour_loses_and_expires_nothing_early(
    bot: Bot, emu: Emulator, wall: WallClock
) -> None:
    """Every timestamp of WhatsApp's lies in its future then: order, statuses and ages are right all the same."""
    emu.settings.statuses = StatusPlan(("sent", "delivered", "read"), (0.1,))
    emu.faults.add("cut", after=True, contains="two")
    wall.step(-HOUR)
    process = await start(bot, wall)
    await bot.command("pause", "--all")
    for n, text in enumerate(("one", "two", "three")):
        await emu.say(ANA, text, timestamp=hours_ago(0) - 3 + n)
    await emu.say(LUIS, "old", timestamp=hours_ago(23.9))
    await bot.command("resume", "--all")
    await until(lambda: not bot.waiting(), seconds=10)
    assert emu.sends(ANA) == [f"answer to: {text}" for text in ("one", "two", "three")]
    assert_once(emu, "one", "two", "three", "old")
    await until(lambda: bot.sql("SELECT DISTINCT delivery FROM replies") == [("read",)])
    await emu.say(LUIS, "too old", timestamp=hours_ago(26))
    await until(lambda: not bot.waiting())
    # WhatsApp is to say what is too old, while our clock is wrong.
    assert bot.sql("SELECT state, error FROM outbox WHERE body = 'too old'") == [("done", None)]
    assert (await process.logged("this machine's clock is behind"))["seconds"] in range(3595, 3606)
