"""Forward-only migrations: plain SQL files, the version in PRAGMA user_version, each file's checksum recorded."""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.clock import stamp
from bot.errors import StartError
from bot.store.copies import back_up, opened
from bot.store.rows import statements

SQL = statements(__file__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of migrations/: `0001_queue.sql` is version 1."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_folder() -> Path:
    """Where the files are: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def known_migrations() -> list[Migration]:
    """Read all migrations, in order."""
    files = sorted(migrations_folder().glob("[0-9]*.sql"))
    return [Migration(int(file.name.split("_")[0]), file.name, file.read_text("utf-8")) for file in files]


def check_file(path: Path) -> None:
    """Raise StartError unless the file is ours and of exactly this version; change nothing."""
    if _is_closed(path):
        mend = "run this as the user that owns it, or root"
        raise StartError(f"{path} can't be written, and to look at it takes that, too: {mend}")
    if not path.is_file():
        raise StartError(f"there is no database at {path}: start the daemon once (bot run), or check store.url")
    with opened(path, "rw") as connection:
        version, latest = _version(connection, path), known_migrations()[-1].version
    if version < latest:
        raise StartError(f"{path} is of an older version ({version} of {latest}): start the daemon once to renew it")


def check_copy(copy: Path, path: Path) -> None:
    """Raise StartError unless `copy` may take the place of the file `path`, for a start to renew; change nothing."""
    if not os.access(copy, os.R_OK) or not copy.is_file():
        raise StartError(f"{copy} is no file, or not for this user to read: name a copy of the database")
    if path.exists() and copy.samefile(path):
        raise StartError(f"{copy} is the database itself: name a copy of it")
    _check_wal(path)
    with opened(copy, "rw") as connection:
        if not _version(connection, copy):
            raise StartError(f"{copy} is empty: name a copy of the database")


def migrate(path: Path, now: datetime) -> None:
    """Create the file or bring it up to date, each migration in a transaction of its own.

    What an older version left is copied before: bot.db.schema-4.

    Raises StartError: not a database, written by a newer version, a migration changed since it was applied, or the
    file can't be opened or written.
    """
    known = known_migrations()
    if _is_closed(path):
        raise StartError(f"{path} can't be written: run as the user that owns it, or name another in store.url")
    _check_wal(path)
    with opened(path, "rwc") as connection:
        version = _version(connection, path)
        # The first writes: not before the file is known to be ours.
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        if 0 < version < known[-1].version:  # should the new one not be what was hoped for
            back_up(path, path.with_name(f"{path.name}.schema-{version}"))
        for migration in known[version:]:
            _apply(connection, migration, now)


def _is_closed(path: Path) -> bool:
    """Whether there is a file that can't be written; not by opening it, which SQLite alone may do."""
    try:
        return path.exists() and not os.access(path, os.W_OK)
    except PermissionError:  # nor can its folder be entered
        return True


def _check_wal(path: Path) -> None:
    """Raise StartError where the file is gone but not its WAL, which would be lost, or applied to another file."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.is_file() and wal.stat().st_size and not (path.is_file() and path.stat().st_size):
        raise StartError(f"{path} is empty or gone, {wal.name} isn't: put it back, or move both away")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's version; 0: it is empty. Raises StartError where this program can do nothing with it."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if tables and "migrations" not in tables:
        raise StartError(f"{path} is a database of another program: name another file (store.url says the daemon's)")
    known = known_migrations()
    if version > known[-1].version:
        raise StartError(
            f"{path} was written by a newer version of bot (schema {version}, this one knows {known[-1].version}): "
            "install that version, or name another file"
        )
    applied = dict(connection.execute("SELECT version, checksum FROM migrations")) if version else {}
    for migration in known[:version]:
        if applied.get(migration.version) != migration.checksum:
            raise StartError(f"migrations/{migration.name} is not what this file was made with: reinstall bot")
    return version


def _apply(connection: sqlite3.Connection, migration: Migration, now: datetime) -> None:
    try:
        connection.executescript(SQL["apply"].format(new=migration, now=stamp(now)))
    except sqlite3.Error as error:  # what was begun goes with the connection
        raise StartError(f"migration {migration.name} failed, nothing was changed: {error}") from error
