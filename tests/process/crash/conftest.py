"""What the crash tests share: one process that forks daemons, and a file for each test to kill them on."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.process.crash.nursery import Nursery
from tests.process.crash.power import preload
from tests.process.crash.run import Crash


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that loads power_cut.c; empty where there is no compiler."""
    return preload(tmp_path_factory.mktemp("power"))


@pytest.fixture(scope="session")
def nursery(library: dict[str, str]) -> Iterator[Nursery]:
    """Import bot once for all tests."""
    made = Nursery(library)
    yield made
    made.close()


@pytest.fixture
async def crash(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Crash]:
    """A file and daemons to kill; a send in doubt waits less than in the long run, as there is little load."""
    async with Crash.prepared(tmp_path, nursery, random.Random(1), confirm_seconds=2.0) as made:
        yield made
