"""What goes out: planned once, marked before and after each send, within WhatsApp's limit for one person."""

import pytest

from bot.domain import Done, Failed, Identity, InDoubt, Lease, Part, Released, Retry
from bot.store.replies import LeaseLost, PairLimit, Permit, Plan, Settled, Wait
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message

ANA, BEN = "5215550001", "5215550002"


async def planned(desk: Desk, *bodies: str) -> tuple[Lease, list[Part]]:
    """Let a person write, and plan an answer."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    return lease, await desk.plan(lease, *bodies)


async def test_an_answer_is_planned_once(desk: Desk, open_desk: OpenDesk) -> None:
    """Its parts are in the lease from then on, in order, over releases and crashes."""
    lease, parts = await planned(desk, "one", "two", "three")
    assert [(part.number, part.body, part.state, part.tries) for part in parts] == [
        (1, "one", "planned", 0),
        (2, "two", "planned", 0),
        (3, "three", "planned", 0),
    ]
    await desk.settle(lease, Released())
    assert list((await desk.lease()).parts) == parts
    desk = await open_desk()
    await desk.store.adopt()
    assert list((await desk.lease()).parts) == parts


async def test_each_part_is_marked_before_and_after_its_send(desk: Desk) -> None:
    """The receipt of one travels with the beginning of the next, the last with the end of the turn."""
    lease, (one, two) = await planned(desk, "one", "two")
    first = await desk.begin(lease, one)
    assert [state for _, state, _ in await desk.told(ANA)] == ["sending", "planned"]
    second = await desk.begin(lease, two, desk.receipt(one))
    assert [state for _, state, _ in await desk.told(ANA)] == ["sent", "sending"]
    await desk.settle(lease, Done(desk.receipt(two)))
    assert await desk.told(ANA) == [("one", "sent", None), ("two", "sent", None)]
    assert first.endswith(".1")
    assert second.endswith(".1")
    assert first.split(".")[0] != second.split(".")[0]
    assert await desk.states(ANA) == {"question": "done"}


async def test_a_plan_can_begin_its_first_send_in_the_same_breath(open_desk: OpenDesk) -> None:
    """A commit less on the way; within the person's limit, as ever."""
    desk = await open_desk(pair_limit=PairLimit(6.0, 1))
    await desk.say(ANA, "question")
    lease = await desk.lease()
    parts, admission = await desk.store.plan(Plan(lease, "answer", ["one", "two"], begin=True))
    assert isinstance(admission, Permit)
    assert admission.callback.endswith(".1")
    assert await desk.told(ANA) == [("one", "sending", None), ("two", "planned", None)]
    assert isinstance(await desk.cant_begin(lease, parts[1]), Wait)
    await desk.settle(lease, Done(desk.receipt(parts[0])))
    await desk.say(ANA, "and?", sent=9)
    _, admission = await desk.store.plan(Plan(await desk.lease(), "answer", ["late"], begin=True))
    assert isinstance(admission, Wait)
    assert (await desk.told(ANA))[-1] == ("late", "planned", None)


async def test_a_plan_of_nothing_begins_nothing(desk: Desk) -> None:
    """A handler may have nothing to say."""
    await desk.say(ANA, "question")
    assert await desk.store.plan(Plan(await desk.lease(), "answer", [], begin=True)) == ([], None)


async def test_a_receipt_can_be_stored_by_itself(desk: Desk) -> None:
    """Where a limit stops the turn after a send."""
    lease, (one, _) = await planned(desk, "one", "two")
    await desk.begin(lease, one)
    await desk.store.record_sent(desk.receipt(one))
    await desk.settle(lease, Released(at(60)))
    desk.tick(60)
    assert [part.state for part in (await desk.lease()).parts] == ["sent", "planned"]


async def test_what_happened_outside_is_recorded_whatever_became_of_the_lease(desk: Desk, open_desk: OpenDesk) -> None:
    """A wamid is true; also one that comes after the row was given to another turn."""
    lease, (one,) = await planned(desk, "one")
    await desk.begin(lease, one)
    desk = await open_desk()
    await desk.store.adopt()
    assert (await desk.lease()).parts[0].state == "sending"
    await desk.settle(lease, Done(desk.receipt(one)))
    assert await desk.told(ANA) == [("one", "sent", None)]
    assert await desk.states(ANA) == {"question": "leased"}


