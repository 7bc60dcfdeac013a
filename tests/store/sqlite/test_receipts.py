"""What is kept of sends beyond what the verbs show, and through transactions that have to run again."""

import asyncio
from pathlib import Path

import pytest

from bot.domain import Done, InDoubt, Lease, Part
from tests.store.desk import Desk, at
from tests.store.sqlite.terminal import by_hand, rows

ANA = "5215550001"


async def sending(desk: Desk) -> tuple[Lease, Part, str]:
    """Let a person write and begin to send the answer; return also the callback data."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    return lease, part, await desk.begin(lease, part)


async def test_two_wamids_for_one_part_are_both_kept_and_counted(desk: Desk, path: Path) -> None:
    """It went out twice: rare, and to be seen."""
    lease, part, first = await sending(desk)
    await desk.settle(lease, InDoubt(at(60)))
    desk.tick(60)
    lease = await desk.lease()
    second = await desk.begin(lease, lease.parts[0])
    await desk.settle(lease, Done(desk.receipt(part, "out.second")))
    for _ in range(2):
        await desk.tell("sent", callback=first, wamid="out.first")
        await desk.tell("delivered", callback=second, wamid="out.second")
    assert rows(path, "SELECT wamid, duplicates FROM replies") == [("out.second", '["out.first"]')]
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]


@pytest.mark.parametrize("nonsense", ["see out.first", "5", '{"out": 1}'])
async def test_nonsense_by_hand_among_duplicates_holds_up_no_status(desk: Desk, path: Path, nonsense: str) -> None:
    """Nor what came in the same webhook: it would be refused again and again."""
    lease, part, callback = await sending(desk)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    by_hand(path, f"UPDATE replies SET duplicates = '{nonsense}'")
    await desk.tell("delivered", callback=callback, wamid="out.2")
    assert rows(path, "SELECT delivery, wamid, duplicates FROM replies") == [("delivered", "out.1", '["out.2"]')]


async def test_a_receipt_after_its_status_is_no_duplicate(desk: Desk, path: Path) -> None:
    """The same wamid, told twice."""
    lease, part, callback = await sending(desk)
    await desk.tell("delivered", callback=callback, wamid="out.1")
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert rows(path, "SELECT wamid, duplicates FROM replies") == [("out.1", None)]


async def test_an_overtaking_status_survives_a_transaction_that_has_to_run_again(desk: Desk) -> None:
    """Another caller's failure rolls the shared transaction back: what was read from memory in it is still there."""
    lease, part, _ = await sending(desk)
    await desk.tell("delivered", wamid="out.1")

    def fail(_: object) -> None:
        raise LookupError

    recording = desk.store.record_sent(desk.receipt(part, "out.1"))
    failing = desk.store._db.write(fail)
    assert isinstance((await asyncio.gather(recording, failing, return_exceptions=True))[1], LookupError)
    await desk.settle(lease, Done())
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]


async def test_two_receipts_of_one_part_are_both_kept(desk: Desk, path: Path) -> None:
    """It went out twice: that is counted, not forgotten, when both are told in one commit too."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    outcomes = [Done(desk.receipt(part, wamid)) for wamid in ("out.1", "out.2")]
    await asyncio.gather(*(desk.store.settle(lease, outcome, claim=False) for outcome in outcomes))
    assert rows(path, "SELECT state, wamid, duplicates FROM replies") == [("sent", "out.1", '["out.2"]')]


async def test_a_status_that_says_nothing_new_writes_nothing(desk: Desk) -> None:
    """Meta delivers again for days: what is known costs no write and no fsync."""
    _, _, callback = await sending(desk)
    await desk.tell("delivered", callback=callback)
    writer = desk.store._db._writer
    before = writer.total_changes
    assert await desk.tell("delivered", callback=callback) == 1
    assert await desk.tell("sent", callback=callback) == 1
    assert await desk.tell("read", callback="somebody.else.1", wamid="out.else") == 0
    assert writer.total_changes == before
