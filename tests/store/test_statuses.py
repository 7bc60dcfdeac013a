"""What status webhooks tell: they settle sends in doubt, and deliveries only ever rise."""

import itertools
from typing import get_args

import pytest

from bot.domain import Batch, Delivery, Done, InDoubt, Lease, Part, Released, Status
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message

ANA, BEN = "5215550001", "5215550002"


async def sending(desk: Desk, who: str = ANA) -> tuple[Lease, Part, str]:
    """Let a person write and begin to send the answer; return also the callback data."""
    await desk.arrive(message(who, "question", wamid=f"wamid.{who}"))
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    return lease, part, await desk.begin(lease, part)


async def in_doubt(desk: Desk) -> tuple[Lease, Part, str]:
    """Do the same, and let the turn end in doubt until a minute from the start."""
    lease, part, callback = await sending(desk)
    await desk.settle(lease, InDoubt(at(60)))
    assert await desk.claim() == []
    return lease, part, callback


@pytest.mark.parametrize("delivery", ["sent", "delivered", "read", "played"])
async def test_a_status_that_names_the_part_settles_the_doubt(desk: Desk, delivery: Delivery) -> None:
    """It went out, and the line is open again at once: the wait for it is over."""
    _, _, callback = await in_doubt(desk)
    assert await desk.tell(delivery, callback=callback, wamid="out.seen") == 1
    lease = await desk.lease()
    assert [part.state for part in lease.parts] == ["sent"]
    await desk.settle(lease, Done())
    assert await desk.told(ANA) == [("answer", "sent", delivery)]


async def test_a_failed_status_settles_the_doubt_too(desk: Desk) -> None:
    """It did not go out: the part failed, with what WhatsApp said."""
    _, _, callback = await in_doubt(desk)
    await desk.tell("failed", callback=callback, error="131026 undeliverable")
    (part,) = (await desk.lease()).parts
    assert (part.state, part.error) == ("failed", "131026 undeliverable")


async def test_a_status_can_come_before_the_answer_of_its_send(desk: Desk) -> None:
    """The callback joins them; the receipt then finds what it knows."""
    lease, part, callback = await sending(desk)
    await desk.tell("delivered", callback=callback, wamid="out.1")
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]


async def test_a_status_of_an_older_try_settles_the_part(desk: Desk) -> None:
    """Whichever try went out: nothing is sent again."""
    _, _, first = await in_doubt(desk)
    desk.tick(60)
    lease = await desk.lease()
    await desk.begin(lease, lease.parts[0])
    await desk.settle(lease, InDoubt(at(120)))
    await desk.tell("sent", callback=first, wamid="out.first")
    assert [part.state for part in (await desk.lease()).parts] == ["sent"]


async def test_a_failure_of_an_older_try_says_nothing_of_the_newer(desk: Desk) -> None:
    """The newer one is in doubt still, or went out."""
    _, _, first = await in_doubt(desk)
    desk.tick(60)
    lease = await desk.lease()
    second = await desk.begin(lease, lease.parts[0])
    await desk.tell("failed", callback=first, error="131000", wamid="out.first")
    assert await desk.told(ANA) == [("answer", "sending", None)]
    await desk.tell("delivered", callback=second, wamid="out.second")
    await desk.tell("failed", callback=first, error="131000", wamid="out.first")
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]


async def test_deliveries_only_rise_in_whatever_order_they_come(desk: Desk) -> None:
    """Every order of the four, each told twice, ends at the highest."""
    for n, order in enumerate(itertools.permutations(["sent", "delivered", "read", "played"])):
        who = f"52155514{n:02}"
        lease, part, callback = await sending(desk, who)
        await desk.settle(lease, Done(desk.receipt(part, f"out.{n}")))
        for delivery in (*order, *order):
            await desk.tell(delivery, callback=callback, wamid=f"out.{n}")
        assert await desk.told(who) == [("answer", "sent", "played")]


@pytest.mark.parametrize("before", [None, *get_args(Delivery)])
@pytest.mark.parametrize("after", get_args(Delivery))
async def test_a_failure_counts_over_nothing_or_sent(desk: Desk, before: Delivery | None, after: Delivery) -> None:
    """Beside delivered, read or played it can't be true, whichever came first."""
    lease, part, callback = await sending(desk)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    if before:
        await desk.tell(before, callback=callback, wamid="out.1")
    await desk.tell("failed", callback=callback, wamid="out.1", error="131047")
    await desk.tell(after, callback=callback, wamid="out.1")
    rank = ["sent", "failed", "delivered", "read", "played"]
    highest = max((before or "sent", "failed", after), key=rank.index)
    assert await desk.told(ANA) == [("answer", "sent", highest)]


