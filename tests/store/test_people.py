"""One person, one queue, one history: phones, business-scoped ids, linking, recycled numbers, changes of id."""

import itertools
from pathlib import Path

import pytest

from bot.domain import Identity
from bot.errors import NotFound
from tests.store.desk import Desk, Person, message
from tests.store.sqlite.terminal import rows

PHONE, OTHER_PHONE = "5215550001", "5215550002"
ID, OTHER_ID = "MX.one", "MX.two"
BOTH = Identity(PHONE, ID)


async def say(desk: Desk, who: Person, body: str, sent: float = 0) -> None:
    """Deliver a message."""
    await desk.arrive(message(who, body, sent))


async def answer_all(desk: Desk) -> None:
    """Answer what waits."""
    await desk.serve_all()


async def known(desk: Desk, *ids: str) -> list[int | None]:
    """Return who each id leads to."""
    people: list[int | None] = []
    for id_ in ids:
        try:
            people.append(await desk.store.insights.find_user(id_))
        except NotFound:
            people.append(None)
    return people


async def goes_to(desk: Desk) -> Identity:
    """Answer the one message that waits and return where its answer is sent."""
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    desk.tick()
    permit = await desk.store.begin_send(lease, part)
    return permit.to  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Identity(PHONE), Identity(PHONE)),
        (Identity(None, ID), Identity(None, ID)),
        (Identity(PHONE), BOTH),
        (Identity(None, ID), BOTH),
        (BOTH, Identity(PHONE)),
        (BOTH, Identity(None, ID)),
        (BOTH, BOTH),
        (BOTH, Identity(OTHER_PHONE, ID)),
    ],
    ids=lambda who: f"{who.phone or '-'}+{who.bsuid or '-'}",
)
async def test_it_is_the_same_person(desk: Desk, first: Identity, then: Identity) -> None:
    """One queue in order of time, and one history."""
    await say(desk, first, "hello")
    await answer_all(desk)
    await say(desk, then, "later", 20)
    await say(desk, first, "sooner", 10)
    id_ = then.bsuid or then.phone or ""
    assert await desk.queue(id_) == ["sooner", "later"]
    assert await desk.history(id_) == [("user", "hello"), ("assistant", "re hello")]
    assert len((await desk.store.insights.users())["users"]) == 1


async def test_phone_and_id_that_were_apart_are_joined_when_they_arrive_together(desk: Desk) -> None:
    """Both wrote before; from now on they are one person with both queues and both histories."""
    await say(desk, PHONE, "from the phone")
    await answer_all(desk)
    await say(desk, ID, "from the id", 5)
    await answer_all(desk)
    await say(desk, PHONE, "waits 2", 20)
    await say(desk, ID, "waits 1", 10)
    await say(desk, Identity(PHONE, ID, "Ana"), "both", 30)
    assert await desk.queue(PHONE) == await desk.queue(ID) == ["waits 1", "waits 2", "both"]
    assert await desk.history(ID) == [
        ("user", "from the phone"),
        ("assistant", "re from the phone"),
        ("user", "from the id"),
        ("assistant", "re from the id"),
    ]
    look = (await desk.look(PHONE))["user"]
    assert (look["phone"], look["bsuid"], look["name"], look["depth"]) == (PHONE, ID, "Ana", 3)
    assert await desk.depth() == 3


async def test_the_answer_goes_to_the_phone_that_arrived_last(desk: Desk) -> None:
    """A person known by an id and an old phone writes from a phone that was known alone: that is where they are."""
    await say(desk, Identity(OTHER_PHONE, ID), "before")
    await say(desk, PHONE, "alone", 1)
    await answer_all(desk)
    await say(desk, BOTH, "now", 2)
    assert await goes_to(desk) == BOTH


async def test_an_id_without_a_phone_is_answered_by_its_id(desk: Desk) -> None:
    """There is nothing else to send to."""
    await say(desk, ID, "hello")
    assert await goes_to(desk) == Identity(None, ID)


