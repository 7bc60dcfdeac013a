"""The fixtures of the tests of a file in trouble: a disk that fails on command, and a small one that can be filled."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.process.failing_disk import FailingDisk
from tests.process.harness import Bot

TMPFS_BYTES = 4 * 2**20


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingDisk]:
    """Give a disk that fails on command, by the environment to start the daemon with."""
    made = FailingDisk(tmp_path / "failing")
    yield made
    made.mend()


@pytest.fixture
async def small_disk(bot: Bot) -> AsyncIterator[Path]:
    """Mount a tmpfs of 4 MB over the bot's folder."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", bot.folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("to mount a tmpfs takes root; test_no_writes.py fills the disk in another way")
    try:
        bot.configure()
        yield bot.folder
    finally:
        await bot.close()
        subprocess.run(["umount", "-l", bot.folder], check=True)
