"""A disk that can be held: the daemon's fsyncs wait, and each is noted."""

import ctypes.util
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SHIM = HERE.parent / "slow_fsync.c"
WITHOUT_COMPILER = HERE / "without_compiler"


class SlowDisk:
    """What stands between the daemon and its disk, by the environment that it is started with.

    `how` is "preload" (slow_fsync.c, wants a C compiler) or "vfs" (without_compiler, wants a Python that uses the
    system's libsqlite3); where one can't be had it is the other. On Debian the second always can.
    """

    def __init__(self, folder: Path, how: str) -> None:
        folder.mkdir()
        self._hold, self._log = folder / "hold", folder / "log"
        compiler = shutil.which("cc") or shutil.which("gcc")
        shared = _sqlite_is_shared()
        assert compiler or shared, "apt install gcc: this Python brings an SQLite of its own"
        if compiler and (how == "preload" or not shared):
            library = folder / "slow_fsync.so"
            command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SHIM), "-ldl"]
            subprocess.run(command, check=True)
            self.env = {"LD_PRELOAD": str(library)}
        else:
            path = filter(None, (str(WITHOUT_COMPILER), os.environ.get("PYTHONPATH")))
            self.env = {"PYTHONPATH": os.pathsep.join(path)}
        self.env |= {"SLOW_FSYNC_HOLD": str(self._hold), "SLOW_FSYNC_LOG": str(self._log)}

    def hold(self) -> None:
        """Let no fsync end from now on."""
        self._hold.touch()

    def release(self) -> None:
        """Let them end."""
        self._hold.unlink(missing_ok=True)

    def syncs(self, name: str) -> list[tuple[float, float]]:
        """Return when each fsync of a file began and ended, by time.monotonic(); infinity where it has not ended."""
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        times = {
            what: [int(at) / 1e9 for word, of, at in lines if (word, of) == (what, name)] for what in ("begin", "end")
        }
        pending = [float("inf")] * (len(times["begin"]) - len(times["end"]))
        return list(zip(times["begin"], times["end"] + pending, strict=True))

    def held(self, name: str) -> bool:
        """Whether an fsync of a file is under way."""
        return any(ended == float("inf") for _, ended in self.syncs(name))


def _sqlite_is_shared() -> bool:
    import sqlite3

    assert sqlite3.sqlite_version
    maps = Path("/proc/self/maps").read_text()
    return ctypes.util.find_library("sqlite3") is not None and "/libsqlite3.so.0" in maps
