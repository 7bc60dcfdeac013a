"""What gathers is written together: the outcome is that of one after the other."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest

from bot.domain import Answer, Batch, Done, Identity, Receipt, Released, Status
from bot.store import db as store_db
from bot.store.db import Database
from bot.store.inbox import Door
from bot.store.migrate import migrate
from bot.store.replies import LeaseLost, Permit, Plan
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, edit, message, revoke

PHONE, OTHER_PHONE = "5215550001", "5215550002"
ID, OTHER_ID = "MX.one", "MX.two"


async def person(desk: Desk, who: str) -> dict[str, object]:
    """Return what is shown of somebody."""
    return dict((await desk.look(who))["user"])


async def begun(desk: Desk) -> str:
    """Bring a message to where its answer is being sent; return the callback data."""
    await desk.say(PHONE, "question")
    _, admission = await desk.store.plan(Plan(await desk.lease(), "answer", ["answer"], begin=True))
    assert isinstance(admission, Permit)
    return admission.callback


async def test_answers_go_to_the_number_that_was_written_from_last(desk: Desk) -> None:
    """Also where the same webhook took that number from somebody else first."""
    first, second, taken = PHONE, OTHER_PHONE, "5215550003"
    await desk.arrive(message(Identity(first, ID), "a"), message(Identity(second, ID), "b", 1))
    await desk.arrive(message(Identity(taken, OTHER_ID), "theirs"))
    await desk.arrive(message(Identity(taken, ID), "c", 2), message(second, "d", 3), message(taken, "e", 4))
    assert (await person(desk, ID))["phone"] == taken


async def test_the_newest_message_stays_the_newest_when_a_number_changes_hands(desk: Desk) -> None:
    """WhatsApp's 24 hours count from it."""
    await desk.arrive(message(Identity(PHONE, OTHER_ID), "x"), message(ID, "y"))
    await desk.arrive(message(Identity(PHONE, ID), "a", 300), message(ID, "b", 200), message(PHONE, "c", 100))
    assert (await person(desk, ID))["last_message_at"] == "2026-11-24T10:05:00.000Z"


async def test_two_queues_that_become_one_within_a_batch_count_as_one(open_desk: OpenDesk) -> None:
    """The limit of a person's depth holds for the person."""
    desk = await open_desk(door=Door(max_depth_per_user=2))
    await desk.arrive(message(PHONE, "x"), message(ID, "y", answerable=False))
    await desk.serve_all()
    await desk.arrive(message(Identity(PHONE, ID), "a", 300), message(PHONE, "b", 200), message(ID, "c", 100))
    assert [(await desk.states(ID))[body] for body in "abc"] == ["pending", "pending", "cancelled"]


async def test_a_revoke_makes_room_for_what_comes_with_it(open_desk: OpenDesk) -> None:
    """A question is not turned away for a place that the same webhook freed, nor for one that is revoked already."""
    desk = await open_desk(door=Door(max_depth_per_user=1))
    await desk.say(PHONE, "m1")
    await desk.arrive(revoke(PHONE, "m1"), message(PHONE, "m2", 1))
    assert await desk.states(PHONE) == {"m1": "cancelled", "m2": "pending", "": "ignored"}
    await desk.serve_all()
    await desk.arrive(revoke(PHONE, "m3"))
    await desk.arrive(message(PHONE, "m3", 2), message(PHONE, "m4", 3))
    states = await desk.states(PHONE)
    assert (states["m3"], states["m4"]) == ("cancelled", "pending")


async def test_a_revoke_makes_room_in_the_whole_queue(open_desk: OpenDesk) -> None:
    """Two webhooks that arrive at the same moment are taken one after the other."""
    desk = await open_desk(door=Door(max_depth_total=1))
    await desk.say(PHONE, "m1")
    batches = [Batch(messages=(revoke(PHONE, "m1"),)), Batch(messages=(message(PHONE, "m2", 1),))]
    await asyncio.gather(*map(desk.store.append, batches))
    assert (await desk.states(PHONE))["m2"] == "pending"


async def test_edits_of_many_in_one_webhook(desk: Desk) -> None:
    """Each message gets its own newest edit; a revoke wins."""
    await desk.arrive(
        message(PHONE, "a"), edit(PHONE, "a", "a1", 1), edit(PHONE, "b", "b2", 3), message(PHONE, "b"),
        edit(PHONE, "b", "b1", 2), message(PHONE, "c"), revoke(PHONE, "c", 4),
    )  # fmt: skip
    assert await desk.queue(PHONE) == ["a1", "b2"]


async def test_a_status_by_wamid_finds_what_the_one_before_told(desk: Desk) -> None:
    """Both in one webhook: the failure of what was just confirmed must show."""
    callback = await begun(desk)
    told = (
        Status("out.1", "sent", at(5), callback),
        Status("out.1", "failed", at(6), None, "131047 Re-engagement message"),
    )
    assert (await desk.store.append(Batch(statuses=told))).statuses == 2
    ((_, _, delivery),) = await desk.told(PHONE)
    assert delivery == "failed"


