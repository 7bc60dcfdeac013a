"""A copy of the file: as it was at one moment, also beside a running daemon, and judged before it gets its name.

And the way back: a copy in the file's place.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from bot.errors import StartError
from bot.store.damage import unavailable
from bot.store.rows import Row, dicts, statements

SQL = statements(__file__)
STEP_PAGES = 2000  # 8 MB
PART = ".bot-part"  # how the name of a copy ends that isn't whole yet; who makes it locks it

Tell = Callable[[float], None]  # hears of the share that is done


@contextmanager
def opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a file for a while, by SQLite's mode: ro, rw or rwc. Raises StartError, also for what happens inside."""
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StartError(f"{path} can't be used as the database: {unavailable(error, path)}") from error


def back_up(path: Path, copy: Path, tell: Tell = lambda _: None) -> int:
    """Write a whole, sound copy of `path`, one file, over what is called so; return how many bytes it has.

    Nobody waits for it; only the WAL grows meanwhile. Raises StartError, with nothing left behind.
    """
    ours = (path.with_name(path.name + end).resolve() for end in ("", "-wal", "-shm", ".lock"))
    # SQLite would apply them to the new file, or a program goes on in the old one, without a name.
    in_use = any(os.access(f"{copy}{end}", os.F_OK) for end in ("-wal", "-journal"))
    if in_use or copy.resolve() in ours or (os.access(copy, os.F_OK) and not copy.is_file()):
        raise StartError(f"{copy} is the database itself, another in use, or no file: name another, or move that away")
    with _made(path, copy, tell) as part:
        return part.replace(copy).stat().st_size


def put_back(copy: Path, path: Path) -> Row:
    """Put what `copy` holds in the place of the file `path`, at once or not at all; the caller keeps daemons out.

    Return how many messages are `waiting` in it and the `oldest` one's time, how many replies by hand (`letters`) wait,
    and where the old file is `kept` (None: there was none). Where a message waits everybody is paused: it may have been
    answered after the copy was made.
    Raises StartError, with nothing changed.
    """
    with _made(copy, path, lambda _: None) as part:
        with opened(part, "rw") as new:
            new.executescript(SQL["pause"])
            name = f"{path}.before-restore-" if path.exists() and path.stat().st_size else None
            (found,) = dicts(new, SQL["found"], {"name": name})
        for ours in (part, path.with_name(f"{path.name}.lock")):  # a file of root's would keep the daemon out
            with suppress(OSError):  # who isn't root
                os.chown(ours, path.parent.stat().st_uid, path.parent.stat().st_gid)
        with opened(path, "rwc") as old:
            # Beside the new file, the old WAL would be applied to that. It goes into the old one, which takes that no
            # other program has it open. Who comes now waits, then finds the new one or can't write (READONLY_DBMOVED).
            old.executescript(SQL["shut"])
            if found["kept"]:
                os.link(path, found["kept"])  # not moved: at no moment is there no file for a start to find
                _sync(path.parent)
            part.replace(path)
    return found


@contextmanager
def _made(path: Path, copy: Path, tell: Tell) -> Iterator[Path]:
    """Make a whole, sound copy of `path` on disk, beside where it belongs; it goes unless the block moves it there."""
    part = copy.with_name(f"{copy.name}.{os.getpid()}{PART}")
    try:
        for left in filter(Path.is_file, copy.parent.glob(f"*{PART}*")):
            with suppress(OSError), left.open() as unheld:  # who made it is dead
                fcntl.flock(unheld, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        with part.open("w") as held, ExitStack() as stack:
            stack.callback(part.unlink, missing_ok=True)
            fcntl.flock(held, fcntl.LOCK_EX)
            with opened(path, "rw") as source, opened(part, "rwc") as target:
                # Without BEGIN each write meanwhile would begin it anew; and no journal, which nobody would lock.
                source.executescript("BEGIN; SELECT 1 FROM sqlite_schema")
                target.execute("PRAGMA journal_mode = MEMORY")
                source.backup(target, pages=STEP_PAGES, progress=lambda _, left, all_: tell(1 - left / (all_ or 1)))
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL beside it
                if (found := target.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
                    raise StartError(f"{path} is damaged, and so is the copy that was made of it: {found}")
            _sync(part)
            yield part
            _sync(copy.parent)
    except OSError as error:
        raise StartError(f"{copy} can't be written: {error.strerror}") from error


def _sync(place: Path) -> None:
    """Have a file's content, or a folder's names, on disk."""
    descriptor = os.open(place, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
