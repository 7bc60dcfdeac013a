"""What the process tests and the crash run share: emulator, a bot that is configured but not started, a judgement."""

import contextlib
from collections import Counter
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


def assert_answered_once_in_order(emu: Emulator, said: dict[str, list[str]]) -> None:
    """Each message of each user has its one answer, in the order in which they were written, and no part went twice."""
    assert {user: emu.sends(user) for user in said} == {
        user: [f"answer to: {text}" for text in texts] for user, texts in said.items()
    }
    accepted = [entry.callback_data for entry in emu.log.of("graph.send") if entry.accepted]
    bases = Counter(callback.partition(".")[0] for callback in accepted)
    assert {base: times for base, times in bases.items() if times > 1} == {}