async def test_a_lost_lease_cancels_nothing_beside_the_new_one(desk: Desk) -> None:
    """Who doesn't hold the row any more changes nothing, in the same breath as its holder too."""
    await desk.say(PHONE, "question")
    lost = await desk.lease()
    await desk.settle(lost, Released())
    held = await desk.lease()
    one, _ = await desk.plan(held, "one", "two")
    await desk.begin(held, one)
    planned = [
        desk.store.plan(Plan(held, "answer", ["three"])),
        desk.store.plan(Plan(lost, "apology", ["sorry"], error="lost")),
    ]
    (parts, _), refused = await asyncio.gather(*planned, return_exceptions=True)  # type: ignore[misc]
    assert isinstance(refused, LeaseLost)
    assert [part.body for part in parts] == ["three"]
    assert [state for _, state, _ in await desk.told(PHONE)] == ["sending", "planned", "planned"]


async def test_who_loses_a_lease_takes_nobody_along(desk: Desk) -> None:
    """Of many plans in one commit the one without a lease fails alone."""
    await desk.say(PHONE, "one")
    await desk.say(OTHER_PHONE, "two")
    one, two = await desk.claim()
    await desk.settle(one, Done())
    first, second = await asyncio.gather(
        *(desk.store.plan(Plan(lease, "answer", ["re"], answer=Answer(("re",), 7, 1))) for lease in (one, two)),
        return_exceptions=True,
    )
    assert isinstance(first, LeaseLost)
    assert not isinstance(second, BaseException)
    assert [part.body for part in second[0]] == ["re"]


async def test_an_apology_that_is_not_planned_still_tells_that_the_service_works(desk: Desk) -> None:
    """Part of the answer went out: no apology, but the circuit closes."""
    await desk.say(PHONE, "question")
    lease = await desk.lease()
    one, _ = await desk.plan(lease, "one", "two")
    await desk.begin(lease, one)
    await desk.store.record_sent(desk.receipt(one))
    await desk.settle(lease, Released(refused_by="graph", error="190"))
    desk.tick(5)
    probe = await desk.lease()
    plan = Plan(probe, "apology", ["sorry"], error="131051", attempts=1, works="graph")
    assert await desk.store.plan(plan) == ([], None)
    assert await desk.store.insights.circuits() == []


async def test_a_claim_finds_what_was_handed_over_before_it(desk: Desk) -> None:
    """Whatever else shares their transaction: a webhook rings before its messages are stored."""
    one_of_its_own, arrived = desk.store.record_sent(Receipt(1, "wamid.1")), Batch(messages=(message(PHONE, "hi"),))
    _, _, (leases, _) = await asyncio.gather(one_of_its_own, desk.store.append(arrived), desk.store.claim(1))
    assert [lease.messages[0].body for lease in leases] == ["hi"]


class Batches:
    """Writes whose batches are counted."""

    def __init__(self, database: Database) -> None:
        self.database, self.sizes = database, list[int]()

    async def write(self, n: int) -> int:
        """Take part in a batch."""
        return await self.database.write_together(self._work, n)

    def _work(self, _: sqlite3.Connection, arguments: list[int]) -> Sequence[int]:
        self.sizes.append(len(arguments))
        return arguments


@asynccontextmanager
async def batches(folder: Path) -> AsyncIterator[Batches]:
    """Open a file for them."""
    migrate(folder / "bot.db", datetime(2026, 11, 24, tzinfo=UTC))
    database = await Database.open(folder / "bot.db")
    try:
        yield Batches(database)
    finally:
        await database.close()


@pytest.mark.parametrize(("idle_seconds", "sizes"), [(-1, [12, 13]), (-1, [24]), (inf, [25])])
async def test_after_a_pause_half_of_many_is_committed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle_seconds: float, sizes: list[int]
) -> None:
    """So turns of one length don't stay in step; without a pause there is nothing to gain by a second commit."""
    monkeypatch.setattr(store_db, "IDLE_SECONDS", idle_seconds)
    async with batches(tmp_path) as counted:
        assert await asyncio.gather(*map(counted.write, range(sum(sizes)))) == list(range(sum(sizes)))
    assert counted.sizes == sizes


@pytest.mark.parametrize(("busy_seconds", "first"), [(-1, 4), (inf, 1)])
async def test_a_busy_loop_goes_on_for_some_turns_before_a_batch_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_seconds: float, first: int
) -> None:
    """What comes in those turns shares the statements, and no more are waited for; an idle loop waits for none."""
    monkeypatch.setattr(store_db, "IDLE_SECONDS", inf)
    monkeypatch.setattr(store_db, "GATHER_TURNS", 4)
    monkeypatch.setattr(store_db, "BUSY_SECONDS", busy_seconds)
    async with batches(tmp_path) as counted:
        writes = []
        for n in range(20):
            writes.append(asyncio.create_task(counted.write(n)))
            await asyncio.sleep(0)
        assert await asyncio.gather(*writes) == list(range(20))
    assert counted.sizes[0] in {first, first + 1}
