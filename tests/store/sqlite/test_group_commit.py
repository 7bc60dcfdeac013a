"""The writer: many callers share one COMMIT, who fails fails alone, and nothing is told before it is on disk."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import BadValue, StoreUnavailable
from bot.store.db import Database
from tests.store.sqlite.terminal import rows

Work = Callable[[sqlite3.Connection], object]


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """Return a database with one table of numbers."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE n (value INTEGER PRIMARY KEY)")
    opened = await Database.open(path)
    yield opened
    await opened.close()


@pytest.fixture
async def statements(database: Database) -> list[str]:
    """Return a list that grows with each statement of the writer."""
    seen: list[str] = []
    await database._writer.set_trace_callback(seen.append)
    return seen


def insert(value: int) -> Work:
    """Return work that stores a number."""
    return lambda db: db.execute("INSERT INTO n VALUES (?)", (value,)).lastrowid


def stored(path: Path) -> list[int]:
    """Return the numbers that another connection sees."""
    return [row[0] for row in rows(path, "SELECT value FROM n ORDER BY value")]


class Gate:
    """Work that keeps the writer's thread busy until the test opens it: what comes meanwhile is the next batch."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, _: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.leave.wait(5)

    async def closed(self, database: Database) -> "asyncio.Task[None]":
        """Let the writer run into the gate."""
        task = asyncio.create_task(database.write(self))
        await asyncio.to_thread(self.entered.wait, 5)
        return task


async def test_many_writers_share_a_commit(database: Database, statements: list[str], path: Path) -> None:
    """All that gathers while the last COMMIT runs goes into the next."""
    gate = Gate()
    first = await gate.closed(database)
    writers = [asyncio.create_task(database.write(insert(n))) for n in range(200)]
    await asyncio.sleep(0)
    gate.leave.set()
    assert await asyncio.gather(*writers) == list(range(200))
    await first
    assert statements.count("COMMIT") == 2
    assert stored(path) == list(range(200))


async def test_nothing_is_told_before_its_commit(database: Database, path: Path) -> None:
    """When a caller goes on, another connection sees what it wrote."""

    async def write(value: int) -> None:
        await database.write(insert(value))
        assert value in stored(path)

    await asyncio.gather(*(write(n) for n in range(50)))


async def test_who_fails_fails_alone(database: Database, path: Path) -> None:
    """The batch is rolled back whole and each runs again by itself: nobody else notices, nothing is stored twice."""
    gate, runs = Gate(), []
    first = await gate.closed(database)

    def count(db: sqlite3.Connection) -> str:
        runs.append(1)
        db.execute("INSERT INTO n VALUES (100)")
        return "counted"

    def fail(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO n VALUES (666)")
        raise LookupError("mine alone")

    writers = [asyncio.create_task(database.write(work)) for work in (count, fail, insert(1), insert(1), insert(2))]
    await asyncio.sleep(0)
    gate.leave.set()
    results = await asyncio.gather(*writers, return_exceptions=True)
    await first
    assert results[0] == "counted"
    assert isinstance(results[1], LookupError)
    assert results[2] == 1
    assert isinstance(results[3], sqlite3.IntegrityError)
    assert results[4] == 2
    assert stored(path) == [1, 2, 100]
    assert len(runs) == 2


async def test_bulk_work_runs_once_for_all_that_gathered(database: Database, path: Path) -> None:
    """And each caller gets its own result."""
    gate, calls = Gate(), []

    def bulk(db: sqlite3.Connection, arguments: list[int]) -> Sequence[int]:
        calls.append(len(arguments))
        db.executemany("INSERT INTO n VALUES (?)", [(argument,) for argument in arguments])
        return [argument * 2 for argument in arguments]

    first = await gate.closed(database)
    callers = [asyncio.create_task(database.keep_together(bulk, n)) for n in range(10)]
    await asyncio.sleep(0)
    gate.leave.set()
    assert await asyncio.gather(*callers) == [n * 2 for n in range(10)]
    await first
    assert calls == [10]
    assert stored(path) == list(range(10))


async def test_a_cancelled_caller_changes_nothing_for_the_others(database: Database, path: Path) -> None:
    """Its work is stored or not; the rest is."""
    gate = Gate()
    first = await gate.closed(database)
    writers = [asyncio.create_task(database.write(insert(n))) for n in range(10)]
    await asyncio.sleep(0)
    for writer in writers[::2]:
        writer.cancel()
    first.cancel()
    gate.leave.set()
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert results[1::2] == [1, 3, 5, 7, 9]
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert set(stored(path)) >= {1, 3, 5, 7, 9}
    assert await database.write(insert(11)) == 11


async def test_a_reader_cant_write(database: Database, path: Path) -> None:
    """Whatever a query says."""
    for read in (database.read, database.look):
        with pytest.raises(StoreUnavailable, match="readonly"):
            await read(insert(1))
    assert stored(path) == []


async def test_a_reader_sees_what_was_told(database: Database) -> None:
    """Its own connection, not an old picture."""
    await database.write(insert(1))
    assert await database.read(lambda db: db.execute("SELECT count(*) FROM n").fetchone()[0]) == 1
    await database.write(insert(2))
    assert await database.read(lambda db: db.execute("SELECT count(*) FROM n").fetchone()[0]) == 2


async def test_a_look_that_takes_long_holds_up_no_read(database: Database) -> None:
    """Nor a write; what people look at next waits for it."""
    gate = Gate()
    look = asyncio.create_task(database.look(gate))
    await asyncio.to_thread(gate.entered.wait, 5)
    next_look = asyncio.create_task(database.look(lambda db: db.execute("SELECT count(*) FROM n").fetchone()[0]))
    async with asyncio.timeout(4):
        await database.write(insert(1))
        assert await database.read(lambda db: db.execute("SELECT count(*) FROM n").fetchone()[0]) == 1
    assert not look.done()
    assert not next_look.done()
    gate.leave.set()
    await look
    assert await next_look == 1


async def test_closing_waits_for_a_look_that_is_under_way(database: Database) -> None:
    """Who looks is answered, and no thread is left behind."""
    gate = Gate()
    look = asyncio.create_task(database.look(gate))
    await asyncio.to_thread(gate.entered.wait, 5)
    closing_task = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    gate.leave.set()
    await asyncio.gather(look, closing_task)
    with pytest.raises(StoreUnavailable, match="closing"):
        await database.look(gate)


async def test_closing_waits_for_no_long_look(database: Database) -> None:
    """A query of minutes is cut off; who looks is told."""
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + under_way() FROM n) SELECT count(*) FROM n"
    entered = threading.Event()

    def under_way() -> int:
        entered.set()
        return 1

    def long(db: sqlite3.Connection) -> object:
        db.create_function("under_way", 0, under_way)
        return db.execute(endless).fetchone()

    look = asyncio.create_task(database.look(long))
    await asyncio.to_thread(entered.wait, 5)
    async with asyncio.timeout(20):
        await database.close()
    with pytest.raises(StoreUnavailable):
        await look


async def test_a_look_that_takes_too_long_is_cut_off_and_those_behind_it_go_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person's search can be made to take minutes; whoever has gone is not looked for at all."""
    monkeypatch.setattr("bot.store.db.LOOK_SECONDS", 0.05)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    slow = [asyncio.create_task(database.look(lambda db: db.execute(endless).fetchone())) for _ in range(3)]
    quick = asyncio.create_task(database.look(lambda db: db.execute("SELECT 1").fetchone()))
    gone = asyncio.create_task(database.look(lambda db: db.execute("INSERT INTO n VALUES (1)")))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(5):
        assert await quick == (1,)
        for look in slow:
            with pytest.raises(BadValue, match="takes over"):
                await look


