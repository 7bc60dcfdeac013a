"""Play a power cut: put the database's files back to what the last fsync of each covered, or to something in between.

What the daemon's SQLite did to its files is read from the log that power_cut.c writes. A file's own sync makes its
content last, one of its folder its name. The shared memory file never outlives a cut.
"""

import random
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD = struct.Struct("=c23sqq")
SECTOR = 512
NOT_KEPT = re.compile(r"bot\.db(-shm|\..*)")  # nothing rests on these: the lock, copies
COMPILER = shutil.which("cc") or shutil.which("gcc")
SOURCE = Path(__file__).with_name("power_cut.c")


@dataclass(slots=True)
class _Op:
    """A write, or (no data) a truncation."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        """Do it to a file's content."""
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        else:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data

    def torn(self, dice: random.Random) -> Iterator["_Op"]:
        """Yield what a cut may leave of it: any of its sectors."""
        if self.data is None:
            yield from [self] if dice.random() < 0.5 else []
            return
        end, at = self.offset + len(self.data), self.offset
        while at < end:
            upto = min(end, at - at % SECTOR + SECTOR)
            if dice.random() < 0.5:
                yield _Op(at, self.data[at - self.offset : upto - self.offset])
            at = upto


@dataclass(slots=True, eq=False)
class _File:
    """A file whatever its name: what lasts, and what was done to it since."""

    lasting: bytearray = field(default_factory=bytearray)
    ops: list[_Op] = field(default_factory=list)

    def sync(self) -> None:
        """Let all of it last."""
        for op in self.ops:
            op.apply(self.lasting)
        self.ops.clear()

    @property
    def seen(self) -> bytearray:
        """What a reader sees while the power is on."""
        content = bytearray(self.lasting)
        for op in self.ops:
            op.apply(content)
        return content


def preload(place: Path) -> dict[str, str]:
    """Compile the library into a folder and say by which environment it is loaded; none without a compiler."""
    if not COMPILER:
        return {}
    library = str(place / "power_cut.so")
    command = [COMPILER, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": library}


class Disk:
    """The disk under a daemon's folder, for one that was started with `preload` and `env`; noted in the file `log`.

    Between two starts call `keep` or `cut`.
    """

    def __init__(self, folder: Path, log: Path, *, sync_ms: float = 1.0) -> None:
        self._folder, self._log = folder, log
        self.env = {"POWER_CUT_LOG": str(log), "POWER_CUT_SYNC_MS": str(sync_ms)}
        self._names: dict[str, _File] = {}  # as they are seen
        self._lasting: dict[str, _File] = {}  # and as they would be found after a cut
        self.unsynced = 0  # bytes that cuts took away so far

    def keep(self) -> None:
        """Take in what a process did that was killed while the power stays on: nothing of it is gone."""
        self._read_log()
        found = {path.name: path for path in self._folder.glob("bot.db*") if not NOT_KEPT.fullmatch(path.name)}
        self._names = {name: self._names.get(name) or _File() for name in found}
        for name, file in self._names.items():
            content = found[name].read_bytes()
            # The last write may have been noted and then not happened, or in part.
            for op in file.ops[-1:]:
                if op.data is not None:
                    file.ops.append(_Op(op.offset, content[op.offset : op.offset + len(op.data)]))
            file.ops.append(_Op(len(content), None))

    def cut(self, torn: random.Random | None = None) -> None:
        """Take the power away: what wasn't synced is gone or, with dice, there in part."""
        self._read_log()
        left: dict[str, _File] = {}
        for name in self._names.keys() | self._lasting.keys():
            found = self._lasting.get(name)
            if torn and torn.random() < 0.5:
                found = self._names.get(name)
            if found is not None:
                left[name] = found
        for path in self._folder.glob("bot.db*"):
            if path.suffix != ".lock":
                path.unlink()
        for name, file in left.items():
            self.unsynced += sum(len(op.data or b"") for op in file.ops)
            for op in file.ops if torn else ():
                for rest in op.torn(torn):
                    rest.apply(file.lasting)
            file.ops.clear()
            (self._folder / name).write_bytes(file.lasting)
        self._names, self._lasting = left, dict(left)

    def seen(self) -> dict[str, bytes]:
        """Say what the files hold while the power is on, by what was noted."""
        return {name: bytes(file.seen) for name, file in self._names.items()}

    def _read_log(self) -> None:
        log = self._log.read_bytes() if self._log.exists() else b""
        self._log.unlink(missing_ok=True)
        position = 0
        while position + HEAD.size <= len(log):
            kind, name, offset, length = HEAD.unpack_from(log, position)
            position += HEAD.size
            data = log[position : position + length]
            position += length
            if len(data) == length:  # else it was being written when the process died
                self._take(kind.decode(), name.rstrip(b"\0").decode(), offset, data)

    def _take(self, kind: str, name: str, offset: int, data: bytes) -> None:
        match kind:
            case "w":
                self._names.setdefault(name, _File()).ops.append(_Op(offset, data))
            case "t":
                self._names.setdefault(name, _File()).ops.append(_Op(offset, None))
            case "s":
                self._names[name].sync()
            case "c":
                self._names[name] = _File()
            case "u":
                self._names.pop(name, None)
            case "d":
                self._lasting = dict(self._names)
