"""Run so many payloads of a seed, print what came of them, repeat one alone."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.payload import make
from tests.fuzz.run import Report, fuzz
from tests.fuzz.shrink import shrink

SHOWN = 2000
SHRUNK_MOST = 3


def main() -> int:
    """Return 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("-n", type=int, default=20_000, help="how many payloads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of everything (default: any)")
    parser.add_argument("--only", metavar="17|17-40", help="these alone, of the same seed")
    parser.add_argument("--samples", type=Path, help="a folder of webhooks (*.json) to spoil, besides our own")
    parser.add_argument("--folder", type=Path, help="where the daemon's file and log are written and stay")
    arguments = parser.parse_args()
    first, _, last = (arguments.only or f"0-{arguments.n - 1}").partition("-")
    numbers = range(int(first), int(last or first) + 1)
    samples = [path.read_bytes() for path in sorted(arguments.samples.rglob("*.json"))] if arguments.samples else []
    print(f"seed {arguments.seed}, {len(numbers)} payloads, {len(samples)} samples", flush=True)
    with tempfile.TemporaryDirectory(prefix="bot-fuzz-") as temporary:
        report = asyncio.run(fuzz(arguments.folder or Path(temporary), arguments.seed, numbers, samples))
    print(told(report))
    for suspect in list(report.suspects.values())[:SHRUNK_MOST]:
        payload = make(report.seed, suspect.number, suspect.now, samples)
        small = asyncio.run(shrink(payload))
        alone = "taken when sent alone" if small is None else f"as small as it got ({len(small)} bytes)"
        body = payload.body if small is None else small
        print(f"\npayload {payload.number}, {alone}; mutations: {', '.join(payload.mutations) or 'none'}")
        print(body[:SHOWN].decode(errors="backslashreplace"))
        print(f"again: .venv/bin/python -m tests.fuzz --seed {report.seed} --only {payload.number}")
    return 1 if report.failures else 0


def told(report: Report) -> str:
    """Write a report for people."""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.most_common())
    lines = [f"seed {report.seed}: {report.kinds.total():,} payloads in {report.seconds:.0f} s: {kinds}"]
    lines += [f"  answered {status}: {count:,} x {kind}" for (kind, status), count in sorted(report.statuses.items())]
    lines += [
        f"  mutations: {', '.join(f'{name} {count:,}' for name, count in report.mutations.most_common())}",
        f"  good neighbours answered once: {report.answered:,} of {report.neighbours:,}",
        f"  good neighbours in POSTs that were refused, not to be answered: {report.strangers:,}",
        f"  messages in the file: {report.messages:,}; failures: {len(report.failures)}",
    ]
    return "\n".join([*lines, *(f"FAILED {failure}" for failure in report.failures[:20])])


if __name__ == "__main__":
    sys.exit(main())
