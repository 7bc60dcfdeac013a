"""The fixtures of the process tests: an emulator, and a bot that is configured but not started."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from bot.emulator import Emulator, Settings, StatusPlan
from tests.process.harness import Bot, environment, reserved_port
from tests.process.slow_disk import SlowDisk


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run the emulator; a redelivery comes soon, a status at once."""
    settings = Settings(
        access_token="EAAG" + "1aB" * 50,  # in the shape of real ones
        app_secret="0123456789abcdef" * 2,
        api_key="sk-proj-" + "2cD_" * 20,
        statuses=StatusPlan(("sent", "delivered"), (0.0, 0.05)),
        redelivery_base_seconds=0.05,
        redelivery_tries=30,
    )
    async with Emulator(settings) as emulator:
        yield emulator


@pytest.fixture
async def bot(tmp_path: Path, emu: Emulator) -> AsyncIterator[Bot]:
    """Give a configured bot that is not started, and that the emulator posts its webhooks to."""
    async with ClientSession(timeout=ClientTimeout(total=15)) as client:
        with reserved_port() as public, reserved_port() as admin:
            folder = tmp_path / "bot"
            folder.mkdir()
            made = Bot(folder, emu, environment(emu), public, admin, client)
            made.configure(
                server={"port": public},
                admin={"port": admin},
                store={"url": "sqlite:///bot.db"},
                whatsapp={
                    "phone_number_id": emu.settings.phone_number_id,
                    "base_url": emu.graph_url,
                    "sends_per_second": 0,
                    "pair_interval_seconds": 0.0,
                    "confirm_seconds": 2.0,
                },
                openai={"base_url": emu.model_url},
                queue={"backoff_base_seconds": 0.05, "backoff_max_seconds": 0.2, "drain_seconds": 10.0},
                limits={"answers_per_user_per_hour": 0, "answers_per_user_per_day": 0},
            )
            emu.settings.webhook_url = made.public_url + "/webhook"
            try:
                yield made
            finally:
                await made.close()


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SlowDisk]:
    """Give a disk that can be held; a test's indirect parameter says in which way it is made."""
    made = SlowDisk(tmp_path / "disk", getattr(request, "param", "preload"))
    yield made
    made.release()
