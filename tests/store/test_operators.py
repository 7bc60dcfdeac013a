"""Pause, resume, clear: for one person or for everybody; what is being answered goes on."""

import pytest

from bot.domain import Done, Operator, Released
from bot.errors import NotFound
from bot.store.replies import Plan
from tests.store.desk import Desk, message, words

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
WHO = Operator("test")


async def test_a_paused_person_waits_and_others_go_on(desk: Desk) -> None:
    """What they write is stored; after the resume it is answered in order."""
    await desk.say(ANA, "a1")
    await desk.say(BEN, "b1")
    ana = await desk.id_of(ANA)
    assert await desk.store.pause(ana, who=Operator("page")) == 1
    user = (await desk.look(ANA))["user"]
    assert (user["state"], user["paused"], user["paused_by"], user["depth"]) == ("paused", True, "page", 1)
    await desk.say(ANA, "a2", sent=1)
    assert await desk.serve_all() == ["b1"]
    assert await desk.store.resume(ana, skip=False, who=Operator("page")) == (1, 0)
    user = (await desk.look(ANA))["user"]
    assert (user["state"], user["paused"], user["paused_by"]) == ("waiting", False, None)
    assert await desk.serve_all() == ["a1", "a2"]


async def test_pausing_twice_keeps_the_first_reason(desk: Desk) -> None:
    """Who paused first is who is shown."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Released(pause=True, error="limit_per_hour"))
    await desk.store.pause(await desk.id_of(ANA), who=Operator("page"))
    assert (await desk.look(ANA))["user"]["paused_by"] == "limit_per_hour"


async def test_what_is_being_answered_when_the_pause_comes_is_answered(desk: Desk) -> None:
    """A turn under way isn't pulled back; the next waits."""
    await desk.say(ANA, "a1", "a2")
    lease = await desk.lease()
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    assert (await desk.look(ANA))["user"]["state"] == "leased"
    assert await desk.store.settle(lease, Done(), claim=True) is None
    assert await desk.states(ANA) == {"a1": "done", "a2": "pending"}


async def test_a_resume_can_skip_what_waits(desk: Desk) -> None:
    """Nobody wants yesterday's questions answered: cancelled, with the reason; what comes now is answered."""
    await desk.say(ANA, "a1", "a2", "a3")
    ana = await desk.id_of(ANA)
    lease = await desk.lease()
    await desk.store.pause(ana, who=WHO)
    assert await desk.store.resume(ana, skip=True, who=WHO) == (1, 2)
    assert await desk.states(ANA) == {"a1": "leased", "a2": "cancelled", "a3": "cancelled"}
    assert (await desk.errors(ANA))["a2"] == "skipped"
    await desk.serve(lease, "answer")
    await desk.say(ANA, "now", sent=9)
    assert await desk.serve_all() == ["now"]


async def test_everything_can_be_paused_by_one_switch(desk: Desk) -> None:
    """Nobody is leased, by no verb; single pauses are another matter and outlast it."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b")
    await desk.say(CARL, "c")
    await desk.store.pause(await desk.id_of(CARL), who=WHO)
    (lease,) = await desk.claim(1)
    assert await desk.store.pause(None, who=WHO) == 3
    assert (await desk.store.insights.queue_stats())["paused"] is True
    assert "paused" in (await desk.store.reasons())[0]
    assert await desk.store.settle(lease, Done(), claim=True) is None
    assert await desk.claim() == []
    assert not (await desk.look(BEN))["user"]["paused"]
    assert await desk.store.resume(None, skip=False, who=WHO) == (3, 0)
    assert await desk.store.reasons() == []
    assert await desk.serve_all() == ["b", "a2"]
    assert (await desk.look(CARL))["user"]["state"] == "paused"


async def test_everything_can_be_resumed_and_skipped(desk: Desk) -> None:
    """What waits of everybody is cancelled."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b")
    await desk.store.pause(None, who=WHO)
    assert (await desk.store.resume(None, skip=True, who=WHO))[1] == 3
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_who_is_paused_alone_keeps_what_waits_when_everybody_skips(desk: Desk) -> None:
    """They aren't resumed either."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    await desk.store.pause(None, who=WHO)
    assert (await desk.store.resume(None, skip=True, who=WHO))[1] == 1
    assert (await desk.states(ANA), await desk.states(BEN)) == ({"a": "pending"}, {"b": "cancelled"})


async def test_clear_cancels_what_waits_of_one_person(desk: Desk) -> None:
    """The rows stay; the one that is being answered goes on; others are not touched."""
    await desk.say(ANA, "a1", "a2", "a3")
    await desk.say(BEN, "b")
    leases = await desk.claim()
    assert await desk.store.clear(await desk.id_of(ANA), who=WHO) == (1, 2)
    assert await desk.states(ANA) == {"a1": "leased", "a2": "cancelled", "a3": "cancelled"}
    assert (await desk.errors(ANA))["a3"] == "cleared"
    assert await desk.depth() == 2
    for lease in leases:
        await desk.serve(lease, "answer")
    assert await desk.depth() == 0


async def test_clear_cancels_what_waits_of_everybody(desk: Desk) -> None:
    """Also of paused people, who stay paused."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b")
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    assert await desk.store.clear(None, who=WHO) == (2, 3)
    assert await desk.store.clear(None, who=WHO) == (0, 0)
    assert (await desk.depth(), (await desk.look(ANA))["user"]["state"]) == (0, "paused")


