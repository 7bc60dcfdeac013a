"""People who write in bursts, under one id or two, the model that answers them in parts, and an owner who joins in."""

import asyncio
import itertools
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bot.emulator import Answer, Customer, Emulator, Fault, ModelRequest, StatusPlan, payloads
from bot.emulator.delivery import card
from tests.process.crash.judge import Judge, Letter, Said
from tests.process.crash.points import LETTER

Reply = Callable[[str, str], Awaitable[bool]]
MERGED_AFTER = 3  # bursts
AHEAD = 3  # messages that somebody writes ahead of the model's being asked
FILLER = " word" * 700  # two parts don't fit into one message
PLANS = (
    StatusPlan(("sent", "delivered", "read"), (0.02, 0.05, 0.1)),
    StatusPlan(("sent", "delivered", "read"), (0.02, 0.03, 0.05), shuffled=True),
    StatusPlan(("sent", "delivered"), (0.0, 0.1), early=True),
    StatusPlan(("delivered", "read"), (0.7, 0.9), copies=2),  # late, and never "sent"
)


@dataclass(slots=True)
class Person:
    """Somebody with a phone and a business-scoped id. Who `merges` is known by one of them at a time at first."""

    customer: Customer
    merges: bool
    now: int  # by WhatsApp's timestamps, which this person's messages carry
    said: int = 0
    asked: set[int] = field(default_factory=set)
    wanted: list[str] = field(default_factory=list)  # kinds that they write once

    @property
    def ahead(self) -> int:
        """How many messages wait to be asked about, as far as that can be seen."""
        return self.said - len(self.asked)


class Crowd:
    """Write until it is over; every word is noted by the judge first."""

    def __init__(self, emu: Emulator, judge: Judge, dice: random.Random, reply: Reply) -> None:
        self._emu, self._judge, self._dice, self._reply = emu, judge, dice, reply
        self._numbers, self._asks, self._letters = itertools.count(1), itertools.count(1), itertools.count(1)
        self._newcomers = itertools.count(1)
        self._whose: dict[int, Person] = {}
        emu.model.responder = self._answer

    def people(self, count: int) -> list[Person]:
        """Make strangers, each with statuses of their own kind; every fourth becomes one person out of two."""
        made = []
        for number in itertools.islice(self._newcomers, count):
            ids = {"wa_id": str(34_600_000_000 + number), "user_id": f"ES.{30_000_000_000_000 + number}"}
            customer = self._emu.customer(f"Person {number}", **ids)
            self._emu.deliveries.plans[customer.key] = PLANS[number % len(PLANS)]
            merges = number % 4 == 0
            kinds = [] if merges else ["apology", "notice"]
            made.append(Person(customer, merges, int(time.time()) - 7200, wanted=kinds))
        return made

    async def write(self, who: Person, over: asyncio.Event) -> None:
        """Write bursts until it is over; return when all of it was answered 200."""
        for number in itertools.count():
            await asyncio.sleep(self._dice.uniform(0.0, 0.2))
            while who.ahead >= AHEAD and not over.is_set():
                await asyncio.sleep(0.05)
            if over.is_set() and number > MERGED_AFTER:
                return
            await self._burst(who, number)
            if self._dice.random() < 0.4:
                await self.letter(who)

    async def letter(self, who: Person) -> None:
        """Let the owner write to somebody, by their phone; where no daemon says that it is stored, it may be or not."""
        letter = Letter(next(self._letters), who.customer.key)
        self._judge.note_letter(letter)
        letter.stored = await self._reply(who.customer.wa_id, f"{LETTER}{letter.number} to somebody")

    async def _burst(self, who: Person, number: int) -> None:
        count = self._dice.randint(1, 4)
        messages = [self._any_message(who, number) for _ in range(count)]
        if self._dice.random() < 0.25:
            posts = [self.wrap(who, messages)]
        else:
            posts = [self.wrap(who, [message]) for message in messages]
            self._dice.shuffle(posts)
        if self._dice.random() < 0.3:
            for post in posts:
                await self._emu.deliveries.deliver(post)
        else:
            await asyncio.gather(*(self._emu.deliveries.deliver(post) for post in posts))
        if self._dice.random() < 0.2:
            await self._emu.deliveries.post(self._dice.choice(posts))  # Meta delivers more than once now and then

    def say(self, who: Person, kind: str = "answer", parts: int = 1, known_as: str = "") -> payloads.Json:
        """Make a message of somebody, under one of their ids or (as usual) both, and let the judge know of it."""
        number, customer = next(self._numbers), who.customer
        who.now += self._dice.randint(0, 2)
        who.said += 1
        ids = {"wa_id": customer.wa_id, "user_id": customer.user_id}
        ids = {known_as: ids[known_as]} if known_as else ids
        head: dict[str, Any] = {"wamid": payloads.new_wamid(), "timestamp": who.now, **ids}
        self._judge.note(Said(number, head["wamid"], customer.key, who.now, kind, parts, frozenset(ids)))
        self._whose[number] = who
        if kind == "notice":
            who.asked.add(number)  # the model never is
            return payloads.audio_message(**head)
        return payloads.text_message(body=f"m{number} {kind} {parts}", **head)

    def _any_message(self, who: Person, burst: int) -> payloads.Json:
        apart = who.merges and burst < MERGED_AFTER  # these are two people yet
        known_as = self._dice.choice(("wa_id", "user_id")) if apart else ""
        kind = who.wanted.pop(0) if who.wanted and self._dice.random() < 0.1 else "answer"
        return self.say(who, kind, self._dice.choice((1, 1, 1, 2, 3)) if kind == "answer" else 1, known_as)

    def wrap(self, who: Person, messages: list[payloads.Json]) -> payloads.Json:
        """Make one webhook of messages, with the card of who wrote them."""
        known = {**card(who.customer)}
        if "from" not in messages[0]:
            known.pop("wa_id", None)
        if "from_user_id" not in messages[0]:
            known.pop("user_id", None)
        return self._emu.deliveries.wrap(messages=messages, contacts=[known])

    def _answer(self, request: ModelRequest) -> Answer | Fault:
        asked = re.search(r"m(\d+) (\w+) (\d)\Z", request.text)  # behind what had no answer, in one text
        assert asked, f"not of this crowd: {request.text[:60]!r}"
        number, parts = int(asked[1]), int(asked[3])
        self._whose[number].asked.add(number)
        if asked[2] == "apology":
            return Fault("content_filter", service="model")
        ask, filler = next(self._asks), FILLER if parts > 1 else ""
        said = "\n\n".join(f"m{number} a{ask} {part}/{parts}{filler}" for part in range(1, parts + 1))
        return Answer(said, seconds=self._dice.uniform(0.005, 0.05))
