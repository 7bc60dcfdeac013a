"""A disk whose calls fail while a test says so: full, over quota, read-only, worn; and a log of how each sync ended."""

import errno
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SHIM = HERE.parent / "failing_disk.c"
WAL, DATABASE, INDEX = "bot.db-wal", "bot.db", "bot.db-shm"
GROWING = ("write", "truncate", "allocate")
WRITING = (*GROWING, "open")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a rule let fail, or a sync: with which errno it ended (0: well), and when, by time.monotonic()."""

    name: str
    file: str
    error: int
    began: float
    ended: float


class FailingDisk:
    """What stands between the daemon and its disk, by the environment that it is started with (failing_disk.c)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._rules, self._log, self._ids = folder / "rules", folder / "log", 0
        compiler = shutil.which("cc") or shutil.which("gcc")
        assert compiler, "apt install gcc libc6-dev: these tests stand between the daemon and its disk with a C library"
        library = folder / "failing_disk.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SHIM, "-ldl"]
        subprocess.run(command, check=True)
        self.env = {
            "LD_PRELOAD": str(library),
            "FAILING_DISK_RULES": str(self._rules),
            "FAILING_DISK_LOG": str(self._log),
        }

    def fail(
        self, error: int, *calls: str, of: tuple[str, ...] = (DATABASE, WAL, INDEX), skip: int = 0, times: int = 0
    ) -> None:
        """Let these calls on these files fail from now on: after the first `skip`, `times` of them (0: all).

        A file is named, or by how its name ends: `.bot-part`.
        """
        lines = []
        for call in calls:
            for file in of:
                ending = file if file.startswith(".") else f"/{file}"
                lines.append(f"{self._ids} {call} {error} {ending} {skip} {times}\n")
                self._ids += 1
        fresh = self._rules.with_suffix(".new")
        fresh.write_text("".join(lines))
        os.replace(fresh, self._rules)

    def mend(self) -> None:
        """Let every call through again."""
        self._rules.unlink(missing_ok=True)

    def calls(self, name: str = "", file: str = "") -> list[Call]:
        """Return what is in the log, oldest first."""
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        made = [
            Call(call, of, int(error), int(began) / 1e9, int(ended) / 1e9) for call, of, error, began, ended in lines
        ]
        return [call for call in made if name in ("", call.name) and file in ("", call.file)]

    def failed(self) -> int:
        """Return how many calls failed so far."""
        return sum(call.error != 0 for call in self.calls())

    def synced_between(self, began: float, ended: float) -> bool:
        """Whether a whole sync of the WAL that went well lies between two moments."""
        return any(began < sync.began and sync.ended < ended and not sync.error for sync in self.calls("sync", WAL))


REASONS = {  # what a full or broken disk does to the calls of SQLite
    "full": (errno.ENOSPC, GROWING),
    "quota": (errno.EDQUOT, GROWING),
    "read-only": (errno.EROFS, WRITING),
    "write error": (errno.EIO, ("write",)),
    "sync error": (errno.EIO, ("sync",)),
}
