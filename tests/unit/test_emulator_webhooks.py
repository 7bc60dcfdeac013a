"""The emulator's webhooks look and arrive as Meta's do: signed, escaped, late, twice, out of order."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from aiohttp.web import Application

from bot.emulator import Emulator, Settings, StatusPlan, Undelivered, payloads
from tests.unit.emulator_hook import Hook, post, text
from tests.unit.test_emulator_contract import SHARED

AT_ONCE = StatusPlan(delays=(0.0,))
SECRET = "test_app_secret"


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """Listen where the daemon would."""
    listening = Hook()
    app = Application()
    app.router.add_post("/webhook", listening.handle)
    async with TestServer(app) as server:
        listening.url = str(server.make_url("/webhook"))
        yield listening


@pytest.fixture
async def emu(hook: Hook) -> AsyncIterator[Emulator]:
    """Run an emulator that posts to the hook."""
    settings = Settings(webhook_url=hook.url, statuses=AT_ONCE, redelivery_base_seconds=0.001)
    async with Emulator(settings) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client."""
    async with ClientSession() as session:
        yield session


def test_encoding_and_signature_are_metas() -> None:
    """Non-ASCII leaves as escapes and a slash with a backslash; the signature is over those very bytes."""
    message = {"id": "wamid.X", "type": "text", "text": {"body": "¡Olé! 😀 a/b"}}
    value = {"messages": [message]}
    change = {"field": "messages", "value": value}
    body = payloads.encode({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]})
    assert rb"\u00a1Ol\u00e9! \ud83d\ude00 a\/b" in body
    expected = "9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6d"
    assert payloads.sign(SECRET, body) == "sha256=" + expected
    assert expected == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def built(name: str) -> dict[str, Any]:
    """Rebuild one of Meta's published webhooks with our builders."""
    ana: dict[str, Any] = {"wa_id": "16505551234"}
    quote = {"from": "15550783881", "id": "wamid.Q"}
    builders: dict[str, dict[str, Any]] = {
        "text_message": payloads.text_message(body="b", **ana),
        "image_message": payloads.image_message(caption="c", **ana),
        "location_message": payloads.location_message(name="n", **ana),
        "button_message": payloads.button_message(text="t", context=quote, **ana),
        "interactive_button_reply_message": payloads.button_reply_message(title="t", context=quote, **ana),
        "interactive_list_reply_message": payloads.list_reply_message(title="t", description="d", context=quote, **ana),
        "reaction_message": payloads.reaction_message(message_id="wamid.R", **ana),
        "system_message": payloads.changed_number_message(new_wa_id="12195555358", **ana),
        "unsupported_message": payloads.unsupported_message(**ana),
    }
    contacts = [] if name == "system_message" else [payloads.contact(name="Sheena Nelson", **ana)]
    return payloads.webhook(messages=[builders[name]], contacts=contacts)


def shape(value: Any) -> Any:
    """Reduce JSON to its keys and types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def published() -> list[Path]:
    """List Meta's published examples that we have builders for, where they lie beside the checkout."""
    found = (SHARED.parent / "data" / "webhooks" / "meta-openapi").glob("*.json")
    ours = ("text_message.json", "image_", "location_", "button_m", "interactive_", "reaction_", "system_", "unsup")
    return sorted(path for path in found if path.name.startswith(ours))


@pytest.mark.parametrize("path", published(), ids=lambda path: path.stem)
def test_our_webhooks_have_the_shape_of_metas_examples(path: Path) -> None:
    """Same keys, same nesting, same types; what is optional there may be left out here, nothing else."""
    theirs = shape(json.loads(path.read_text(encoding="utf-8")))
    ours = shape(built(path.stem))
    optional = {"address", "url", "unsupported"}
    assert _without(ours, optional) == _without(theirs, optional)


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list) else value


async def test_a_customer_writes_and_the_webhook_is_signed(emu: Emulator, hook: Hook) -> None:
    """`say` returns once the webhook was answered 200; phone, BSUID and name travel as Meta sends them."""
    ana = emu.customer("Ana", wa_id="5215512345678", user_id="MX.1")
    wamid = await emu.say(ana, "¿Hola?", timestamp=1795392000)
    [value], [body] = hook.values, hook.bodies
    assert hook.signatures == [payloads.sign(emu.settings.app_secret, body)]
    assert value["metadata"]["phone_number_id"] == emu.settings.phone_number_id
    assert value["contacts"] == [{"profile": {"name": "Ana"}, "wa_id": "5215512345678", "user_id": "MX.1"}]
    [message] = value["messages"]
    assert message == {
        "from": "5215512345678",
        "from_user_id": "MX.1",
        "id": wamid,
        "timestamp": "1795392000",
        "type": "text",
        "text": {"body": "¿Hola?"},
    }


