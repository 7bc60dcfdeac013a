"""Kill a daemon under load, again and again on the same file, and let the judge say what became of the messages."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.emulator import Emulator
from tests.process import rig
from tests.process.crash.crowd import Crowd
from tests.process.crash.judge import Judge
from tests.process.crash.nursery import Nursery
from tests.process.crash.points import APOLOGY, NOTICE, POINTS
from tests.process.crash.power import COMPILER, Disk
from tests.process.harness import Bot, Process

# A send in doubt waits so long for its status. The emulator's latest come after 0.9 s, and again as soon as the daemon
# is ready. With less, a right daemon on a busy machine would send twice; with more, each round ends later.
CONFIRM_SECONDS = 4.0
ROUND = 20  # kills until everybody's messages have to be answered
PEOPLE = 24  # in a round; who is in doubt waits until its end, as each start lets that wait begin anew
CALM_SECONDS = 60.0  # the longest that it may take at the end of a round
POINT_SECONDS = 1.0  # a point that isn't reached by then is a kill at an instant
CHECKPOINT_PAGES = 100
UNDER_LOAD = tuple(point for point in POINTS if not point.startswith(("migrate", "prune", "drain", "close")))
SELDOM = ("adopt", "listening", "merge", "apology", "notice")

KINDS = ("point", "instant", "start", "drain")  # of kills


@dataclass
class Crash:
    """One file, one emulator, and daemons that die on it."""

    bot: Bot
    emu: Emulator
    nursery: Nursery
    disk: Disk | None
    dice: random.Random
    judge: Judge = field(default_factory=Judge)
    kills: Counter[str] = field(default_factory=Counter)
    unquiet: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.crowd = Crowd(self.emu, self.judge, self.dice, self.bot.reply)

    @classmethod
    @contextlib.asynccontextmanager
    async def prepared(
        cls, folder: Path, nursery: Nursery, dice: random.Random, *, confirm_seconds: float = CONFIRM_SECONDS
    ) -> AsyncIterator["Crash"]:
        """Set everything up in a folder of its own."""
        disk = Disk(folder / "bot", folder / "disk.log") if COMPILER else None
        async with rig.emulator() as emu, nursery.serving(), rig.configured(folder / "bot", emu) as bot:
            bot.configure(
                whatsapp={"confirm_seconds": confirm_seconds},
                openai={"history_messages": 4, "history_characters": 4000},
                queue={"max_attempts": 100, "lease_seconds": 30},
                replies={"error": APOLOGY, "unsupported": NOTICE},
            )
            emu.settings.redelivery_tries, emu.settings.redelivery_base_seconds = 10_000, 0.3
            yield cls(bot, emu, nursery, disk, dice)

    async def start(self, env: Mapping[str, str] | None = None) -> Process:
        """Fork a daemon and don't wait for anything."""
        told = {"CRASH_CHECKPOINT_PAGES": str(CHECKPOINT_PAGES), **(self.disk.env if self.disk else {}), **(env or {})}
        process = Process(await self.nursery.fork(self.bot.folder, {**self.bot.env, **told}))
        self.bot.processes[:] = [process]
        return process

    async def ready(self, process: Process) -> bool:
        """Wait until it is ready, and deliver what it missed; False when it died before."""
        try:
            await process.logged("ready")
        except AssertionError:
            await process.ended()
            return False
        self.emu.deliveries.hurry()
        return True

    async def after(self, process: Process, kind: str) -> None:
        """See to what is left once a daemon is dead: all of it, what was synced, or something in between."""
        code = await process.ended()
        if code != -9 and not (code == 0 and kind == "drain"):
            raise AssertionError(f"the daemon ended with {code} by itself: {process.output[-1000:]}")
        self.kills[kind] += 1
        if self.disk is None:
            return
        match self.dice.choice(("keep", "keep", "cut", "torn")):
            case "keep":
                self.disk.keep()
            case "cut":
                self.disk.cut()
                self.kills["power cuts"] += 1
            case "torn":
                self.disk.cut(self.dice)
                self.kills["torn"] += 1

    async def kill_once(self) -> None:
        """Start a daemon and let it die: at a named point, at an instant, while it starts, or while it drains."""
        kind = self.dice.choices(KINDS, (45, 35, 10, 10))[0]
        env = {}
        if kind == "point":
            point = self.dice.choice(UNDER_LOAD)
            hit = 1 if point.startswith(SELDOM) else self.dice.randint(1, 12)
            env = {"CRASH_POINT": point, "CRASH_HIT": str(hit)}
        process = await self.start(env)
        if kind == "start":
            await asyncio.sleep(self.dice.uniform(0.0, 0.25))
        elif await self.ready(process):
            if kind == "point":
                with contextlib.suppress(TimeoutError):
                    await process.ended(POINT_SECONDS)
                kind = kind if not process.running else "instant"
            else:
                await asyncio.sleep(self.dice.uniform(0.0, 0.7))
            if kind == "drain":
                process.terminate()
                await asyncio.sleep(self.dice.uniform(0.0, 0.3))
        process.send_kill()
        await self.after(process, kind)

    async def round(self, kills: int, *, people: int = PEOPLE) -> None:
        """Kill so often under the load of new people, then leave the daemon alone until all are answered."""
        over = asyncio.Event()
        writing = [asyncio.create_task(self.crowd.write(who, over)) for who in self.crowd.people(people)]
        try:
            for _ in range(kills):
                await self.kill_once()
            over.set()
            await self.calm(writing)
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)

    async def calm(self, writing: Sequence["asyncio.Task[None]"]) -> None:
        """Leave a daemon alone until nothing waits, and let the judge see what happened; then kill it."""
        process = await self.start()
        assert await self.ready(process), process.output
        deadline = time.monotonic() + CALM_SECONDS
        while time.monotonic() < deadline:
            _, stats = await self.bot.get("/queue-stats")
            if (
                all(task.done() for task in writing)
                and stats
                and stats["totalMessages"] == 0
                and not self.bot.waiting()
            ):
                break
            await asyncio.sleep(0.02)
        else:
            self.unquiet.append(f"the queue wasn't empty after {CALM_SECONDS:.0f} s")
        for task in writing:
            if task.done():
                task.result()
        self.judge.read(self.emu.log.entries)
        self.emu.log.clear()
        process.send_kill()
        await process.ended()
        if self.disk:
            self.disk.keep()
