"""The model's turns: who gets a lease has to be who is next; then they answer, fail, hang, or die with the process."""

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from bot.domain import Cancelled, Done, Failed, InDoubt, Lease, Outcome, Receipt, Released, Retry
from bot.store.replies import Settled, Wait
from tests.clock import FakeClock
from tests.store.desk import Desk
from tests.store.expected import Expected, Said

SLOTS = 4
HOUR = 3600.0


@dataclass
class Turn:
    """A lease that a turn holds; `sending`: a part's call is under way."""

    lease: Lease
    said: Said
    sending: bool = False


class Turns:
    """What runs, compared with what is expected."""

    clock: FakeClock
    desk: Desk
    expected: Expected
    turns: list[Turn]
    dead: list[Turn]
    callbacks: list[str]
    sent: set[str]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        raise NotImplementedError

    def began(self, leases: list[Lease]) -> None:
        """Compare leases with who had to be next, and keep them."""
        for lease in leases:
            (lead,) = lease.messages
            said = self.expected.named(lead.wamid)
            assert said is not None
            assert (lead.body, lease.crashes, lease.manual) == (said.body, said.crashes, said.manual)
            self.expected.lease(said, self.clock.now())
            self.turns.append(Turn(lease, said))

    def take(self, leases: list[Lease], free: int) -> None:
        """Check that whoever got a lease is who had to get one."""
        now, shut = self.clock.now(), self.run(self.desk.store.insights.circuits())
        got = [lease.messages[0].wamid for lease in leases]
        if not shut and not any(lease.probes for lease in leases):
            assert got == [said.name for said in self.expected.who_is_next(now)][:free]
        # While the model is shut what is planned goes out, suspects or not: nothing is blamed for a crash any more.
        assert set(got) <= {said.name for said in self.expected.heads(now)}
        assert len(got) == len(set(got)) <= free
        self.began(leases)

    def claim(self, random: Random) -> None:
        """Lease what is ready."""
        free = random.randint(1, SLOTS)
        self.take(self.run(self.desk.claim(free)), free)

    def settle(self, turn: Turn, outcome: Outcome, random: Random) -> None:
        """End a turn, and perhaps begin another."""
        self.desk.tick()
        self.turns.remove(turn)
        more = random.random() < 0.5
        following = self.run(self.desk.store.settle(turn.lease, outcome, claim=more))
        self.expected.end(turn.said, outcome, self.clock.now())
        shut = {circuit["service"] for circuit in self.run(self.desk.store.insights.circuits())}
        outages = self.expected.outages(shut)
        assert outages <= shut
        self.take([following] if following else [], int(more))

    def end_a_turn(self, random: Random) -> None:
        """A turn ends without a word; one whose call is under way is cut off, or gives up waiting for it."""
        later = self.clock.now() + timedelta(seconds=60)
        outcomes: list[Outcome] = [
            Done(), Retry(random.randrange(20), "busy", service=random.choice([None, "graph", "model", "model"])),
            Failed("expired"), Failed("bad"), Cancelled("rule"),
            Released(), Released(later), Released(pause=True, error="limit"),
            Released(refused_by=random.choice(["graph", "model"]), error="no"),
        ]  # fmt: skip
        if self.turns:
            turn = random.choice(self.turns)
            ends = [InDoubt(later, service="graph"), Released()] if turn.sending else outcomes
            self.settle(turn, random.choice(ends), random)

    def fail_together(self, random: Random) -> None:
        """A service fails whoever asks it: with the third person it is an outage, and nobody has to wait for it."""
        service = random.choice(["graph", "model"])
        self.take(self.run(self.desk.claim(SLOTS)), SLOTS)
        for turn in [turn for turn in self.turns if not turn.sending]:
            self.settle(turn, Retry(20, "busy", service=service), random)

    def answer(self, random: Random) -> None:
        """A turn answers, or goes on answering, part by part."""
        idle = [turn for turn in self.turns if not turn.sending]
        if idle:
            kinds = ["sent", "sent", "sent", "sent", "doubt", "refused", "bad", "hangs"]
            turn = random.choice(idle)
            outcome = self.run(self.send(turn, random.randrange(1, 4), iter(lambda: random.choice(kinds), None)))
            if outcome is not None:
                self.settle(turn, outcome, random)

    async def send(self, turn: Turn, count: int, endings: Iterator[str]) -> Outcome | None:
        """Send what is planned, or plan so many; what was sent once is never let out again. None: a call hangs."""
        lease, said, store = turn.lease, turn.said, self.desk.store
        parts = list(lease.parts) or await self.desk.plan(lease, *(f"answer {n}" for n in range(count)))
        said.planned, receipt = True, None
        if not lease.parts:
            self.expected.stumbles.pop("model", None)
        for part in parts:
            self.desk.tick()
            permit = await store.begin_send(lease, part, receipt)
            receipt = None
            if isinstance(permit, Wait):
                return Released(permit.until)
            if isinstance(permit, Settled):
                if permit.state == "failed":
                    return Failed("undeliverable")
                continue
            name, _, number = permit.callback.partition(".")
            assert name not in self.sent, "a part that was sent goes out again"
            self.callbacks.append(permit.callback)
            said.doubt = (name, int(number))
            ending = next(endings)
            if ending == "hangs":
                turn.sending = True
                return None
            if ending == "doubt":
                return InDoubt(self.clock.now() + timedelta(seconds=90), service="graph")
            said.doubt = None
            if ending != "sent":
                await store.refuse_part(part, ending, final=ending == "bad")
                return Failed("bad") if ending == "bad" else Retry(3, "busy")
            receipt = Receipt(part.id, f"out.{permit.callback}", 1)
            self.sent.add(name)
            self.expected.stumbles.pop("graph", None)
        return Done(receipt)

    def crash(self, random: Random, step: float = 0.0) -> None:
        """The process dies and the next one starts."""
        self.run(self.desk.store.listening())
        self.clock.advance(step)
        assert self.run(self.desk.store.adopt()) == len(self.turns)
        self.expected.crash(self.clock.now(), timedelta(seconds=max(0.0, -step)))
        self.dead, self.turns = self.dead + self.turns, []
        self.desk.tick()

    def crash_again_and_again(self, random: Random) -> None:
        """Whatever is tried first kills the process, twice: suspects are tried one at a time from then on."""
        for _ in range(2):
            self.take(self.run(self.desk.claim(SLOTS)), SLOTS)
            self.crash(random)
        self.take(self.run(self.desk.claim(SLOTS)), SLOTS)

    def hear_the_dead(self, random: Random) -> None:
        """A turn of a process that is gone says how it ended: whoever no longer holds the row changes nothing."""
        if self.dead:
            lease = random.choice(self.dead).lease
            ended = random.choice([Done(), Retry(9, "busy"), Failed("bad"), Cancelled("rule"), Released()])
            assert self.run(self.desk.store.settle(lease, ended, claim=False)) is None

    def restart_with_another_clock(self, random: Random) -> None:
        """Meanwhile somebody set the machine's clock, an hour forwards or backwards."""
        self.crash(random, random.choice([HOUR, -HOUR]))

    def wait(self, random: Random) -> None:
        """Time passes."""
        self.desk.tick(random.choice([0.5, 5, 30, 120]))