async def test_a_customer_without_a_phone_shows_a_bsuid_alone(emu: Emulator, hook: Hook) -> None:
    """No `from`, no `wa_id`: a person with a username."""
    bo = emu.customer("Bo", user_id="US.13491208655302741918", username="bo")
    await emu.say(bo, "hi")
    [value] = hook.values
    assert "from" not in value["messages"][0]
    assert value["contacts"] == [{"profile": {"name": "Bo", "username": "bo"}, "user_id": "US.13491208655302741918"}]


async def test_a_burst_is_a_webhook_each_in_shuffled_order_and_distinct_seconds(emu: Emulator, hook: Hook) -> None:
    """Five texts at once arrive in any order; their timestamps still tell it."""
    wamids = await emu.burst("16505551234", ["1", "2", "3", "4", "5"], shuffled=True)
    messages = [value["messages"][0] for value in hook.values]
    assert len(messages) == 5
    in_order = sorted(messages, key=lambda message: int(message["timestamp"]))
    assert [message["text"]["body"] for message in in_order] == ["1", "2", "3", "4", "5"]
    assert [message["id"] for message in in_order] == wamids
    assert hook.texts != ["1", "2", "3", "4", "5"]


async def test_a_batch_is_one_webhook_with_a_card_for_each_person(emu: Emulator, hook: Hook) -> None:
    """Several customers share one POST, as after an outage."""
    ana, bo = emu.customer("Ana", wa_id="5215512345678"), emu.customer("Bo", user_id="US.1")
    await emu.batch([(ana, "one"), (bo, "two"), (ana, "three")])
    [value] = hook.values
    assert hook.texts == ["one", "two", "three"]
    assert [card["profile"]["name"] for card in value["contacts"]] == ["Ana", "Bo"]


async def test_any_kind_of_message_can_be_sent(emu: Emulator, hook: Hook) -> None:
    """What the builders make travels as it is; a change of identity comes without contacts, as from Meta."""
    ana = emu.customer("Ana", wa_id="5215512345678", user_id="MX.1")
    wamid = await emu.say(ana, "first")
    await emu.send(ana, payloads.image_message, caption="a picture")
    await emu.send(ana, payloads.audio_message)
    await emu.send(ana, payloads.edit_message, original=wamid, body="second")
    await emu.send(ana, payloads.revoke_message, original=wamid)
    await emu.send(ana, payloads.changed_user_id_message, new_user_id="MX.2", previous_user_id="MX.1")
    kinds = [value["messages"][0]["type"] for value in hook.values]
    assert kinds == ["text", "image", "audio", "edit", "revoke", "system"]
    assert "contacts" not in hook.values[-1]
    assert not {"from", "from_user_id"} & hook.values[-1]["messages"][0].keys()


async def test_a_webhook_is_posted_again_until_it_is_answered_200(emu: Emulator, hook: Hook) -> None:
    """201 and 204 are no acknowledgement either; each try carries the same bytes."""
    hook.answers.extend([503, 201, 204, 500])
    wamid = await emu.say("16505551234", "again")
    assert len(hook.bodies) == 5
    assert len(set(hook.bodies)) == 1
    tries = emu.log.of("webhook")
    assert [entry.status for entry in tries] == [503, 201, 204, 500, 200]
    assert {entry.wamid for entry in tries} == {wamid}


async def test_it_gives_up_after_its_tries(emu: Emulator, hook: Hook) -> None:
    """Nothing is posted for ever."""
    emu.settings.redelivery_tries = 3
    hook.answers.extend([500] * 3)
    with pytest.raises(Undelivered):
        await emu.say("16505551234", "nobody listens")
    assert len(hook.bodies) == 3


async def test_waiting_deliveries_go_out_at_once_when_hurried(emu: Emulator, hook: Hook) -> None:
    """After a restart of the daemon a test needn't wait for the backoff."""
    emu.settings.redelivery_base_seconds = 60.0
    url, emu.settings.webhook_url = emu.settings.webhook_url, "http://127.0.0.1:9/nobody"
    saying = asyncio.create_task(emu.say("16505551234", "are you back?"))
    await emu.wait_for(lambda: [entry for entry in emu.log.of("webhook") if entry.ended_at])
    emu.settings.webhook_url = url
    while not saying.done():
        emu.deliveries.hurry()
        await asyncio.sleep(0)
    assert hook.texts == ["are you back?"]


