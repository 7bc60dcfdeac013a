"""Power cuts: what was written and not synced is gone, or there in part; what got its 200 is there and is answered.

Where there is no C compiler nothing stands between the daemon and its files, and pytest leaves these out.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.crash.power import COMPILER, Disk
from tests.process.crash.run import Crash

# What the library dies at: the first sync of the folder, before it counts (S: after it), the third of the WAL, a write
# of a checkpoint… Every other death is a clean cut, the rest are torn.
DEATHS = (
    "s . 1", "S . 1", "s bot.db-wal 2", "S bot.db-wal 5", "w bot.db-wal 20", "w bot.db 2", "s bot.db 1", "w bot.db 9",
    "S bot.db 1", "s bot.db-wal 9",
)  # fmt: skip
# Writes three bytes, syncs the file and its folder as far as it is told, and writes three more.
WRITER = """
import os, sys
file, folder = os.open("bot.db", os.O_RDWR | os.O_CREAT, 0o600), os.open(".", os.O_RDONLY)
os.pwrite(file, b"one", 0)
if "file" in sys.argv: os.fsync(file)
if "folder" in sys.argv: os.fsync(folder)
os.pwrite(file, b"two", 3)
"""


@pytest.mark.parametrize(
    ("synced", "left"), [("", None), ("file", None), ("folder", b""), ("file folder", b"one")] if COMPILER else []
)
def test_a_cut_leaves_what_was_synced(tmp_path: Path, library: dict[str, str], synced: str, left: bytes | None) -> None:
    """A file's own sync keeps what is in it, one of its folder its name; nothing keeps what came later."""
    (folder := tmp_path / "bot").mkdir()
    disk = Disk(folder, tmp_path / "log")
    env = os.environ | library | disk.env
    subprocess.run([sys.executable, "-c", WRITER, *synced.split()], cwd=folder, env=env, check=True)
    assert (folder / "bot.db").read_bytes() == b"onetwo"
    disk.cut()
    assert (folder / "bot.db").exists() == (left is not None)
    assert left is None or (folder / "bot.db").read_bytes() == left


@pytest.mark.parametrize("deaths", [DEATHS] if COMPILER else [])
async def test_what_got_its_200_outlives_power_cuts(crash: Crash, deaths: tuple[str, ...]) -> None:
    """Each start dies at a sync or a write of its own, on what the cut before left; nobody misses an answer."""
    over, disk = asyncio.Event(), crash.disk
    writing = [asyncio.create_task(crash.crowd.write(who, over)) for who in crash.crowd.people(4)]
    for number, death in enumerate(deaths):
        process = await crash.start({"POWER_CUT_AT": death, "CRASH_CHECKPOINT_PAGES": "40"})
        await crash.ready(process)
        assert await process.ended() == -9, f"{death} was not reached:\n{process.output}"
        disk.keep()
        files = {path.name: path.read_bytes() for path in crash.bot.folder.glob("bot.db*")}
        noted = disk.seen()
        assert noted == {name: files[name] for name in noted}, "else a cut would put back something else"
        disk.cut(crash.dice if number % 2 else None)
    over.set()
    await crash.calm(writing)
    assert (crash.unquiet, crash.judge.verdict().wrong) == ([], [])
    assert disk.unsynced > 0, "the cuts took something away"