async def test_a_recycled_number_meets_no_strangers_history(desk: Desk) -> None:
    """A phone that arrives with another id has a new owner: who had it is reached by their id, and by it alone."""
    await say(desk, BOTH, "secret")
    await answer_all(desk)
    await say(desk, Identity(PHONE, OTHER_ID), "who are you", 10)
    assert await desk.history(PHONE) == []
    assert await desk.history(OTHER_ID) == []
    assert (await desk.history(ID))[0] == ("user", "secret")
    old, new = await known(desk, ID, OTHER_ID)
    assert old != new
    assert await known(desk, PHONE) == [new]
    assert await goes_to(desk) == Identity(PHONE, OTHER_ID)
    await say(desk, ID, "still me", 20)
    assert await desk.queue(ID) == ["still me"]
    assert await goes_to(desk) == Identity(None, ID)


async def test_a_number_that_is_recycled_while_two_become_one_does_not_come_back(desk: Desk) -> None:
    """They do so when their answers have ended; whoever had the number alone takes it nowhere."""
    await say(desk, Identity(PHONE, None), "by phone")
    await say(desk, Identity(None, ID), "by id")
    leases = await desk.claim()
    await say(desk, BOTH, "both", 10)
    await say(desk, Identity(PHONE, OTHER_ID), "a stranger", 20)
    for lease in leases:
        await desk.serve(lease, "answer")
    assert (await desk.look(ID))["user"]["phone"] is None
    await say(desk, Identity(OTHER_PHONE, ID), "late", 5)
    new, holder = await known(desk, OTHER_ID, PHONE)
    assert new == holder


async def test_a_late_message_links_nothing_anew(desk: Desk, path: Path) -> None:
    """It names the id alone; the phone that its person has is theirs since they wrote by it."""
    await say(desk, BOTH, "first", 20)
    linked = rows(path, "SELECT id, user_id, linked_at FROM user_ids ORDER BY id")
    desk.tick(60)
    await say(desk, Identity(None, ID), "sent before", 5)
    assert rows(path, "SELECT id, user_id, linked_at FROM user_ids ORDER BY id") == linked


async def test_a_recycled_number_moves_to_a_person_known_already(desk: Desk) -> None:
    """The new owner wrote before, by their id or from another phone."""
    await say(desk, BOTH, "secret")
    await say(desk, Identity(OTHER_PHONE, OTHER_ID), "mine", 5)
    await answer_all(desk)
    await say(desk, Identity(PHONE, OTHER_ID), "new number", 10)
    assert await desk.queue(PHONE) == await desk.queue(OTHER_ID) == ["new number"]
    assert [text for _, text in await desk.history(PHONE)] == ["mine", "re mine"]
    assert [text for _, text in await desk.history(ID)] == ["secret", "re secret"]


async def test_a_recycled_number_that_comes_alone_belongs_to_its_last_owner(desk: Desk) -> None:
    """Without an id the number is all there is."""
    await say(desk, BOTH, "old owner")
    await say(desk, Identity(PHONE, OTHER_ID), "new owner", 1)
    await say(desk, PHONE, "no id", 2)
    assert await desk.queue(OTHER_ID) == ["new owner", "no id"]


# -- change events


async def test_a_changed_number_takes_the_queue_along(desk: Desk) -> None:
    """What waits stays in front; the answer goes to the new number; the old one is a stranger's from now on."""
    await say(desk, PHONE, "before")
    await answer_all(desk)
    await say(desk, PHONE, "waits", 5)
    await desk.change(Identity(PHONE), Identity(OTHER_PHONE))
    await say(desk, OTHER_PHONE, "after", 10)
    assert await desk.queue(OTHER_PHONE) == ["waits", "after"]
    assert (await desk.history(OTHER_PHONE))[0] == ("user", "before")
    await say(desk, PHONE, "stranger", 20)
    assert await desk.history(PHONE) == []
    assert await desk.queue(PHONE) == ["stranger"]
    lease = next(lease for lease in await desk.claim() if lease.messages[0].body == "waits")
    (part,) = await desk.plan(lease, "answer")
    permit = await desk.store.begin_send(lease, part)
    assert permit.to == Identity(OTHER_PHONE)  # type: ignore[union-attr]


async def test_a_changed_number_that_wrote_already_brings_both_together(desk: Desk) -> None:
    """The event comes after the first message from the new number."""
    await say(desk, PHONE, "before")
    await say(desk, OTHER_PHONE, "after", 10)
    await desk.change(Identity(PHONE), Identity(OTHER_PHONE))
    assert await desk.queue(OTHER_PHONE) == ["before", "after"]
    await say(desk, PHONE, "stranger", 20)
    assert await desk.queue(PHONE) == ["stranger"]


