"""Customers who write on a new connection each time, as long as they may: what a restart must not turn away."""

import asyncio
import itertools

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from bot.emulator import Emulator, payloads

PAUSE_SECONDS = 0.03  # between two webhooks of a customer


async def knock(
    emulator: Emulator, webhook: str, user: str, said: list[str], failures: list[str], stop: asyncio.Event
) -> None:
    """Post signed webhooks of a user until it is enough: texts that were answered join `said`, all else `failures`."""
    async with ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(60)) as client:
        for n in itertools.count():
            if stop.is_set():
                return
            body = payloads.encode(emulator.compose([(user, payloads.text_message, {"body": f"message {n}"})]))
            headers = {"X-Hub-Signature-256": payloads.sign(emulator.settings.app_secret, body)}
            try:
                async with client.post(webhook, data=body, headers=headers) as response:
                    failures += [] if response.status == 200 else [f"answered {response.status}"]
                    said.append(f"message {n}")
            except (ClientError, TimeoutError) as error:
                failures.append(repr(error))
            await asyncio.sleep(PAUSE_SECONDS)
