"""What the owner of a VPS does in tests/vps/run.sh: fill in bot.toml and secrets, and restart under load."""

import asyncio
import itertools
import sys
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from bot.emulator import Emulator, Settings, payloads

WEBHOOK, EMULATOR = "http://127.0.0.1:8080/webhook", "http://127.0.0.1:9100"
CUSTOMERS, PAUSE_SECONDS = 6, 0.03
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
    answered, failures = itertools.count(), list[str]()

    async def write(user: str) -> None:
        async with ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(60)) as client:
            for n in itertools.count():
                if stop.is_set():
                    return
                body = payloads.encode(emulator.compose([(user, payloads.text_message, {"body": f"message {n}"})]))
                headers = {"X-Hub-Signature-256": payloads.sign(KNOWN.app_secret, body)}
                try:
                    async with client.post(WEBHOOK, data=body, headers=headers) as response:
                        failures.extend([] if response.status == 200 else [f"answered {response.status}"])
                        next(answered)
                except (ClientError, TimeoutError) as error:
                    failures.append(repr(error))
                await asyncio.sleep(PAUSE_SECONDS)

    writing = [asyncio.create_task(write(f"3460011122{n}")) for n in range(CUSTOMERS)]
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*writing)
    print(
        f"{count} restarts, {next(answered)} webhooks answered, {len(failures)} refused, reset or lost: {failures[:3]}"
    )
    return len(failures)


if __name__ == "__main__":
    if sys.argv[1] == "configure":
        configure(Path(sys.argv[2]))
    else:
        sys.exit(bool(asyncio.run(restarts(int(sys.argv[2]), sys.argv[3:]))))