async def test_a_change_of_somebody_unknown_is_nothing(desk: Desk) -> None:
    """Neither old nor new ids are known, or the new ones alone: nobody's history is touched."""
    await desk.change(Identity(PHONE), Identity(OTHER_PHONE))
    await desk.change(Identity(None, ID), Identity(None, OTHER_ID))
    assert await known(desk, PHONE, OTHER_PHONE, ID, OTHER_ID) == [None] * 4
    await say(desk, OTHER_PHONE, "after")
    await desk.change(Identity(PHONE), Identity(OTHER_PHONE))
    assert await desk.queue(OTHER_PHONE) == ["after"]


async def test_a_changed_id_leads_to_the_same_person(desk: Desk) -> None:
    """The old id stays known: business-scoped ids are never given to anybody else."""
    await say(desk, ID, "before")
    await desk.change(Identity(None, ID), Identity(None, OTHER_ID))
    await say(desk, OTHER_ID, "after", 10)
    await say(desk, ID, "late", 5)
    assert await desk.queue(OTHER_ID) == ["before", "late", "after"]
    assert await goes_to(desk) == Identity(None, OTHER_ID)


async def test_a_changed_id_that_wrote_already_brings_both_together(desk: Desk) -> None:
    """The event comes after the first message with the new id."""
    await say(desk, BOTH, "before")
    await say(desk, Identity(OTHER_PHONE, OTHER_ID), "after", 10)
    await desk.change(Identity(None, ID), Identity(None, OTHER_ID))
    assert await desk.queue(ID) == await desk.queue(OTHER_ID) == ["before", "after"]


async def test_a_change_links_a_number_that_would_look_recycled(desk: Desk) -> None:
    """Old phone and old id become new phone and new id: one person all the same, with their history."""
    await say(desk, BOTH, "before")
    await answer_all(desk)
    await desk.change(BOTH, Identity(OTHER_PHONE, OTHER_ID))
    await say(desk, Identity(OTHER_PHONE, OTHER_ID), "after", 10)
    assert [text for _, text in await desk.history(OTHER_PHONE)] == ["before", "re before"]
    assert await goes_to(desk) == Identity(OTHER_PHONE, OTHER_ID)
    await say(desk, Identity(PHONE, "MX.stranger"), "stranger", 20)
    assert await desk.history(PHONE) == []


async def test_a_change_to_a_number_that_a_stranger_had_takes_the_number_alone(desk: Desk) -> None:
    """The stranger has an id of their own: they keep their history, the person gets the number."""
    await say(desk, Identity(OTHER_PHONE, OTHER_ID), "stranger's")
    await say(desk, BOTH, "mine", 5)
    await answer_all(desk)
    await desk.change(BOTH, Identity(OTHER_PHONE, ID))
    assert [text for _, text in await desk.history(OTHER_PHONE)] == ["mine", "re mine"]
    assert [text for _, text in await desk.history(OTHER_ID)] == ["stranger's", "re stranger's"]
    assert await known(desk, PHONE) == [None]


async def test_a_change_told_twice_changes_nothing_more(desk: Desk) -> None:
    """Webhooks repeat, and come late: the stranger who has the old number now is left alone."""
    change = Identity(PHONE, ID), Identity(OTHER_PHONE, ID)
    await say(desk, BOTH, "mine")
    await desk.change(*change)
    await say(desk, Identity(PHONE, OTHER_ID), "stranger", 5)
    await desk.change(*change)
    assert await desk.queue(OTHER_PHONE) == await desk.queue(ID) == ["mine"]
    assert await desk.queue(PHONE) == await desk.queue(OTHER_ID) == ["stranger"]


async def test_a_chain_of_changes_ends_with_one_person(desk: Desk) -> None:
    """Number after number."""
    phones = [f"52155510{n:02}" for n in range(5)]
    for n, (old, new) in enumerate(itertools.pairwise(phones)):
        await say(desk, old, f"m{n}", n)
        await desk.change(Identity(old), Identity(new))
    assert await desk.queue(phones[-1]) == ["m0", "m1", "m2", "m3"]
    assert await known(desk, *phones[:-1]) == [None] * 4