async def test_who_lost_the_lease_plans_and_sends_nothing(desk: Desk, open_desk: OpenDesk) -> None:
    """Two turns must not both send."""
    lease, (one,) = await planned(desk, "one")
    await desk.say(BEN, "other")
    other = await desk.lease()
    desk = await open_desk()
    await desk.store.adopt()
    assert len(await desk.claim()) == 2
    assert await desk.cant_begin(lease, one) == Settled("cancelled")
    with pytest.raises(LeaseLost):
        await desk.plan(other, "an answer")
    assert await desk.told(BEN) == []


async def test_a_part_that_was_refused_is_planned_again_or_failed(desk: Desk) -> None:
    """As its error says; the next try has a callback of its own."""
    lease, (one,) = await planned(desk, "one")
    first = await desk.begin(lease, one)
    await desk.store.refuse_part(one, "busy", final=False)
    assert await desk.told(ANA) == [("one", "planned", None)]
    second = await desk.begin(lease, one)
    assert (first.split(".")[0], second) == (second.split(".")[0], f"{first.split('.')[0]}.2")
    await desk.store.refuse_part(one, "bad", final=True)
    assert await desk.told(ANA) == [("one", "failed", None)]
    assert await desk.cant_begin(lease, one) == Settled("failed")


async def test_a_send_in_doubt_is_sent_again_and_counted(desk: Desk) -> None:
    """The sender decides how often."""
    lease, (one,) = await planned(desk, "one")
    await desk.begin(lease, one)
    for doubts in (1, 2, 3):
        await desk.settle(lease, InDoubt(at(60 * doubts)))
        desk.tick(60)
        lease = await desk.lease()
        (part,) = lease.parts
        assert (part.state, part.doubts, part.tries, lease.attempts) == ("sending", doubts - 1, doubts, 0)
        assert part.sending_at is not None
        assert (await desk.begin(lease, part)).endswith(f".{doubts + 1}")


async def test_no_doubt_no_wait(desk: Desk) -> None:
    """A status settled the send while its turn ended in doubt: the message goes on at once."""
    lease, (one,) = await planned(desk, "one")
    callback = await desk.begin(lease, one)
    await desk.tell("sent", callback=callback)
    await desk.settle(lease, InDoubt(at(60)))
    assert [part.state for part in (await desk.lease()).parts] == ["sent"]


async def test_a_receipt_of_a_part_that_is_gone_hurts_nobody(desk: Desk) -> None:
    """Somebody deleted the message meanwhile: there is nothing to record it with."""
    lease, (one,) = await planned(desk, "one")
    await desk.begin(lease, one)
    await desk.settle(lease, Failed("bad"))
    desk.tick(40 * 86_400)
    assert await desk.prune(30) == 1
    await desk.store.record_sent(desk.receipt(one))
    await desk.settle(lease, Done(desk.receipt(one)))
    assert await desk.rows("SELECT count(*) FROM replies") == [(0,)]


# -- apologies and notices


async def test_an_apology_ends_with_its_reason(desk: Desk) -> None:
    """The lease carries it over a restart; a send that has to be tried again doesn't hide it."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "sorry", kind="apology", error="content filter")
    assert (part.kind, part.number) == ("apology", 1)
    await desk.begin(lease, part)
    await desk.store.refuse_part(part, "graph is slow", final=False)
    await desk.settle(lease, Retry(5, "graph is slow"))
    desk.tick(5)
    lease = await desk.lease()
    assert (lease.error, [part.kind for part in lease.parts]) == ("content filter", ["apology"])


async def test_a_notice_that_has_to_be_tried_again_is_no_failure(desk: Desk) -> None:
    """It has no reason to end with: the message is done once the notice is out."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "can't read this", kind="notice")
    await desk.begin(lease, part)
    await desk.store.refuse_part(part, "graph is slow", final=False)
    await desk.settle(lease, Retry(5, "graph is slow"))
    desk.tick(5)
    assert (await desk.lease()).error is None


async def test_an_apology_takes_the_place_of_what_was_planned(desk: Desk) -> None:
    """Nothing of the answer went out: it never will."""
    lease, _ = await planned(desk, "one", "two")
    assert len(await desk.plan(lease, "sorry", kind="apology", error="bad")) == 1
    assert [state for _, state, _ in await desk.told(ANA)] == ["cancelled", "cancelled", "planned"]


