"""The model's webhooks: people write, edit, take back, change their ids; statuses tell what became of replies."""

from collections.abc import Coroutine
from random import Random
from typing import Any

from bot.domain import Delivery, Identity, Inbound
from tests.clock import FakeClock
from tests.store.desk import Desk, edit, message, revoke
from tests.store.expected import Expected, Said

PHONES, IDS = [f"521555000{n}" for n in range(4)], [f"MX.{n}" for n in range(4)]


class Webhooks:
    """What comes in, told to the store and to what is expected of it."""

    clock: FakeClock
    desk: Desk
    expected: Expected
    callbacks: list[str]
    named = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        raise NotImplementedError

    def answered(self) -> list[Said]:
        """List what is being answered."""
        return [m for m in self.expected.said if m.state == "leased"]

    def person(self, random: Random) -> Identity:
        """Name somebody by a phone, an id or both."""
        phone, id_ = Identity(random.choice(PHONES)), Identity(None, random.choice(IDS))
        return random.choice([phone, phone, phone, id_, id_, id_, Identity(phone.phone, id_.bsuid)])

    def arrive(self, *messages: Inbound) -> None:
        """Deliver messages in one webhook."""
        appended = self.run(self.desk.arrive(*messages))
        assert appended.new == sum(self.expected.arrive(one, self.clock.now()) for one in messages)

    def write(self, random: Random, who: Identity | None = None) -> None:
        """Somebody writes, sooner or later by their own clock."""
        who, sent = who or self.person(random), random.choice([None, random.randrange(30)])
        bodies = [f"m{self.named + n}" for n in range(random.randint(1, 3))]
        self.named += len(bodies)
        asks = random.random() < 0.9
        self.arrive(*(message(who, body, sent, answerable=asks) for body in bodies))

    def write_as_before(self, random: Random) -> None:
        """Somebody who is known writes, by an id that they are known by."""
        known = random.choice([*self.expected.ids, PHONES[0]])
        self.write(random, Identity(None, known) if known in IDS else Identity(known))

    def link(self, random: Random) -> None:
        """Somebody known by a phone and somebody known by an id turn out to be one, while they are being answered."""
        answered = {m.who for m in self.answered()}
        apart = sorted(self.expected.people, key=lambda who: (who not in answered, who.number))
        phone = next((who.phone for who in apart if who.phone and not who.bsuid), None)
        id_ = next((who.bsuid for who in apart if who.bsuid and not who.phone), None)
        if phone and id_:
            self.write(random, Identity(phone, id_))

    def redeliver(self, random: Random) -> None:
        """A message comes once more, by whomever; or one that was deleted, as a new one."""
        body = f"m{random.randrange(self.named + 1)}"
        self.named += body == f"m{self.named}"
        self.arrive(message(self.person(random), body, 5))

    def change_a_message(self, random: Random) -> None:
        """Somebody edits or takes back a message, of theirs or not, come already or not."""
        who, of, sent = self.person(random), f"m{random.randrange(self.named + 2)}", random.randrange(30)
        original = self.expected.named(f"wamid.{of}")
        if original and random.random() < 0.5:
            who = Identity(original.who.phone, original.who.bsuid)
        taken_back = random.random() < 0.4
        self.arrive(revoke(who, of, sent) if taken_back else edit(who, of, f"{of}!{sent}", sent))

    def change_an_identity(self, random: Random) -> None:
        """Somebody has another phone or id."""
        before, after = self.person(random), self.person(random)
        self.run(self.desk.change(before, after))
        self.expected.change_identity(before, after)

    def status(self, random: Random) -> None:
        """A status of any try comes, again perhaps."""
        deliveries: list[Delivery] = ["sent", "delivered", "read", "failed"]
        callback, delivery = random.choice(self.callbacks or ["stranger.1"]), random.choice(deliveries)
        self.run(self.desk.tell(delivery, callback=callback, wamid=f"out.{callback}"))
        name, _, number = callback.partition(".")
        self.expected.told(name, int(number), failed=delivery == "failed")
