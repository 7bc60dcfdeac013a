"""A store on a real file with the webhooks, turns and looks of a test, each in a word.

Speaks the store's public verbs alone, so that a second store can pass the same tests.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.config.settings import Store as Keep
from bot.domain import (
    Answer,
    Appended,
    Batch,
    Delivery,
    Done,
    Echo,
    Identity,
    IdentityChange,
    Inbound,
    Lease,
    Letter,
    Operator,
    Outcome,
    Part,
    Receipt,
    ReplyKind,
    Status,
)
from bot.store.replies import Permit, Plan, Settled, Wait
from bot.store.store import Store
from bot.store.turns import Standing
from tests.clock import START, FakeClock

NUMBER = "15550001111"
PEOPLE = [f"52155512{n:02}" for n in range(10)]
Person = str | Identity


def person(who: Person) -> Identity:
    """Read `5215550001` as a phone, `MX.abc` as a business-scoped id."""
    if isinstance(who, Identity):
        return who
    return Identity(bsuid=who) if "." in who else Identity(phone=who)


def at(seconds: float | None) -> datetime | None:
    """Return the time so many seconds after the test's start."""
    return None if seconds is None else START + timedelta(seconds=seconds)


def message(
    who: Person,
    body: str,
    sent: float | None = 0,
    *,
    wamid: str | None = None,
    kind: str = "text",
    answerable: bool = True,
    payload: str = "{}",
    number: str = NUMBER,
) -> Inbound:
    """Build a message; without `wamid` its words name it."""
    return Inbound(number, wamid or f"wamid.{body}", person(who), kind, body, payload, at(sent), answerable=answerable)


def edit(who: Person, of: str, body: str, sent: float = 0, *, kind: str = "text") -> Inbound:
    """Build the edit of the message whose words were `of`."""
    sender, name = person(who), f"wamid.edit.{body}"
    return Inbound(NUMBER, name, sender, kind, body, f'{{"new":"{body}"}}', at(sent), False, f"wamid.{of}")


def revoke(who: Person, of: str, sent: float = 0) -> Inbound:
    """Build what takes back the message whose words were `of`."""
    sender, name = person(who), f"wamid.revoke.{of}"
    return Inbound(NUMBER, name, sender, "revoke", "", "{}", at(sent), False, f"wamid.{of}")


