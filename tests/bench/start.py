"""A start with a long queue waiting, and the memory that the daemon takes then and when it is idle."""

import asyncio
import time
from pathlib import Path

from tests.bench import client, load, rig
from tests.bench.figures import Figure, at_most
from tests.bench.order import check_file

WAITING = (1_000_000, 100_000)  # messages, users
AT_WORK_SECONDS = 10.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Start `bot run` on an empty file and on a long queue; let it work a while on both."""
    idle = _idle(folder / "idle")
    waiting, users = (100_000, 10_000) if quick else WAITING
    seconds, at_work = _long_queue(folder / "long", waiting, users)
    name = f"start with {waiting:,} waiting, to ready"
    return [
        at_most(f"{name} (s)", seconds, 2.0),
        at_most("RSS then, the most in 10 s of work (MB)", at_work, 120.0, "{:.0f}"),
        at_most("RSS idle, after one answer (MB)", idle, 100.0, "{:.0f}"),
    ]


def _idle(folder: Path) -> float:
    folder.mkdir()
    with rig.emulator() as url, rig.daemon(folder, url) as running:
        client.post(running.port, [load.request(load.Said("34600111222", 1, int(time.time())), "idle")])
        rig.wait_until(folder / "bot.db", rig.DONE, 1, seconds=10.0)
        megabytes = running.megabytes("VmRSS")
    check_file(folder / "bot.db", 1)
    return megabytes


def _long_queue(folder: Path, messages: int, users: int) -> tuple[float, float]:
    folder.mkdir()
    asyncio.run(rig.fill(folder / "bot.db", messages, users))
    with rig.emulator() as url, rig.daemon(folder, url, settings={"WHATSAPP__SENDS_PER_SECOND": 0}) as running:
        time.sleep(AT_WORK_SECONDS)
        return running.ready_seconds, running.megabytes("VmHWM")
