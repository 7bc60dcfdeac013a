"""Two queues that turn out to be one person's: joined as soon as at most one of them is being answered."""

import pytest

from bot.domain import Done, Failed, Identity, Lease, Operator, Released, Retry
from bot.store.replies import Plan
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, message, words

PHONE, ID = "5215550001", "MX.one"
BOTH = Identity(PHONE, ID)


async def both_leased(desk: Desk) -> tuple[Lease, Lease]:
    """Give each of the two a leased and a waiting message, then tell that they are one person."""
    await desk.say(PHONE, "p1", "p2", sent=0)
    await desk.say(ID, "i1", "i2", sent=10)
    by_phone, by_id = sorted(await desk.claim(), key=lambda lease: lease.messages[0].body, reverse=True)
    await desk.arrive(message(BOTH, "both", 20))
    return by_phone, by_id


async def people(desk: Desk) -> int:
    """Count the people that are known."""
    return len((await desk.store.insights.users())["users"])


async def test_nobody_is_being_answered(desk: Desk) -> None:
    """Joined at once: one queue in order of time, and the depth of both."""
    await desk.say(PHONE, "1", "3", sent=0)
    await desk.say(ID, "0")
    await desk.arrive(message(BOTH, "4", 4))
    assert (await desk.look(ID))["user"]["depth"] == 4
    assert await people(desk) == 1
    assert await desk.serve_all() == ["1", "0", "3", "4"]


@pytest.mark.parametrize("leased", [PHONE, ID])
async def test_one_is_being_answered(desk: Desk, leased: str) -> None:
    """Joined at once; nothing else of the joined queue is leased until that turn has ended."""
    await desk.say(leased, "leased", "next")
    lease = await desk.lease()
    await desk.say(ID if leased == PHONE else PHONE, "waits", sent=-5)
    await desk.arrive(message(BOTH, "both", 9))
    assert await people(desk) == 1
    assert await desk.claim() == []
    assert await desk.queue(ID) == ["leased", "waits", "next", "both"]
    await desk.serve(lease, "answer")
    assert await desk.serve_all() == ["waits", "next", "both"]
    assert (await desk.history(PHONE))[0] == ("user", "leased")


async def test_both_are_being_answered(desk: Desk) -> None:
    """The first turn that ends joins them, in its own transaction; the other goes on undisturbed."""
    by_phone, by_id = await both_leased(desk)
    assert await people(desk) == 2
    assert await desk.claim() == []
    await desk.serve(by_phone, "re p1")
    assert await people(desk) == 1
    assert await desk.claim() == []
    assert await desk.queue(PHONE) == ["i1", "p2", "i2", "both"]
    await desk.serve(by_id, "re i1")
    assert await desk.serve_all() == ["p2", "i2", "both"]
    assert [text for role, text in await desk.history(ID) if role == "user"] == ["p1", "i1", "p2", "i2", "both"]
    assert (await desk.depth(), (await desk.look(ID))["user"]["depth"]) == (0, 0)


@pytest.mark.parametrize("outcome", [Retry(60, "busy"), Released(), Failed("bad")])
async def test_neither_gets_a_new_lease_while_the_join_waits(desk: Desk, outcome: Retry | Released | Failed) -> None:
    """However the first turn ends, what follows waits for the second."""
    by_phone, by_id = await both_leased(desk)
    assert await desk.store.settle(by_phone, outcome, claim=True) is None
    desk.tick(61)
    assert await desk.claim() == []
    await desk.settle(by_id, Done())
    assert len(await desk.claim()) == 1


async def test_what_had_begun_in_either_queue_goes_first(desk: Desk) -> None:
    """Both heads had begun; nothing lands between the parts of their answers."""
    by_phone, by_id = await both_leased(desk)
    await desk.settle(by_phone, Released())
    await desk.settle(by_id, Released())
    assert await desk.serve_all() == ["p1", "i1", "p2", "i2", "both"]


