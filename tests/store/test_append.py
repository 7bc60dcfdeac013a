"""The way in: what a webhook brings is stored once, at its place, whatever else is in the batch."""

import random

from bot.domain import Appended, Batch, Identity, Released, Retry, Status
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, message, words

ANA, BEN = "5215550001", "5215550002"


async def test_a_redelivered_message_changes_nothing(desk: Desk) -> None:
    """The wamid is the key: words, state and depth stay as they are, whatever became of the first delivery."""
    first = await desk.say(ANA, "hello")
    assert (first.new, first.known, len(first.users)) == (1, 0, 1)
    again = await desk.arrive(message(ANA, "other words", 5, wamid="wamid.hello"))
    assert again == Appended(0, 1, 0, ())
    assert await desk.states(ANA) == {"hello": "pending"}
    await desk.serve(await desk.lease(), "hi")
    assert (await desk.say(ANA, "hello")).new == 0
    assert await desk.states(ANA) == {"hello": "done"}
    assert await desk.depth() == 0


async def test_a_wamid_twice_in_one_batch_is_one_message(desk: Desk) -> None:
    """A batch may repeat itself."""
    assert (await desk.arrive(message(ANA, "a"), message(ANA, "a"), message(ANA, "b", 1))).new == 2
    assert await desk.queue(ANA) == ["a", "b"]


async def test_the_same_wamid_at_another_business_number_is_another_message(desk: Desk) -> None:
    """Wamids are unique per number."""
    await desk.arrive(message(ANA, "a", wamid="w"), message(ANA, "b", 1, wamid="w", number="15550002222"))
    assert await desk.queue(ANA) == ["a", "b"]


async def test_a_batch_of_a_thousand_is_stored_whole_with_its_statuses(desk: Desk) -> None:
    """1,000 messages of 50 people, shuffled, with statuses mixed in: all stored, each person's in order of time."""
    await desk.say("5219990000", "earlier")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "an answer")
    callback = await desk.begin(lease, part)
    sent = [message(f"52155500{n % 50:02}", f"m{n}", n // 50) for n in range(1000)]
    random.Random(8).shuffle(sent)
    statuses = (
        Status("out.1", "sent", None, callback),
        Status("stranger", "read", None, "not-ours.1"),
        Status("out.1", "delivered", None, callback),
    )
    appended = await desk.store.append(Batch(messages=tuple(sent), statuses=statuses))
    assert (appended.new, appended.known, appended.statuses, len(appended.users)) == (1000, 0, 2, 50)
    assert await desk.depth() == 1001
    for n in range(50):
        assert await desk.queue(f"52155500{n:02}") == [f"m{n + 50 * k}" for k in range(20)]
    assert await desk.told("5219990000") == [("an answer", "sent", "delivered")]
    again = await desk.store.append(Batch(messages=tuple(reversed(sent)), statuses=statuses))
    assert (again.new, again.known, again.users) == (0, 1000, ())
    assert await desk.depth() == 1001


async def test_a_late_redelivery_takes_the_place_of_its_timestamp(desk: Desk) -> None:
    """Among messages that have not begun, WhatsApp's own time is the order, arrival decides between equals."""
    await desk.say(ANA, "third", sent=30)
    await desk.say(ANA, "fourth", sent=30)
    await desk.say(ANA, "first", sent=10)
    await desk.say(ANA, "second", sent=20)
    assert await desk.queue(ANA) == ["first", "second", "third", "fourth"]
    assert await desk.serve_all() == ["first", "second", "third", "fourth"]


async def test_a_message_that_has_begun_stays_head_of_line(desk: Desk) -> None:
    """Nothing lands between the parts of an answer: also not while its first try waits for the next."""
    await desk.say(ANA, "begun", sent=50)
    await desk.settle(await desk.lease(), Retry(60, "busy"))
    await desk.say(ANA, "older", sent=10)
    assert await desk.claim() == []
    desk.tick(60)
    assert words(await desk.claim()) == ["begun"]


async def test_a_released_message_has_begun_too(desk: Desk) -> None:
    """A drain gives a message back; it goes on before an older one that arrives meanwhile."""
    await desk.say(ANA, "begun", sent=50)
    await desk.settle(await desk.lease(), Released())
    await desk.say(ANA, "older", sent=10)
    assert await desk.serve_all() == ["begun", "older"]


async def test_a_message_without_a_timestamp_stands_where_it_arrived(desk: Desk) -> None:
    """The arrival's time takes the place of a missing one."""
    desk.tick(100)
    await desk.say(ANA, "timeless", sent=None)
    await desk.say(ANA, "before", sent=99)
    await desk.say(ANA, "after", sent=101)
    assert await desk.queue(ANA) == ["before", "timeless", "after"]


async def test_a_timestamp_in_the_future_is_kept(desk: Desk) -> None:
    """A slow clock here must not make order of it; such a message is answered at once all the same."""
    await desk.say(ANA, "ahead", sent=3600)
    await desk.say(ANA, "now", sent=0)
    assert await desk.serve_all() == ["now", "ahead"]
    assert (await desk.look(ANA))["user"]["last_message_at"] == "2026-11-24T11:00:00.000Z"


async def test_what_is_never_answered_is_kept_and_wakes_nobody(desk: Desk) -> None:
    """A reaction is `ignored`: in the conversation, not in the line."""
    appended = await desk.arrive(message(ANA, "👍", kind="reaction", answerable=False))
    assert appended.new == 1
    assert await desk.states(ANA) == {"👍": "ignored"}
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_a_batch_brings_everybody_their_name(desk: Desk) -> None:
    """The newest name of the profile is shown."""
    await desk.arrive(message(Identity(ANA, name="Ana"), "a"), message(Identity(BEN, name="Ben"), "b"))
    await desk.arrive(message(Identity(ANA, name="Ana María"), "c"), message(Identity(BEN), "d"))
    assert (await desk.look(ANA))["user"]["name"] == "Ana María"
    assert (await desk.look(BEN))["user"]["name"] == "Ben"


async def test_an_empty_batch_is_fine(desk: Desk) -> None:
    """A webhook with nothing for us is acknowledged like any other."""
    assert await desk.store.append(Batch()) == Appended(0, 0, 0, ())


async def test_what_was_acknowledged_is_there_after_a_restart(desk: Desk, open_desk: OpenDesk) -> None:
    """The file holds everything: nothing is rebuilt."""
    await desk.say(ANA, "a", "b")
    again = await open_desk()
    assert await again.queue(ANA) == ["a", "b"]
    assert await again.serve_all() == ["a", "b"]


async def test_an_echo_is_kept_once_and_asks_for_nothing(desk: Desk) -> None:
    """What the owner writes from the phone joins the conversation of whom it went to; a redelivery adds nothing."""
    await desk.say(ANA, "hello")
    await desk.echo(ANA, "I'm on it", 5)
    await desk.echo(ANA, "I'm on it", 5)
    await desk.echo(BEN, "hi Ben", None)
    assert await desk.told(ANA) == [("I'm on it", "sent", None)]
    assert await desk.told(BEN) == [("hi Ben", "sent", None)]
    assert await desk.depth() == 1
