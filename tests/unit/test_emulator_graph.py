"""The emulated Graph API answers as Meta's does."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.emulator import Emulator, Settings, StatusPlan
from bot.emulator.graph_errors import CATALOGUE
from bot.emulator.payloads import text_message
from tests.unit.emulator_hook import post, read, text


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run an emulator that sends no statuses."""
    async with Emulator(Settings(statuses=StatusPlan(names=()))) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client."""
    async with ClientSession() as session:
        yield session


async def get(client: ClientSession, emu: Emulator, path: str) -> tuple[int, Any]:
    """GET a Graph node with the right token."""
    headers = {"Authorization": f"Bearer {emu.settings.access_token}"}
    async with client.get(f"{emu.graph_url}/v26.0/{path}", headers=headers) as response:
        return response.status, await response.json()


async def test_a_send_to_a_phone_is_answered_in_metas_shape(emu: Emulator, client: ClientSession) -> None:
    """The answer names the input, the wa_id without plus, and a wamid."""
    response = await post(client, emu, text("¡Olé!", biz_opaque_callback_data="cb.1"))
    answer = await response.json()
    assert response.status == 200
    assert answer["messaging_product"] == "whatsapp"
    assert answer["contacts"] == [{"input": "+5215512345678", "wa_id": "5215512345678"}]
    assert answer["messages"][0]["id"].startswith("wamid.")
    [entry] = emu.log.of("graph.send")
    assert (entry.user, entry.text, entry.callback_data) == ("5215512345678", "¡Olé!", "cb.1")
    assert (entry.accepted, entry.status, entry.wamid) == (True, 200, answer["messages"][0]["id"])


async def test_a_send_to_a_bsuid_names_the_user_id_and_no_wa_id(emu: Emulator, client: ClientSession) -> None:
    """A person known by business-scoped id alone has no phone in the answer."""
    body = text(recipient="US.123")
    del body["to"]
    answer = await (await post(client, emu, body)).json()
    assert answer["contacts"] == [{"input": "US.123", "user_id": "US.123"}]
    assert emu.sends("US.123") == ["hello"]


async def test_to_wins_over_recipient(emu: Emulator, client: ClientSession) -> None:
    """With both, Meta obeys the phone."""
    await post(client, emu, text(to="+16505551234", recipient="US.123"))
    assert emu.sends("16505551234") == ["hello"]


@pytest.mark.parametrize(
    ("stored", "dialled"), [("5215512345678", "+525512345678"), ("5491122334455", "+541122334455")]
)
async def test_a_dialled_number_reaches_the_mobile_that_is_stored_with_a_digit_more(
    emu: Emulator, client: ClientSession, stored: str, dialled: str
) -> None:
    """Mexico and Argentina: whoever rewrites the number still reaches the same person."""
    ana = emu.customer("Ana", wa_id=stored)
    answer = await (await post(client, emu, text(to=dialled))).json()
    assert answer["contacts"] == [{"input": dialled, "wa_id": stored}]
    assert emu.sends(ana) == ["hello"]


async def test_a_wrong_token_is_refused_with_190(emu: Emulator, client: ClientSession) -> None:
    """An expired or foreign token is HTTP 401 with Meta's error body, and nothing goes out."""
    response = await post(client, emu, text(), token="other")
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["type"]) == (401, 190, "OAuthException")
    assert error["fbtrace_id"]
    assert emu.sends() == []


