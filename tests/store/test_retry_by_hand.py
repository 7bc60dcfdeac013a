"""Retry by hand: failed messages alone, all or none; unsent parts go out without the model, sent ones never again."""

from datetime import timedelta

import pytest

from bot.domain import Done, Failed, InDoubt, Lease, Operator, Released, Retry
from bot.errors import NotFound, WrongState
from tests.store.desk import Desk, at, message, words

ANA, BEN = "5215550001", "5215550002"
WHO = Operator("test")


async def fail(desk: Desk, body: str, error: str = "bad", who: str = ANA) -> int:
    """Let a message fail; return its id."""
    await desk.say(who, body)
    (lease,) = [lease for lease in await desk.claim() if lease.messages[0].body == body]
    await desk.settle(lease, Failed(error))
    return await desk.message_id(who, body)


async def test_a_failed_message_is_pending_again_as_if_it_were_new(desk: Desk) -> None:
    """Attempts, error and waits are gone; its reply will quote it."""
    await desk.say(ANA, "m")
    await desk.settle(await desk.lease(), Retry(5, "busy"))
    desk.tick(5)
    await desk.settle(await desk.lease(), Failed("busy, 5 times"))
    assert await desk.depth() == 0
    assert await desk.store.retry([await desk.message_id(ANA, "m")], who=WHO) == 1
    assert await desk.depth() == 1
    lease = await desk.lease()
    assert (lease.attempts, lease.crashes, lease.error, lease.manual) == (0, 0, None, True)
    await desk.serve(lease, "an answer")
    assert await desk.states(ANA) == {"m": "done"}


async def test_it_stands_at_its_timestamps_place_behind_one_that_has_begun(desk: Desk) -> None:
    """It had begun once; that counts no more."""
    first = await fail(desk, "first")
    await desk.say(ANA, "begun", "later", sent=10)
    await desk.settle(await desk.lease(), Retry(5, "busy"))
    await desk.store.retry([first], who=WHO)
    assert await desk.queue(ANA) == ["begun", "first", "later"]
    desk.tick(5)
    assert await desk.serve_all() == ["begun", "first", "later"]


async def planned_and_failed(desk: Desk) -> tuple[int, Lease]:
    """Send the first of three parts, have the second refused for good; return the message's id."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    one, two, _ = await desk.plan(lease, "one", "two", "three")
    await desk.begin(lease, one)
    await desk.begin(lease, two, desk.receipt(one))
    await desk.store.refuse_part(two, "bad", final=True)
    await desk.settle(lease, Failed("bad"))
    return await desk.message_id(ANA, "question"), lease


async def test_unsent_parts_go_out_without_the_model_and_sent_ones_never_again(desk: Desk) -> None:
    """The plan is taken up where it stopped."""
    id_, _ = await planned_and_failed(desk)
    assert [state for _, state, _ in await desk.told(ANA)] == ["sent", "failed", "cancelled"]
    await desk.store.retry([id_], who=WHO)
    lease = await desk.lease()
    assert [(part.body, part.state, part.doubts, part.error) for part in lease.parts] == [
        ("one", "sent", 0, None),
        ("two", "planned", 0, None),
        ("three", "planned", 0, None),
    ]
    await desk.serve(lease)
    assert [state for _, state, _ in await desk.told(ANA)] == ["sent", "sent", "sent"]


async def test_a_part_that_is_known_to_have_failed_goes_out_again(desk: Desk) -> None:
    """A status said that it never arrived: that is what the retry is for. The old try's news no longer counts."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    first = await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(at(60)))
    await desk.tell("failed", callback=first, wamid="out.1", error="131026")
    await desk.settle(await desk.lease(), Failed("131026"))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    lease = await desk.lease()
    assert [(part.state, part.error) for part in lease.parts] == [("planned", None)]
    await desk.begin(lease, lease.parts[0])
    await desk.tell("failed", callback=first, wamid="out.1", error="131026")
    await desk.settle(lease, Done(desk.receipt(part, "out.2")))
    assert await desk.told(ANA) == [("answer", "sent", None)]


async def test_a_part_in_doubt_stays_in_doubt(desk: Desk) -> None:
    """Whether it went out is to be found out first."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    await desk.settle(lease, Failed("an error inside the bot"))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    assert [part.state for part in (await desk.lease()).parts] == ["sending"]


async def test_without_a_plan_the_model_is_asked(desk: Desk) -> None:
    """An apology of the first life is no part of the second; the new answer comes behind it."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (apology,) = await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.begin(lease, apology)
    await desk.settle(lease, Failed("bad", desk.receipt(apology)))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    lease = await desk.lease()
    assert lease.parts == ()
    await desk.serve(lease, "better")
    assert await desk.told(ANA) == [("sorry", "sent", None), ("better", "sent", None)]
    assert await desk.history(ANA) == [("user", "question"), ("assistant", "better")]


