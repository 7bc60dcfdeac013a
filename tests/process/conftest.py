"""The fixtures of the process tests: an emulator, and a bot that is configured but not started."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.emulator import Emulator
from tests.process import rig
from tests.process.harness import Bot
from tests.process.slow_disk import SlowDisk


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run the emulator."""
    async with rig.emulator() as emulator:
        yield emulator


@pytest.fixture
async def bot(tmp_path: Path, emu: Emulator) -> AsyncIterator[Bot]:
    """Give a configured bot that is not started, and that the emulator posts its webhooks to."""
    async with rig.configured(tmp_path / "bot", emu) as made:
        yield made


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SlowDisk]:
    """Give a disk that can be held; a test's indirect parameter says in which way it is made."""
    made = SlowDisk(tmp_path / "disk", getattr(request, "param", "preload"))
    yield made
    made.release()
