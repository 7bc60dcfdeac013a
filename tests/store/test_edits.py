"""Edits and revokes: they change or cancel what still waits, and are never answered themselves."""

from bot.domain import Batch, Failed, Identity, Operator, Released, Retry
from bot.store.failures import Failing
from tests.store.desk import Desk, edit, message, revoke, words

ANA, BEN = "5215550001", "5215550002"


async def test_an_edit_changes_what_waits_and_is_no_second_turn(desk: Desk) -> None:
    """The original keeps its place and gets the new words and the new type."""
    await desk.say(ANA, "frist", "second")
    await desk.arrive(edit(ANA, "frist", "first", 60, kind="image"))
    assert await desk.queue(ANA) == ["first", "second"]
    assert (await desk.look(ANA))["queue"][0]["type"] == "image"
    assert await desk.serve_all() == ["first", "second"]


async def test_a_revoke_cancels_what_waits(desk: Desk) -> None:
    """The row stays, with the reason; the next in line goes on at once."""
    await desk.say(ANA, "oops", "second")
    await desk.arrive(revoke(ANA, "oops", 60))
    assert (await desk.states(ANA))["oops"] == "cancelled"
    assert (await desk.errors(ANA))["oops"] == "revoked"
    assert await desk.depth() == 1
    assert await desk.serve_all() == ["second"]


async def test_an_edit_that_overtook_its_message_is_applied_when_that_arrives(desk: Desk) -> None:
    """Deliveries are unordered."""
    await desk.arrive(edit(ANA, "frist", "first", 60))
    await desk.say(ANA, "frist")
    assert await desk.queue(ANA) == ["first"]


async def test_a_revoke_that_overtook_its_message_cancels_it_when_that_arrives(desk: Desk) -> None:
    """It must not be answered; and in one batch the order doesn't matter either."""
    await desk.arrive(revoke(ANA, "oops", 60))
    await desk.say(ANA, "oops")
    await desk.store.append(Batch(messages=(revoke(ANA, "again", 60), message(ANA, "again", 1))))
    assert (await desk.states(ANA))["oops"] == "cancelled"
    assert (await desk.states(ANA))["again"] == "cancelled"
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_the_newest_edit_wins_in_whatever_order_they_arrive(desk: Desk) -> None:
    """By WhatsApp's own time; an older one, and a redelivered older one, change nothing."""
    older, newer = edit(ANA, "v1", "v2", 60), edit(ANA, "v1", "v3", 120)
    await desk.say(ANA, "v1")
    for arriving in (newer, older, newer, older):
        await desk.arrive(arriving)
        assert await desk.queue(ANA) == ["v3"]


async def test_a_revoke_outweighs_every_edit(desk: Desk) -> None:
    """Also one that carries a later time, before or after."""
    await desk.arrive(revoke(ANA, "v1", 60), edit(ANA, "v1", "v2", 120))
    await desk.say(ANA, "v1")
    assert await desk.queue(ANA) == []
    await desk.arrive(edit(ANA, "v1", "v3", 180))
    assert (await desk.queue(ANA), await desk.claim()) == ([], [])


async def test_a_stranger_changes_nothing(desk: Desk) -> None:
    """Whoever knows a wamid: only its author edits or revokes, before and after."""
    await desk.arrive(revoke(BEN, "later", 60))
    await desk.say(ANA, "now", "later")
    await desk.arrive(edit(BEN, "now", "evil", 60), revoke(BEN, "now", 60))
    assert await desk.queue(ANA) == ["now", "later"]


async def test_the_author_is_the_same_person_under_another_id(desk: Desk) -> None:
    """A phone and a business-scoped id of one person are one author."""
    await desk.arrive(message(Identity(ANA, "MX.ana"), "oops"))
    await desk.arrive(revoke("MX.ana", "oops", 60))
    assert await desk.queue(ANA) == []


async def test_what_is_being_answered_is_answered_as_it_was(desk: Desk) -> None:
    """A turn under way isn't pulled back; its message ends as done."""
    await desk.say(ANA, "v1")
    lease = await desk.lease()
    await desk.arrive(edit(ANA, "v1", "v2", 60), revoke(ANA, "v1", 90))
    await desk.serve(lease, "answer")
    assert (await desk.states(ANA))["v1"] == "done"


async def test_a_change_of_a_leased_message_counts_once_it_waits_again(desk: Desk) -> None:
    """The turn gives the message back: now it still waits, so the edit is in it, and the revoke cancels it."""
    await desk.say(ANA, "v1")
    await desk.say(BEN, "oops")
    leases = {lease.messages[0].body: lease for lease in await desk.claim()}
    await desk.arrive(edit(ANA, "v1", "v2", 60), revoke(BEN, "oops", 60))
    await desk.settle(leases["v1"], Retry(1, "busy"))
    await desk.settle(leases["oops"], Released())
    assert await desk.queue(ANA) == ["v2"]
    assert (await desk.states(BEN))["oops"] == "cancelled"
    desk.tick(1)
    assert words(await desk.claim()) == ["v2"]


async def test_a_message_with_a_plan_is_not_changed(desk: Desk) -> None:
    """Its answer is on the way."""
    await desk.say(ANA, "v1")
    lease = await desk.lease()
    await desk.plan(lease, "answer to v1")
    await desk.settle(lease, Released())
    await desk.arrive(edit(ANA, "v1", "v2", 60), revoke(ANA, "v1", 90))
    assert await desk.queue(ANA) == ["v1"]


async def test_a_decided_message_is_not_changed(desk: Desk) -> None:
    """An edit of what was answered is kept as what it is: never a second turn."""
    await desk.say(ANA, "v1")
    await desk.serve(await desk.lease(), "answer")
    await desk.arrive(edit(ANA, "v1", "v2", 60), revoke(ANA, "v1", 90))
    assert await desk.states(ANA) == {"v1": "done", "v2": "ignored", "": "ignored"}
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_what_failed_is_changed_too_as_it_may_be_retried(desk: Desk) -> None:
    """Its apology is no answer: a retry asks with the new words, and what was taken back can't be retried."""
    for n, who in enumerate((ANA, BEN)):
        await desk.say(who, f"v{n}")
        lease = await desk.lease()
        await desk.plan(lease, "sorry", kind="apology")
        await desk.settle(lease, Failed("the model refuses it"))
    await desk.arrive(edit(ANA, "v0", "better", 60), revoke(BEN, "v1", 60))
    assert (await desk.states(BEN))["v1"] == "cancelled"
    assert (await desk.store.retry(Failing(), who=Operator("test"))).retried == 1
    assert await desk.queue(ANA) == ["better"]


async def test_a_change_of_an_unknown_message_waits_for_it_and_hurts_nobody(desk: Desk) -> None:
    """It may never come."""
    await desk.arrive(edit(ANA, "never", "seen", 1), revoke(ANA, "nothing", 1), message(ANA, "hello"))
    assert await desk.serve_all() == ["hello"]
