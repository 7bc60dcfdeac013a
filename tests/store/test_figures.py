"""What a scrape reads: gauges of the queue, whatever the process has seen of it."""

import asyncio
from pathlib import Path

import pytest

from bot.domain import Answer, Done, Failed, Operator, Released, Retry
from bot.metrics import GAUGES
from bot.store.replies import Plan
from bot.store.turns import Budget
from tests.clock import START
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
OF_THE_PROCESS = {"store_up", "store_writable", "ready"}


async def test_every_gauge_is_read_from_the_file(desk: Desk) -> None:
    """The store knows all but whether it can be used itself; an empty queue has no newest message."""
    figures = await desk.store.insights.figures()
    assert {name.partition(":")[0] for name in figures} == GAUGES.keys() - OF_THE_PROCESS
    assert [name for name, value in figures.items() if value is None] == ["newest_message_timestamp_seconds"]


async def test_the_queue_is_told_by_states_and_outlives_the_process(desk: Desk, open_desk: OpenDesk) -> None:
    """Pending and leased apart, failures, circuits, pause; the same after a restart, where nothing is leased."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b1")
    await desk.say(CARL, "c1")
    first, second, _ = await desk.claim()
    await desk.settle(first, Failed("bad"))
    await desk.settle(second, Released(refused_by="model", error="no"))
    await desk.store.pause(None, who=Operator("test"))
    desk.tick(60)
    figures = await desk.store.insights.figures()
    expected = {
        "queue_messages:pending": 2,
        "queue_messages:leased": 1,
        "queue_users": 3,
        "failed_messages": 1,
        "circuit_open:graph": 0,
        "circuit_open:model": 1,
        "paused": True,
        "newest_message_timestamp_seconds": START.timestamp(),
        "queue_oldest_age_seconds": pytest.approx(60, abs=0.1),
    }
    assert {name: figures[name] for name in expected} == expected
    again = await open_desk()
    await again.store.adopt()
    after = await again.store.insights.figures()
    assert {name: after[name] for name in expected} == expected | {
        "queue_messages:pending": 3,
        "queue_messages:leased": 0,
    }


async def test_the_delay_is_of_whoever_could_be_answered_now(desk: Desk) -> None:
    """Somebody who is paused, or whose message waits for its next try, holds nobody up and is no backlog."""

    async def delay() -> float:
        found: float = (await desk.store.insights.figures())["queue_delay_seconds"]
        return found

    assert await delay() == 0
    await desk.say(ANA, "a1")
    desk.tick(30)
    assert await delay() == pytest.approx(30, abs=0.1)
    await desk.settle(await desk.lease(), Retry(60, "busy"))
    assert await delay() == 0
    desk.tick(70)
    assert await delay() == pytest.approx(10, abs=0.1)
    await desk.store.pause(await desk.id_of(ANA), who=Operator("test"))
    assert await delay() == 0
    assert (await desk.store.insights.figures())["queue_oldest_age_seconds"] == pytest.approx(100, abs=0.1)


async def test_the_days_cost_and_its_limit_are_told_by_the_prices(open_desk: OpenDesk) -> None:
    """Input and output tokens have prices of their own."""
    desk = await open_desk(budget=Budget(5.0, 2.0, 10.0))
    await desk.say(ANA, "a1")
    lease = await desk.lease()
    await desk.store.plan(Plan(lease, "answer", ["hi"], answer=Answer(("hi",), 300_000, 100_000)))
    figures = await desk.store.insights.figures()
    assert (figures["cost_today"], figures["cost_limit"]) == (pytest.approx(1.6), 5.0)


async def test_sizes_are_those_of_the_files(desk: Desk, path: Path) -> None:
    """In bytes, the log's apart; and what is free on the disk they are on."""
    await desk.say(ANA, "a1")
    figures = await desk.store.insights.figures()
    assert figures["database_bytes"] == path.stat().st_size
    assert figures["wal_bytes"] == path.with_name("bot.db-wal").stat().st_size > 0
    assert figures["disk_free_bytes"] > 0


async def test_a_transaction_that_writes_is_told_with_the_calls_that_shared_it(open_desk: OpenDesk) -> None:
    """Reading is not; what is handed over together is written together."""
    told: list[tuple[int, float]] = []
    desk = await open_desk(committed=lambda calls, seconds: told.append((calls, seconds)))
    told.clear()
    await desk.store.insights.figures()
    assert told == []
    await asyncio.gather(*(desk.say(f"521555{n:04}", "hello") for n in range(20)))
    assert sum(calls for calls, _ in told) == 20
    assert len(told) < 20
    assert all(0 < seconds < 5 for _, seconds in told)
    await desk.settle(await desk.lease(), Done())
