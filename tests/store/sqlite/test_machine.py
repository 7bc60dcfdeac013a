"""Anything in any order: webhooks, turns, crashes, operators, changes of identity, hand edits; what must hold, holds.

A few seconds in a normal run; STORE_EXAMPLES=300 looks longer, and elsewhere each time.
"""

import asyncio
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot.clock import stamp
from bot.domain import Cancelled, Delivery, Done, Failed, Identity, InDoubt, Lease, Outcome, Receipt, Released, Retry
from bot.errors import WrongState
from bot.store.inbox import Door
from bot.store.replies import PairLimit, Settled, Wait
from bot.store.store import Store
from tests.clock import FakeClock
from tests.store.desk import Desk, at, edit, message, revoke
from tests.store.sqlite.terminal import check_sums_of

T = TypeVar("T")
EXAMPLES = int(os.environ.get("STORE_EXAMPLES", "0"))
PHONES, IDS = [f"521555000{n}" for n in range(4)], [f"MX.{n}" for n in range(4)]
WHO = "test"
SLOTS = 4
# How often each comes. One rule for all: Hypothesis would leave some out of each example, and a queue without
# arrivals or turns has little to tell.
WEIGHTS = {
    "write": 6,
    "write_as_before": 2,
    "claim": 8,
    "answer": 9,
    "end_a_turn": 3,
    "status": 2,
    "wait": 3,
    "change_an_identity": 1,
    "link": 2,
    "redeliver": 1,
    "change_a_message": 2,
    "crash": 1,
    "put_right": 3,
    "retry": 2,
    "operate": 2,
    "prune": 1,
    "set_a_state_by_hand": 1,
    "set_a_wait_by_hand": 1,
    "pause_by_hand": 1,
    "delete_by_hand": 1,
    "try_what_is_refused": 1,
}
ACTIONS = [name for name, weight in WEIGHTS.items() for _ in range(weight)]


