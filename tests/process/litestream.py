"""The recipe of docs/litestream.md with Litestream itself: `python -m tests.process.litestream PROGRAM`.

Beside a real daemon under load: ends, kills and pauses of both, checkpoints by others, and each time what a restore
gives. Prints figures; exits 1 where something came back otherwise than it was. No test of the suite: Litestream is no
package of Debian's.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot.emulator import Emulator
from tests.process import rig
from tests.process.harness import Bot, Process, until
from tests.process.knocking import knock

RECIPE = (Path(__file__).parents[2] / "docs" / "litestream.md").read_text("utf-8")
CUSTOMERS = 8
TABLES = ("outbox", "replies", "users", "attempts")
MIB = 2**20


@dataclass
class Wal:
    """What the WAL was while somebody looked: its largest size in bytes, how often it began anew."""

    path: Path
    largest: int = 0
    begun: set[bytes] = field(default_factory=set)

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(OSError), self.path.open("rb") as wal:
                self.begun.add(wal.read(16)[12:])
                self.largest = max(self.largest, os.fstat(wal.fileno()).st_size)
            await asyncio.sleep(0.02)

    def told(self) -> str:
        """Say it."""
        return f"WAL at most {self.largest / MIB:.1f} MiB, begun anew {len(self.begun) - 1} times"


def recipe(bot: Bot, folder: Path, endpoint: str) -> Path:
    """Write the recipe for a test's daemon: to a folder, or with an endpoint to its bucket there."""
    (text,) = re.findall(r"```yaml\n(.*?)```", RECIPE, re.DOTALL)
    text = text.replace("/var/lib/bot/bot.db", str(bot.database)).replace("https://s3.example.com", endpoint)
    if not endpoint:
        here = f"type: file\n      path: {folder}/replica\n"
        text = re.sub(r"type: s3\n.*?(?=snapshot)", here, text, flags=re.DOTALL)
    path = folder / "litestream.yml"
    path.write_text(text)
    return path


class Litestream:
    """The program beside the daemon, and what a restore gives."""

    def __init__(self, program: str, bot: Bot, config: Path) -> None:
        self._program, self._bot, self._config = program, bot, config

    async def start(self) -> Process:
        """Start to replicate."""
        process = await self._bot.launch(self._program, "replicate", "-config", str(self._config))
        await until(lambda: "replicating to" in process.output or not process.running, 20)
        assert process.running, process.output
        return process

    async def restore(self, to: Path) -> float:
        """Restore to a file, checked by Litestream, too; return how many seconds it took."""
        began = time.monotonic()
        command = (self._program, "restore", "-config", str(self._config), "-integrity-check", "full")
        process = await self._bot.launch(*command, "-o", str(to), str(self._bot.database))
        assert await process.ended(120) == 0, process.output
        return time.monotonic() - began


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file as the sqlite3 CLI does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


def rows(path: Path) -> dict[str, dict[int, tuple[object, ...]]]:
    """Return all that people and checks rely on, by table and rowid."""
    with opened(path) as db:
        db.execute("BEGIN")
        return {table: {row[0]: row for row in db.execute(f"SELECT rowid, * FROM {table}")} for table in TABLES}


def compare(original: Path, restored: Path, *, exact: bool) -> str:
    """Say what a restored file lacks. Raises AssertionError where it is damaged, or holds what never was."""
    with opened(restored) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        last = db.execute("SELECT max(received_at) FROM outbox").fetchone()[0]
    was, now = rows(original), rows(restored)
    lacking = {table: len(was[table]) - len(now[table]) for table in TABLES}
    for table in TABLES:
        assert list(now[table]) == list(was[table])[: len(now[table])], f"{table} isn't how it was at one moment"
    assert {n: row[1:6] for n, row in now["outbox"].items()}.items() <= {
        n: row[1:6] for n, row in was["outbox"].items()
    }.items()
    if exact:
        assert now == was, f"lacks {lacking}"
    with opened(original) as db:
        newest = "SELECT round((julianday(max(received_at)) - julianday(?)) * 86400, 2) FROM outbox"
        behind = db.execute(newest, (last,)).fetchone()[0]
    return f"{len(now['outbox'])} messages, lacks {lacking['outbox']} ({behind} s of them)"


@asynccontextmanager
async def load(bot: Bot, emu: Emulator) -> AsyncIterator[list[str]]:
    """Have customers write on new connections until the block ends; gives what went wrong."""
    stop = asyncio.Event()
    failures: list[str] = []
    users = [f"3460011122{n}" for n in range(CUSTOMERS)]
    writing = [asyncio.create_task(knock(emu, bot.public_url + "/webhook", u, [], failures, stop)) for u in users]
    try:
        yield failures
    finally:
        stop.set()
        await asyncio.gather(*writing)


