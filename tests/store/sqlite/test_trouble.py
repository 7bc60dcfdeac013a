"""When SQLite says no at an odd moment: nothing is lost, nobody is told what isn't so, no thread is left behind."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bot.errors import StoreUnavailable
from bot.store import db
from bot.store.db import Database
from tests.store.sqlite.terminal import rows


def error(code: int, text: str) -> sqlite3.OperationalError:
    """Return what the sqlite3 module would raise."""
    made = sqlite3.OperationalError(text)
    made.sqlite_errorcode = code
    made.sqlite_errorname = text.upper()
    return made


class Moody(sqlite3.Connection):
    """A connection that refuses to begin when its list says so, and complains when it has taken something back."""

    moods: Iterator[sqlite3.Error | None] = iter(())
    complains = False

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Run a statement, or don't."""
        if sql == "BEGIN IMMEDIATE" and (mood := next(self.moods, None)) is not None:
            raise mood
        done = super().execute(sql, *values)
        if sql == "ROLLBACK" and self.complains:
            raise error(sqlite3.SQLITE_IOERR, "disk I/O error")
        return done


@pytest.fixture
async def database(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Return a database whose connections are moody."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE n (value INTEGER PRIMARY KEY)")
    connect = db.aiosqlite.connect
    monkeypatch.setattr(db.aiosqlite, "connect", lambda path, **options: connect(path, factory=Moody, **options))
    opened = await Database.open(path)
    yield opened
    await opened.close()


def insert(value: int) -> Callable[[sqlite3.Connection], int]:
    """Return work that stores a number."""

    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO n VALUES (?)", (value,))
        return value

    return work


async def test_a_file_that_cant_be_locked_for_another_reason_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error at the very beginning: the caller is told, the next call works."""
    monkeypatch.setattr(Moody, "moods", iter([error(sqlite3.SQLITE_IOERR, "disk I/O error")]))
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        await database.write(insert(1))
    assert await database.write(insert(2)) == 2


async def test_a_lock_between_two_of_a_batch_keeps_the_rest_waiting(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fails, so each runs by itself; another program locks the file in between: what is left is tried again."""
    locked = error(sqlite3.SQLITE_BUSY, "database is locked")
    # begin: the batch; the one at fault; the first; then locked, twice; then free
    monkeypatch.setattr(Moody, "moods", iter([None, None, None, locked, locked, None]))

    def fail(_: sqlite3.Connection) -> None:
        raise LookupError

    writers = [database.write(work) for work in (fail, insert(1), insert(2), insert(3))]
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert isinstance(results[0], LookupError)
    assert results[1:] == [1, 2, 3]
    assert rows(path, "SELECT value FROM n ORDER BY 1") == [(1,), (2,), (3,)]


async def test_a_rollback_that_complains_stops_nobody(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has rolled back all the same; a writer that died of it would leave everybody waiting for ever."""
    monkeypatch.setattr(Moody, "complains", True)

    def fail(connection: sqlite3.Connection) -> None:
        insert(1)(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await asyncio.wait_for(database.write(fail), 5)
    assert await database.write(insert(2)) == 2
    assert rows(path, "SELECT value FROM n") == [(2,)]


async def test_a_file_that_is_locked_as_it_is_opened_is_said_to_be(path: Path) -> None:
    """As a restore does for a moment, after it was looked at: a sentence, no traceback."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript("PRAGMA journal_mode = DELETE; CREATE TABLE n (value); BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="close what else uses it: database is locked"):
            await Database.open(path)


async def test_an_opening_that_fails_leaves_no_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unclosed connection's thread would hang the exit."""
    before = threading.active_count()
    path.write_text("no database " * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await Database.open(path)
    path.unlink()
    connect, opened = db._connect, []

    async def only_once(path: Path, **options: bool) -> object:
        if opened:
            raise error(sqlite3.SQLITE_CANTOPEN, "unable to open database file")
        opened.append(await connect(path, **options))
        return opened[0]

    monkeypatch.setattr(db, "_connect", only_once)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await Database.open(path)
    await no_more_threads_than(before)


async def test_an_opening_that_is_cut_off_leaves_no_thread(path: Path) -> None:
    """Whenever a SIGTERM comes while the daemon starts."""
    before, whole = threading.active_count(), 0
    for microseconds in range(0, 20_000, 50):
        opening = asyncio.create_task(Database.open(path))
        asyncio.get_running_loop().call_later(microseconds / 1e6, opening.cancel)
        with suppress(asyncio.CancelledError):
            await (await opening).close()
            whole += 1
        if whole >= 20:
            break
    assert whole
    await no_more_threads_than(before)


async def no_more_threads_than(before: int) -> None:
    """Wait until those that were started meanwhile have ended."""
    async with asyncio.timeout(5):
        while threading.active_count() > before:
            await asyncio.sleep(0.01)
