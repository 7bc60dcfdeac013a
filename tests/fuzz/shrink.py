"""Make a payload that went wrong smaller, as long as it still goes wrong: alone, on a fresh daemon."""

import tempfile
from dataclasses import replace
from pathlib import Path

from bot.emulator import Emulator
from tests.fuzz.payload import Payload, smaller
from tests.fuzz.run import emulated, served
from tests.fuzz.written import write

MOST_TRIES = 400


async def shrink(payload: Payload) -> bytes | None:
    """Return the smallest body found that a fresh daemon doesn't take; None where it takes this one, sent alone."""
    with tempfile.TemporaryDirectory(prefix="bot-fuzz-") as folder:
        async with emulated() as emu:
            with served(Path(folder), emu):
                if await _fits(emu, payload):
                    return None
                return await _smallest(emu, payload) if payload.tree is not None else payload.filled("", "")


async def _smallest(emu: Emulator, payload: Payload) -> bytes:
    tries, found = 0, True
    while found:
        found = False
        for tree in smaller(payload.tree):
            tries += 1
            attempt = replace(payload, body=write(tree), tree=tree)
            if tries > MOST_TRIES:
                break
            if not await _fits(emu, attempt):
                payload, found = attempt, True
                break
    return payload.filled("", "")


async def _fits(emu: Emulator, payload: Payload) -> bool:
    headers = None if payload.signature is None else {"X-Hub-Signature-256": payload.signature}
    status = await emu.deliveries.post(payload.filled("", ""), headers=headers)
    return status in payload.allowed - {503}