async def others_checkpoint(bot: Bot, seconds: float) -> str:
    """Ask for TRUNCATE checkpoints as somebody with the CLI may, who doesn't wait; say how many got their way."""
    whole = asked = 0
    until_ = time.monotonic() + seconds
    while time.monotonic() < until_:
        with opened(bot.database) as db, contextlib.suppress(sqlite3.OperationalError):
            asked += 1
            whole += db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        await asyncio.sleep(0.2)
    return f"{whole} of {asked} TRUNCATE checkpoints by a third program got their way"


async def quiet(bot: Bot) -> None:
    """Wait until all is answered and every status is in."""
    await until(lambda: not bot.waiting(), 300)


async def run(program: str, seconds: float, endpoint: str, folder: Path) -> None:
    """Go through all of it."""
    async with rig.emulator() as emu, rig.configured(folder / "bot", emu) as bot:
        emu.settings.log_limit = 1000
        bot.configure(whatsapp={"confirm_after_downtime_seconds": 2.0})
        daemon = await bot.start()
        wal = Wal(bot.database.with_name("bot.db-wal"))
        async with load(bot, emu) as failures:
            watching = asyncio.create_task(wal.watch())
            await asyncio.sleep(seconds)
        watching.cancel()
        print(f"the daemon alone, {seconds:g} s: {wal.told()}; {failures or 'no webhook failed'}", flush=True)

        litestream = Litestream(program, bot, recipe(bot, folder, endpoint))
        beside = await litestream.start()
        wal = Wal(wal.path)
        async with load(bot, emu) as failures:
            watching = asyncio.create_task(wal.watch())
            await asyncio.sleep(seconds)
            print(f"both, {seconds:g} s: {wal.told()}", flush=True)
            print(await others_checkpoint(bot, seconds / 2), flush=True)
            copied = await bot.command("backup", str(folder / "copy.db"))
            assert copied.code == 0, copied.err
            print(f"`bot backup` beside it went well; {failures or 'no webhook failed'}", flush=True)
            daemon.send_kill()
            beside.send_kill()
            await asyncio.gather(daemon.ended(), beside.ended())
            watching.cancel()
        took = await litestream.restore(folder / "killed.db")
        print(f"both killed under load: {compare(bot.database, folder / 'killed.db', exact=False)}; {took:.1f} s")

        daemon, beside = await bot.start(), await litestream.start()
        async with load(bot, emu):
            await asyncio.sleep(seconds / 4)
            daemon = await again(bot, daemon)
            await beside.kill()
            await asyncio.sleep(seconds / 2)  # the daemon's own checkpoints: Litestream misses what they copied
            beside = await litestream.start()
            await asyncio.sleep(seconds / 4)
        await quiet(bot)
        assert await daemon.stop() == 0
        assert await beside.stop(seconds=60) == 0
        took = await litestream.restore(folder / "ended.db")
        print(f"a pause, then both ended well: {compare(bot.database, folder / 'ended.db', exact=True)}; {took:.1f} s")

        # What the recipe says: Litestream's own notes go with the file that they were of.
        for path in [*bot.folder.glob("bot.db*"), *bot.folder.glob(".bot.db-litestream")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / "killed.db").replace(bot.database)
        daemon, beside = await bot.start(), await litestream.start()
        async with load(bot, emu) as failures:
            await asyncio.sleep(seconds / 4)
        await quiet(bot)
        assert await daemon.stop() == 0
        assert await beside.stop(seconds=60) == 0
        print(f"both on what was restored after the kill: all answered; {failures or 'no webhook failed'}")
        took = await litestream.restore(folder / "second.db")
        print(f"restored from that: {compare(bot.database, folder / 'second.db', exact=True)}; {took:.1f} s")
        noted = [line for p in bot.processes for line in p.lines if re.search("level=(WARN|ERROR)", line)]
        print("Litestream warned of:", *(noted or ["nothing"]), sep="\n  ")
        (folder / "log").write_text("\n\n".join(p.output for p in bot.processes))


async def again(bot: Bot, daemon: Process) -> Process:
    """Restart the daemon as an upgrade does."""
    assert await daemon.stop(signal.SIGTERM) == 0
    return await bot.start()


def main() -> int:
    """Run it; the folder goes with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the path of litestream 0.5")
    parser.add_argument("--seconds", type=float, default=30, help="of load, alone and beside it")
    parser.add_argument("--endpoint", default="", help="an S3 that has the recipe's bucket; else: a folder")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which stays")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        asyncio.run(run(given.program, given.seconds, given.endpoint, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
