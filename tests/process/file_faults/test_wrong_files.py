"""The file is gone, cut short, empty or damaged: nothing is acknowledged that won't be there, one sentence says why.

A newer version's file, another program's and one that is no database: tests/process/test_refusals.py.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.emulator import Emulator
from tests.process.file_faults.judge import LONG, messages_posted
from tests.process.harness import Bot, Process, until
from tests.process.rig import assert_answered_once_in_order
from tests.process.test_refusals import refused

ANA, LUIS = "34600111222", "34600333444"
NOTICED_SECONDS = 5.0  # a look each second


async def ended_with(process: Process, *words: str) -> None:
    """See it end by itself, exit code 1, with one sentence at the very end, and no trace."""
    assert await process.ended(seconds=15) == 1
    assert "Traceback" not in process.output
    sentence = process.lines[-1]
    assert not sentence.startswith("{")
    for word in words:
        assert word in sentence
    errors = [event["event"] for event in process.events if event["level"] == "error"]
    assert len(errors) - errors.count("not answering") < 2  # the daemon's own watch may have seen it, too


@pytest.mark.parametrize("ending", ["-wal", "-shm"] if LONG else ["-wal"])
@pytest.mark.parametrize("watched", [False, True] if LONG else [True])
async def test_a_wal_that_somebody_deletes_ends_the_daemon_and_nothing_is_lost(
    bot: Bot, emu: Emulator, ending: str, watched: bool
) -> None:
    """What was acknowledged stood in the deleted file: it is copied into bot.db, and the next start goes on.

    Also while another program has the file open, and dies: then the daemon isn't the last one, who tidies up.
    """
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    bot.sql("UPDATE control SET paused_at = '2026-01-01T00:00:00.000Z'")
    await emu.say(ANA, "two")
    with contextlib.ExitStack() as stack:
        if watched:
            stack.enter_context(_looking_on(bot.database))
        Path(f"{bot.database}{ending}").unlink()
        await ended_with(process, f"bot.db{ending}", "start it again")
    bot.sql("UPDATE control SET paused_at = NULL")
    assert bot.states() == {"one": "done", "two": "pending"}
    await bot.start()
    await emu.say(LUIS, "three")
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one", "two"], LUIS: ["three"]})


@contextlib.contextmanager
def _looking_on(path: Path) -> Iterator[None]:
    """Have the file open in another process, which is killed at the end."""
    look = "db = sqlite3.connect(sys.argv[1]); print(*db.execute('PRAGMA user_version'), flush=True)"
    other = subprocess.Popen(
        [sys.executable, "-c", f"import sqlite3, sys; {look}; sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.kill()


async def test_no_200_leaves_for_a_wal_without_a_name(bot: Bot, emu: Emulator) -> None:
    """The webhook right after it was deleted gets 503, or nobody answers it: a power cut would leave nothing of it."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    Path(f"{bot.database}-wal").unlink()
    later = asyncio.create_task(emu.say(ANA, "two"))
    await emu.wait_for(lambda: messages_posted(emu)[1:])
    assert messages_posted(emu)[1].status in (503, 0)
    await ended_with(process, "bot.db-wal", "start it again")
    await bot.start()
    await later
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one", "two"]})


@pytest.mark.parametrize("how", ["moved", "replaced"] if LONG else ["replaced"])
async def test_a_database_that_somebody_moves_ends_the_daemon(bot: Bot, emu: Emulator, how: str) -> None:
    """It has all that was acknowledged, wherever it stands now; put back, the next start goes on."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    elsewhere = bot.folder / "elsewhere.db"
    bot.database.rename(elsewhere)
    if how == "replaced":
        shutil.copy(elsewhere, bot.database)
    await ended_with(process, "bot.db", "start it again")
    elsewhere.replace(bot.database)
    assert bot.states() == {"one": "done"}
    await bot.start()
    await emu.say(ANA, "two")
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one", "two"]})


@pytest.mark.parametrize("table", ["outbox", "replies"] if LONG else ["replies"])
async def test_a_damaged_page_ends_the_daemon_with_a_sentence(bot: Bot, emu: Emulator, table: str) -> None:
    """Found at the start or when it is first read: no 200 for what isn't stored, no tries for ever, no traces."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    assert await process.stop() == 0
    sound = bot.database.read_bytes()
    ((page,),) = bot.sql("SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    ((size,),) = bot.sql("PRAGMA page_size")
    with bot.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    process = await bot.launch()
    later = asyncio.create_task(emu.say(ANA, "two"))
    await ended_with(process, "bot.db is damaged", "malformed", "docs/sqlite.md")
    if later.done():  # it needed nothing of that page
        assert bot.states()["two"] in ("pending", "leased")
        return
    bot.database.write_bytes(sound)
    await bot.start()
    await later
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one", "two"]})


async def test_a_page_that_is_damaged_while_it_runs_ends_the_daemon(bot: Bot, emu: Emulator) -> None:
    """Another program writes into the file: what was acknowledged by then is answered or still there, nothing more."""
    process = await bot.start()
    for text in ("one", "two"):
        await emu.say(ANA, text)
    await until(lambda: not bot.waiting())
    with contextlib.closing(sqlite3.connect(bot.database)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sound = bot.database.read_bytes()
    bot.database.write_bytes(sound[:4096] + b"\xa5" * (len(sound) - 4096))
    later = asyncio.create_task(emu.say(LUIS, "three"))
    await ended_with(process, "bot.db is damaged", "docs/sqlite.md")
    assert not later.done()
    for leftover in bot.folder.glob("bot.db-*"):
        leftover.unlink()
    bot.database.write_bytes(sound)
    await bot.start()
    await later
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one", "two"], LUIS: ["three"]})


@pytest.mark.parametrize("bytes_left", [100, 4096, -4096] if LONG else [-4096])
async def test_a_truncated_file_is_refused(bot: Bot, emu: Emulator, bytes_left: int) -> None:
    """A start says so in one sentence and changes nothing: what is left may be worth something to `.recover`."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    assert await process.stop() == 0
    bot.database.write_bytes(bot.database.read_bytes()[:bytes_left])
    await refused(bot, str(bot.database), "malformed")


@pytest.mark.parametrize("there", [True, False] if LONG else [False])
async def test_an_empty_file_beside_a_wal_is_refused(bot: Bot, emu: Emulator, there: bool) -> None:
    """SQLite would delete the WAL, which may hold all that there is: a young database stands in it alone."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    await process.kill()
    if there:
        bot.database.write_bytes(b"")
    else:
        bot.database.unlink()
    await refused(bot, "bot.db-wal", "put it back")


async def test_an_empty_file_is_a_new_database(bot: Bot, emu: Emulator) -> None:
    """Somebody made it beforehand, to give it an owner."""
    bot.database.touch()
    await bot.start()
    await emu.say(ANA, "one")
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["one"]})
