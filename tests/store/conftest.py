"""Stores on real files, closed when a test ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.store.store import Store
from tests.clock import FakeClock
from tests.store.desk import Desk

OpenDesk = Callable[..., Awaitable[Desk]]


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store's file is, or will be."""
    return tmp_path / "bot.db"


@pytest.fixture
async def open_desk(path: Path, clock: FakeClock) -> AsyncIterator[OpenDesk]:
    """Return a function that opens a store with limits of its own; calling it again is a restart."""
    opened: list[Store] = []

    async def open_one(**limits: Any) -> Desk:
        for store in opened:
            await store.close()
        opened[:] = [await Store.open(path, clock=clock, **limits)]
        await opened[0]._db._writer.execute_fetchall("PRAGMA synchronous = OFF")  # no power goes off in these tests
        return Desk(opened[0], clock)

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    """Return a store without limits."""
    return await open_desk()
