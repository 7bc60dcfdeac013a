"""Debian's Chromium before a daemon that is a process of its own, or the reason why there is none."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from bot.emulator import Emulator
from tests.browser.afternoon import fill
from tests.process.harness import Bot

MISSING = "Chromium is missing: make browser-deps (as root: apt-get install chromium)"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(autouse=True)
def chromium() -> str:
    """Find Chromium before anything is started; without it skip the test, but fail it where CI=true."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return found


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Start a browser with a profile of its own."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        await started.close()


@pytest.fixture
async def afternoon(bot: Bot, emu: Emulator) -> Bot:
    """Start a bot in the middle of a busy afternoon that stands still: the model takes its time."""
    emu.settings.model_delay_seconds = 3600
    bot.configure(queue={"concurrency": 2}, openai={"price_input_per_million": 0.25, "price_output_per_million": 2.0})
    await fill(bot.database, emu.settings.phone_number_id)
    await bot.start()
    return bot
