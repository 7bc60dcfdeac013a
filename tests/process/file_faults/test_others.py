"""Other programs at the file: a lock that is held, a reader that doesn't end, copies taken beside the daemon."""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from bot.emulator import Emulator, StatusPlan
from tests.process.file_faults.judge import (
    LONG,
    STORY,
    assert_200_or_503,
    assert_said_once,
    healed,
    messages_posted,
    reason_not_ready,
)
from tests.process.harness import POLL_SECONDS, Bot, until, write_lock
from tests.process.rig import assert_answered_once_in_order

LOCK_SECONDS = 60.0 if LONG else 6.0
PATIENCE_SECONDS = 5.0  # that a webhook has with a lock
PEOPLE = [f"346007770{n:02}" for n in range(8)]
AUTOCHECKPOINT_BYTES = 4000 * 4096


async def test_a_lock_that_somebody_holds_in_the_middle_of_sends(bot: Bot, emu: Emulator) -> None:
    """Webhooks get 503 after 5 s, nothing new is asked or sent, readers go on; then each message is answered once."""
    emu.settings.statuses = StatusPlan(("sent",), (0.2,))
    emu.settings.model_delay_seconds = 0.1
    emu.settings.delivery_timeout_seconds = 2 * PATIENCE_SECONDS
    process = await bot.start()
    said = {who: ["one", "two"] for who in PEOPLE}
    for who in PEOPLE:
        await emu.burst(who, said[who])
    await emu.wait_for(lambda: len(emu.sends()) >= 3)
    with write_lock(bot):
        locked_at = time.monotonic()
        during = [asyncio.create_task(emu.say(who, "three")) for who in PEOPLE]
        await reason_not_ready(bot)
        # What was under way ends; from then on there is silence.
        await emu.wait_for(lambda: all(call.ended_at for call in emu.log.of("model") + emu.log.of("graph")))
        calls = len(emu.log.of("model")), len(emu.log.of("graph.send"))
        await emu.wait_for(
            lambda: [post for post in messages_posted(emu) if post.status == 503], timeout=2 * PATIENCE_SECONDS
        )
        refused = next(post for post in messages_posted(emu) if post.status == 503)
        assert PATIENCE_SECONDS - 0.5 < (refused.ended_at or 0) - refused.began_at < PATIENCE_SECONDS + 2
        while time.monotonic() - locked_at < LOCK_SECONDS:
            assert "another program holds the file's write lock" in await reason_not_ready(bot, seconds=0)
            await asyncio.sleep(POLL_SECONDS)
        assert (len(emu.log.of("model")), len(emu.log.of("graph.send"))) == calls
    await healed(bot, emu)
    await asyncio.gather(*during)
    await until(lambda: not bot.waiting(), seconds=10)
    for texts in said.values():
        texts.append("three")
    assert_answered_once_in_order(emu, said)
    assert len(emu.log.of("model")) == sum(map(len, said.values()))
    assert_200_or_503(emu)
    assert_said_once(process)
    assert await process.stop() == 0


async def test_a_reader_that_holds_the_wal_back_delays_nobody(bot: Bot, emu: Emulator) -> None:
    """The WAL grows past where it is copied into the file, work goes on; when the reader ends it stops growing."""
    emu.settings.statuses = StatusPlan(())
    process = await bot.start()
    wal = bot.database.with_name("bot.db-wal")
    rounds = 0

    async def talk() -> None:
        nonlocal rounds
        rounds += 1
        await asyncio.gather(*(emu.say(who, f"{rounds} {STORY}") for who in PEOPLE))
        await until(lambda: not bot.waiting())

    await talk()
    with contextlib.closing(sqlite3.connect(bot.database, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        seen = reading.execute("SELECT count(*) FROM outbox").fetchone()
        while wal.stat().st_size < 1.5 * AUTOCHECKPOINT_BYTES:
            await talk()
        assert reading.execute("SELECT count(*) FROM outbox").fetchone() == seen
        held_back = bot.database.stat().st_size
    await talk()  # its commits copy all, the next one begins the WAL anew
    grown = wal.stat().st_size
    for _ in range(3):
        await talk()
    assert wal.stat().st_size == grown
    assert bot.database.stat().st_size > held_back, "what the reader's moment hid is in the file now"
    assert_answered_once_in_order(emu, {who: [f"{n + 1} {STORY}" for n in range(rounds)] for who in PEOPLE})
    assert [event for event in process.events if event["level"] != "info"] == []
    assert await process.stop() == 0


@pytest.mark.parametrize("way", ["backup", "vacuum", "cp"] if LONG else ["backup"])
async def test_a_copy_taken_beside_the_daemon_harms_nothing(bot: Bot, emu: Emulator, way: str) -> None:
    """Under load. SQLite's own ways copy all that was acknowledged by then, cp only what was checkpointed."""
    process = await bot.start()
    said: dict[str, list[str]] = {who: [] for who in PEOPLE}

    async def write(who: str, texts: list[str]) -> None:
        for number in range(10):
            texts.append(f"{number} of {who}")
            await emu.say(who, texts[-1])

    writing = [asyncio.create_task(write(who, texts)) for who, texts in said.items()]
    await emu.wait_for(lambda: len(emu.sends()) >= 20)
    acknowledged = {post.wamid for post in messages_posted(emu) if post.status == 200}
    copy = bot.folder / "copy.db"
    await asyncio.to_thread(_copy, bot, copy, way)
    await asyncio.gather(*writing)
    await until(lambda: not bot.waiting(), seconds=10)
    assert_answered_once_in_order(emu, said)
    assert {post.status for post in emu.log.of("webhook") if post.ended_at} == {200}
    assert [event for event in process.events if event["level"] != "info"] == []
    with contextlib.closing(sqlite3.connect(copy)) as opened:
        if way == "cp":
            assert opened.execute("SELECT count(*) FROM outbox").fetchone() == (0,), "all stood in the WAL"
        else:
            assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert acknowledged <= {wamid for (wamid,) in opened.execute("SELECT wamid FROM outbox")}
    assert await process.stop() == 0
    assert bot.sql("PRAGMA integrity_check") == [("ok",)]


def _copy(bot: Bot, copy: object, way: str) -> None:
    """Copy the file as another program does."""
    if way == "cp":
        subprocess.run([shutil.which("cp") or "cp", bot.database, str(copy)], check=True)
        return
    work = {"backup": "db.backup(sqlite3.connect(argv[2]))", "vacuum": "db.execute('VACUUM INTO ?', [argv[2]])"}[way]
    program = f"import sqlite3; from sys import argv; db = sqlite3.connect(argv[1], timeout=5); {work}"
    subprocess.run([sys.executable, "-c", program, str(bot.database), str(copy)], check=True)
