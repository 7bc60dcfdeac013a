"""A daemon before an emulator, the developer's own settings kept out of it, and each test's logging out of the next."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

# What helpers assert is shown as what tests do; here, as it has to come before the first test that imports one.
pytest.register_assert_rewrite(*(f"tests.{room}" for room in ("browser", "flow", "process", "soak", "store", "unit")))

from bot.emulator import Emulator  # noqa: E402
from tests.process import rig  # noqa: E402
from tests.process.harness import Bot  # noqa: E402


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables that bot reads, so that a test sees only what it sets itself."""
    for name in list(os.environ):
        if name.startswith(("BOT_", "OPENAI_")) or name in {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sets logging up as a process of its own would."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


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
