"""The fixtures of the tests of a file in trouble: a disk that fails on command, and a small one that can be filled."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.process.failing_disk import FailingDisk
from tests.process.file_faults.small_disk import SmallDisk
from tests.process.harness import Bot


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingDisk]:
    """Give a disk that fails on command, by the environment to start the daemon with."""
    made = FailingDisk(tmp_path / "failing")
    yield made
    made.mend()


@pytest.fixture
async def small(bot: Bot, failing: FailingDisk) -> AsyncIterator[SmallDisk]:
    """Mount a small tmpfs over the bot's folder; without the right to mount, let the disk that fails stand in."""
    with SmallDisk.mounted(bot.folder, failing) as disk:
        bot.configure()
        yield disk
        await bot.close()