class StoreMachine(RuleBasedStateMachine):
    """A store, a few people, and a terminal beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "bot.db"
        self.clock = FakeClock()
        self.leases: list[Lease] = []
        self.callbacks: list[str] = []
        self.sent: set[str] = set()
        self.messages = 0

    @initialize(limited=st.booleans())
    def open(self, limited: bool) -> None:
        """Open the store, with limits or without."""
        door = Door(max_depth_per_user=6) if limited else None
        pair = PairLimit(6.0, 2) if limited else None
        store = self.run(Store.open(self.path, clock=self.clock, door=door, pair_limit=pair))
        self.desk = Desk(store, self.clock)
        self.terminal = sqlite3.connect(self.path, isolation_level=None)
        self.run(store._db._writer.execute("PRAGMA synchronous = OFF"))

    @rule(action=st.sampled_from(ACTIONS), seed=st.integers(0, 2**16))
    def do(self, action: str, seed: int) -> None:
        """Do one thing; the seed says with whom and how."""
        getattr(self, action)(Random(seed))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read by the terminal."""
        return self.terminal.execute(query, values).fetchall()

    def pick(self, random: Random, query: str) -> Any:
        """Choose one of what a query finds, None where it finds nothing."""
        found = self.ask(query)
        return random.choice(found)[0] if found else None

    # -- webhooks

    def person(self, random: Random) -> Identity:
        """Name somebody by a phone, an id or both."""
        phone, id_ = Identity(random.choice(PHONES)), Identity(None, random.choice(IDS))
        return random.choice([phone, phone, phone, id_, id_, id_, Identity(phone.phone, id_.bsuid)])

    def write(self, random: Random, who: Identity | None = None) -> None:
        """Somebody writes, sooner or later by their own clock."""
        who, sent = who or self.person(random), random.choice([None, random.randrange(30)])
        bodies = [f"m{self.messages + n}" for n in range(random.randint(1, 3))]
        self.messages += len(bodies)
        asks = random.random() < 0.9
        appended = self.run(self.desk.arrive(*(message(who, body, sent, answerable=asks) for body in bodies)))
        assert appended.new == len(bodies)

    def write_as_before(self, random: Random) -> None:
        """Somebody who is known writes, by an id that they are known by."""
        known = self.pick(random, "SELECT id FROM user_ids")
        self.write(random, Identity(None, known) if known in IDS else Identity(known or PHONES[0]))

    def link(self, random: Random) -> None:
        """Somebody known by a phone and somebody known by an id turn out to be one, while they are being answered."""
        apart = """SELECT {} FROM users WHERE {} IS NULL ORDER BY merging_into IS NULL AND EXISTS
                     (SELECT 1 FROM outbox o WHERE o.user_id = users.id AND o.state = 'leased') DESC LIMIT 1"""
        phone = self.pick(random, apart.format("phone", "bsuid"))
        id_ = self.pick(random, apart.format("bsuid", "phone"))
        if phone and id_:
            self.write(random, Identity(phone, id_))

    def redeliver(self, random: Random) -> None:
        """A message comes once more; or one that was deleted, as a new one."""
        body = f"m{random.randrange(self.messages + 1)}"
        known = self.ask("SELECT count(*) FROM outbox WHERE wamid = ?", f"wamid.{body}")[0][0]
        self.messages += body == f"m{self.messages}"
        assert self.run(self.desk.arrive(message(self.person(random), body, 5))).new == 1 - known

    def change_a_message(self, random: Random) -> None:
        """Somebody edits or takes back a message, of theirs or not, come already or not."""
        who, of, sent = self.person(random), f"m{random.randrange(self.messages + 2)}", random.randrange(30)
        taken_back = random.random() < 0.4
        self.run(self.desk.arrive(revoke(who, of, sent) if taken_back else edit(who, of, f"{of}!{sent}", sent)))

    def change_an_identity(self, random: Random) -> None:
        """Somebody has another phone or id."""
        self.run(self.desk.change(self.person(random), self.person(random)))

    def status(self, random: Random) -> None:
        """A status of any try comes, again perhaps."""
        deliveries: list[Delivery] = ["sent", "delivered", "read", "failed"]
        callback = random.choice(self.callbacks or ["stranger.1"])
        self.run(self.desk.tell(random.choice(deliveries), callback=callback, wamid=f"out.{callback}"))

    # -- turns

    def leased(self, leases: list[Lease]) -> None:
        """Check that each is the head of its line, and keep it."""
        for lease in leases:
            id_ = lease.messages[0].id
            ahead = self.ask(
                """SELECT p.id FROM outbox p JOIN outbox l ON l.id = ? AND p.user_id = l.user_id AND p.state = 'pending'
                    WHERE (p.begun_at IS NULL, p.sent_at, p.id) < (l.begun_at = l.leased_at, l.sent_at, l.id)""",
                id_,
            )
            assert ahead == [], f"{ahead} stood before {id_} of u{lease.user_id}"
            joining = "SELECT id FROM users WHERE merging_into IS NOT NULL AND ? IN (id, merging_into)"
            assert self.ask(joining, lease.user_id) == [], "a lease for who waits to be joined"
        self.leases += leases

    def claim(self, random: Random) -> None:
        """Lease what is ready; whoever is left ready then had no slot, or is a suspect, or waits for a circuit."""
        free = random.randint(1, SLOTS)
        leases = self.run(self.desk.claim(free))
        assert len(leases) <= free
        self.leased(leases)
        shut = "SELECT 1 FROM circuits WHERE state = 'open' UNION SELECT 1 FROM control WHERE paused_at IS NOT NULL"
        if len(leases) < free and not self.ask(shut):
            left = self.ask(
                """SELECT id FROM users u WHERE ready_at <= ? AND NOT EXISTS
                     (SELECT 1 FROM outbox o WHERE o.user_id = u.id AND o.state = 'pending' AND o.crashes >= 2)""",
                stamp(self.clock.now()),
            )
            assert left == []

    def taken(self, random: Random) -> Lease | None:
        """Take one of the leases, for its turn to end."""
        return self.leases.pop(random.randrange(len(self.leases))) if self.leases else None

    def end_a_turn(self, random: Random) -> None:
        """A turn ends without a word."""
        outcomes: list[Outcome] = [
            Done(),
            Retry(random.randrange(20), "busy"),
            Failed("expired"),
            Failed("bad"),
            Cancelled("rule"),
            Released(),
            Released(at(60)),
            Released(pause=True, reason="limit"),
            Released(refused_by=random.choice(["graph", "model"]), reason="no"),
        ]
        if lease := self.taken(random):
            self.settle(lease, random.choice(outcomes), random)

    def settle(self, lease: Lease, outcome: Outcome, random: Random) -> None:
        """End a turn, and perhaps begin another."""
        self.desk.tick()
        following = self.run(self.desk.store.settle(lease, outcome, claim=random.random() < 0.5))
        self.leased([following] if following else [])

    def answer(self, random: Random) -> None:
        """A turn answers, or goes on answering, part by part."""
        if lease := self.taken(random):
            endings = iter(lambda: random.choice(["sent", "sent", "sent", "doubt", "refused", "bad"]), None)
            self.settle(lease, self.run(self.send(lease, random.randrange(1, 4), endings)), random)

    async def send(self, lease: Lease, count: int, endings: Iterator[str]) -> Outcome:
        """Send what is planned, or plan so many; what was sent once is never let out again."""
        parts = list(lease.parts) or await self.desk.plan(lease, *(f"answer {n}" for n in range(count)))
        receipt: Receipt | None = None
        for part in parts:
            self.desk.tick()
            permit = await self.desk.store.begin_send(lease, part, receipt)
            receipt = None
            if isinstance(permit, Wait):
                return Released(permit.until)
            if isinstance(permit, Settled):
                if permit.state == "failed":
                    return Failed("undeliverable")
                continue
            name = permit.callback.partition(".")[0]
            assert name not in self.sent, "a part that was sent goes out again"
            self.callbacks.append(permit.callback)
            match next(endings):
                case "sent":
                    receipt = Receipt(part.id, f"out.{permit.callback}", 1)
                    self.sent.add(name)
                case "doubt":
                    return InDoubt(at(90))
                case ending:
                    await self.desk.store.refuse_part(part, ending, final=ending == "bad")
                    return Failed("bad") if ending == "bad" else Retry(3, "busy")
        return Done(receipt)

    def crash(self, _: Random) -> None:
        """The process dies and the next one starts."""
        assert self.run(self.desk.store.adopt()) == len(self.leases)
        self.leases.clear()
        self.desk.tick()

    def wait(self, random: Random) -> None:
        """Time passes."""
        self.desk.tick(random.choice([0.5, 5, 30, 120]))

    # -- operators

    def retry(self, random: Random) -> None:
        """Retry a failure, or all."""
        failed = self.pick(random, "SELECT id FROM outbox WHERE state = 'failed'")
        if failed is None or random.random() < 0.3:
            self.run(self.desk.store.retry(None, who=WHO))
            return
        try:
            assert self.run(self.desk.store.retry([failed], who=WHO)) == 1
        except WrongState:
            assert self.ask("SELECT error FROM outbox WHERE id = ?", failed) == [("expired",)]

    def operate(self, random: Random) -> None:
        """Pause, resume, skip or clear, one or all."""
        user = random.choice([None, self.pick(random, "SELECT id FROM users")])
        self.desk.tick()
        match random.choice(["pause", "resume", "resume", "skip", "clear"]):
            case "pause":
                self.run(self.desk.store.pause(user, who=WHO))
            case "clear":
                self.run(self.desk.store.clear(user, who=WHO))
            case what:
                self.run(self.desk.store.resume(user, skip=what == "skip", who=WHO))

    def put_right(self, _: Random) -> None:
        """Resume everybody, and let whatever is shut be tried."""
        self.run(self.desk.store.resume(None, skip=False, who=WHO))
        for (user,) in self.ask("SELECT id FROM users WHERE paused_at IS NOT NULL"):
            self.run(self.desk.store.resume(user, skip=False, who=WHO))
        self.run(self.desk.store.try_circuit("model", who="test"))
        self.run(self.desk.store.try_circuit("graph", who="test"))

    def prune(self, _: Random) -> None:
        """Take out some of what was decided."""
        self.run(self.desk.store.prune(0, 2))

    # -- by hand

    def set_a_state_by_hand(self, random: Random) -> None:
        """Set any message that isn't leased to any state but leased."""
        id_ = self.pick(random, "SELECT id FROM outbox WHERE state <> 'leased'")
        state = random.choice(["pending", "pending", "done", "failed", "cancelled", "ignored"])
        self.terminal.execute("UPDATE outbox SET state = ? WHERE id = ?", (state, id_))

    def set_a_wait_by_hand(self, random: Random) -> None:
        """Let a message wait, or no longer."""
        id_ = self.pick(random, "SELECT id FROM outbox WHERE state = 'pending'")
        until = random.choice([None, "2026-11-24T10:01:00.000Z"])
        self.terminal.execute("UPDATE outbox SET not_before_at = ? WHERE id = ?", (until, id_))

    def pause_by_hand(self, random: Random) -> None:
        """Pause or resume somebody."""
        user, at_ = self.pick(random, "SELECT id FROM users"), random.choice([None, None, "just now"])
        self.terminal.execute("UPDATE users SET paused_at = ? WHERE id = ?", (at_, user))

    def delete_by_hand(self, random: Random) -> None:
        """Delete a message that isn't leased."""
        id_ = self.pick(random, "SELECT id FROM outbox WHERE state <> 'leased'")
        self.terminal.execute("DELETE FROM outbox WHERE id = ?", (id_,))

    def try_what_is_refused(self, random: Random) -> None:
        """Take a message out of its lease, or lease one that was decided."""
        id_, change = self.pick(random, "SELECT id FROM outbox WHERE state = 'leased'"), "state = 'pending'"
        if id_ is None:
            id_ = self.pick(random, "SELECT id FROM outbox WHERE state NOT IN ('pending', 'leased')")
            change = "state = 'leased', leased_at = 'now'"
        try:
            self.terminal.execute(f"UPDATE outbox SET {change} WHERE id = ?", (id_,))
        except sqlite3.IntegrityError:
            return
        assert id_ is None, "that was not refused"

    # -- what must hold

    @invariant()
    def sums_are_right(self) -> None:
        """Who is next, depths, one lease a person; and the leases are those that we know of."""
        if hasattr(self, "desk"):
            check_sums_of(self.terminal)
            known = {(lease.messages[0].id, lease.token) for lease in self.leases}
            assert set(self.ask("SELECT id, leased_at FROM outbox WHERE state = 'leased'")) == known

    def teardown(self) -> None:
        """Let everything end: whatever happened, nobody's line stands still for ever."""
        try:
            if hasattr(self, "desk"):
                self.run(self.drain())
        finally:
            if hasattr(self, "desk"):
                self.run(self.desk.store.close())
                self.terminal.close()
            self.runner.close()
            shutil.rmtree(self.folder)

    async def drain(self) -> None:
        """Resume everybody, close every circuit, and answer what waits."""
        for lease in self.leases:
            await self.desk.settle(lease, Released())
        await self.desk.store.resume(None, skip=False, who=WHO)
        self.terminal.execute("UPDATE users SET paused_at = NULL")
        for _ in range(self.messages * 4 + 50):
            self.desk.tick(100)
            for lease in await self.desk.claim(SLOTS):
                await self.desk.settle(lease, await self.send(lease, 1, itertools.repeat("sent")))
            if await self.desk.depth() == 0:
                break
        assert await self.desk.depth() == 0, "a line stands still"
        assert self.ask("SELECT id FROM users WHERE merging_into IS NOT NULL") == []
        check_sums_of(self.terminal)


class TestStoreMachine(StoreMachine.TestCase):
    """The machine as a test."""

    settings = settings(
        max_examples=EXAMPLES or 30,
        stateful_step_count=100 if EXAMPLES else 60,
        phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],  # shrinking can take minutes
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
