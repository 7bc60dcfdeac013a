"""Set up what the process tests and the crash run share: an emulator, and a bot that is configured but not started."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

from bot.emulator import Emulator, Settings, StatusPlan
from tests.process.harness import Bot, environment, reserved_port


def emulator() -> Emulator:
    """Make an emulator; a redelivery comes soon, a status at once."""
    return Emulator(
        Settings(
            access_token="EAAG" + "1aB" * 50,  # in the shape of real ones
            app_secret="0123456789abcdef" * 2,
            api_key="sk-proj-" + "2cD_" * 20,
            statuses=StatusPlan(("sent", "delivered"), (0.0, 0.05)),
            redelivery_base_seconds=0.05,
            redelivery_tries=30,
        )
    )


@contextlib.asynccontextmanager
async def configured(folder: Path, emu: Emulator) -> AsyncIterator[Bot]:
    """Give a configured bot that is not started, and that the emulator posts its webhooks to; end what was started."""
    async with ClientSession(timeout=ClientTimeout(total=15)) as client:
        with reserved_port() as public, reserved_port() as admin:
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