@pytest.mark.parametrize(
    ("required", "proof", "status"),
    [
        (False, None, 200),
        (True, None, 400),
        (True, "right", 200),
        (False, "right", 200),
        (False, "wrong", 400),
        (True, "wrong", 400),
    ],
)
async def test_the_proof_is_asked_for_where_required_and_checked_where_given(
    emu: Emulator, client: ClientSession, required: bool, proof: str | None, status: int
) -> None:
    """A wrong appsecret_proof is refused always, a missing one only where the app requires it."""
    settings = emu.settings
    settings.require_app_secret = required
    right = hmac.new(settings.app_secret.encode(), settings.access_token.encode(), hashlib.sha256).hexdigest()
    query = "" if proof is None else f"?appsecret_proof={right if proof == 'right' else 'abc'}"
    response = await post(client, emu, text(), query)
    assert response.status == status
    if status == 400:
        error = (await response.json())["error"]
        assert error["code"] == 100
        assert "appsecret_proof" in error["message"]


async def test_another_number_does_not_exist(emu: Emulator, client: ClientSession) -> None:
    """An unknown id is code 100, subcode 33, as Meta words it."""
    status, answer = await get(client, emu, "999")
    assert (status, answer["error"]["code"], answer["error"]["error_subcode"]) == (400, 100, 33)
    emu.settings.phone_number_id, url = "999", emu.settings.phone_number_id
    assert (await get(client, emu, url))[0] == 400


async def test_the_number_shows_the_fields_that_are_asked_for(emu: Emulator, client: ClientSession) -> None:
    """`fields` narrows the answer; a field that doesn't exist is an error."""
    number = emu.settings.phone_number_id
    assert (await get(client, emu, number))[1]["display_phone_number"] == "+15550783881"
    status, answer = await get(client, emu, f"{number}?fields=quality_rating,name_status")
    assert (status, answer) == (200, {"quality_rating": "GREEN", "name_status": "APPROVED", "id": number})
    assert (await get(client, emu, f"{number}?fields=mood"))[1]["error"]["code"] == 100


async def test_the_account_says_whether_our_app_is_subscribed(emu: Emulator, client: ClientSession) -> None:
    """The most frequent silent failure of a set-up can be played, and repaired by POST."""
    emu.settings.subscribed = False
    path = f"{emu.settings.waba_id}/subscribed_apps"
    assert (await get(client, emu, path))[1] == {"data": []}
    headers = {"Authorization": f"Bearer {emu.settings.access_token}"}
    answer = await client.post(f"{emu.graph_url}/v26.0/{path}", headers=headers)
    assert await answer.json() == {"success": True}
    [app] = (await get(client, emu, path))[1]["data"]
    assert "id" in app["whatsapp_business_api_data"]
    assert (await get(client, emu, "1/subscribed_apps"))[0] == 400


async def test_a_read_mark_turns_earlier_messages_blue_and_shows_the_dots(emu: Emulator, client: ClientSession) -> None:
    """Read with typing: all earlier messages of that customer are read, and the dots show until the reply."""
    ana = emu.customer("Ana", wa_id="5215512345678")
    for wamid in ("wamid.1", "wamid.2", "wamid.3"):
        emu.compose([(ana, text_message, {"body": wamid, "wamid": wamid})])
    response = await post(client, emu, read("wamid.2"))
    assert await response.json() == {"success": True}
    assert [bubble.tick for bubble in emu.chats.bubbles[ana.key].values()] == ["read", "read", "sent"]
    [entry] = emu.log.of("graph.read", ana.ids)
    assert (entry.wamid, entry.typing, entry.accepted) == ("wamid.2", True, True)
    assert ana.key in emu.chats.typing
    await post(client, emu, text())
    assert ana.key not in emu.chats.typing


async def test_an_unknown_message_is_marked_read_unless_ids_are_checked(emu: Emulator, client: ClientSession) -> None:
    """Tolerant by default, so that a test may make wamids up; strict as Meta on request."""
    assert (await post(client, emu, read("wamid.unheard"))).status == 200
    emu.settings.check_read_ids = True
    response = await post(client, emu, read("wamid.unheard"))
    assert (response.status, (await response.json())["error"]["code"]) == (400, 131009)


