"""The one SQLite file: a writer that commits for many callers at once, two readers. The only importer of aiosqlite."""

import asyncio
import contextlib
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite
import structlog

from bot.errors import BadValue, StoreUnavailable
from bot.store.batch import Job, each, run_batch
from bot.store.damage import Broken, missed, open_files, touch, unavailable
from bot.store.rows import statements

log = structlog.get_logger(__name__)
T = TypeVar("T")
A = TypeVar("A")
Bulk = Callable[[sqlite3.Connection, list[A]], Sequence[T | Exception]]
Ran = Callable[[int, float], None]  # how many calls a transaction served, and its seconds

IDLE_SECONDS = 0.001  # where the loop slept so long the writer commits half of what waits first…
MANY = 24  # … if more calls wait: fewer are quick, and may belong together, as a message and its claim do
GATHER_TURNS = 8  # of a busy loop, at most, before a batch begins
BUSY_SECONDS = 0.0001  # a turn of the loop that takes longer had other work
BUSY_MS = 250  # how long one try waits for another process's write lock; the batch is tried again and again
SQL = statements(__file__, BUSY_MS=str(BUSY_MS))
STORE_AGAIN_SECONDS = 1.0
CLOSING_PATIENCE_SECONDS = 2.0
LOOK_SECONDS = 5.0
TOO_LONG = f"this takes over {LOOK_SECONDS:g} seconds: look for something else"
LOCKED = "another program holds the file's write lock"


