"""Turns a second through the real scheduler and store, with nothing outside to wait for."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bot import logs
from bot.bell import Bell
from bot.clock import Clock
from bot.daemon import GARBAGE
from bot.domain import Done, Lease, Outcome, Receipt
from bot.metrics import Metrics
from bot.scheduler import Scheduler
from bot.store.replies import Plan
from bot.store.store import Store
from tests.bench import rig
from tests.bench.figures import Figure, at_least
from tests.bench.order import Watch

CONCURRENCY = 64
ROUNDS = 3
SMALL = (20_000, 500)  # messages, users
LARGE = (1_000_000, 100_000)
TURN_SECONDS = 0.005

Turn = Callable[[Store, Lease], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Drained:
    """How fast messages were worked off, and what CPU each took."""

    per_second: float
    cpu_microseconds: float


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Drain a small queue whole and as many of a large one, in turn; then with replies, then with slow turns."""
    rig.silence(folder)
    logs.configure()
    rounds, large = (1, (100_000, 10_000)) if quick else (ROUNDS, LARGE)
    asyncio.run(rig.fill(folder / "large.db", *large))
    gc.freeze()
    gc.set_threshold(*GARBAGE)  # as the daemon does
    few: list[Drained] = []
    many: list[Drained] = []
    answered: list[Drained] = []
    slow: list[Drained] = []
    for number in range(rounds):
        few.append(_fresh(folder, f"few{number}.db", no_op))
        many.append(asyncio.run(_drain(folder / "large.db", no_op)))
        answered.append(_fresh(folder, f"answered{number}.db", planned_and_sent))
        slow.append(_fresh(folder, f"slow{number}.db", waiting))
    ratio = median(b.per_second / a.per_second for a, b in zip(few, many, strict=True))
    ideal = CONCURRENCY / TURN_SECONDS
    return [
        _rate("no-op turns/s, 20,000 messages of 500 users", few, 10_000),
        at_least(
            f"… the same with {large[0]:,} waiting of {large[1]:,} users : with 20,000",
            ratio,
            0.9,
            beside=_beside(many, f"{_rate_of(many):,.0f}/s"),
        ),
        _rate("… with a reply planned, marked and recorded in each turn", answered, None),
        _rate(f"turns of 5 ms/s, 64 at once (ideal: {ideal:,.0f})", slow, 6_500),
    ]


async def no_op(_: Store, __: Lease) -> Outcome:
    """Answer nothing."""
    await asyncio.sleep(0)  # so that two turns of a user could overlap
    return Done()


async def waiting(_: Store, __: Lease) -> Outcome:
    """Take 5 ms."""
    await asyncio.sleep(TURN_SECONDS)
    return Done()


async def planned_and_sent(store: Store, lease: Lease) -> Outcome:
    """Store all that an answer in one part stores, and send nothing."""
    (part,), _ = await store.plan(Plan(lease, "answer", ["An answer of one line."], begin=True))
    return Done(Receipt(part.id, f"wamid.sent.{part.id}"))


def _fresh(folder: Path, name: str, turn: Turn) -> Drained:
    asyncio.run(rig.fill(folder / name, *SMALL))
    return asyncio.run(_drain(folder / name, turn))


async def _drain(path: Path, turn: Turn) -> Drained:
    store, watch = await Store.open(path, clock=Clock()), Watch()
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watched(lease: Lease) -> Outcome:
        try:
            watch.begin(lease)
            outcome = await turn(store, lease)
            watch.end(lease)
        except Exception as error:  # the scheduler would try it again for ever
            finished.set_exception(error)
            raise
        if watch.ended >= SMALL[0] and not finished.done():
            finished.set_result(None)
        return outcome

    scheduler = Scheduler(store, watched, Bell(), Clock(), CONCURRENCY, Metrics())
    began, busy = time.perf_counter(), time.process_time()
    scheduler.start()
    await finished
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    await scheduler.drain(5.0)
    await store.close()
    watch.check(path)
    return Drained(watch.ended / seconds, cpu / watch.ended * 1e6)


def _rate(name: str, rounds: list[Drained], wanted: float | None) -> Figure:
    rate = _rate_of(rounds)
    if wanted is None:
        return Figure(name, f"{rate:,.0f} ({_beside(rounds)})")
    return at_least(name, rate, wanted, "{:,.0f}", _beside(rounds))


def _rate_of(rounds: list[Drained]) -> float:
    return median(drained.per_second for drained in rounds)


def _beside(rounds: list[Drained], *more: str) -> str:
    return "; ".join([*more, f"{median(drained.cpu_microseconds for drained in rounds):.0f} µs CPU each"])