async def test_a_send_in_doubt_that_failed_and_was_delivered_after_all_went_out(desk: Desk) -> None:
    """A retry by hand says nothing again."""
    lease, _, callback = await sending(desk)
    await desk.settle(lease, InDoubt(at(60)))
    for delivery in ("failed", "delivered"):
        await desk.tell(delivery, callback=callback, wamid="out.1", error="131026")
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]
    (part,) = (await desk.lease()).parts
    assert (part.state, part.error) == ("sent", None)


async def test_a_reply_that_was_sent_and_then_failed_shows_among_the_failures(desk: Desk) -> None:
    """131047, for instance: the message is answered, so it can't be retried."""
    lease, part, callback = await sending(desk)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    await desk.tell("failed", callback=callback, wamid="out.1", error="131047 re-engagement")
    (failure,) = (await desk.store.insights.failures())["failures"]
    assert (failure["error"], failure["retryable"], failure["body"]) == ("131047 re-engagement", False, "question")
    assert await desk.states(ANA) == {"question": "done"}


# -- without a callback


async def test_a_status_without_a_callback_matches_by_wamid(desk: Desk) -> None:
    """Older API versions, and other senders' habits."""
    lease, part, _ = await sending(desk)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert await desk.tell("read", wamid="out.1") == 1
    assert await desk.told(ANA) == [("answer", "sent", "read")]


async def test_a_status_by_wamid_that_overtakes_the_receipt_is_kept_a_minute(desk: Desk) -> None:
    """Nobody knows the wamid yet."""
    lease, part, _ = await sending(desk)
    assert await desk.tell("delivered", wamid="out.1") == 0
    assert await desk.tell("sent", wamid="out.1") == 0
    desk.tick(59)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert await desk.told(ANA) == [("answer", "sent", "delivered")]


async def test_an_overtaking_failure_is_kept_too(desk: Desk) -> None:
    """The send is taken, then it is known to have failed."""
    lease, part, _ = await sending(desk)
    await desk.tell("failed", wamid="out.1", error="131026")
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert await desk.told(ANA) == [("answer", "sent", "failed")]


async def test_what_nobody_asked_for_in_a_minute_is_forgotten(desk: Desk) -> None:
    """Statuses of strangers' messages must not fill the memory."""
    lease, part, _ = await sending(desk)
    await desk.tell("delivered", wamid="out.1")
    desk.tick(61)
    await desk.tell("delivered", wamid="out.stranger")
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert await desk.told(ANA) == [("answer", "sent", None)]


async def test_strangers_statuses_are_nothing(desk: Desk) -> None:
    """Callbacks of other apps, wamids of nobody: counted as not ours."""
    await sending(desk)
    odd = ["", "x", ".", ".1", "x.", "x.y", "x.1", "x.99999999999999999999999", "x.١", "💥.2", "a.b.c.1", "1.1"]
    for callback in odd:
        assert await desk.tell("read", callback=callback, wamid="out.stranger") == 0
    assert await desk.told(ANA) == [("answer", "sending", None)]


# -- a part that is planned again


async def test_a_refused_part_that_went_out_after_all_is_not_sent_again(desk: Desk) -> None:
    """The answer of the send said no, a status says yes: it is true."""
    lease, part, callback = await sending(desk)
    await desk.store.refuse_part(part, "busy", final=False)
    await desk.settle(lease, Released())
    await desk.tell("sent", callback=callback)
    assert [part.state for part in (await desk.lease()).parts] == ["sent"]


async def test_a_failed_status_of_a_refused_send_changes_nothing(desk: Desk) -> None:
    """The part is planned again already, and its next try counts."""
    lease, part, callback = await sending(desk)
    await desk.store.refuse_part(part, "busy", final=False)
    await desk.tell("failed", callback=callback, error="130429")
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part, "out.2")))
    assert await desk.told(ANA) == [("answer", "sent", None)]


async def test_the_end_of_a_doubt_wakes_no_other_wait(desk: Desk) -> None:
    """Only the message whose send was in doubt goes on."""
    _, _, callback = await in_doubt(desk)
    await desk.say(BEN, "other")
    await desk.settle(await desk.lease(), Released(at(600)))
    await desk.tell("sent", callback=callback)
    assert [lease.user_id for lease in await desk.claim()] == [await desk.id_of(ANA)]


async def test_statuses_settle_what_a_crash_left_in_doubt(desk: Desk, open_desk: OpenDesk) -> None:
    """After a kill the status is all that tells."""
    _, _, callback = await sending(desk)
    desk = await open_desk()
    await desk.store.append(Batch(statuses=(Status("out.1", "delivered", None, callback),)))
    await desk.store.adopt()
    lease = await desk.lease()
    assert ([part.state for part in lease.parts], lease.crashes) == (["sent"], 0)
