"""The model's owner: writes to people; what is due is the oldest letter of each, and then it goes out, or not."""

from collections.abc import Coroutine
from datetime import timedelta
from random import Random
from typing import Any

from bot.domain import Done, Failed, InDoubt, Letter, Outcome, Released
from bot.errors import WrongState
from bot.store.replies import Permit, Wait
from tests.clock import FakeClock
from tests.store.desk import Desk
from tests.store.expected import Expected, Person

MOST = 3


class Owner:
    """What the owner writes, told to the store and to what is expected of it."""

    clock: FakeClock
    desk: Desk
    expected: Expected
    callbacks: list[str]
    sent: set[str]
    letters = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        raise NotImplementedError

    def somebody(self, random: Random) -> tuple[int | None, Person | None]:
        """Choose a person that some id leads to."""
        raise NotImplementedError

    def write_a_letter(self, random: Random) -> None:
        """The owner writes to somebody, in one part or two."""
        _, who = self.somebody(random)
        known = next((id_ for id_, person in self.expected.ids.items() if person is who), None)
        if who is None or known is None:
            return
        bodies = [f"letter {self.letters + n}" for n in range(random.randint(1, 2))]
        self.letters += len(bodies)
        try:
            assert self.run(self.desk.write(known, *bodies)) == len(bodies)
        except WrongState:
            assert who.newest <= self.clock.now() - timedelta(hours=24)
        else:
            assert who.newest > self.clock.now() - timedelta(hours=24)
            self.expected.write(who, bodies, self.clock.now())

    def post_letters(self, random: Random) -> None:
        """Whoever sends letters looks what is due, and tries."""
        for letter in self.run(self.due()):
            kind = random.choice(["sent", "sent", "sent", "doubt", "refused", "bad", "hangs", "shut"])
            self.run(self.post(letter, kind))

    async def due(self) -> list[Letter]:
        """Look, and compare."""
        found = await self.desk.letters(MOST)
        expected = [one.body for one in self.expected.letters_due(self.clock.now())]
        if "graph" in await self.desk.open_services():
            assert len(found) <= 1
            assert {letter.part.body for letter in found} <= set(expected)
        else:
            assert [letter.part.body for letter in found] == expected[:MOST]
        return found

    async def post(self, letter: Letter, kind: str) -> None:
        """Try once, as the sender does; it ends as `kind` says."""
        one = next(one for one in self.expected.letters if one.body == letter.part.body)
        self.desk.tick()
        permit = await self.desk.store.begin_send(letter, letter.part)
        if isinstance(permit, Wait):
            await self.end(letter, Released(permit.until))
            return
        assert isinstance(permit, Permit)
        name, _, number = permit.callback.partition(".")
        assert name not in self.sent, "a letter that was sent goes out again"
        self.callbacks.append(permit.callback)
        one.callback, one.sending = (name, int(number)), True
        match kind:
            case "sent":
                self.sent.add(name)
                self.expected.stumbles.pop("graph", None)
                await self.end(letter, Done(self.desk.receipt(letter.part)))
            case "doubt":
                await self.end(letter, InDoubt(self.clock.now() + timedelta(seconds=90)))
            case "bad":
                one.sending = False
                await self.desk.store.refuse_part(letter.part, "bad", final=True)
                await self.end(letter, Failed("bad"))
            case "refused" | "shut":
                one.sending = False
                await self.desk.store.refuse_part(letter.part, "busy", final=False)
                service = "graph" if kind == "shut" else None
                await self.end(letter, Released(self.clock.now() + timedelta(seconds=3), service, error="busy"))
                self.expected.outages({service} if service else ())

    async def end(self, letter: Letter, outcome: Outcome) -> None:
        """Store how it ended."""
        await self.desk.end(letter, outcome)
        one = next(one for one in self.expected.letters if one.body == letter.part.body)
        one.end(outcome)

    async def post_all(self) -> None:
        """Whatever happened, every letter is decided in the end."""
        for _ in range(20 * self.letters + 20):
            self.desk.tick(1000)
            for letter in await self.due():
                await self.post(letter, "sent")
            if not self.expected.letters_due(self.clock.now() + timedelta(days=1)):
                return
        raise AssertionError("a letter waits for ever")
