"""`bot backup` beside a daemon that works: nobody waits for it, and what is cut off leaves no copy of that name."""

import contextlib
import fcntl
import json
import sqlite3
import stat
import sys
from pathlib import Path

from bot.emulator import Emulator
from bot.store.migrate import migrate
from tests.clock import START
from tests.process.harness import Bot, until

ANA = "34600111222"
CUT_OFF = """
import os, signal, sys
from bot.store import copies
from bot.terminal import commands
copies.STEP_PAGES, whole = 1, copies.back_up
commands.back_up = lambda path, copy, _: whole(path, copy, lambda _: os.kill(os.getpid(), signal.SIGKILL))
sys.argv = ["bot", "backup", "copy.db"]
from bot.cli import main
main()
"""

HELD = """
import sys, time
from pathlib import Path
from bot.terminal import commands
def held(path, copy, tell, whole=commands.back_up):
    whole(path, copy, tell)
    Path("copied").touch()
    while not Path("go on").exists():
        time.sleep(0.01)
commands.back_up = held
sys.argv = ["bot", "backup", "--keep", "1", "."]
from bot.cli import main
main()
"""


def counted(copy: Path) -> int:
    """Return how many messages a copy holds, which SQLite finds sound."""
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


async def test_copies_beside_a_daemon_are_whole_private_and_as_many_as_are_kept(bot: Bot, emu: Emulator) -> None:
    """Messages come all the time and are answered; the newest two copies stay."""
    await bot.start()
    folder = bot.folder / "copies"
    refused = await bot.command("backup", str(folder), "--keep", "2")
    assert (refused.code, f"mkdir -m 700 {folder}" in refused.err, folder.exists()) == (2, True, False)
    folder.mkdir()
    held = []
    for n in range(4):
        await emu.say(ANA, f"message {n}")
        ended = await bot.command("backup", str(folder), "--keep", "2", "--json")
        assert (ended.code, ended.err.count("Traceback")) == (0, 0)
        told = json.loads(ended.out)
        copy = Path(told["copy"])
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert copy.stat().st_size == told["bytes"]
        held.append((copy, counted(copy)))
    assert [count for _, count in held] == [1, 2, 3, 4]
    assert sorted(folder.iterdir()) == [copy for copy, _ in held[-2:]]
    await until(lambda: set(bot.states().values()) == {"done"})


async def test_a_copy_takes_nothing_away_but_its_own_kind(bot: Bot, emu: Emulator) -> None:
    """Not the database, whatever it is called, nor what is named by hand; and never the copy that was just made."""
    process = await bot.start()
    await emu.say(ANA, "hola")
    kept = [bot.folder / "bot-2024-before-migration-Z.db", bot.folder / "bot-2024-11-24T033000.000Z.db.txt"]
    later, old = (bot.folder / f"bot-{year}-11-24T033000.000Z.db" for year in (2099, 2020))
    for file in (*kept, later, old):
        file.touch()
    ended = await bot.command("backup", str(bot.folder), "--keep", "2", "--json")
    copy = Path(json.loads(ended.out)["copy"])
    assert [file.exists() for file in (*kept, later, old, copy)] == [True, True, True, False, True]
    for name in ("bot.db", "bot.db-wal", "bot.db-shm", "bot.db.lock"):
        ended = await bot.command("backup", name)
        assert (ended.code, "is the database itself" in ended.err) == (1, True)
    ended = await bot.command("backup", "nowhere/copy.db")
    assert (ended.code, "copy.db can't be written: No such file or directory" in ended.err) == (1, True)
    assert process.running
    assert counted(copy) == 1


async def test_what_is_no_database_of_the_bots_gives_no_copy(bot: Bot) -> None:
    """A file that somebody emptied must not push the good copies out."""
    bot.database.touch()
    ended = await bot.command("backup", "copy.db")
    assert ended.code == 1
    assert not (bot.folder / "copy.db").exists()


async def test_a_copy_that_is_cut_off_takes_nobodys_name(bot: Bot, emu: Emulator) -> None:
    """The one before stays; the daemon's file is none the worse. What was left of it goes at the next one."""
    process = await bot.start()
    await emu.say(ANA, "hola")
    copy = bot.folder / "copy.db"
    assert (await bot.command("backup", str(copy))).code == 0
    before = copy.read_bytes()
    cut = await bot.launch(sys.executable, "-c", CUT_OFF)
    assert await cut.ended() == -9
    assert copy.read_bytes() == before
    (left,) = bot.folder.glob("copy.db.*.bot-part")
    under_way = bot.folder / "bot-2026-11-24T033000.000Z.db.1.bot-part"
    with under_way.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert (await bot.command("backup", str(copy))).code == 0
    assert [left.exists(), under_way.exists()] == [False, True]
    assert counted(copy) == 1
    assert process.running


async def test_two_copies_at_once_take_away_what_is_older_alone(bot: Bot) -> None:
    """The one that was begun first ends last: the newest copy stays."""
    migrate(bot.database, START)
    first = await bot.launch(sys.executable, "-c", HELD)
    await until((bot.folder / "copied").exists, seconds=20)
    second = await bot.command("backup", "--keep", "1", ".", "--json")
    (bot.folder / "go on").touch()
    assert await first.ended() == 0
    assert "whole and sound" in first.output
    assert [str(copy.name) for copy in bot.folder.glob("bot-20*.db")] == [json.loads(second.out)["copy"]]