async def test_an_apology_can_be_planned_again(desk: Desk) -> None:
    """It failed a second time."""
    id_ = await fail(desk, "question")
    await desk.store.retry([id_], who=WHO)
    lease = await desk.lease()
    assert len(await desk.plan(lease, "sorry", kind="apology", error="bad again")) == 1


@pytest.mark.parametrize("state", ["pending", "leased", "done", "cancelled", "ignored"])
async def test_only_a_failed_message_can_be_retried(desk: Desk, state: str) -> None:
    """The sentence says what it is; none of the others is retried then."""
    failed = await fail(desk, "failed", who=BEN)
    await desk.arrive(message(ANA, "m", answerable=state != "ignored"))
    if state in ("leased", "done"):
        lease = await desk.lease()
        if state == "done":
            await desk.settle(lease, Done())
    if state == "cancelled":
        await desk.store.clear(None, who=WHO)
    id_ = await desk.message_id(ANA, "m")
    with pytest.raises(WrongState, match=f"message {id_} is {state}".replace("leased", "being answered")):
        await desk.store.retry([failed, id_], who=WHO)
    assert await desk.states(BEN) == {"failed": "failed"}
    assert await desk.states(ANA) == {"m": state}


async def test_an_unknown_message_is_not_found(desk: Desk) -> None:
    """Nor is any other retried with it."""
    failed = await fail(desk, "failed")
    for unknown in (0, 999, 10**17):
        with pytest.raises(NotFound, match=f"no message {unknown}"):
            await desk.store.retry([failed, unknown], who=WHO)
    assert await desk.states(ANA) == {"failed": "failed"}


async def test_an_expired_message_can_be_retried_while_the_24_hours_last(desk: Desk) -> None:
    """They count from the person's newest message, by its own timestamp."""
    id_ = await fail(desk, "old", "expired")
    await desk.say(ANA, "newer", sent=3600)
    await desk.serve_all()
    desk.clock.advance((at(25 * 3600) - desk.clock.now() - timedelta(seconds=1)).total_seconds())  # type: ignore[operator]
    (failure,) = (await desk.store.insights.failures())["failures"]
    assert failure["retryable"] is True
    assert await desk.store.retry([id_], who=WHO) == 1


async def test_an_expired_message_can_not_be_retried_after_them(desk: Desk) -> None:
    """WhatsApp would refuse it: the sentence says so, and it doesn't show as retryable."""
    expired = await fail(desk, "old", "expired")
    failed = await fail(desk, "bad", "bad", BEN)
    desk.tick(24 * 3600)
    with pytest.raises(WrongState, match="24 hours"):
        await desk.store.retry([failed, expired], who=WHO)
    assert await desk.states(BEN) == {"bad": "failed"}
    shown = {row["body"]: row["retryable"] for row in (await desk.store.insights.failures())["failures"]}
    assert shown == {"old": False, "bad": True}


async def test_all_that_can_be_retried_are_retried_at_once(desk: Desk) -> None:
    """And it says how many; a second time there is nothing left."""
    for n in range(3):
        await fail(desk, f"m{n}")
    await fail(desk, "old", "expired", BEN)
    desk.tick(24 * 3600)
    assert await desk.store.retry(None, who=WHO) == 3
    assert await desk.store.retry(None, who=WHO) == 0
    assert await desk.depth() == 3
    assert await desk.serve_all() == ["m0", "m1", "m2"]


async def test_naming_a_message_twice_retries_it_once(desk: Desk) -> None:
    """A double click."""
    id_ = await fail(desk, "m")
    assert await desk.store.retry([id_, id_], who=WHO) == 1
    with pytest.raises(WrongState):
        await desk.store.retry([id_], who=WHO)


async def test_naming_none_retries_none(desk: Desk) -> None:
    """An empty list is not everything."""
    await fail(desk, "m")
    assert await desk.store.retry([], who=WHO) == 0
    assert await desk.states(ANA) == {"m": "failed"}


async def test_a_paused_persons_message_waits_after_its_retry(desk: Desk) -> None:
    """The retry is no resume."""
    id_ = await fail(desk, "m")
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    await desk.store.retry([id_], who=WHO)
    assert await desk.claim() == []
    await desk.store.resume(await desk.id_of(ANA), skip=False, who=WHO)
    assert words(await desk.claim()) == ["m"]


async def test_a_retry_waits_for_the_turn_under_way(desk: Desk) -> None:
    """One at a time, by hand too."""
    id_ = await fail(desk, "m")
    await desk.say(ANA, "now", sent=60)
    lease = await desk.lease()
    await desk.store.retry([id_], who=WHO)
    assert await desk.claim() == []
    await desk.settle(lease, Released())
    assert await desk.serve_all() == ["now", "m"]
