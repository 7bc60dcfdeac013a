"""Who is written to, and whose words are whose: phones, business-scoped ids or both; edits and revokes."""

import asyncio
import time
from typing import Any

import pytest

from bot.emulator import payloads
from tests.flow.conftest import World
from tests.flow.test_asking import said

START = int(time.time()) - 600


def addresses(world: World) -> list[tuple[Any, Any]]:
    """List `to` and `recipient` of what was sent."""
    return [(entry.request.get("to"), entry.request.get("recipient")) for entry in world.emu.log.of("graph.send")]


async def test_a_phone_is_written_with_its_plus(world: World) -> None:
    """Without it Meta may prepend our own country code; with a phone no recipient is named."""
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
    assert addresses(world) == [(f"+{world.ana.wa_id}", None)]
    request = world.emu.log.of("graph.send")[0].request
    assert (request["messaging_product"], request["recipient_type"], request["type"]) == (
        "whatsapp",
        "individual",
        "text",
    )


async def test_who_has_no_phone_is_reached_by_the_business_scoped_id(world: World) -> None:
    """`recipient`, and no `to`."""
    kwame = world.emu.customer("Kwame", user_id="GH.13491208655302741918", username="kwame.m")
    async with world.running():
        await world.emu.say(kwame, "hi")
        await world.sent(1)
        await world.settled("done")
        _, found = await world.get("/api/users/GH.13491208655302741918")
    assert addresses(world) == [(None, "GH.13491208655302741918")]
    assert (found["user"]["phone"], found["user"]["name"]) == (None, "Kwame")


@pytest.mark.parametrize(
    ("stored", "dialled"),
    [("5215512345678", "+525512345678"), ("5491122334455", "+541122334455"), ("525512345678", "+525512345678")],
)
async def test_mexican_and_argentinian_mobiles_are_rewritten_on_the_way_out_only(
    world: World, stored: str, dialled: str
) -> None:
    """521 + 10 digits and 549 + 10 digits; the file keeps what WhatsApp said."""
    diego = world.emu.customer("Diego", wa_id=stored)
    async with world.running():
        await world.emu.say(diego, "hola")
        await world.sent(1)
        await world.settled("done")
    assert addresses(world) == [(dialled, None)]
    assert world.rows("SELECT phone FROM users") == [(stored,)]


async def test_calls_are_signed_with_an_appsecret_proof(world: World) -> None:
    """The emulator refuses a call without one here, and a wrong one always."""
    world.emu.settings.require_app_secret = True
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
        assert world.emu.log.of("graph.read")[0].status == 200


async def test_a_token_of_another_app_works_without_the_proof(world: World) -> None:
    """appsecret_proof = false sends none."""
    async with world.running(whatsapp={"appsecret_proof": False}):
        await world.emu.say(world.ana, "hi")
        await world.sent(1)


async def test_a_phone_and_an_id_that_arrive_together_are_one_person(world: World) -> None:
    """Known by phone, then with both, then by the id alone: one queue, one history, one at a time."""
    emu = world.emu
    async with world.running():
        await emu.say(emu.customer("Ana", wa_id="34600111222"), "by phone")
        await world.sent(1)
        await emu.say(emu.customer("Ana", wa_id="34600111222", user_id="ES.777"), "by both")
        await world.sent(2)
        await emu.say(emu.customer("Ana", user_id="ES.777"), "by id")
        await world.sent(3)
        await world.settled("done", "done", "done")
    assert world.rows("SELECT phone, bsuid FROM users") == [("34600111222", "ES.777")]
    assert [text for role, text in said(emu.log.of("model")[-1]) if role == "user"] == ["by phone", "by both", "by id"]
    assert addresses(world) == [("+34600111222", None)] * 3


async def test_two_queues_that_turn_out_to_be_one_persons_are_joined(world: World) -> None:
    """One by phone, one by id, both being answered as they are linked; then strictly one after the other."""
    emu, gate = world.emu, asyncio.Event()
    running: set[str] = set()
    overlaps: list[set[str]] = []

    async def hold(asked: Any) -> str:
        running.add(asked.text)
        if "later" in asked.text:
            overlaps.append(set(running))
        await gate.wait()
        running.discard(asked.text)
        return "well"

    emu.model.responder = hold
    by_phone, by_id = emu.customer("Ana", wa_id="34600999888"), emu.customer("Ana", user_id="ES.888")
    async with world.running():
        await emu.say(by_phone, "from the phone", timestamp=START)
        await emu.say(by_id, "from the id", timestamp=START + 1)
        await world.asked(2)
        both = emu.customer("Ana", wa_id="34600999888", user_id="ES.888")
        await emu.say(both, "later one", timestamp=START + 2)
        await emu.say(by_phone, "later two", timestamp=START + 3)
        await world.settled("leased", "leased", "pending", "pending")
        gate.set()
        await world.settled("done", "done", "done", "done")
    assert world.rows("SELECT phone, bsuid FROM users") == [("34600999888", "ES.888")]
    assert [len(together) for together in overlaps] == [1, 1]