@pytest.mark.parametrize("ended", ["sent", "sending", "in doubt, then refused"])
async def test_no_apology_once_something_may_have_gone_out(desk: Desk, ended: str) -> None:
    """Half an answer and then an apology would be worse than half an answer."""
    lease, (one, _) = await planned(desk, "one", "two")
    await desk.begin(lease, one)
    if ended == "sent":
        await desk.store.record_sent(desk.receipt(one))
    if ended == "in doubt, then refused":
        await desk.begin(lease, one)
        await desk.store.refuse_part(one, "bad", final=True)
    assert await desk.plan(lease, "sorry", kind="apology", error="bad") == []
    assert "planned" not in [state for _, state, _ in await desk.told(ANA)]


async def test_what_is_left_of_a_plan_is_cancelled_when_its_message_is_decided(desk: Desk) -> None:
    """A failed message keeps nothing that could still go out."""
    lease, (one, two) = await planned(desk, "one", "two")
    await desk.begin(lease, one)
    await desk.store.refuse_part(one, "can't be delivered", final=True)
    await desk.settle(lease, Failed("can't be delivered"))
    assert await desk.told(ANA) == [("one", "failed", None), ("two", "cancelled", None)]
    assert await desk.cant_begin(lease, two) == Settled("cancelled")


# -- one person's limit


async def test_a_burst_and_then_one_per_interval(open_desk: OpenDesk) -> None:
    """45 at once and then one in 6 seconds, as WhatsApp has it; here 3."""
    desk = await open_desk(pair_limit=PairLimit(6.0, 3))
    lease, parts = await planned(desk, *"abcdef")
    for part in parts[:3]:
        await desk.begin(lease, part)
    wait = await desk.cant_begin(lease, parts[3])
    assert isinstance(wait, Wait)
    assert 5.9 < (wait.until - desk.clock.now()).total_seconds() <= 6.0
    desk.tick((wait.until - desk.clock.now()).total_seconds())
    await desk.begin(lease, parts[3])
    assert isinstance(await desk.cant_begin(lease, parts[4]), Wait)
    desk.tick(12)
    await desk.begin(lease, parts[4])
    await desk.begin(lease, parts[5])


async def test_a_wait_marks_nothing_and_stores_the_receipt_before_it(open_desk: OpenDesk) -> None:
    """The part stays planned, no try is counted."""
    desk = await open_desk(pair_limit=PairLimit(6.0, 1))
    lease, (one, two) = await planned(desk, "one", "two")
    await desk.begin(lease, one)
    assert isinstance(await desk.store.begin_send(lease, two, desk.receipt(one)), Wait)
    assert await desk.told(ANA) == [("one", "sent", None), ("two", "planned", None)]


async def test_the_limit_is_each_persons_own_and_outlasts_a_restart(open_desk: OpenDesk) -> None:
    """What was sent before counts, and concerns nobody else."""
    desk = await open_desk(pair_limit=PairLimit(6.0, 1))
    lease, parts = await planned(desk, "one", "two")
    await desk.begin(lease, parts[0])
    desk = await open_desk(pair_limit=PairLimit(6.0, 1))
    assert isinstance(await desk.cant_begin(lease, parts[1]), Wait)
    await desk.say(BEN, "other")
    other = await desk.lease()
    (part,) = await desk.plan(other, "answer")
    await desk.begin(other, part)


async def test_zero_turns_the_limit_off(open_desk: OpenDesk) -> None:
    """Either figure."""
    for limit in (PairLimit(0.0, 5), PairLimit(6.0, 0)):
        desk = await open_desk(pair_limit=limit)
        await desk.say(BEN, f"question {limit}")
        lease = await desk.lease()
        for part in await desk.plan(lease, *map(str, range(100))):
            await desk.begin(lease, part)
        await desk.settle(lease, Done())


async def test_a_permit_says_where_it_goes(desk: Desk) -> None:
    """To the ids as they are stored: rewriting numbers is the client's business."""
    await desk.arrive(message(Identity(ANA, "MX.ana", "Ana"), "question"))
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    permit = await desk.store.begin_send(lease, part)
    assert isinstance(permit, Permit)
    assert permit.to == Identity(ANA, "MX.ana")
