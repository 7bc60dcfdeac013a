"""Anything in any order against a store, by its public verbs alone, and the same told to tests/store/expected.py.

After every step the store must say what a person would expect: who is next, one at a time for each, nothing lost.
A store's own suite subclasses QueueMachine (tests/store/sqlite/test_model.py adds what people do to the file).
A few seconds in a normal run; `make model EXAMPLES=1000` looks longer, and elsewhere each time.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bot.config.settings import Store as Keep
from bot.domain import Operator, Released
from bot.errors import WrongState
from bot.store.failures import Failing
from bot.store.inbox import Door
from bot.store.replies import PairLimit
from bot.store.store import Store
from tests.clock import FakeClock
from tests.store.desk import Desk
from tests.store.expected import Expected, Person, Said
from tests.store.model_letters import Owner
from tests.store.model_turns import SLOTS, Turn, Turns
from tests.store.model_webhooks import Webhooks

T = TypeVar("T")
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
WHO = Operator("test")
PROFILE = settings(
    max_examples=EXAMPLES or 30,
    stateful_step_count=100 if EXAMPLES else 60,
    phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],  # shrinking can take minutes
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=bool(EXAMPLES),
)
# How often each comes. One rule for all: Hypothesis would leave some out of each example, and a queue without
# arrivals or turns has little to tell.
WEIGHTS = {
    "write": 6, "write_as_before": 2, "redeliver": 1, "change_a_message": 2, "change_an_identity": 1, "link": 2,
    "status": 2, "claim": 8, "answer": 9, "end_a_turn": 3, "fail_together": 3, "wait": 3, "crash": 1,
    "crash_again_and_again": 1, "restart_with_another_clock": 1, "hear_the_dead": 1,
    "retry": 2, "operate": 2, "put_right": 3, "prune": 1, "write_a_letter": 3, "post_letters": 4, "forget_somebody": 1,
}  # fmt: skip


class QueueMachine(Webhooks, Turns, Owner, RuleBasedStateMachine):
    """A store, a few people, turns and operators."""

    weights: ClassVar[dict[str, int]] = WEIGHTS

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.turns: list[Turn] = []
        self.dead: list[Turn] = []
        self.callbacks: list[str] = []
        self.sent: set[str] = set()
        self.broken = False  # what comes after that tells nothing
        self.actions = [name for name, weight in self.weights.items() for _ in range(weight)]

    async def open_store(self, **limits: Any) -> Store:
        """Open a new store in `self.folder`."""
        raise NotImplementedError

    @initialize(limited=st.booleans())
    def open(self, limited: bool) -> None:
        """Open the store, with limits or without."""
        door, pair = (Door(max_depth_per_user=6), PairLimit(6.0, 2)) if limited else (None, None)
        store = self.run(self.open_store(clock=self.clock, door=door, pair_limit=pair))
        self.desk, self.expected = Desk(store, self.clock), Expected(6 if limited else 10**9)

    @rule(action=st.integers(0, 2**16), seed=st.integers(0, 2**16))
    def do(self, action: int, seed: int) -> None:
        """Do one thing; the seed says with whom and how."""
        name = self.actions[action % len(self.actions)]
        note(f"{self.clock.now():%H:%M:%S.%f} {name}")
        self.broken = True
        getattr(self, name)(Random(seed))
        self.compare()
        self.broken = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def compare(self) -> None:
        """Ask the store what stands in each line, and how many wait in all."""
        for who in self.expected.people:
            known = next((id_ for id_, person in self.expected.ids.items() if person is who), None)
            if known is not None:
                assert self.run(self.desk.queue(known)) == [m.body for m in self.expected.line(who)]
        assert self.run(self.desk.depth()) == self.expected.depth()

    def some(self, random: Random, *states: str) -> Said | None:
        """Choose a message that is in one of the states, None where there is none."""
        found = [m for m in self.expected.said if m.state in states]
        return random.choice(found) if found else None

    # -- operators

    def retry(self, random: Random) -> None:
        """Retry a failure, or all."""
        failed = self.some(random, "failed")
        if failed is None or random.random() < 0.3:
            count = self.run(self.desk.store.retry(Failing(), who=WHO)).retried
            assert count == self.expected.reopen([m for m in self.expected.said if m.state == "failed"])
            return
        message_id = next(
            entry["id"]
            for entry in self.run(self.desk.store.insights.failures(500))["failures"]
            if entry["body"] == failed.body
        )
        try:
            assert self.run(self.desk.store.retry([message_id], who=WHO)).retried == 1
            self.expected.reopen([failed])
        except WrongState:
            assert failed.error == "expired"

    def somebody(self, random: Random) -> tuple[int | None, Person | None]:
        """Choose a person that some id leads to."""
        known = random.choice([*self.expected.ids, ""])
        return (self.run(self.desk.id_of(known)), self.expected.ids[known]) if known else (None, None)

    def operate(self, random: Random) -> None:
        """Pause, resume, skip or clear, one or all."""
        user, who = self.somebody(random) if random.random() < 0.7 else (None, None)
        self.desk.tick()
        what = random.choice(["pause", "resume", "resume", "skip", "clear"])
        if what == "clear":
            assert self.run(self.desk.store.clear(user, who=WHO))[1] == self.expected.clear(who)
            return
        if what == "pause":
            self.run(self.desk.store.pause(user, who=WHO))
        else:
            _, skipped = self.run(self.desk.store.resume(user, skip=what == "skip", who=WHO))
            paused = self.expected.paused if who is None else who.paused  # a second click skips nothing
            assert skipped == (self.expected.clear(who, sparing=True) if what == "skip" and paused else 0)
        if who is None:
            self.expected.paused = what == "pause"
        else:
            who.paused = what == "pause"

    def forget_somebody(self, random: Random) -> None:
        """Take a person out, with what waits; not while they are answered or written to."""
        user, who = self.somebody(random)
        if user is None or who is None:
            return
        busy = self.expected.busy_with(who)
        try:
            self.run(self.desk.store.forget(user, who=WHO))
        except WrongState:
            assert busy
        else:
            assert "leased" not in busy
            self.expected.forget(who)

    def put_right(self, _: Random) -> None:
        """Resume everybody, and let whatever is shut be tried."""
        self.run(self.resume_all())
        self.run(self.desk.store.try_circuit("model", who=WHO))
        self.run(self.desk.store.try_circuit("graph", who=WHO))

    async def resume_all(self) -> None:
        """Resume everybody."""
        await self.desk.store.resume(None, skip=False, who=WHO)
        self.expected.paused = False
        for entry in (await self.desk.store.insights.users(500))["users"]:
            if entry["paused"]:
                await self.desk.store.resume(int(entry["user_id"][1:]), skip=False, who=WHO)
        for who in self.expected.people:
            who.paused = False

    def prune(self, random: Random) -> None:
        """Take out some of what was decided, and people of whom nothing is left; what waits is never among it."""
        self.desk.tick()
        keep = Keep.model_construct(keep_days=0, payloads_days=0)
        self.run(self.desk.store.prune(keep, random.choice([0, random.randrange(50)]), random.choice([2, 20])))
        self.forget()

    def forget(self) -> None:
        """Drop what a prune took from what is expected; a store's own suite knows what that was."""

    # -- the end

    def teardown(self) -> None:
        """Let everything end: whatever happened, nobody's line stands still for ever."""
        try:
            if hasattr(self, "desk") and not self.broken:
                QueueMachine.compare(self)
                self.run(self.drain())
        finally:
            if hasattr(self, "desk"):
                self.close()
            self.runner.close()
            shutil.rmtree(self.folder)

    def close(self) -> None:
        """Close the store."""
        self.run(self.desk.store.close())

    async def drain(self) -> None:
        """Resume everybody, and answer what waits: each message that came is decided in the end."""
        for turn in self.turns:
            await self.desk.settle(turn.lease, Released())
        await self.resume_all()
        for _ in range(self.named * 4 + 50):
            self.desk.tick(1000)  # a wait that was set by hand may be of hours by now
            for letter in await self.desk.letters():  # an answer waits for the rest of one that has begun
                await self.post(letter, "sent")
            for lease in await self.desk.claim(SLOTS):
                said = self.expected.named(lease.messages[0].wamid)
                assert said is not None
                outcome = await self.send(Turn(lease, said), 1, itertools.repeat("sent"))
                assert outcome is not None
                await self.desk.settle(lease, outcome)
            if await self.desk.depth() == 0:
                for said in self.expected.said:
                    said.state = "done"
                self.expected.join()
                return await self.post_all()
        raise AssertionError("a line stands still")