async def test_a_recycled_number_meets_no_strangers_history(world: World) -> None:
    """The phone of one id that arrives with another id belongs to somebody new."""
    emu = world.emu
    async with world.running():
        await emu.say(emu.customer("Old", wa_id="34600111000", user_id="ES.1"), "my secret")
        await world.sent(1)
        await emu.say(emu.customer("New", wa_id="34600111000", user_id="ES.2"), "hello")
        await world.sent(2)
        await world.settled("done", "done")
    assert said(emu.log.of("model")[-1]) == [("user", "hello")]
    assert world.rows("SELECT bsuid, phone FROM users ORDER BY id") == [("ES.1", None), ("ES.2", "34600111000")]


async def test_who_changes_the_number_keeps_the_conversation(world: World) -> None:
    """A system message links old and new; it is no question itself."""
    emu = world.emu
    old, new = emu.customer("Ana", wa_id="34600111000"), emu.customer("Ana", wa_id="34600222000")
    async with world.running():
        await emu.say(old, "from the old number")
        await world.sent(1)
        await emu.send(old, payloads.changed_number_message, new_wa_id="34600222000")
        await emu.say(new, "from the new number")
        await world.sent(2)
    assert said(emu.log.of("model")[-1])[0] == ("user", "from the old number")
    assert addresses(world)[-1] == ("+34600222000", None)


# -- edits and revokes


async def test_an_edit_changes_what_the_model_is_asked(world: World) -> None:
    """While the message waits; it keeps its place and gets one answer."""
    emu = world.emu
    async with world.running():
        await world.post("/api/pause")
        wamid = await emu.say(world.ana, "how much is teh pot?", timestamp=START)
        await emu.say(world.ana, "and delivery?", timestamp=START + 1)
        await emu.send(
            world.ana, payloads.edit_message, original=wamid, body="how much is the pot?", timestamp=START + 2
        )
        await world.post("/api/resume")
        await world.sent(2)
        await world.settled("done", "done", "ignored")
    assert emu.sends() == ["answer to: how much is the pot?", "answer to: and delivery?"]


async def test_a_revoke_cancels_what_waits(world: World) -> None:
    """The model never sees it; the next message is answered."""
    emu = world.emu
    async with world.running():
        await world.post("/api/pause")
        wamid = await emu.say(world.ana, "I shouldn't have said this", timestamp=START)
        await emu.say(world.ana, "hello", timestamp=START + 1)
        await emu.send(world.ana, payloads.revoke_message, original=wamid)
        await world.post("/api/resume")
        await world.sent(1)
        await world.settled("cancelled", "done", "ignored")
    assert said(emu.log.of("model")[0]) == [("user", "hello")]


@pytest.mark.parametrize("change", ["edit", "revoke"])
async def test_what_was_answered_is_answered_once(world: World, change: str) -> None:
    """An edit or a revoke that comes too late changes nothing and is no turn of its own."""
    emu = world.emu
    async with world.running():
        wamid = await emu.say(world.ana, "hi")
        await world.sent(1)
        await world.settled("done")
        if change == "edit":
            await emu.send(world.ana, payloads.edit_message, original=wamid, body="hi!")
        else:
            await emu.send(world.ana, payloads.revoke_message, original=wamid)
        await emu.say(world.ana, "bye")
        await world.settled("done", "ignored", "done")
    assert emu.sends() == ["answer to: hi", "answer to: bye"]


async def test_nobody_edits_or_revokes_anothers_message(world: World) -> None:
    """The wamid alone gives no right to it."""
    emu = world.emu
    async with world.running():
        await world.post("/api/pause")
        wamid = await emu.say(world.ana, "mine")
        await emu.send(world.bea, payloads.edit_message, original=wamid, body="forged")
        await emu.send(world.bea, payloads.revoke_message, original=wamid)
        await world.post("/api/resume")
        assert await world.sent(1) == ["answer to: mine"]


async def test_what_the_owner_writes_from_the_phone_is_history_and_no_question(world: World) -> None:
    """Echoes: the model knows what was said; nobody answers them."""
    emu = world.emu
    async with world.running():
        await emu.say(world.ana, "hi")
        await world.sent(1)
        await world.settled("done")
        echo = payloads.text_message(
            body="The owner here: come at five", wa_id=emu.settings.display_phone_number, timestamp=int(time.time()) + 1
        )
        echo["to"] = world.ana.wa_id
        hook = emu.deliveries.wrap(messages=[])
        value = hook["entry"][0]["changes"][0]
        value["field"], value["value"]["message_echoes"] = "smb_message_echoes", [echo]
        await emu.deliveries.deliver(hook)
        await emu.say(world.ana, "ok, at five")
        await world.sent(2)
    spoken = said(emu.log.of("model")[-1])
    assert spoken[-1] == ("user", "ok, at five")
    assert "come at five" in spoken[-2][1]
    assert spoken[-2][0] == "assistant"
