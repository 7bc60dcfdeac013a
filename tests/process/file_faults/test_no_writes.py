"""The disk takes no writes (full, over quota, read-only, broken): 503, said once, healed by itself, nothing twice."""

import asyncio

import pytest

from bot.emulator import Emulator, StatusPlan
from bot.store.copies import back_up
from bot.store.migrate import migrate
from tests.clock import START
from tests.process.failing_disk import REASONS, FailingDisk
from tests.process.file_faults.judge import (
    LONG,
    STORY,
    assert_200_or_503,
    assert_said_once,
    healed,
    messages_posted,
    reason_not_ready,
)
from tests.process.file_faults.small_disk import SmallDisk
from tests.process.harness import Bot, until
from tests.process.rig import assert_answered_once_in_order

ANA, LUIS = "34600111222", "34600333444"
LOOKS = 2  # a second each: the daemon has tried again so often, and found the disk as it was


async def test_nothing_is_acknowledged_or_sent_until_the_disk_takes_writes_again(
    bot: Bot, emu: Emulator, failing: FailingDisk
) -> None:
    """503 with Retry-After, a reason on /readyz that doesn't come and go, one line in the log; then it goes on."""
    emu.settings.statuses = StatusPlan(())
    emu.settings.model_delay_seconds = 0.3
    process = await bot.start(env=failing.env)
    said: dict[str, list[str]] = {ANA: [], LUIS: []}
    for reason, (error, calls) in REASONS.items():
        asked, sent = len(emu.log.of("model")), len(emu.sends())
        await emu.say(ANA, f"before: {reason}")
        await emu.wait_for(lambda asked=asked: len(emu.log.of("model")) > asked)
        failing.fail(error, *calls)
        posted = len(messages_posted(emu))
        during = [asyncio.create_task(emu.say(who, f"during: {reason}")) for who in said]
        await _stays_refused(bot, emu, failing)
        assert len(emu.sends()) == sent, "an answer goes out after its plan is on disk"
        assert len(emu.log.of("model")) == asked + 1
        assert {post.status for post in messages_posted(emu)[posted:]} == {503}
        failing.mend()
        await healed(bot, emu)
        await asyncio.gather(*during)
        await until(lambda: not bot.waiting())
        assert len(emu.log.of("model")) == asked + 3, "an answer that came meanwhile is not asked for again"
        said[ANA].append(f"before: {reason}")
        for texts in said.values():
            texts.append(f"during: {reason}")
    assert_answered_once_in_order(emu, said)
    assert_200_or_503(emu)
    assert_said_once(process, times=len(REASONS))
    assert await process.stop() == 0


async def _stays_refused(bot: Bot, emu: Emulator, failing: FailingDisk) -> None:
    """See that the daemon goes on trying, finds the disk as it was, and says so at every moment."""
    said = await reason_not_ready(bot)
    assert said.startswith("the file can't be written: ")
    assert "full" in said or "disk I/O error" in said
    await emu.wait_for(lambda: all(asked.ended_at for asked in emu.log.of("model")))
    for _ in range(LOOKS):  # by then a look that writes nothing would have taken the file for healed
        known = failing.failed()
        await until(lambda known=known: failing.failed() >= known + 6)
        assert await reason_not_ready(bot, seconds=0) == said


@pytest.mark.parametrize(("reason", "killed"), [("full", False), ("sync error", True)])
async def test_a_send_that_the_full_disk_kept_from_being_recorded_is_not_repeated(
    bot: Bot, emu: Emulator, failing: FailingDisk, reason: str, killed: bool
) -> None:
    """Its wamid is kept in memory until there is room; after a kill its status, refused till then, tells it."""
    emu.settings.statuses = StatusPlan(("sent",), (0.1,))
    emu.faults.add("slow", seconds=0.4, after=True)
    process = await bot.start(env=failing.env)
    await emu.say(ANA, "one")
    await emu.wait_for(emu.sends)
    error, calls = REASONS[reason]
    failing.fail(error, *calls)
    during = asyncio.create_task(emu.say(ANA, "two"))
    await process.logged("turn", outcome="done")
    await reason_not_ready(bot)
    if killed:
        await process.kill()
        failing.mend()
        process = await bot.start(env=failing.env)
    failing.mend()
    await healed(bot, emu)
    await during
    await until(lambda: not bot.waiting(), seconds=10)
    assert_answered_once_in_order(emu, {ANA: ["one", "two"]})
    assert len(emu.log.of("graph.send")) == 2
    assert len(emu.log.of("model")) == 2
    states = [("sent", "sent", None)] * 2
    await until(lambda: bot.sql("SELECT state, delivery, duplicates FROM replies") == states)
    assert await process.stop() == 0


