"""What a connection does for many callers at once, in its own thread: one transaction for all, or one for each."""

import asyncio
import contextlib
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job:
    """A call that waits for its batch; `outcome` is whether it went well, and its result or what it raised."""

    bulk: Callable[[sqlite3.Connection, list[Any]], Sequence[Any]]
    argument: Any
    done: asyncio.Future[Any]
    give_up_at: float
    outcome: tuple[bool, Any] = field(default=(False, None))


class _Busy(Exception):
    """Another process holds the write lock; nothing was begun."""


def each(db: sqlite3.Connection, works: list[Callable[[sqlite3.Connection], T]]) -> list[T]:
    """Run functions of the connection one after the other: the bulk of those that have none of their own."""
    return [work(db) for work in works]


def run_batch(connection: sqlite3.Connection, batch: list[Job], begin: str) -> list[Job]:
    """Run all jobs in one transaction; where that fails, each in one of its own. In the connection's thread.

    Returns the last jobs of the batch that nothing was decided about, as another process holds the write lock.
    """
    try:
        error = run_together(connection, batch, begin)
        if error is None:
            return []
    except _Busy:
        return batch
    if len(batch) == 1:
        batch[0].outcome = (False, error)
        return []
    for index, job in enumerate(batch):
        try:
            error = run_together(connection, [job], begin)
        except _Busy:
            return batch[index:]
        if error is not None:
            job.outcome = (False, error)
    return []


def run_together(connection: sqlite3.Connection, jobs: list[Job], begin: str) -> Exception | None:
    """Run jobs in one transaction, those of one bulk by one call; return what went wrong. Raises _Busy."""
    try:
        connection.execute(begin)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _Busy from error
        return error
    try:
        together: dict[Any, list[Job]] = {}
        for job in jobs:
            together.setdefault(job.bulk, []).append(job)
        for bulk, alike in together.items():
            results = bulk(connection, [job.argument for job in alike])
            for job, result in zip(alike, results, strict=True):
                job.outcome = (not isinstance(result, Exception), result)
        connection.execute("COMMIT")
    except Exception as error:  # whatever a caller's function raises is handed back to that caller
        traceback.clear_frames(error.__traceback__)  # else a cursor there keeps a read open, and all later ones old
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # it is rolled back all the same
                connection.execute("ROLLBACK")
        return error
    return None
