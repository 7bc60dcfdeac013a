"""What people do: long conversations, bursts, pictures, voice, edits, revokes; and Meta, which delivers again."""

import asyncio
import random
import time
from collections import deque
from typing import Any

from bot.emulator import payloads
from tests.soak.ledger import Ledger, Said
from tests.soak.remote import Remote

TALKERS = 30  # who go on for the whole run
PASSERS_BY = 25  # who write a few times; others come every period
WAITING_MOST = 8  # that somebody writes ahead of the answers
AGAIN_SECONDS = 0.2


class People:
    """Write so many messages a second, until stopped."""

    def __init__(self, remote: Remote, ledger: Ledger, per_second: float, period_seconds: float) -> None:
        self._remote, self._ledger = remote, ledger
        self._per_second, self._period_seconds = per_second, period_seconds
        self._dice = random.Random(1)
        self._began = time.monotonic()
        self._numbers = 0
        self._lines: dict[str, asyncio.Lock] = {}  # a person's messages leave one after the other
        self._sent: deque[Any] = deque(maxlen=300)
        self._last: dict[str, Said] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def write(self) -> None:
        """Go on until cancelled; what is under way then still arrives."""
        dice = self._dice
        doings = (self._one, self._burst, self._picture, self._voice, self._edit, self._revoke, self._again)
        while True:
            await asyncio.sleep(dice.expovariate(self._per_second / 1.5))  # a burst has more than one
            (doing,) = dice.choices(doings, (60, 12, 8, 4, 4, 3, 9))
            task = asyncio.create_task(doing(self._who()))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def done(self) -> None:
        """Wait until all that was written has arrived."""
        while self._work:
            await asyncio.wait(self._work)

    def _who(self) -> str:
        if self._dice.random() < 0.7:
            return f"34622{self._dice.randrange(TALKERS):06}"
        period = int((time.monotonic() - self._began) / self._period_seconds)
        return f"34633{period * PASSERS_BY + self._dice.randrange(PASSERS_BY):06}"

    async def _one(self, who: str) -> None:
        await self._say(who, 1)

    async def _burst(self, who: str) -> None:
        await self._say(who, self._dice.randint(2, 6))

    async def _say(self, who: str, count: int) -> None:
        line = self._lines.setdefault(who, asyncio.Lock())
        together = self._dice.random() < 0.5
        async with line:
            room = WAITING_MOST - len(self._ledger.waiting.get(who, ()))
            made = [self._text(who) for _ in range(min(count, room))]
            for webhook in [made] if together else [[one] for one in made]:
                if webhook:
                    await self._deliver(who, webhook)

    def _text(self, who: str) -> payloads.Json:
        said = self._said(who, "asks, and asks at some length" if self._dice.random() < 0.2 else "asks")
        return payloads.text_message(body=said.texts[0], wa_id=who, wamid=said.wamid)

    def _said(self, who: str, word: str) -> Said:
        self._numbers += 1
        said = Said(payloads.new_wamid(), [f"{who} {word} {self._numbers}"])
        self._ledger.say(who, said)
        self._last[who] = said
        return said

    async def _picture(self, who: str) -> None:
        async with self._lines.setdefault(who, asyncio.Lock()):
            said = self._said(who, "shows")
            await self._deliver(who, [payloads.image_message(caption=said.texts[0], wa_id=who, wamid=said.wamid)])

    async def _voice(self, who: str) -> None:
        async with self._lines.setdefault(who, asyncio.Lock()):
            await self._deliver(who, [payloads.audio_message(wa_id=who)])

    async def _edit(self, who: str) -> None:
        async with self._lines.setdefault(who, asyncio.Lock()):
            if (said := self._last.get(who)) and len(said.texts) == 1 and not said.optional:
                said.texts.append(said.texts[0] + " (edited)")
                await self._deliver(who, [payloads.edit_message(original=said.wamid, body=said.texts[1], wa_id=who)])

    async def _revoke(self, who: str) -> None:
        async with self._lines.setdefault(who, asyncio.Lock()):
            if said := self._last.pop(who, None):
                said.optional = True
                await self._deliver(who, [payloads.revoke_message(original=said.wamid, wa_id=who)])

    async def _again(self, _: str) -> None:
        if self._sent:
            await self._remote.post(self._dice.choice(self._sent))

    async def _deliver(self, who: str, messages: list[payloads.Json]) -> None:
        card = payloads.contact(name="Ana García", wa_id=who)
        payload = payloads.webhook(messages=messages, contacts=[card])
        while await self._remote.post(payload) != 200:
            await asyncio.sleep(AGAIN_SECONDS)
        self._sent.append(payload)