async def test_a_delivery_that_is_refused_while_it_is_hurried_goes_again_at_once(
    emu: Emulator, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It met the daemon that was just not ready: its next try counts from there, too."""
    emu.settings.redelivery_base_seconds = 60.0
    hook.answers.append(503)
    post_once = emu.deliveries.post

    async def hurried(payload: Any) -> int:
        status = await post_once(payload)
        if status != 200:
            emu.deliveries.hurry()
        return status

    monkeypatch.setattr(emu.deliveries, "post", hurried)
    async with asyncio.timeout(10):
        await emu.say("16505551234", "are you there?")
    assert hook.texts == ["are you there?"] * 2


async def test_the_last_webhook_of_a_customer_can_come_again(emu: Emulator, hook: Hook) -> None:
    """The same bytes, so that only the wamid tells that it was there before."""
    ana = emu.customer("Ana", wa_id="5215512345678")
    first = await emu.say(ana, "one")
    await emu.say(ana, "two")
    assert await emu.redeliver(ana) == 200
    assert await emu.redeliver(first) == 200
    assert hook.texts == ["one", "two", "two", "one"]
    assert hook.bodies[1] == hook.bodies[2]
    with pytest.raises(ValueError, match="wrote nothing"):
        await emu.redeliver(emu.customer("Bo", user_id="US.1"))


async def test_statuses_follow_a_send_in_order_with_the_callback_data(
    emu: Emulator, hook: Hook, client: ClientSession
) -> None:
    """Sent, delivered, read, each in a webhook of its own, naming wamid, recipient and our opaque id."""
    emu.settings.statuses = StatusPlan(delays=(0.0, 0.02, 0.04))
    emu.customer("Ana", wa_id="5215512345678", user_id="MX.1")
    answer = await (await post(client, emu, text(biz_opaque_callback_data="cb.1"))).json()
    await emu.wait_for(lambda: len(hook.statuses) == 3)
    assert [status["status"] for status in hook.statuses] == ["sent", "delivered", "read"]
    for status in hook.statuses:
        assert status["id"] == answer["messages"][0]["id"]
        assert (status["recipient_id"], status["recipient_user_id"]) == ("5215512345678", "MX.1")
        assert status["biz_opaque_callback_data"] == "cb.1"
    [bubble] = emu.chats.bubbles["5215512345678"].values()
    assert bubble.tick == "read"


async def test_statuses_can_come_shuffled_twice_and_without_callback_data(
    emu: Emulator, hook: Hook, client: ClientSession
) -> None:
    """What the daemon has to bear: any order, repetitions, a wamid alone."""
    emu.settings.statuses = StatusPlan(delays=(0.0,), copies=2, shuffled=True, callback_data=False)
    for _ in range(5):
        await post(client, emu, text(biz_opaque_callback_data="cb"))
    await emu.wait_for(lambda: len(hook.statuses) == 30)
    assert "biz_opaque_callback_data" not in hook.statuses[0]
    orders = set()
    for wamid in {status["id"] for status in hook.statuses}:
        names = [status["status"] for status in hook.statuses if status["id"] == wamid]
        assert sorted(names) == ["delivered", "delivered", "read", "read", "sent", "sent"]
        orders.add(tuple(names))
    assert len(orders) > 1


async def test_a_status_can_overtake_the_answer_of_its_send(emu: Emulator, hook: Hook, client: ClientSession) -> None:
    """Early: when the HTTP answer arrives, the webhook has been answered already."""
    emu.settings.statuses = StatusPlan(names=("sent",), early=True)
    await post(client, emu, text())
    assert [status["status"] for status in hook.statuses] == ["sent"]


async def test_a_send_can_fail_afterwards(emu: Emulator, hook: Hook, client: ClientSession) -> None:
    """Accepted, then a status `failed` with Meta's error, for one customer alone where asked."""
    ana = emu.customer("Ana", wa_id="5215512345678")
    emu.deliveries.plans[ana.key] = StatusPlan(names=("failed",), delays=(0.0,), failed_code=131047)
    assert (await post(client, emu, text())).status == 200
    await emu.wait_for(lambda: hook.statuses)
    [status] = hook.statuses
    assert (status["status"], status["errors"][0]["code"]) == ("failed", 131047)
    assert next(iter(emu.chats.bubbles[ana.key].values())).tick == "failed"


async def test_without_a_plan_no_status_comes(emu: Emulator, hook: Hook, client: ClientSession) -> None:
    """The case in which a send in doubt can't be settled."""
    emu.settings.statuses = StatusPlan(names=())
    await post(client, emu, text())
    assert emu.deliveries.pending == 0
    assert hook.bodies == []


async def test_closing_ends_what_is_under_way(hook: Hook) -> None:
    """Neither a delivery that waits for its next try nor a hanging request outlives the emulator."""
    hook.answers.append(500)
    settings = Settings(webhook_url=hook.url, redelivery_base_seconds=60.0)
    async with Emulator(settings) as emu, ClientSession() as client:
        emu.deliveries.spawn(emu.say("16505551234", "never delivered"))
        emu.faults.add("hang")
        hanging = asyncio.create_task(post(client, emu, text()))
        await emu.wait_for(lambda: hook.bodies and emu.log.of("graph.send"))
        await emu.close()
        assert emu.deliveries.pending == 0
        assert isinstance((await asyncio.gather(hanging, return_exceptions=True))[0], Exception)
