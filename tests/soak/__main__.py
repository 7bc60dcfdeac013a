"""Soak for so many minutes; a line a minute, then whether each measure stayed flat. Exit code 1 when not."""

import argparse
import asyncio
import functools
import sys
import tempfile
from pathlib import Path

from tests.soak.run import MOST_BYTES, Plan, soak
from tests.soak.verdict import RULES, WARM_UP

PER_SECOND = 15.0


def main() -> int:
    """Return 0 when all was well."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=int, default=20, help="how long (default: %(default)s)")
    parser.add_argument("--per-second", type=float, default=PER_SECOND, help="messages (default: %(default)s)")
    parser.add_argument("--period", type=float, default=60.0, help="seconds of a line (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the daemon's file and log are written and stay")
    arguments = parser.parse_args()
    periods = round(arguments.minutes * 60 / arguments.period)
    plan = Plan(periods, arguments.period, arguments.per_second, RULES)
    tell = functools.partial(print, flush=True)
    tell(f"{periods} periods of {plan.period_seconds:g} s, {plan.per_second:g} messages/s, one daemon in")
    tell(f"{MOST_BYTES // 2**20} MB (RLIMIT_DATA), faults come and go in each period")
    with tempfile.TemporaryDirectory(prefix="bot-soak-") as temporary:
        soaked = asyncio.run(soak(arguments.folder or Path(temporary), plan, tell))
    tell(f"\nthe last third against the first, after 1/{WARM_UP} of the run:")
    for judged in soaked.judged:
        tell(str(judged))
    tell(f"{soaked.answered:,} messages answered; most memory {soaked.peak_mb:.0f} MB; wrong: {len(soaked.wrong)}")
    for wrong in soaked.wrong:
        tell(f"WRONG {wrong}")
    tell("all was well" if soaked.well else "NOT well")
    return 0 if soaked.well else 1


if __name__ == "__main__":
    sys.exit(main())
