"""What the owner of a VPS does in tests/vps/run.sh: fill in bot.toml and secrets, and restart under load."""

import asyncio
import sys
from pathlib import Path

from bot.emulator import Emulator, Settings
from tests.process.knocking import knock

WEBHOOK, EMULATOR = "http://127.0.0.1:8080/webhook", "http://127.0.0.1:9100"
CUSTOMERS = 6
KNOWN = Settings()


def configure(folder: Path) -> None:
    """Write bot.toml and the credentials."""
    (folder / "bot.toml").write_text(
        f'[store]\nurl = "sqlite:////var/lib/bot/bot.db"\n[limits]\nanswers_per_user_per_hour = 0\n'
        f'[whatsapp]\nphone_number_id = "{KNOWN.phone_number_id}"\nbase_url = "{EMULATOR}"\n'
        f'[openai]\nbase_url = "{EMULATOR}/v1"\n'
    )
    secrets = {
        "BOT_WHATSAPP__ACCESS_TOKEN": KNOWN.access_token,
        "BOT_WHATSAPP__APP_SECRET": KNOWN.app_secret,
        "BOT_WHATSAPP__VERIFY_TOKEN": "verify",
        "OPENAI_API_KEY": KNOWN.api_key,
    }
    for name, value in secrets.items():
        (folder / "credentials" / name).write_text(value)


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
    if sys.argv[1] == "configure":
        configure(Path(sys.argv[2]))
    else:
        sys.exit(bool(asyncio.run(restarts(int(sys.argv[2]), sys.argv[3:]))))