async def test_a_look_after_a_long_pause_is_not_cut_off(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the look before is over, and each of the statements around a look may be asked about it."""
    monkeypatch.setattr("bot.store.db.LOOK_SECONDS", 0.0)
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) SELECT count(*) FROM n"
    with pytest.raises(BadValue):
        await database.look(lambda db: db.execute(numbers).fetchone())
    for _ in range(3000):
        assert await database.look(lambda _: 1) == 1


async def test_a_stop_cuts_off_every_look_that_waits(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the one under way."""
    monkeypatch.setattr("bot.store.db.LOOK_SECONDS", 3600)
    entered = threading.Event()
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    def long(db: sqlite3.Connection) -> object:
        entered.set()
        return db.execute(endless).fetchone()

    looks = [asyncio.create_task(database.look(long)) for _ in range(5)]
    await asyncio.to_thread(entered.wait, 5)
    async with asyncio.timeout(5):
        await database.close()
        for told in await asyncio.gather(*looks, return_exceptions=True):
            assert isinstance(told, StoreUnavailable)


async def test_a_read_that_breaks_in_the_middle_leaves_nobody_in_the_past(database: Database, path: Path) -> None:
    """Its cursor would keep the moment at which it began, for whoever reads after it."""

    def broken(db: sqlite3.Connection) -> None:
        cursor = db.execute("SELECT value FROM n")
        raise LookupError(cursor.fetchone())

    for n in range(3):
        await database.write(insert(n))
    for ask in (database.read, database.look):
        told = [asyncio.create_task(ask(broken)) for _ in range(2)]
        for one in told:
            with pytest.raises(LookupError) as caught:
                await one
            assert caught.value.__traceback__  # whoever keeps the error keeps no cursor
        await database.write(insert(100 + len(stored(path))))
        assert await ask(lambda db: db.execute("SELECT count(*) FROM n").fetchone()[0]) == len(stored(path))


async def test_a_byte_in_another_code_is_read_as_an_unknown_letter(database: Database) -> None:
    """A terminal in Latin-1 wrote it; strictly read, the row would keep all that is read with it from everybody."""
    for ask in (database.read, database.look, database.write):
        assert await ask(lambda db: db.execute("SELECT CAST(x'4A6F73E9' AS TEXT)").fetchone()) == ("Jos\ufffd",)


async def test_closing_stores_what_was_handed_over(database: Database, path: Path) -> None:
    """And takes nothing more."""
    gate = Gate()
    first = await gate.closed(database)
    writers = [asyncio.create_task(database.write(insert(n))) for n in range(20)]
    await asyncio.sleep(0)
    closing_task = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    gate.leave.set()
    assert await asyncio.gather(*writers) == list(range(20))
    await asyncio.gather(first, closing_task)
    assert stored(path) == list(range(20))
    with pytest.raises(StoreUnavailable, match="closing"):
        await database.write(insert(21))
    with pytest.raises(StoreUnavailable, match="closing"):
        await database.keep(insert(22))


async def test_durability_is_what_was_promised(database: Database) -> None:
    """WAL with FULL, foreign keys, no files for what one statement may take back; the readers are for reading."""

    def pragmas(db: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "temp_store", "query_only")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.read(pragmas) == await database.look(pragmas) == ["wal", 2, 1, 2, 1]
    assert database._writer._conn is not None
    assert await database._writer._execute(pragmas, database._writer._conn) == ["wal", 2, 1, 2, 0]


async def test_a_write_that_sqlite_cant_do_says_why(database: Database, path: Path) -> None:
    """A full disk, for instance: StoreUnavailable with the words, trouble until the next write works."""
    page_count, seen = await database.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0]), []
    await database.write(lambda db: db.execute(f"PRAGMA max_page_count = {page_count}").fetchone())

    def fill(db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO n VALUES (?)", [(n,) for n in range(100_000)])

    with pytest.raises(StoreUnavailable, match="full"):
        await database.write(fill)
    assert database.trouble is not None
    seen.append(database.trouble)
    assert "SQLITE_FULL" in seen[0]
    assert await database.write(insert(1)) == 1
    assert database.trouble is None
    assert stored(path) == [1]


async def test_what_happened_outside_is_tried_until_it_is_stored(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wamid must not be lost because the disk was full for a moment."""
    monkeypatch.setattr("bot.store.db.STORE_AGAIN_SECONDS", 0.01)
    runs = []

    def full_twice(db: sqlite3.Connection) -> str:
        runs.append(1)
        db.execute("INSERT INTO n VALUES (1)")
        if len(runs) <= 2:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return "stored"

    assert await database.keep(full_twice) == "stored"
    assert stored(path) == [1]
