"""Who and how much gets in: numbers that aren't answered, and the limits of depth."""

import pytest

from bot.domain import Batch, Identity, Status
from bot.errors import NotFound, StoreFull
from bot.store.inbox import Door
from tests.store.conftest import OpenDesk
from tests.store.desk import edit, message, revoke, words

ANA, BEN = "5215550001", "4915550002"


async def test_only_allowed_prefixes_are_answered(open_desk: OpenDesk) -> None:
    """Written with or without a plus; the others are kept as `ignored`."""
    desk = await open_desk(door=Door(allow=("+52", "US.")))
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    await desk.say("US.carl", "c")
    await desk.arrive(message(Identity(BEN, "US.ben"), "d"))
    assert sorted(words(await desk.claim())) == ["a", "c", "d"]
    assert await desk.states(BEN) == {"b": "ignored", "d": "leased"}


async def test_denied_prefixes_are_never_answered(open_desk: OpenDesk) -> None:
    """Deny outweighs allow."""
    desk = await open_desk(door=Door(allow=("52",), deny=("+5215550001",)))
    await desk.say(ANA, "a")
    await desk.say("5215550009", "b")
    assert words(await desk.claim()) == ["b"]
    assert await desk.states(ANA) == {"a": "ignored"}


async def test_a_user_over_the_limit_is_cancelled_with_the_reason(open_desk: OpenDesk) -> None:
    """Stored, so that it shows, and never answered; others are not concerned; room comes back with each answer."""
    desk = await open_desk(door=Door(max_depth_per_user=2))
    await desk.say(ANA, "1", "2", "3")
    await desk.say(BEN, "b")
    assert await desk.states(ANA) == {"1": "pending", "2": "pending", "3": "cancelled"}
    assert (await desk.errors(ANA))["3"] == "over_limit"
    await desk.serve((await desk.claim(1))[0], "one")
    await desk.say(ANA, "4", sent=9)
    assert (await desk.states(ANA))["4"] == "pending"
    assert await desk.depth() == 3


async def test_a_full_store_takes_no_new_message_and_every_status(open_desk: OpenDesk) -> None:
    """StoreFull says 503; the statuses of that very batch are stored before."""
    desk = await open_desk(door=Door(max_depth_total=2))
    await desk.say(ANA, "1", "2")
    lease = (await desk.claim())[0]
    (part,) = await desk.plan(lease, "answer")
    callback = await desk.begin(lease, part)
    with pytest.raises(StoreFull):
        await desk.store.append(
            Batch(messages=(message(BEN, "new"),), statuses=(Status("out.1", "read", None, callback),))
        )
    assert await desk.told(ANA) == [("answer", "sent", "read")]
    assert await desk.depth() == 2
    with pytest.raises(NotFound):
        await desk.store.insights.find_user(BEN)


async def test_a_full_store_never_refuses_what_it_knows(open_desk: OpenDesk) -> None:
    """A redelivery would otherwise come again for days; nor what adds nothing to the line."""
    desk = await open_desk(door=Door(max_depth_total=2))
    await desk.say(ANA, "1", "2")
    assert (await desk.say(ANA, "1", "2")).known == 2
    reaction = message(ANA, "👍", kind="reaction", answerable=False)
    assert (await desk.arrive(reaction, revoke(ANA, "1", 9), edit(ANA, "2", "two", 9))).new == 3
    assert await desk.queue(ANA) == ["two"]
    assert (await desk.say(BEN, "fits again")).new == 1


async def test_a_full_store_takes_a_new_one_that_was_refused_once_there_is_room(open_desk: OpenDesk) -> None:
    """Meta delivers again, so nothing is lost; what the refused batch brought before the limit is not stored twice."""
    desk = await open_desk(door=Door(max_depth_total=2))
    with pytest.raises(StoreFull):
        await desk.say(ANA, "1", "2", "3")
    await desk.serve((await desk.claim())[0], "one")
    await desk.say(ANA, "1", "2", "3")
    assert await desk.queue(ANA) == ["2", "3"]


async def test_zero_is_no_limit(open_desk: OpenDesk) -> None:
    """0 turns a limit off."""
    desk = await open_desk(door=Door(0, 0))
    assert (await desk.say(ANA, *map(str, range(300)))).new == 300
    assert await desk.depth() == 300
