"""What the owner of a VPS does in tests/vps/run.sh: tell `bot init` what it asks, and restart under load."""

import asyncio
import sys

from bot.emulator import Emulator, Settings
from tests.process.knocking import knock

WEBHOOK, EMULATOR = "http://127.0.0.1:8080/webhook", "http://127.0.0.1:9100"
CUSTOMERS = 6
KNOWN = Settings()


def settings() -> dict[str, str]:
    """Return what `bot init` wants, and where the emulator stands in for the services."""
    return {
        "BOT_WHATSAPP__PHONE_NUMBER_ID": KNOWN.phone_number_id,
        "BOT_WHATSAPP__WABA_ID": KNOWN.waba_id,
        "BOT_WHATSAPP__ACCESS_TOKEN": KNOWN.access_token,
        "BOT_WHATSAPP__APP_SECRET": KNOWN.app_secret,
        "BOT_WHATSAPP__BASE_URL": EMULATOR,
        "OPENAI_API_KEY": KNOWN.api_key,
        "BOT_OPENAI__BASE_URL": f"{EMULATOR}/v1",
        "BOT_SERVER__PUBLIC_URL": "https://127.0.0.1:9",
        "BOT_LIMITS__ANSWERS_PER_USER_PER_HOUR": "0",
    }


async def restarts(count: int, command: list[str]) -> int:
    """Restart so often while customers write, each time on a new connection; return how many were not answered 200."""
    emulator, stop = Emulator(KNOWN), asyncio.Event()
    said, failures = list[str](), list[str]()
    users = [f"3460011122{n}" for n in range(CUSTOMERS)]
    writing = [asyncio.create_task(knock(emulator, WEBHOOK, user, said, failures, stop)) for user in users]
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*writing)
    print(f"{count} restarts, {len(said)} webhooks answered, {len(failures)} refused, reset or lost: {failures[:3]}")
    return len(failures)


if __name__ == "__main__":
    if sys.argv[1] == "settings":
        print(*(f"{name}={value}" for name, value in settings().items()))
    else:
        sys.exit(bool(asyncio.run(restarts(int(sys.argv[2]), sys.argv[3:]))))
