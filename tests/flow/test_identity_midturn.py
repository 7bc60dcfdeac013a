"""Who somebody is turns out while they are being answered: one person, one queue, one history, never a stranger's."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bot.emulator import Emulator, StatusPlan, payloads
from bot.store.store import Store
from tests.flow.conftest import World
from tests.flow.test_asking import said

PHONE, NEW_PHONE, ID, NEW_ID = "34600999888", "34600777666", "ES.888", "ES.777"
Tell = Callable[[Emulator], Awaitable[Any]]


@dataclass(frozen=True)
class News:
    """Who writes first, what comes then, and who writes after it; the same person unless it says otherwise."""

    first: dict[str, str]
    then: dict[str, str]
    tell: Tell | None = None
    also: dict[str, str] | None = None  # wrote before the news as well, as it seemed somebody else
    strangers: bool = False
    to: str = ""  # where an answer goes that wasn't under way when the news came


async def changed_number(emu: Emulator) -> None:
    """Meta says that the number changed."""
    await emu.send(emu.customer("Ana", wa_id=PHONE), payloads.changed_number_message, new_wa_id=NEW_PHONE)


async def changed_id(emu: Emulator) -> None:
    """Meta says that the business-scoped id changed."""
    who = emu.customer("Ana", user_id=ID)
    await emu.send(who, payloads.changed_user_id_message, new_user_id=NEW_ID, previous_user_id=ID)


NEWS = {
    "a phone gets an id": News({"wa_id": PHONE}, {"wa_id": PHONE, "user_id": ID}, to="+" + PHONE),
    "an id gets a phone": News({"user_id": ID}, {"wa_id": PHONE, "user_id": ID}, to="+" + PHONE),
    "a known phone is left out": News({"wa_id": PHONE, "user_id": ID}, {"user_id": ID}, to="+" + PHONE),
    "another phone with the known id": News(
        {"wa_id": PHONE, "user_id": ID}, {"wa_id": NEW_PHONE, "user_id": ID}, to="+" + NEW_PHONE
    ),
    "the number changes": News({"wa_id": PHONE}, {"wa_id": NEW_PHONE}, changed_number, to="+" + NEW_PHONE),
    "the id changes": News({"user_id": ID}, {"user_id": NEW_ID}, changed_id, to=NEW_ID),
    "phone and id were apart": News(
        {"wa_id": PHONE}, {"wa_id": PHONE, "user_id": ID}, also={"user_id": ID}, to="+" + PHONE
    ),
    "the number changes and wrote already": News(
        {"wa_id": PHONE}, {"wa_id": NEW_PHONE}, changed_number, also={"wa_id": NEW_PHONE}, to="+" + NEW_PHONE
    ),
    "the number is recycled": News(
        {"wa_id": PHONE, "user_id": ID}, {"wa_id": PHONE, "user_id": NEW_ID}, strangers=True, to=ID
    ),
}
MOMENTS = ("before", "model", "send", "doubt")
HELD = ("one", "also")  # what is being answered when the news comes


async def say(world: World, ids: dict[str, str], text: str) -> None:
    """Write as somebody whom WhatsApp shows by these ids."""
    await world.emu.say(world.emu.customer("Ana", **ids), text)


def hold(world: World, moment: str, answering: asyncio.Event) -> None:
    """Let the turns of what is held stand at a moment until `answering` is set, or a status comes."""

    async def answer(asked: Any) -> str:
        if moment == "model" and asked.text in HELD:
            await answering.wait()
        return f"answer to: {asked.text}"

    world.emu.model.responder = answer
    for text in HELD:
        if moment == "send":
            world.emu.faults.add("slow", contains=f"answer to: {text}", seconds=0.3)
        if moment == "doubt":
            world.emu.settings.statuses = StatusPlan(names=())
            world.emu.faults.add("cut", contains=f"answer to: {text}", after=True)


def stands(world: World, moment: str, count: int) -> bool:
    """Whether so many turns stand at a moment."""
    if moment == "doubt":
        return world.rows("SELECT count(*) FROM outbox WHERE not_before_at IS NOT NULL") == [(count,)]
    about = world.emu.log.of("model" if moment == "model" else "graph.send")
    return moment == "before" or len([e for e in about if e.text.removeprefix("answer to: ") in HELD]) == count


async def settle_doubts(world: World) -> None:
    """Tell by statuses that what was cut went out."""
    for lost in [entry for entry in world.emu.log.of("graph.send") if entry.fault == "cut"]:
        status = payloads.status(wamid=lost.wamid, status="sent", callback_data=lost.callback_data)
        await world.emu.deliveries.deliver(world.emu.deliveries.wrap(statuses=[status]))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("news", NEWS.values(), ids=NEWS)
async def test_news_of_who_somebody_is_at_any_moment_of_a_turn(world: World, news: News, moment: str) -> None:
    """Each message is answered once and in order; what the model reads is this person's whole conversation."""
    emu, answering = world.emu, asyncio.Event()
    written = ["zero", "one", *(["also"] if news.also else []), "two"]
    async with world.running(whatsapp={"confirm_seconds": 30}, queue={"drain_seconds": 5}):
        await say(world, news.first, "zero")
        await world.settled("done")
        await world.post("/api/pause" if moment == "before" else "/api/resume")
        hold(world, moment, answering)
        await say(world, news.first, "one")
        if news.also:
            await say(world, news.also, "also")
        await world.eventually(lambda: stands(world, moment, len(written) - 2))
        if news.tell:
            await news.tell(emu)
        await say(world, news.then, "two")
        answering.set()
        await world.post("/api/resume")
        await settle_doubts(world)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    assert sorted(emu.sends()) == sorted(f"answer to: {text}" for text in written)
    assert sorted(entry.text for entry in emu.log.of("model")) == sorted(written)
    one = next(entry for entry in emu.log.of("graph.send") if entry.text == "answer to: one")
    assert world.rows("SELECT count(*) FROM users") == [(2 if news.strangers else 1,)]
    if moment in ("before", "model"):
        assert one.request.get("to", one.request.get("recipient")) == news.to
    two = next(entry for entry in emu.log.of("model") if entry.text == "two")
    history = [text for _, text in said(two)]
    if news.strangers:
        assert history == ["two"]
        return
    assert two.began_at >= (one.ended_at or 0)
    assert history[-1] == "two"
    assert sorted(history[:-1]) == sorted(words for text in written[:-1] for words in (text, f"answer to: {text}"))
    assert history.index("zero") < history.index("one")


async def test_two_who_are_joined_between_claim_and_question_bring_both_histories(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that was leased is another person's by then: the turn reads what that one said, limits included."""
    emu, reading, standing = world.emu, asyncio.Event(), Store.standing
    joined = asyncio.Event()

    async def late(store: Store, *asked: Any) -> Any:
        if not reading.is_set():
            reading.set()
            await joined.wait()
        return await standing(store, *asked)

    async with world.running():
        await say(world, {"wa_id": PHONE}, "zero")
        await world.settled("done")
        monkeypatch.setattr(Store, "standing", late)
        await say(world, {"wa_id": PHONE}, "one")
        await asyncio.wait_for(reading.wait(), 5)
        await say(world, {"user_id": ID}, "by id")
        await world.settled("done", "leased", "done")
        await say(world, {"wa_id": PHONE, "user_id": ID}, "two")
        joined.set()
        await world.settled("done", "done", "done", "done")
    one = next(entry for entry in emu.log.of("model") if entry.text == "one")
    assert [text for _, text in said(one)] == ["zero", "answer to: zero", "by id", "answer to: by id", "one"]