async def test_what_changes_nothing_is_no_act(desk: Desk) -> None:
    """A second click leaves no second row in the audit, whatever the button."""
    await desk.say(ANA, "a1")
    ana = await desk.id_of(ANA)
    for user in (ana, None):
        for _ in range(2):
            await desk.store.pause(user, who=WHO)
        for _ in range(2):
            await desk.store.clear(user, who=WHO)
        for _ in range(2):
            await desk.store.resume(user, skip=True, who=WHO)
    acts = [(act["action"], act["messages"]) for act in (await desk.store.insights.audit())["audit"]]
    assert acts == [("resume", 0), ("pause", None), ("resume", 0), ("clear", 1), ("pause", None)]


async def test_clear_has_no_limit(desk: Desk) -> None:
    """A long night's queue goes at once."""
    await desk.say(ANA, *map(str, range(2500)))
    assert await desk.store.clear(await desk.id_of(ANA), who=WHO) == (1, 2500)
    assert await desk.depth() == 0


async def test_cleared_messages_have_planned_parts_that_go_nowhere(desk: Desk) -> None:
    """A message that waits between two tries of its sends takes its unsent parts along."""
    await desk.say(ANA, "a")
    lease = await desk.lease()
    parts = await desk.plan(lease, "one", "two")
    await desk.begin(lease, parts[0])
    await desk.store.record_sent(desk.receipt(parts[0]))
    await desk.settle(lease, Released())
    await desk.store.clear(None, who=WHO)
    assert await desk.told(ANA) == [("one", "sent", None), ("two", "cancelled", None)]


async def test_when_something_was_decided_is_told_by_the_daemons_clock(desk: Desk) -> None:
    """An answer after a resume counts for the limits, also where the machine's clock is elsewhere."""
    await desk.say(ANA, "a1", "a2")
    ana = await desk.id_of(ANA)
    await desk.store.pause(ana, who=WHO)
    await desk.store.resume(ana, skip=False, who=WHO)
    await desk.serve_all()
    assert (await desk.standing(ANA)).answers_hour == 2


async def test_a_resume_lets_the_limits_count_anew(desk: Desk) -> None:
    """Otherwise the next message would pause the person again."""
    await desk.say(ANA, "a1", "a2")
    await desk.serve_all()
    ana = await desk.id_of(ANA)
    assert (await desk.standing(ANA)).answers_hour == 2
    await desk.store.pause(ana, who=WHO)
    desk.tick()
    await desk.store.resume(ana, skip=False, who=WHO)
    await desk.say(ANA, "a3", sent=9)
    await desk.serve_all()
    standing = await desk.standing(ANA)
    assert (standing.answers_hour, standing.answers_day) == (1, 1)


async def test_answers_are_counted_by_the_hour_and_the_day(desk: Desk) -> None:
    """One per message, however many parts; neither apologies nor notices."""
    await desk.say(ANA, "a1", "a2", "a3")
    await desk.serve(await desk.lease(), "one", "two")
    desk.tick(3600)
    await desk.serve(await desk.lease(), "one")
    lease = await desk.lease()
    await desk.plan(lease, "can't read", kind="notice")
    standing = await desk.standing(ANA)
    assert (standing.answers_hour, standing.answers_day) == (1, 2)
    desk.tick(86_400)
    standing = await desk.standing(ANA)
    assert (standing.answers_hour, standing.answers_day) == (0, 0)


async def test_notices_are_remembered(desk: Desk) -> None:
    """At most one in a while: when the last one was is asked before the next."""
    await desk.say(ANA, "a1", "a2")
    lease = await desk.lease()
    assert (await desk.standing(ANA)).noticed_at is None
    await desk.store.plan(Plan(lease, "notice", ["can't read"], notice="noticed_at"))
    noticed_at = desk.clock.now()
    await desk.settle(lease, Done())
    standing = await desk.standing(ANA)
    assert (standing.noticed_at, standing.limited_at) == (noticed_at, None)
    lease = await desk.lease()
    await desk.store.plan(Plan(lease, "notice", ["enough"], error="limit_per_day", notice="limited_at"))
    assert (await desk.standing(ANA)).limited_at == desk.clock.now()


async def test_an_unknown_person_is_not_found(desk: Desk) -> None:
    """Each verb says so, and nothing is changed."""
    await desk.say(ANA, "a")
    for verb in (
        desk.store.pause(99, who=WHO),
        desk.store.resume(99, skip=True, who=WHO),
        desk.store.clear(99, who=WHO),
    ):
        with pytest.raises(NotFound, match="no user u99"):
            await verb
    assert words(await desk.claim()) == ["a"]


async def test_a_message_of_nobody_known_is_no_obstacle(desk: Desk) -> None:
    """Pausing somebody who has nothing waiting holds for what comes."""
    await desk.arrive(message(ANA, "👍", kind="reaction", answerable=False))
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    await desk.say(ANA, "a", sent=5)
    assert await desk.claim() == []
