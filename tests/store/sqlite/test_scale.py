"""No verb's work grows with the backlog or with the table: the steps of SQLite's machine are counted, not time."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.config import OpenAI
from bot.config.settings import Store as Keep
from bot.domain import Answer, Batch, Done, Identity, IdentityChange, Lease, Operator, Receipt, Released, Retry, Status
from bot.store.replies import Permit, Plan
from bot.store.store import Store
from bot.store.turns import Budget
from tests.clock import FakeClock
from tests.store.desk import Desk, edit, message, revoke
from tests.store.sqlite.crowd import crowd
from tests.store.sqlite.terminal import check_sums

FEW, MANY, LEGIONS = 1_000, 20_000, 100_000
GRAIN = 50  # steps between two looks
# Steps of one call: fixed work on MANY people may take so many more than on FEW (deeper trees, cold pages) …
GROWTH = 1.3
SLACK = 1_000
OPERATORS = Operator("test")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Make files with few and with many people."""
    folder = tmp_path_factory.mktemp("crowds")
    made = {people: folder / f"{people}.db" for people in (FEW, MANY, LEGIONS)}
    for people, path in made.items():
        crowd(path, people)
    return made


class Meter:
    """Count the steps of all connections."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self) -> int:
        self.steps += GRAIN
        return 0


class Measured:
    """A store on such a file."""

    def __init__(self, desk: Desk, people: int, meter: Meter) -> None:
        self.desk = desk
        self.store = desk.store
        self.last = people - people % 20  # who waits and is newest
        self.meter = meter


async def measured(original: Path, folder: Path, clock: FakeClock) -> Measured:
    """Open a copy of a crowd's file."""
    path = folder / original.name
    shutil.copy(original, path)
    store = await Store.open(path, clock=clock, budget=Budget(1000.0, 1.0, 1.0))
    meter = Meter()
    for connection in (store._db._writer, store._db._reader, store._db._looker):
        await connection.set_progress_handler(meter, GRAIN)
    return Measured(Desk(store, clock), int(path.stem), meter)


@pytest.fixture
async def opened(files: dict[int, Path], tmp_path: Path, clock: FakeClock) -> AsyncIterator[dict[int, Measured]]:
    """Open the few and the many."""
    both = {people: await measured(files[people], tmp_path, clock) for people in (FEW, MANY)}
    yield both
    for people, one in both.items():
        await one.store.close()
        check_sums(tmp_path / f"{people}.db")


@pytest.fixture
async def legions(files: dict[int, Path], tmp_path: Path, clock: FakeClock) -> AsyncIterator[Measured]:
    """Open 100,000 people, of whom half wait."""
    at = await measured(files[LEGIONS], tmp_path, clock)
    yield at
    await at.store.close()
    check_sums(tmp_path / f"{LEGIONS}.db")


async def lease(at: Measured) -> Lease:
    """Lease one head."""
    (found,) = await at.desk.claim(1)
    return found


async def planned(at: Measured) -> tuple[Lease, Receipt]:
    """Lease one head, plan an answer and begin to send it."""
    found = await lease(at)
    (part,) = await at.desk.plan(found, "answer")
    await at.desk.begin(found, part)
    return found, at.desk.receipt(part)


def phone(number: int) -> str:
    """Return the phone of a person of the crowd."""
    return f"52{number:08}"


async def refused(at: Measured) -> None:
    """Open the model's circuit."""
    await at.desk.settle(await lease(at), Released(refused_by="model", error="no", probe_after_seconds=0))


async def refused_with_plans(at: Measured) -> None:
    """Leave planned answers, then open the model's circuit and let its probe run."""
    leases = await at.desk.claim(20)
    for found in leases[:10]:
        await at.desk.plan(found, "answer")
        await at.desk.settle(found, Released())
    for found in leases[10:]:
        await at.desk.settle(found, Released(refused_by="model", error="no"))
    at.desk.tick(1)
    (probe,) = await at.desk.claim()
    assert probe.probes


async def suspects(at: Measured) -> None:
    """Let rows be found leased twice."""
    for _ in range(2):
        await at.desk.claim(10)
        at.desk.tick()
        await at.store.adopt()
        at.desk.tick()


Step = Callable[[Measured], Awaitable[object]]


async def nothing(_: Measured) -> None:
    """Prepare nothing."""


