"""A disk of 4 MB that a test fills to the last page."""

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bot.store.copies import PART
from tests.process.failing_disk import DATABASE, GROWING, INDEX, WAL, FailingDisk

BYTES = 4 * 2**20


class SmallDisk:
    """A tmpfs; where mounting isn't allowed, a disk whose calls fail once it counts as full."""

    def __init__(self, filler: Path, stand_in: FailingDisk | None) -> None:
        self._filler, self._stand_in = filler, stand_in
        self.env = stand_in.env if stand_in else {}

    @classmethod
    @contextlib.contextmanager
    def mounted(cls, folder: Path, otherwise: FailingDisk) -> Iterator["SmallDisk"]:
        """Mount it over a folder until the block ends."""
        mount = ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", folder]
        real = subprocess.run(mount, check=False, capture_output=True).returncode == 0  # takes root
        try:
            yield cls(folder / "filler", None if real else otherwise)
        finally:
            if real:
                subprocess.run(["umount", "-l", folder], check=True)

    def fill(self) -> None:
        """Take all the room that there is."""
        if self._stand_in:
            self._stand_in.fail(errno.ENOSPC, *GROWING, of=(DATABASE, WAL, INDEX, PART))
            return
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        """Give it back."""
        if self._stand_in:
            self._stand_in.mend()
        self._filler.unlink(missing_ok=True)
