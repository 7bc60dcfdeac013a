"""Run `bot` on a machine whose wall clock is off: by the seconds in the file $CLOCK_OFF, looked at each time.

CLOCK_BOOTTIME and CLOCK_MONOTONIC run on, as they do when somebody sets the time.
"""

import os
import sys
import time
from pathlib import Path

HERE = Path(__file__)


class WallClock:
    """The file that says how far the clock is off, and the command line that a bot is started with."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock_off"
        self.env = {"CLOCK_OFF": str(self._file)}
        self.argv = (sys.executable, str(HERE), "run")
        self.off = 0.0
        self.step(0.0)

    def step(self, seconds: float) -> None:
        """Set the clock so much ahead of what it shows, or back."""
        self.off += seconds
        whole = self._file.with_suffix(".new")
        whole.write_text(str(self.off))
        whole.rename(self._file)


def shift() -> None:
    """Let time.time() be off in this process."""
    real, file = time.time, Path(os.environ["CLOCK_OFF"])
    time.time = lambda: real() + float(file.read_text())


if __name__ == "__main__":
    shift()
    from bot.cli import main

    main()