VERBS: dict[str, tuple[Step, Step]] = {
    "claim": (nothing, lambda at: at.desk.claim(64)),
    "claim with suspects": (suspects, lambda at: at.desk.claim(64)),
    "claim a probe": (refused, lambda at: at.desk.claim(64)),
    "claim planned ones": (refused_with_plans, lambda at: at.desk.claim(64)),
    "adopt": (lambda at: at.desk.claim(64), lambda at: at.store.adopt()),
    "append": (nothing, lambda at: at.desk.arrive(message(phone(at.last), "new"), message("99", "stranger"))),
    "append known": (nothing, lambda at: at.desk.arrive(message(phone(2), "x", wamid="w2", number="1"))),
    "edit and revoke": (
        nothing,
        lambda at: at.desk.arrive(edit(phone(2), "m2", "x", 9), revoke(phone(4), "nothing", 9)),
    ),
    "quote": (
        lambda at: at.desk.arrive(message(phone(1), "?", payload='{"context":{"id":"w1"}}', number="1")),
        lambda at: at.desk.claim(64),
    ),
    "echo": (nothing, lambda at: at.desk.echo(phone(at.last), "hello")),
    "status": (nothing, lambda at: at.store.append(Batch(statuses=(Status("out.3", "read", None, "c3.1"),)))),
    "status by wamid": (nothing, lambda at: at.store.append(Batch(statuses=(Status("out.3", "read", None),)))),
    "change of number": (
        nothing,
        lambda at: at.store.append(Batch(identity_changes=(IdentityChange(Identity(phone(4)), Identity(phone(6))),))),
    ),
    "link": (nothing, lambda at: at.desk.arrive(message(Identity(phone(at.last), "MX.new"), "new"))),
    "listening": (nothing, lambda at: at.store.listening()),
    "prune nothing": (nothing, lambda at: at.store.prune(Keep(), 0, 10)),
    "prune": (nothing, lambda at: at.store.prune(Keep.model_construct(keep_days=0), 0, 10)),
    "standing": (nothing, lambda at: at.store.standing(3, 20, 24_000)),
    "retry": (nothing, lambda at: at.store.retry([1, 21], who=OPERATORS)),
    "pause": (nothing, lambda at: at.store.pause(2, who=OPERATORS)),
    "resume": (lambda at: at.store.pause(2, who=OPERATORS), lambda at: at.store.resume(2, skip=True, who=OPERATORS)),
    "clear": (nothing, lambda at: at.store.clear(2, who=OPERATORS)),
    "try circuit": (refused, lambda at: at.store.try_circuit("model", who=Operator("test"))),
    "look for users": (nothing, lambda at: at.store.insights.users(50)),
    "look for the last users": (nothing, lambda at: at.store.insights.users(50, "0-100")),
    "look for a person's failures": (nothing, lambda at: at.store.insights.failures(10, user="u1")),
    "look at the audit": (nothing, lambda at: at.store.insights.audit()),
    "look at what was asked": (nothing, lambda at: at.store.insights.asked(3, OpenAI())),
    "look at a user": (nothing, lambda at: at.store.insights.user("u3")),
    "find a user": (nothing, lambda at: at.store.insights.find_user(f"+{phone(at.last)}")),
    "reasons": (nothing, lambda at: at.store.insights.named_reasons()),
    "circuits": (nothing, lambda at: at.store.insights.circuits()),
    "the headline": (nothing, lambda at: at.store.headline()),
    "the last hour": (nothing, lambda at: at.store.insights.trends()),
    "a minute": (lambda at: at.store.note_minute(), lambda at: at.store.note_minute()),
    "signs": (nothing, lambda at: at.store.insights.signs(phone(at.last))),
    "alerts": (nothing, lambda at: at.store.insights.alerts()),
    "keep alerts": (nothing, lambda at: at.store.keep_alerts([("depth", "Many.", "2026", None)])),
}


async def settling(at: Measured, outcome: Done | Retry | Released) -> None:
    """End a turn and claim the next."""
    found, receipt = await planned(at)
    at.meter.steps = 0
    at.desk.tick()
    if isinstance(outcome, Done):
        outcome = Done(receipt)
    assert await at.store.settle(found, outcome, claim=True) is not None


async def planning(at: Measured) -> None:
    """Plan an answer and begin to send it."""
    found = await lease(at)
    at.meter.steps = 0
    answer = Answer(("one", "two"), 1, 1, "r")
    parts, admission = await at.store.plan(Plan(found, "answer", answer.parts, answer=answer, begin=True))
    assert isinstance(admission, Permit)
    await at.desk.begin(found, parts[1])