class Database:
    """Run functions of the connection: writes in a shared transaction (group commit), reads and looks beside them.

    A function runs SQL only and may run more than once: where anything in a batch fails, the batch is rolled back
    whole and each call runs again in a transaction of its own. A write's future resolves after its COMMIT returned.
    Few statements make it fast: each step of one lets the other threads have the interpreter, and waits to get it back.
    """

    def __init__(self, path: Path, committed: Ran | None, *opened: aiosqlite.Connection) -> None:
        self._writer, self._reader, self._looker = opened
        self.broken: asyncio.Future[str] = asyncio.Future()  # done, with a sentence, once the file can't be used
        self._writes = _Lane(self._writer, "write", path, self.broken)
        self._reads, self._looks = (_Lane(each, "read", path, self.broken) for each in opened[1:])
        self._writes.ran = committed
        self._closing, self._look_until = False, math.inf

    @classmethod
    async def open(cls, path: Path, committed: Ran | None = None) -> "Database":
        """Open an existing, migrated file; `committed` hears of each transaction. Raises StoreUnavailable."""
        async with contextlib.AsyncExitStack() as stack:
            opened = []
            for query_only in (False, True, True):
                opened.append(await _connect(path, query_only=query_only))
                stack.push_async_callback(opened[-1].close)  # should the next one fail: leave no thread behind
            stack.pop_all()
        return cls(path, committed, *opened)

    def _gives_up(self) -> bool:
        return self._closing or time.monotonic() > self._look_until

    @property
    def trouble(self) -> str | None:
        """Why the last write failed, in words; None: all is well."""
        return self._writes.trouble

    async def write(self, work: Callable[[sqlite3.Connection], T], *, give_up_seconds: float = math.inf) -> T:
        """Run `work` in a transaction and return its result once that is on disk.

        Raises StoreUnavailable when the file can't be written (or stays locked for `give_up_seconds`), and whatever
        `work` raises; nothing of it is stored then. A cancelled caller's work may still be stored.
        """
        return await self.write_together(each, work, give_up_seconds=give_up_seconds)

    async def write_together(self, bulk: Bulk[A, T], argument: A, *, give_up_seconds: float = math.inf) -> T:
        """Do as `write` does with one call of `bulk` for all arguments that gathered; one result for each.

        `bulk` has to be the same at each call. A result that is an exception is raised, for its caller alone.
        """
        return await self._writes.add(bulk, argument, give_up_seconds)

    async def keep(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as `write` does, again and again until it is stored: for what happened outside already."""
        return await self.keep_together(each, work)

    async def keep_together(self, bulk: Bulk[A, T], argument: A) -> T:
        """Do as `keep` does with one call of `bulk` for all arguments that gathered."""
        while True:
            try:
                return await self.write_together(bulk, argument)
            except StoreUnavailable:
                if self._writes.closing or self.broken.done():
                    raise
                await asyncio.sleep(STORE_AGAIN_SECONDS)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection (it can't write), all at one moment. Raises StoreUnavailable."""
        return await self.read_together(each, work)

    async def read_together(self, bulk: Bulk[A, T], argument: A) -> T:
        """Do as `read` does with one call of `bulk` for all arguments that gathered."""
        return await self._reads.add(bulk, argument, math.inf)

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do as `read` does on a connection for what people look at: however long it takes, no turn's read waits.

        Nobody's look takes longer than LOOK_SECONDS, as the next one waits for it. Raises BadValue where it would.
        """

        def limited(db: sqlite3.Connection) -> T:
            if done.cancelled():
                return cast(T, None)  # whoever asked has gone
            self._look_until = time.monotonic() + LOOK_SECONDS
            # So many steps of SQLite's machine between two looks at the clock: well under a millisecond.
            db.set_progress_handler(self._gives_up, 2000)
            try:
                return work(db)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT and not self._closing:
                    raise BadValue("search", TOO_LONG) from None
                raise
            finally:
                self._look_until = math.inf  # a BEGIN may be asked, too, before the next look says its own time

        done: asyncio.Future[T] = self._looks.add(cast(Any, each), limited, math.inf)
        return await done

    async def scrub(self) -> bool:
        """Write the file anew, so that no unused byte holds what was deleted, and leave nothing in the WAL.

        Others can't write meanwhile. False where it can't be: somebody reads or writes for long, there is no room.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            # A file may be larger than memory. Whoever reads for long isn't waited for while others can't write.
            patient = "PRAGMA temp_store = FILE; PRAGMA busy_timeout = 5000; VACUUM; PRAGMA busy_timeout = 250"
            await self._writer.executescript(patient)
            for _ in range(100):
                (row,) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                if row[:2] != (1, -1):
                    return not row[0]
                await asyncio.sleep(0.1)  # another's checkpoint, which SQLite doesn't wait for: a daemon began it
        return False

    async def close(self) -> None:
        """Store what was handed over (a file that is locked gets a little time), then close all connections."""
        self._closing = True  # however long a look takes, nobody waits for it any more
        for lane in (self._writes, self._reads, self._looks):
            await lane.close()
        for connection in (self._looker, self._reader, self._writer):
            await connection.close()


class _Lane:
    """Calls gather while the last ones run, then go to their connection's thread together, one batch at a time."""

    def __init__(self, connection: aiosqlite.Connection, verb: str, path: Path, broken: asyncio.Future[str]) -> None:
        self._connection, self._verb, self._path, self._broken = connection, verb, path, broken
        self._begin, self._halve_after = ("BEGIN IMMEDIATE", IDLE_SECONDS) if verb == "write" else ("BEGIN", math.inf)
        self._files = open_files(path)
        self._jobs: deque[Job] = deque()
        self._wake, self._closes_at = asyncio.Event(), math.inf
        self._task = asyncio.create_task(self._loop(), name=f"store-{verb}")
        self.ran: Ran | None = None
        self.closing = False
        self.trouble: str | None = None

    def add(self, bulk: Bulk[A, T], argument: A, give_up_seconds: float) -> asyncio.Future[T]:
        """Hand a call over."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.closing or self._broken.done():
            why = "the store is closing" if self.closing else self._broken.result()
            done.set_exception(StoreUnavailable(self.trouble or why))
            return done
        self._jobs.append(Job(bulk, argument, done, done.get_loop().time() + give_up_seconds))
        self._wake.set()
        return done

    async def close(self) -> None:
        """Finish what was handed over."""
        self.closing, self._closes_at = True, asyncio.get_running_loop().time() + CLOSING_PATIENCE_SECONDS
        self._wake.set()
        await self._task

    async def _loop(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            idle_since, worked = now(), time.thread_time()
            await self._wake.wait()
            self._wake.clear()
            # Turns that ended together would be committed together, and again, and nothing be worked on meanwhile.
            halve = now() - idle_since - (time.thread_time() - worked) > self._halve_after
            while self._jobs:
                await _gather(now)
                some = 2 if halve and len(self._jobs) > MANY else 1
                batch = [self._jobs.popleft() for _ in range(len(self._jobs) // some)]
                halve, began = False, now()
                if self.trouble and self._verb == "write":
                    batch.append(Job(each, touch, asyncio.Future(), 0.0))
                    batch[-1].done.cancel()  # nobody waits for it
                try:
                    waiting = await self._connection._execute(run_batch, self._connection._conn, batch, self._begin)
                    if self._verb == "write" and (gone := missed(self._files)):
                        with contextlib.suppress(sqlite3.Error):  # what only a WAL without a name holds
                            await self._connection.execute_fetchall("PRAGMA wal_checkpoint")
                        raise gone
                except Exception as error:  # that, or a defect: who waits for it must hear of it
                    waiting = []
                    for job in batch:
                        job.outcome = (False, error)
                self._resolve(batch[: len(batch) - len(waiting)], now() - began)
                if waiting:
                    self._tell(LOCKED)
                    self._jobs.extendleft(reversed(self._still_patient(waiting)))
            if self.closing:
                return

    def _still_patient(self, batch: list[Job]) -> list[Job]:
        now, patient = asyncio.get_running_loop().time(), []
        for job in batch:
            if now >= min(job.give_up_at, self._closes_at):
                _set(job.done, False, StoreUnavailable(LOCKED))
            else:
                patient.append(job)
        return patient

    def _resolve(self, batch: list[Job], seconds: float) -> None:
        if not batch:
            return
        trouble: StoreUnavailable | None = None
        for job in batch:
            well, value = job.outcome
            if not well and isinstance(value, sqlite3.Error) and not isinstance(value, sqlite3.IntegrityError):
                value = unavailable(value, self._path)
            if isinstance(value, StoreUnavailable):
                trouble = value
            _set(job.done, well, value)
        self._tell(str(trouble) if trouble else None)
        if trouble is None and self.ran:
            self.ran(len(batch), seconds)
        if isinstance(trouble, Broken):
            _set(self._broken, True, str(trouble))

    def _tell(self, why: str | None) -> None:
        if why != self.trouble and not self._broken.done():
            self.trouble = why
            if why:
                log.error(f"store can't {self._verb}", reason=why)
            else:
                log.info(f"store {self._verb}s again")


async def _gather(now: Callable[[], float]) -> None:
    """Let a busy loop go on for some turns: what joins the batch meanwhile costs no statements of its own."""
    for _ in range(GATHER_TURNS):
        began = now()
        await asyncio.sleep(0)
        if now() - began < BUSY_SECONDS:
            return


def _set(done: asyncio.Future[Any], well: bool, value: Any) -> None:
    if not done.done():  # else its caller was cancelled
        (done.set_result if well else done.set_exception)(value)


async def _connect(path: Path, *, query_only: bool = False) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    try:
        connection = await connection
        # A byte that somebody's terminal wrote in another code must not keep a row, and all beside it, from being read.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        await connection.executescript(f"{SQL['opened']} PRAGMA query_only = {query_only};")
    except BaseException as error:  # whatever it was, leave no thread behind
        await connection.close()
        connection._thread.join()  # where it was cut off while it opened, nothing else waits for it
        if isinstance(error, sqlite3.Error):
            raise unavailable(error, path) from error
        raise
    return connection
