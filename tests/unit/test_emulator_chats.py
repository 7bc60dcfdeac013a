"""The customers' phones and the outside log: what tests wait for and what the chat page shows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.emulator import Bubble, Customer, Emulator, Settings, StatusPlan
from bot.emulator.chats import Chats
from bot.emulator.journal import Journal
from tests.unit.emulator_hook import post, read, text


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client."""
    async with ClientSession() as session:
        yield session


def chats(limit: int = 1000) -> Chats:
    """Give chats of one customer."""
    made = Chats(lambda: None, limit=limit)
    made.add(Customer("Ana", wa_id="5215512345678", user_id="MX.1"))
    return made


def bubble(wamid: str, direction: str = "out", text: str = "x") -> Bubble:
    """Give a message of that customer's chat."""
    return Bubble(wamid, "5215512345678", direction, text)


def test_a_person_is_found_under_every_id() -> None:
    """Phone with or without plus and spaces, the dialled form, the BSUID; a stranger is met once."""
    made = chats()
    ana = made.customers["5215512345678"]
    for address in ("5215512345678", "+52 155 1234 5678", "+525512345678", "MX.1"):
        assert made.find(address) == ana
    assert made.find("+16505551234") is None
    stranger = made.meet("+16505551234")
    assert made.meet("16505551234") is stranger
    assert made.meet("US.5").user_id == "US.5"
    with pytest.raises(ValueError, match="neither a phone"):
        made.meet("Ana")


@pytest.mark.parametrize(
    ("arriving", "shown"),
    [
        (["sent", "delivered", "read"], "read"),
        (["read", "delivered", "sent"], "read"),
        (["failed"], "failed"),
        (["sent", "failed", "read"], "failed"),
        (["delivered", "failed"], "delivered"),
        (["sent", "sent"], "sent"),
    ],
)
def test_a_tick_only_ever_rises(arriving: list[str], shown: str) -> None:
    """Out of order or repeated, the phone shows the highest; a failure counts over nothing or sent."""
    made = chats()
    made.put(bubble("wamid.1"))
    for tick in arriving:
        made.tick("wamid.1", tick)
    found = made.bubble("wamid.1")
    assert found is not None
    assert found.tick == shown


def test_a_chat_forgets_its_oldest_messages() -> None:
    """The demo may run for days."""
    made = chats(limit=2)
    for n in range(4):
        made.put(bubble(f"wamid.{n}"))
    assert list(made.bubbles["5215512345678"]) == ["wamid.2", "wamid.3"]
    assert made.bubble("wamid.0") is None


def test_who_wrote_a_text_is_remembered() -> None:
    """The latest writer of the same words counts, and what the number said doesn't."""
    made = chats()
    made.put(bubble("wamid.1", "in", "hello"))
    made.put(bubble("wamid.2", "out", "welcome"))
    writer = made.writer("hello")
    assert writer is not None
    assert writer.name == "Ana"
    assert made.writer("welcome") is None


async def test_the_feed_tells_what_the_phone_shows(client: ClientSession) -> None:
    """Bubbles in both directions, ticks and typing dots, as they happen; it ends with the emulator."""
    seen: list[dict[str, Any]] = []
    note = seen.append
    async with Emulator(Settings(statuses=StatusPlan(("sent",), (0.0,)))) as emu:
        ana = emu.customer("Ana", wa_id="5215512345678")
        with emu.subscribe() as events:

            async def follow() -> None:
                async for event in events:
                    note(event)

            following = asyncio.create_task(follow())
            emu.deliveries.spawn(emu.say(ana, "hi", wamid="wamid.1"))
            await emu.wait_for(lambda: emu.chats.bubble("wamid.1"))
            await post(client, emu, read("wamid.1"))
            await post(client, emu, text("hello Ana"))
            await emu.wait_for(lambda: len([event for event in seen if event["type"] != "call"]) == 6)
            await emu.close()
            await asyncio.wait_for(following, 5)
    calls = [event for event in seen if event["type"] == "call"]
    assert ("graph.send", ana.key, 200) in [(e["service"], e["customer"], e["status"]) for e in calls]
    shown = [event for event in seen if event["type"] != "call"]
    told = [(event["type"], event.get("tick") or event.get("on", "")) for event in shown]
    assert told == [
        ("bubble", ""),
        ("tick", "read"),
        ("typing", True),
        ("typing", False),
        ("bubble", ""),
        ("tick", "sent"),
    ]
    assert [event["bubble"]["text"] for event in seen if event["type"] == "bubble"] == ["hi", "hello Ana"]


async def test_a_reader_that_lags_far_behind_is_let_go() -> None:
    """An abandoned page must not fill the memory."""
    made = chats(limit=2)
    with made.feed() as events:
        for n in range(20):
            made.put(bubble(f"wamid.{n}"))
        seen = [event async for event in events]
    assert len(seen) == 5


async def test_restored_chats_are_history_without_news() -> None:
    """A demo that is started again shows the earlier conversation and announces nothing."""
    made = chats()
    with made.feed() as events:
        made.restore([bubble("wamid.1", "in"), bubble("wamid.2")])
        made.close()
        assert [event async for event in events] == []
    assert list(made.bubbles["5215512345678"]) == ["wamid.1", "wamid.2"]


async def test_a_waiter_is_woken_by_what_it_waits_for() -> None:
    """No polling: the predicate is asked again when something happened, and its answer is given back."""
    journal = Journal()
    asked = []

    def two() -> list[str]:
        asked.append(1)
        return [entry.text for entry in journal.of("model")] if len(journal.of("model")) == 2 else []

    waiting = asyncio.create_task(journal.wait_for(two))
    await asyncio.sleep(0)
    journal.begin("model", text="a")
    journal.begin("graph.send", text="b")
    journal.end(journal.begin("model", text="c"), status=200)
    assert await waiting == ["a", "c"]
    assert len(asked) <= 3


async def test_a_waiter_that_waits_in_vain_says_what_happened_instead() -> None:
    """The message of a failed test shows the last entries."""
    journal = Journal()
    journal.end(journal.begin("graph.send", user="1", text="hello"), status=400, code=131056)
    with pytest.raises(TimeoutError, match=r"graph\.send 1 'hello'  400 131056"):
        await journal.wait_for(lambda: False, timeout=0.01)


def test_the_log_keeps_the_last_of_each_service_in_order() -> None:
    """Bounded where asked; entries of several services come back as they happened."""
    journal = Journal(limit=2)
    for n in range(3):
        journal.begin("graph.send", text=f"s{n}")
        journal.begin("model", text=f"m{n}")
    assert [entry.text for entry in journal.entries] == ["s1", "m1", "s2", "m2"]
    assert [entry.text for entry in journal.of("graph", since=3)] == ["s2"]
    silent = Journal(keep=False)
    silent.end(silent.begin("model"))
    assert silent.entries == []
