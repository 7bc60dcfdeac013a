"""Commands and corrections with the sqlite3 CLI count within two seconds, daemon up or down."""

import asyncio
import shutil
import sys

import pytest

from bot.emulator import Emulator
from tests.process.harness import Bot, Ended, until

ANA, LUIS = "34600111222", "34600333444"
AT_ONCE_SECONDS = 2.0
NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"


async def answered(emu: Emulator, text: str) -> None:
    """Wait until a message's answer went out, no longer than operators should have to."""
    await emu.wait_for(lambda: f"answer to: {text}" in emu.sends(), timeout=AT_ONCE_SECONDS)


async def line_moved(emu: Emulator, text: str) -> None:
    """See that others are answered meanwhile: whoever waited before could have been claimed."""
    await emu.say(LUIS, text)
    await answered(emu, text)


async def does(bot: Bot, *arguments: str) -> str:
    """Run a command that has to work, and return what it says."""
    ended = await bot.command(*arguments)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


async def fail_one(bot: Bot, emu: Emulator, text: str) -> int:
    """Let a message fail for good and return its id."""
    emu.faults.add("error", service="model", status=400, contains=text)
    await emu.say(ANA, text)
    await until(lambda: bot.states()[text] == "failed")
    return int(bot.sql("SELECT id FROM outbox WHERE body = ?", text)[0][0])


async def test_the_commands_count_at_once_while_the_daemon_runs(bot: Bot, emu: Emulator) -> None:
    """Pause, resume, failures, retry, clear, status: a second process writes, the daemon sees it without a call."""
    await bot.start()
    await emu.say(ANA, "one")
    await answered(emu, "one")
    await does(bot, "pause", "+" + ANA)
    await emu.say(ANA, "two")
    await line_moved(emu, "moved one")
    assert bot.states()["two"] == "pending"
    status = await does(bot, "status")
    assert "Answering normally." in status
    assert "paused" in status
    await does(bot, "resume", "u1")
    await answered(emu, "two")

    failed = await fail_one(bot, emu, "bad")
    shown = await does(bot, "failures")
    assert f"{failed}  u1" in shown
    assert "bad" in shown
    await does(bot, "retry", str(failed))
    await answered(emu, "bad")

    await does(bot, "pause", "--all")
    await emu.say(ANA, "three")
    await does(bot, "clear", ANA, "--yes")
    await emu.say(LUIS, "four")
    assert (await bot.get("/readyz"))[0] == 503
    assert "Not answering:" in await does(bot, "status")
    await does(bot, "resume", "--all")
    await answered(emu, "four")
    assert bot.states()["three"] == "cancelled"
    assert "answer to: three" not in emu.sends()


async def test_the_commands_count_at_the_next_start_while_the_daemon_is_down(bot: Bot, emu: Emulator) -> None:
    """They work on the file; nothing else has to run."""
    process = await bot.start()
    failed = await fail_one(bot, emu, "bad")
    await does(bot, "pause", "--all")
    for text in ("cleared", "kept"):
        await emu.say(LUIS if text == "cleared" else ANA, text)
    assert await process.stop() == 0
    assert "not running" in await does(bot, "status")
    await does(bot, "clear", LUIS, "--yes")
    await does(bot, "retry", "--all")
    await does(bot, "pause", "u2")
    await does(bot, "resume", "--all")
    await bot.start()
    await answered(emu, "kept")
    await answered(emu, "bad")
    await emu.say(LUIS, "still paused")
    await emu.say(ANA, "moved")
    await answered(emu, "moved")
    expected = dict.fromkeys(("bad", "kept", "moved"), "done") | {"cleared": "cancelled", "still paused": "pending"}
    await until(lambda: bot.states() == expected)
    assert bot.sql("SELECT manual FROM outbox WHERE id = ?", failed) == [(1,)]


@pytest.mark.parametrize(("arguments", "words"), [(("status",), "bot run"), (("pause",), "--all")])
async def test_a_command_that_can_t_work_says_why(bot: Bot, arguments: tuple[str, ...], words: str) -> None:
    """No database, no user named: a sentence, an exit code that isn't 0, and no file made."""
    ended = await bot.command(*arguments)
    assert ended.code != 0
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not bot.database.exists()


async def by_hand(bot: Bot, statement: str) -> Ended:
    """Run a statement as people do: with the sqlite3 CLI, or where there is none with Python's sqlite3.

    Without a timeout the CLI gives up at once when the daemon commits at that very moment.
    """
    program = shutil.which("sqlite3")
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).executescript(sys.argv[2])"
    command = (program, "-cmd", ".timeout 2000") if program else (sys.executable, "-c", script)
    process = await asyncio.create_subprocess_exec(
        *command, bot.database, statement, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_corrections_by_hand_count_at_once(bot: Bot, emu: Emulator) -> None:
    """An UPDATE with the sqlite3 CLI is an ordinary write: pause, resume, answer again, cancel."""
    await bot.start()
    failed = await fail_one(bot, emu, "bad")
    assert (await by_hand(bot, f"UPDATE outbox SET state = 'pending' WHERE id = {failed}")).code == 0
    await answered(emu, "bad")

    assert (await by_hand(bot, f"UPDATE users SET paused_at = {NOW} WHERE id = 1")).code == 0
    for text in ("two", "three"):
        await emu.say(ANA, text)
    await line_moved(emu, "moved two")
    assert (await by_hand(bot, "UPDATE outbox SET state = 'cancelled' WHERE body = 'two'")).code == 0
    assert (await by_hand(bot, "UPDATE users SET paused_at = NULL WHERE id = 1")).code == 0
    await answered(emu, "three")
    assert bot.states()["two"] == "cancelled"
    assert "answer to: two" not in emu.sends()
