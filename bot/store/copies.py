"""A copy of the file: as it was at one moment, also beside a running daemon, and judged before it gets its name."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.errors import StartError
from bot.store.damage import unavailable

STEP_PAGES = 2000  # 8 MB


@contextmanager
def opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a file for a while, by SQLite's mode: ro, rw or rwc. Raises StartError, also for what happens inside."""
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StartError(f"{path} can't be opened as the bot's database: {unavailable(error, path)}") from error


def back_up(path: Path, copy: Path, tell: Callable[[float], None] = lambda _: None) -> None:
    """Write a whole, sound copy of `path`, one file, over what is called so; `tell` hears of the share that is done.

    Nobody waits for it; only the WAL grows meanwhile. Raises StartError, with nothing left behind.
    """
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    if copy.resolve() in (path.with_name(path.name + end).resolve() for end in ("", "-wal", "-shm", ".lock")):
        raise StartError(f"{copy} is the database itself: name another file, or a folder")
    try:
        part.touch()
        with opened(path, "rw") as source, opened(part, "rwc") as target:
            source.executescript("BEGIN; SELECT 1 FROM sqlite_schema")  # else each write meanwhile would begin it anew
            source.backup(target, pages=STEP_PAGES, progress=lambda _, left, all_: tell(1 - left / (all_ or 1)))
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL beside it
            found = target.execute("PRAGMA integrity_check(1)").fetchone()
        if found != ("ok",):
            raise StartError(f"{path} is damaged, and so is the copy that was made of it: {found}")
        _sync(part)
        part.replace(copy)
        _sync(copy.parent)
    except OSError as error:
        raise StartError(f"{copy} can't be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _sync(place: Path) -> None:
    """Have a file's content, or a folder's names, on disk."""
    descriptor = os.open(place, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