class Desk:
    """What a test does with a store. Time passes, 1 ms at each verb, unless the test moves it further."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self._wamids = itertools.count(1)

    def tick(self, seconds: float = 0.001) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    # -- webhooks

    async def arrive(self, *messages: Inbound) -> Appended:
        """Deliver messages in one webhook."""
        self.tick()
        return await self.store.append(Batch(messages=messages))

    async def say(self, who: Person, *bodies: str, sent: float | None = 0) -> Appended:
        """Deliver texts of one person, a second apart by WhatsApp's own timestamps."""
        return await self.arrive(
            *(message(who, body, None if sent is None else sent + n) for n, body in enumerate(bodies))
        )

    async def crowd(self, count: int = 5) -> None:
        """Let so many PEOPLE write, twice each."""
        for n in range(count):
            await self.say(PEOPLE[n], f"m{n}", f"n{n}")

    async def tell(
        self, delivery: Delivery, *, callback: str | None = None, wamid: str = "out.x", error: str | None = None
    ) -> int:
        """Deliver a status; return how many named a reply."""
        self.tick()
        status = Status(wamid, delivery, self.clock.now(), callback, error)
        return (await self.store.append(Batch(statuses=(status,)))).statuses

    async def change(self, before: Identity, after: Identity) -> None:
        """Deliver a change of ids."""
        self.tick()
        await self.store.append(Batch(identity_changes=(IdentityChange(before, after),)))

    async def echo(self, who: Person, body: str, sent: float | None = None) -> None:
        """Deliver what the owner wrote from the phone."""
        self.tick()
        await self.store.append(Batch(echoes=(Echo(f"echo.{body}", person(who), "text", body, at(sent)),)))

    # -- turns

    async def claim(self, free: int = 64) -> list[Lease]:
        """Lease what can be leased."""
        self.tick()
        leases, _ = await self.store.claim(free)
        return list(leases)

    async def lease(self) -> Lease:
        """Lease the one message that can be leased."""
        (lease,) = await self.claim()
        return lease

    async def settle(self, lease: Lease, outcome: Outcome) -> None:
        """End a turn, and claim nothing."""
        self.tick()
        assert await self.store.settle(lease, outcome, claim=False) is None

    async def plan(
        self, lease: Lease, *bodies: str, kind: ReplyKind = "answer", error: str | None = None
    ) -> list[Part]:
        """Plan replies."""
        self.tick()
        answer = Answer(bodies, 100, 10, "req") if kind == "answer" else None
        parts, _ = await self.store.plan(Plan(lease, kind, bodies, error=error, answer=answer))
        return parts

    async def begin(self, lease: Lease | Letter, part: Part, before: Receipt | None = None) -> str:
        """Begin a send and return its callback data."""
        self.tick()
        permit = await self.store.begin_send(lease, part, before)
        assert isinstance(permit, Permit)
        return permit.callback

    async def cant_begin(self, lease: Lease | Letter, part: Part) -> Wait | Settled:
        """Try to begin a send that has to wait, or needs no sending."""
        self.tick()
        permit = await self.store.begin_send(lease, part)
        assert not isinstance(permit, Permit)
        return permit

    def receipt(self, part: Part, wamid: str | None = None) -> Receipt:
        """Say that the Graph API took a part."""
        return Receipt(part.id, wamid or f"out.{next(self._wamids)}", 5)

    async def serve(self, lease: Lease, *bodies: str) -> None:
        """Answer: plan, send every part, done. Without words, send what is planned."""
        receipt = None
        for part in await self.plan(lease, *bodies) if bodies else lease.parts:
            if part.state not in ("sent", "cancelled"):
                await self.begin(lease, part, receipt)
                receipt = self.receipt(part)
        await self.settle(lease, Done(receipt))

    async def serve_all(self, free: int = 64, most: int = 10_000) -> list[str]:
        """Answer whatever is ready, a round at a time; return the words in the order of their leases."""
        order: list[str] = []
        while (leases := await self.claim(free)) and len(order) < most:
            for lease in leases:
                order.append(lease.messages[0].body)
                await self.serve(lease, f"re {lease.messages[0].body}")
        return order

    async def prune(self, keep_days: int = 30, **days: int) -> int:
        """Take out what is old, step by step; return how many messages that were."""
        gone, after = 0, 0
        while after is not None:
            step = await self.store.prune(Keep.model_construct(keep_days=keep_days, **days), after, 3)
            gone, after = gone + step.messages, step.after
        return gone

    # -- the owner's own words

    async def write(self, who: str, *bodies: str, key: str = "") -> int:
        """Let the owner write to a person; return how many parts are planned."""
        self.tick()
        return await self.store.say(await self.id_of(who), bodies, Operator("page", "192.0.2.7"), key)

    async def letters(self, most: int = 16) -> list[Letter]:
        """Look what the owner wrote and is due."""
        self.tick()
        return list((await self.store.letters(most))[0])

    async def letter(self) -> Letter:
        """Look for the one letter that is due."""
        (letter,) = await self.letters()
        return letter

    async def end(self, letter: Letter, outcome: Outcome) -> None:
        """Store what became of a letter's try."""
        self.tick()
        await self.store.settle_letter(letter, outcome)

    async def post(self, letter: Letter) -> None:
        """Send a letter."""
        await self.begin(letter, letter.part)
        await self.end(letter, Done(self.receipt(letter.part)))

    # -- looks

    async def id_of(self, who: str) -> int:
        """Return the number of a person known by an id."""
        return await self.store.insights.find_user(who)

    async def look(self, who: str) -> dict[str, Any]:
        """Return all that is shown of a person."""
        return await self.store.insights.user(who)

    async def states(self, who: str) -> dict[str, str]:
        """Return the state of each of a person's messages, by its words."""
        return {row["body"]: row["state"] for row in await self._conversation(who, "in")}

    async def errors(self, who: str) -> dict[str, str | None]:
        """Return the error of each of a person's messages, by its words."""
        return {row["body"]: row["error"] for row in await self._conversation(who, "in")}

    async def told(self, who: str) -> list[tuple[str, str, str | None]]:
        """Return each part that went or shall go to a person: words, state, delivery."""
        return [(row["body"], row["state"], row["delivery"]) for row in await self._conversation(who, "out")]

    async def queue(self, who: str) -> list[str]:
        """Return the words of what waits or is being answered, in the order of the line."""
        return [row["body"] for row in (await self.look(who))["queue"]]

    async def open_services(self) -> list[str]:
        """Return the services whose circuit is open."""
        return [circuit["service"] for circuit in await self.store.insights.circuits()]

    async def depth(self) -> int:
        """Return how many messages are pending or leased in all."""
        stats = await self.store.insights.queue_stats()
        assert stats["totalMessages"] == stats["pending"] + stats["leased"]
        total: int = stats["totalMessages"]
        return total

    async def history(self, who: str, messages: int = 20, characters: int = 24_000) -> list[tuple[str, str]]:
        """Return what the model would read of a conversation: role and words."""
        standing = await self.standing(who, messages, characters)
        return [(utterance.role, utterance.text) for utterance in standing.history]

    async def standing(self, who: str, messages: int = 0, characters: int = 0) -> Standing:
        """Return what a turn for the newest message of a person would read."""
        newest = max(row["message_id"] for row in await self._conversation(who, "in"))
        return await self.store.standing(newest, messages, characters)

    async def message_id(self, who: str, body: str) -> int:
        """Return the id of a message by its words."""
        (id_,) = [r["message_id"] for r in await self._conversation(who, "in") if r["body"] == body]
        found: int = id_
        return found

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the file itself: of what no verb tells."""
        return await self.store._db.read(lambda db: db.execute(query).fetchall())

    async def _conversation(self, who: str, direction: str) -> list[dict[str, Any]]:
        return [row for row in (await self.look(who))["conversation"] if row["direction"] == direction]


def words(leases: Sequence[Lease]) -> list[str]:
    """Return the words of leased messages."""
    return [lease.messages[0].body for lease in leases]
