"""What can befall the file itself: a disk that takes nothing, damage, and somebody who takes the file away."""

import os
import sqlite3
from pathlib import Path

from bot.errors import StoreUnavailable

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
FULL = "the disk is full, make room: "
MENDS = {"SQLITE_FULL": FULL, "SQLITE_IOERR_SHMSIZE": FULL, "SQLITE_BUSY": "close what else uses it: "}


class Broken(StoreUnavailable):
    """The daemon has to end; the text is a sentence that says what to do."""


def open_files(path: Path) -> dict[str, int | None]:
    """Return the files that SQLite has open and their inodes; it never looks whether they are still there."""
    return {name: _inode(name) for name in (f"{path}-wal", f"{path}-shm", str(path))}


def missed(files: dict[str, int | None]) -> Broken | None:
    """Return what to raise when one is gone: a WAL without a name is nothing that a start would find."""
    for name, inode in files.items():
        if _inode(name) != inode:
            return Broken(
                f"{name} was moved, deleted or replaced while the bot used it: all that was acknowledged stands in the "
                "database file that it had opened; put that back if need be, and start it again"
            )
    return None


def touch(db: sqlite3.Connection) -> None:
    """Write without changing anything: the COMMIT of a transaction that writes nothing proves nothing about a disk."""
    (same,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {same}")


def unavailable(error: sqlite3.Error, path: Path) -> StoreUnavailable:
    """Say in words why SQLite can't."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    reason = f"{MENDS.get(name, '')}{error} ({name})"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
        return Broken(f"{path} is damaged: {reason}; the end of docs/sqlite.md says what to do")
    return StoreUnavailable(reason)


def _inode(name: str) -> int | None:
    try:
        return os.stat(name).st_ino
    except OSError:
        return None