async def test_a_tmpfs_that_is_full(bot: Bot, emu: Emulator, small: SmallDisk) -> None:
    """A real one: the last rooms of it are used, then 503; with room it goes on. A start without room says so."""
    emu.settings.statuses = StatusPlan(())
    process = await bot.start(env=small.env)
    await emu.say(ANA, "before")
    await until(lambda: not bot.waiting())
    small.fill()
    during = [asyncio.create_task(emu.say(LUIS, f"{n} {STORY}")) for n in range(12)]
    reason = await reason_not_ready(bot)
    assert "full" in reason or "disk I/O error" in reason
    await emu.wait_for(lambda: 503 in {post.status for post in messages_posted(emu)})
    assert_200_or_503(emu)
    await process.kill()
    small.fill()
    process = await bot.launch(env=small.env)
    # The WAL that it copies into the file at its start leaves room for a while, if the file didn't have to grow for it.
    await until(lambda: not process.running or "store can't write" in process.output, seconds=15)
    small.free()
    if not process.running:
        assert await process.ended() == 1
        assert process.lines[-1].startswith(f"{bot.database} can't be used as the database: ")
        assert "Traceback" not in process.output
        process = await bot.start(env=small.env)
    await process.logged("ready")
    await healed(bot, emu)
    await asyncio.gather(*during)
    await until(lambda: not bot.waiting(), seconds=10)
    assert sorted(emu.sends(LUIS)) == sorted(f"answer to: {n} {STORY}" for n in range(12))
    assert emu.sends(ANA) == ["answer to: before"]
    assert await process.stop() == 0


@pytest.mark.parametrize("new", [True, False] if LONG else [False])
async def test_a_start_on_a_disk_that_takes_nothing(bot: Bot, emu: Emulator, failing: FailingDisk, new: bool) -> None:
    """One sentence and exit code 1, or it waits for the disk and says so; webhooks come when there is room."""
    said: dict[str, list[str]] = {ANA: []}
    if not new:
        process = await bot.start()
        await emu.say(ANA, "before")
        said[ANA].append("before")
        await process.kill()
    for error, calls in REASONS.values():
        failing.fail(error, *calls)
        process = await bot.launch(env=failing.env)
        await until(lambda one=process: not one.running or "store can't write" in one.output, seconds=15)
        if process.running:
            await process.kill()
        else:
            assert await process.ended() == 1
            assert len(process.lines) == 1
            sentences = ("can't be used as the database: ", "failed, nothing was changed: ")
            assert any(sentence in process.lines[0] for sentence in sentences)
    failing.mend()
    await bot.start(env=failing.env)
    await emu.say(ANA, "after")
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: [*said[ANA], "after"]})


async def test_a_copy_that_finds_no_room_says_so(bot: Bot, small: SmallDisk) -> None:
    """Made or put back: in a sentence, with nothing left behind that takes room, too."""
    migrate(bot.database, START)
    back_up(bot.database, bot.folder / "copy.db")
    bot.sql("PRAGMA journal_mode = DELETE")  # no -shm: it's the copy that finds no room
    before = bot.database.stat().st_ino
    small.fill()
    for command in ("backup", "another.db"), ("restore", "copy.db"):
        ended = await bot.command(*command, env=small.env)
        assert (ended.code, "the disk is full, make room" in ended.err) == (1, True), ended
    assert bot.database.stat().st_ino == before
    assert list(bot.folder.glob("*part*")) == list(bot.folder.glob("another.db")) == []
