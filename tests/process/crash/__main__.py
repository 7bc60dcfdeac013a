"""Kill a daemon N times under load and print what was lost, misordered, said twice: `python -m tests.process.crash`."""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.process.crash.nursery import Nursery
from tests.process.crash.power import preload
from tests.process.crash.run import KINDS, ROUND, Crash


async def _run(kills: int, seed: int, folder: Path, nursery: Nursery) -> int:
    began = time.monotonic()
    dice = random.Random(seed)

    async with Crash.prepared(folder, nursery, dice) as crash:
        crash.emu.faults.add("cut", times=0, probability=0.02, after=True)
        try:
            for first in range(0, kills, ROUND):
                await crash.round(min(ROUND, kills - first))
                done = f"{min(first + ROUND, kills)} kills after {time.monotonic() - began:.0f} s"
                print(done, file=sys.stderr, flush=True)
        except (AssertionError, TimeoutError) as broken:  # a daemon that won't start again: judge what there is
            crash.unquiet.append(f"broken off: {broken or 'a daemon neither got ready nor ended'}")
            crash.judge.read(crash.emu.log.entries)
    verdict = crash.judge.verdict()
    for line in [*crash.unquiet, *verdict.wrong][:40]:
        print(line)
    kinds = ", ".join(f"{kind} {crash.kills[kind]}" for kind in (*KINDS, "power cuts", "torn") if crash.kills[kind])
    counts = ", ".join(f"{name} {count}" for name, count in verdict.counts.items())
    seconds = time.monotonic() - began
    killed = sum(crash.kills[kind] for kind in KINDS)
    said = f"messages {verdict.messages}, letters {verdict.letters}"
    print(f"kills {killed} ({kinds}), {said}: {counts} (seed {seed}, {seconds:.0f} s)")
    return 0 if verdict.clean and not crash.unquiet else 1


def main() -> int:
    """Return 0 when every count is 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.process.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument(
        "--seed", type=int, help="of all dice; not of the instants at which processes run (default: a new one, printed)"
    )
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="bot-crash-") as folder,
        contextlib.closing(Nursery(preload(Path(folder)))) as nursery,
    ):
        return asyncio.run(_run(arguments.kills, seed, Path(folder), nursery))


if __name__ == "__main__":
    sys.exit(main())
