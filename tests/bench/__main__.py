"""Choose measures, run each in a process of its own, print the table."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.bench import rig
from tests.bench.figures import Figure, table

MEASURES = ("acks", "drain", "cpu", "idle", "slow_disk", "start", "live")


def main() -> int:
    """Return 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(MEASURES)}")
    parser.add_argument("--quick", action="store_true", help="a short run: less load, figures of less worth")
    parser.add_argument("--folder", type=Path, help="where the files are written: on the disk that is to be measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bot-bench-") as folder:
        for name in arguments.names or MEASURES:
            own = Path(folder, name)
            own.mkdir()
            measured = rig.alone(rig.measure, name, own, arguments.quick)
            for figure in measured:
                print(f"{figure.name}: {figure.result}  {figure.target}", file=sys.stderr, flush=True)
            figures += measured
    print(table(figures))
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores")
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