async def test_what_arrives_while_the_join_waits_is_in_the_one_queue_after_it(desk: Desk) -> None:
    """By either id."""
    by_phone, by_id = await both_leased(desk)
    await desk.say(PHONE, "late phone", sent=5)
    await desk.say(ID, "late id", sent=6)
    await desk.serve(by_id, "re i1")
    await desk.serve(by_phone, "re p1")
    assert await desk.serve_all() == ["p2", "late phone", "late id", "i2", "both"]


async def test_a_restart_joins_what_waited(desk: Desk, open_desk: OpenDesk) -> None:
    """Both leases belonged to the dead process."""
    await both_leased(desk)
    again = await open_desk()
    assert await again.store.adopt() == 2
    assert await people(again) == 1
    assert await again.serve_all() == ["p1", "i1", "p2", "i2", "both"]


async def test_a_pause_of_either_holds_for_both(desk: Desk) -> None:
    """Who was paused stays so: nobody lifted it."""
    await desk.say(PHONE, "p")
    await desk.say(ID, "i")
    await desk.store.pause(await desk.id_of(PHONE), who=Operator("test"))
    await desk.arrive(message(BOTH, "both", 9))
    assert await desk.claim() == []
    await desk.store.resume(await desk.id_of(ID), skip=False, who=Operator("test"))
    assert await desk.serve_all() == ["p", "i", "both"]


async def test_replies_under_way_follow_their_person(desk: Desk) -> None:
    """A turn that began under the old number goes on: its part is sent, and known by its status."""
    await desk.say(PHONE, "p")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.say(ID, "i")
    await desk.arrive(message(BOTH, "both", 9))
    callback = await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part)))
    await desk.tell("read", callback=callback)
    assert await desk.told(ID) == [("answer", "sent", "read")]


async def test_three_queues_in_a_row_become_one(desk: Desk) -> None:
    """A chain of changes while all three are being answered: joined one by one, each when its turn allows it."""
    phones = ["5215550001", "5215550002", "5215550003"]
    for n, phone in enumerate(phones):
        await desk.say(phone, f"{n}", f"{n}+", sent=n * 10)
    first, second, third = sorted(await desk.claim(), key=lambda lease: lease.messages[0].body)
    await desk.change(Identity(phones[0]), Identity(phones[1]))
    await desk.change(Identity(phones[1]), Identity(phones[2]))
    assert await desk.claim() == []
    for lease in (second, first):
        await desk.serve(lease, "answer")
        assert await desk.claim() == []
    await desk.serve(third, "answer")
    assert await people(desk) == 1
    assert await desk.serve_all() == ["0+", "1+", "2+"]


async def test_a_ring_of_changes_is_one_queue(desk: Desk) -> None:
    """A became B, B became C, C became A: odd, and no reason to stop."""
    phones = ["5215550001", "5215550002", "5215550003"]
    for n, phone in enumerate(phones):
        await desk.say(phone, f"{n}", f"{n}+", sent=n * 10)
    leases = await desk.claim()
    for old, new in zip(phones, phones[1:] + phones[:1], strict=True):
        await desk.change(Identity(old), Identity(new))
    for lease in leases:
        assert await desk.claim() == []
        await desk.serve(lease, "answer")
    assert await people(desk) == 1
    assert words(await desk.claim()) == ["0+"]


async def test_the_limits_of_both_hold_for_the_one(desk: Desk) -> None:
    """What either got in the last hour counts."""
    await desk.say(PHONE, "p")
    await desk.say(ID, "i")
    await desk.serve_all()
    await desk.arrive(message(BOTH, "both", 9))
    assert (await desk.standing(ID)).answers_hour == 2


async def test_a_notice_under_way_is_remembered_of_the_one(desk: Desk) -> None:
    """At most one in a while, whoever the person was when its turn began."""
    await desk.say(PHONE, "p")
    lease = await desk.lease()
    await desk.say(ID, "i", sent=1)
    await desk.arrive(message(BOTH, "both", 9))
    await desk.store.plan(Plan(lease, "notice", ["can't read"], notice="noticed_at"))
    assert (await desk.standing(ID)).noticed_at == desk.clock.now()
