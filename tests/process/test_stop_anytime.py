"""SIGTERM at any moment, once or again and again: exit code 0 in time, nothing spent, nothing left half done."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from bot.emulator import Emulator, StatusPlan
from tests.process.harness import Bot, Process, until
from tests.process.rig import assert_answered_once_in_order

SLOW_MIGRATION = (sys.executable, str(Path(__file__).with_name("slow_migration.py")), "run")
GRACE_SECONDS = 5.0  # that a stop may take beyond queue.drain_seconds
STOPS = int(os.environ.get("STOPS", "3"))  # more of them look longer


async def ends_under_fire(process: Process) -> int:
    """Send one SIGTERM after the other until the process has ended; return its exit code."""
    while process.running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)  # asyncio's own looks whether it ended, and takes its exit code away
        await asyncio.sleep(0.002)
    return await process.ended()


async def _in_a_migration(bot: Bot, env: dict[str, str]) -> Process:
    """Start a daemon whose newest migration takes its time, and wait until that is under way."""
    process = await bot.launch(*SLOW_MIGRATION, env=env)
    await until(Path(env["MIGRATING"]).exists, seconds=20)
    return process


@pytest.mark.parametrize("module", ["click", "pydantic", "bot.config", "bot.cli", "aiohttp", "bot.daemon"])
async def test_sigterm_while_the_code_is_loaded(bot: Bot, module: str) -> None:
    """The first half second of a start: nothing is begun yet, and a service manager sees no failure."""
    process = await bot.launch(sys.executable, "-X", "importtime", "-m", "bot", "run")
    await until(lambda: any(line.rpartition("|")[2].strip() == module for line in process.lines), seconds=20)
    assert await process.stop(seconds=GRACE_SECONDS) == 0
    assert "Traceback" not in process.output


async def test_sigterm_before_a_command_that_is_no_daemon_is_loaded_counts_as_a_failure(bot: Bot) -> None:
    """Whoever ended `bot retry` must not take it for done."""
    process = await bot.launch(sys.executable, "-X", "importtime", "-m", "bot", "retry", "--all")
    await until(lambda: any(line.rpartition("|")[2].strip() == "click" for line in process.lines), seconds=20)
    assert await process.stop() == -signal.SIGTERM


@pytest.mark.parametrize("when", ["starting", "idle", "answering"])
async def test_one_sigterm_after_the_other_until_the_end(bot: Bot, emu: Emulator, when: str) -> None:
    """To the very last moment of the process, a further one changes nothing."""
    emu.settings.model_delay_seconds = 0.5
    if when == "starting":
        process = await bot.launch()
        await until(lambda: bot.database.exists(), seconds=20)
    else:
        process = await bot.start()
    if when == "answering":
        await emu.say("34600111222", "hola")
        await emu.wait_for(lambda: emu.log.of("model"))
    assert await ends_under_fire(process) == 0
    assert "Traceback" not in process.output
    assert emu.sends() == (["answer to: hola"] if when == "answering" else [])


async def test_sigterm_during_a_migration_leaves_the_file_whole(bot: Bot, tmp_path: Path) -> None:
    """A migration runs to its end, which is when the signal counts; the next start finds it done, or undone."""
    env = {"MIGRATING": str(tmp_path / "migrating")}
    process = await _in_a_migration(bot, env)
    assert await process.stop(seconds=10 + GRACE_SECONDS) == 0
    assert "Traceback" not in process.output
    assert bot.sql("PRAGMA user_version") == [(9999,)]
    assert bot.sql("PRAGMA integrity_check") == [("ok",)]
    assert await (await bot.start(*SLOW_MIGRATION, env=env)).stop() == 0


async def test_a_kill_during_a_migration_leaves_the_file_as_it_was(bot: Bot, tmp_path: Path) -> None:
    """Its transaction never happened; the next start does it again."""
    await (await bot.start()).stop()
    version = bot.sql("PRAGMA user_version")
    env = {"MIGRATING": str(tmp_path / "migrating")}
    process = await _in_a_migration(bot, env)
    await process.kill()
    assert bot.sql("PRAGMA user_version") == version
    assert await (await bot.start(*SLOW_MIGRATION, env=env)).stop() == 0
    assert bot.sql("PRAGMA user_version") == [(9999,)]


async def test_stops_under_load_spend_nothing_and_blame_nobody(bot: Bot, emu: Emulator) -> None:
    """Again and again while people write and sends are cut: no attempt, no crash, each answer once and in order."""
    dice, drain = random.Random(STOPS), 0.1
    # A status that comes after confirm_seconds is none: they come once it is ready, on a busy machine seconds later.
    bot.configure(queue={"drain_seconds": drain}, whatsapp={"confirm_seconds": 10.0})
    emu.settings.model_delay_seconds = 0.2  # longer than the drain: some are cut off
    emu.settings.statuses = StatusPlan(("sent", "delivered"), (0.02, 0.05), shuffled=True)
    emu.faults.add("cut", times=0, probability=0.05, after=True)
    people = [f"3460077700{n}" for n in range(4)]
    said = {who: [f"{who} asks {n}" for n in range(5 * STOPS)] for who in people}
    writing = asyncio.gather(*(emu.burst(who, texts) for who, texts in said.items()))
    for _ in range(STOPS):
        process = await bot.start()
        enough = len(emu.log.of("graph.send")) + dice.randint(2, 16)
        await emu.wait_for(lambda enough=enough: len(emu.log.of("graph.send")) >= enough, timeout=30)
        began = time.monotonic()
        assert await process.stop() == 0
        assert time.monotonic() - began < drain + GRACE_SECONDS
        assert bot.sql("SELECT count(*) FROM outbox WHERE state = 'leased'") == [(0,)]
        assert bot.sql("SELECT sum(attempts), sum(crashes) FROM outbox") == [(0, 0)]
    await bot.start()
    await writing
    await until(lambda: not bot.waiting(), seconds=30)
    assert_answered_once_in_order(emu, said)