async def test_media_is_fetched_in_two_steps_with_the_token(emu: Emulator, client: ClientSession) -> None:
    """The id gives an address and a hash; the address gives the bytes to whoever holds the token."""
    media_id = emu.graph.add_media(b"OggS...", "audio/ogg; codecs=opus")
    status, meta = await get(client, emu, media_id)
    assert (status, meta["file_size"], meta["sha256"]) == (200, 7, hashlib.sha256(b"OggS...").hexdigest())
    headers = {"Authorization": f"Bearer {emu.settings.access_token}"}
    async with client.get(meta["url"], headers=headers) as response:
        assert (await response.read(), response.content_type) == (b"OggS...", "audio/ogg")
    async with client.get(meta["url"]) as response:
        assert response.status == 401
    async with client.get(meta["url"] + "0", headers=headers) as response:
        assert response.status == 404


async def test_the_date_header_can_be_set_off(emu: Emulator, client: ClientSession) -> None:
    """A daemon that compares its clock with Meta's can be shown a difference."""
    true = (await post(client, emu, text())).headers["Date"]
    emu.settings.clock_offset_seconds = 3600
    off = (await post(client, emu, text())).headers["Date"]
    difference = parsedate_to_datetime(off) - parsedate_to_datetime(true)
    assert 3595 < difference.total_seconds() < 3605


@pytest.mark.parametrize("code", sorted(CATALOGUE))
async def test_each_code_comes_with_its_http_status(emu: Emulator, client: ClientSession, code: int) -> None:
    """Throttles are HTTP 400, tokens 401, permissions 403, and the code stands in Meta's error body."""
    emu.faults.add("error", code=code, headers={"Retry-After": "7"})
    response = await post(client, emu, text())
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (CATALOGUE[code][0], code)
    assert response.headers["Retry-After"] == "7"
    assert emu.sends() == []


async def test_a_token_may_ask_about_itself(emu: Emulator, client: ClientSession) -> None:
    """GET /debug_token: the app, when it ends (0: never), what it may; any other string is no token."""
    status, told = await get(client, emu, f"debug_token?input_token={emu.settings.access_token}")
    assert (status, told["data"]["app_id"], told["data"]["expires_at"]) == (200, emu.settings.app_id, 0)
    assert told["data"]["scopes"][:2] == ["whatsapp_business_management", "whatsapp_business_messaging"]
    emu.settings.token_days = 2
    _, told = await get(client, emu, f"debug_token?input_token={emu.settings.access_token}")
    assert told["data"]["expires_at"] - told["data"]["issued_at"] == 3 * 86_400
    status, told = await get(client, emu, "debug_token?input_token=EAAnone")
    assert (status, told["data"]["is_valid"], told["data"]["error"]["code"]) == (200, False, 190)
    assert (await get(client, emu, "debug_token"))[0] == 400


async def test_only_the_app_itself_is_told_where_its_webhooks_go(emu: Emulator, client: ClientSession) -> None:
    """GET /{app_id}/subscriptions wants the token that id and secret make; one without fields has no such member."""
    path = f"{emu.settings.app_id}/subscriptions"
    status, told = await get(client, emu, path)
    assert (status, told["error"]["code"]) == (400, 15)
    headers = {"Authorization": f"Bearer {emu.settings.app_id}|{emu.settings.app_secret}"}

    async def ask(url: str) -> Any:
        async with client.get(f"{emu.graph_url}/v26.0/{url}", headers=headers) as response:
            return await response.json()

    assert await ask(path) == {"data": []}
    emu.settings.callback_url = "https://bot.example.com/webhook"
    [known] = (await ask(path))["data"]
    assert (known["object"], known["active"]) == ("whatsapp_business_account", True)
    assert known["callback_url"] == "https://bot.example.com/webhook"
    assert known["fields"] == [{"name": "messages", "version": "v26.0"}]
    emu.settings.webhook_fields = ()
    assert "fields" not in (await ask(path))["data"][0]
    assert (await ask("1/subscriptions"))["error"]["code"] == 100