WHOLE: dict[str, Step] = {
    "settle done": lambda at: settling(at, Done()),
    "settle retry": lambda at: settling(at, Retry(5, "busy")),
    "settle released": lambda at: settling(at, Released()),
    "plan and begin to send": planning,
}


@pytest.mark.parametrize("verb", [*VERBS, *WHOLE])
async def test_the_work_is_the_same_for_few_and_for_many(opened: dict[int, Measured], verb: str) -> None:
    """A hundred times the people, the same steps."""
    steps = {}
    for people, at in opened.items():
        prepare, step = VERBS[verb] if verb in VERBS else (nothing, WHOLE[verb])
        await prepare(at)
        at.meter.steps = 0
        await step(at)
        steps[people] = at.meter.steps
    assert steps[MANY] <= steps[FEW] * GROWTH + SLACK, steps


async def test_a_hundred_thousand_people_are_served_at_the_same_cost_each(legions: Measured) -> None:
    """The hundredth claim costs what the first did."""
    costs = []
    for _ in range(100):
        legions.meter.steps = 0
        leases = await legions.desk.claim(16)
        costs.append(legions.meter.steps)
        assert len(leases) == 16
        for found in leases:
            await legions.desk.settle(found, Done())
    assert max(costs) <= min(costs) * GROWTH + SLACK


async def test_figures_count_what_is_waiting_and_nothing_else(legions: Measured) -> None:
    """By indexes that hold no more than what they count: a few steps for each."""
    legions.meter.steps = 0
    stats = await legions.store.insights.queue_stats()
    assert (stats["totalMessages"], stats["activeUsers"], stats["failed"]) == (50_000, 50_000, 5_000)
    assert legions.meter.steps <= 3 * (50_000 + 5_000) + SLACK
    legions.meter.steps = 0
    figures = await legions.store.insights.figures()
    assert (figures["queue_messages:pending"], figures["queue_users"], figures["failed_messages"]) == (
        50_000,
        50_000,
        5_000,
    )
    assert legions.meter.steps <= 3 * (50_000 + 5_000) + SLACK


async def test_all_pages_together_show_everybody_once(legions: Measured) -> None:
    """Paged by depth and id: no page costs more than the first, the deepest come first."""
    seen: list[str] = []
    depths: list[int] = []
    after, costs = None, []
    for _ in range(20):
        legions.meter.steps = 0
        page = await legions.store.insights.users(500, after)
        costs.append(legions.meter.steps)
        seen += [user["user_id"] for user in page["users"]]
        depths += [user["depth"] for user in page["users"]]
        after = page["next"]
    assert len(set(seen)) == len(seen) == 10_000
    assert depths == sorted(depths, reverse=True)
    assert max(costs) <= min(costs) * GROWTH + SLACK


LOOKS: dict[str, tuple[int, Step]] = {  # steps, and what they are for
    "failures and how many": (40 * 5_000, lambda at: at.store.insights.failures(50)),
    "failures of a cause": (40 * 5_000, lambda at: at.store.insights.failures(50, cause="bad")),
    "failures with a word": (120 * 5_000, lambda at: at.store.insights.failures(50, search="m7")),
    "causes": (40 * 5_000, lambda at: at.store.insights.causes()),
    "most failures": (40 * 5_000, lambda at: at.store.insights.users(50, sort="failed")),
    "longest waits": (60 * 20_000, lambda at: at.store.insights.users(50, sort="oldest")),
    "who wrote last": (20 * LEGIONS, lambda at: at.store.insights.users(50, sort="recent")),
    "who is paused": (30 * LEGIONS, lambda at: at.store.insights.users(50, state="paused")),
    "a word": (40 * LEGIONS, lambda at: at.store.insights.users(50, search="m7")),
    "the page after": (60 * LEGIONS, lambda at: at.store.insights.users(50, "0-99", search="m7", state="idle")),
}


@pytest.mark.parametrize("look", LOOKS)
async def test_a_look_costs_no_more_than_what_it_looks_at(legions: Measured, look: str) -> None:
    """Failures are counted, people and the newest messages are searched: so many steps for each, however many rows."""
    most, step = LOOKS[look]
    legions.meter.steps = 0
    await step(legions)
    assert legions.meter.steps <= most + SLACK


async def test_a_scan_would_be_seen(legions: Measured) -> None:
    """The meter runs."""

    def scan(db: sqlite3.Connection) -> int:
        found: int = db.execute("SELECT count(*) FROM outbox WHERE body = 'nobody'").fetchone()[0]
        return found

    legions.meter.steps = 0
    assert await legions.store._db.read(scan) == 0
    assert legions.meter.steps > LEGIONS
