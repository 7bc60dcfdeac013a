"""Calls to the Graph API: what goes over the wire, and what each way of failing means."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from bot.clock import Clock
from bot.config import WhatsApp
from bot.domain import Identity
from bot.emulator import Emulator, Settings, StatusPlan
from bot.errors import Kind, ServiceError
from bot.whatsapp.client import GraphClient
from bot.whatsapp.signature import appsecret_proof

TOKEN = "EAAGm0PX4ZCpsBAKZCkT0ZBZB8QvTzY"
SECRET = "emulator-app-secret"
ANA = Identity("16505551234", "US.13491208655302741918", "Ana")
RULES = ("521########## > 52##########",)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session of the test's own."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Run a Graph API that sends no webhooks."""
    settings = Settings(access_token=TOKEN, app_secret=SECRET, statuses=StatusPlan(names=()))
    async with Emulator(settings) as running:
        yield running


def client_of(session: aiohttp.ClientSession, base_url: str, **changed: Any) -> GraphClient:
    """Build a client for a server of the test."""
    settings: dict[str, Any] = {
        "base_url": base_url,
        "phone_number_id": "106540352242922",
        "access_token": SecretStr(TOKEN),
        "app_secret": SecretStr(SECRET),
        "number_rules": RULES,
    }
    seconds = changed.pop("timeout_seconds", 2.0)
    return GraphClient(session, WhatsApp(**{**settings, **changed}), Clock(), timeout_seconds=seconds)


@pytest.fixture
def client(session: aiohttp.ClientSession, emulator: Emulator) -> GraphClient:
    """Give the client that fits the emulator."""
    return client_of(session, emulator.graph_url)


async def failure(call: Awaitable[object]) -> ServiceError:
    """Return the ServiceError that a call ends in."""
    with pytest.raises(ServiceError) as raised:
        await call
    error = raised.value
    assert error.service == "graph"
    told = f"{error} {error.reason} {error.__cause__!r}"
    assert "\n" not in error.reason
    assert not any(secret in told for secret in (TOKEN, appsecret_proof(SECRET, TOKEN), "6505551234", "my words"))
    return error


def send(client: GraphClient, to: Identity = ANA) -> Awaitable[str]:
    """Send the text that the tests send."""
    return client.send_text(to, "my words", callback="cb.1")


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Run a server whose every answer is the handler's; gives its address."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(
    status: int, body: object = None, headers: dict[str, str] | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Build a handler that always answers this; `body` is text, or else JSON."""

    async def handler(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return handler


# -- what goes over the wire ----------------------------------------------------------------------------------------


async def test_a_text_carries_all_that_meta_requires(client: GraphClient, emulator: Emulator) -> None:
    """The three required members, the callback id and the quote; the wamid comes back."""
    wamid = await client.send_text(ANA, "¡Hola!", callback="cb.1", quote="wamid.in")
    [entry] = emulator.log.of("graph.send")
    assert (entry.wamid, entry.accepted) == (wamid, True)
    assert entry.request == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+16505551234",
        "type": "text",
        "text": {"preview_url": False, "body": "¡Hola!"},
        "biz_opaque_callback_data": "cb.1",
        "context": {"message_id": "wamid.in"},
    }


@pytest.mark.parametrize(
    ("to", "address"),
    [
        (Identity("5215512345678"), {"to": "+525512345678"}),
        (Identity("5215512345678", "MX.1"), {"to": "+525512345678"}),
        (Identity(None, "MX.1"), {"recipient": "MX.1"}),
        (Identity("odd.phone", "MX.1"), {"recipient": "MX.1"}),
        (Identity("odd.phone"), {"to": "odd.phone"}),
    ],
)
async def test_a_person_is_addressed_by_phone_or_else_by_bsuid(
    session: aiohttp.ClientSession, to: Identity, address: dict[str, str]
) -> None:
    """The rules rewrite the phone at this boundary alone; `recipient` never travels beside `to`."""
    seen: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({"messages": [{"id": "wamid.1"}]})

    async with serving(handler) as url:
        assert await send(client_of(session, url), to) == "wamid.1"
    assert {key: seen[0][key] for key in ("to", "recipient") if key in seen[0]} == address
    assert "context" not in seen[0]


@pytest.mark.parametrize("typing", [True, False])
async def test_a_message_is_marked_read(client: GraphClient, emulator: Emulator, typing: bool) -> None:
    """With typing dots or without."""
    await client.mark_read("wamid.in", typing=typing)
    [entry] = emulator.log.of("graph.read")
    assert (entry.wamid, entry.typing, entry.accepted) == ("wamid.in", typing, True)


async def test_the_number_and_its_subscribed_apps_can_be_asked(client: GraphClient, emulator: Emulator) -> None:
    """`bot check --online` learns who the number is and whether webhooks will come."""
    assert (await client.phone_number())["display_phone_number"] == "+15550783881"
    assert [app["name"] for app in await client.subscribed_apps("102290129340398")] == ["Emulated app"]
    emulator.settings.subscribed = False
    assert await client.subscribed_apps("102290129340398") == []


async def test_each_call_is_signed_where_the_app_requires_it(
    session: aiohttp.ClientSession, emulator: Emulator
) -> None:
    """With the secret every call carries the proof; without, or with a wrong one, the service refuses us."""
    emulator.settings.require_app_secret = True
    signed = client_of(session, emulator.graph_url + "/")
    await send(signed)
    await signed.mark_read("wamid.in", typing=True)
    await signed.phone_number()
    await signed.subscribed_apps("102290129340398")
    for secret in ("", "another app's"):
        error = await failure(send(client_of(session, emulator.graph_url, app_secret=SecretStr(secret))))
        assert (error.kind, error.code) == (Kind.REFUSED, "100")
        assert "appsecret_proof" in error.reason


# -- what is answered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (131056, Kind.PAIR),
        (130429, Kind.EVERYBODY),
        (131000, Kind.IN_DOUBT),
        (131016, Kind.LATER),
        (131047, Kind.EXPIRED),
        (131026, Kind.UNREACHABLE),
        (131009, Kind.MESSAGE),
        (190, Kind.REFUSED),
    ],
)
async def test_an_error_is_told_by_its_code(client: GraphClient, emulator: Emulator, code: int, kind: Kind) -> None:
    """Kind, code, Meta's id for support and a sentence for people."""
    emulator.faults.add("error", service="graph.send", code=code)
    error = await failure(send(client))
    assert (error.kind, error.code) == (kind, str(code))
    assert error.reason.startswith(f"WhatsApp answered {code}: ")
    assert error.request_id


async def test_a_token_that_meta_quotes_is_blotted_out(session: aiohttp.ClientSession) -> None:
    """Meta repeats a malformed token and sometimes a number; neither reaches a log."""
    said = {"message": f"Malformed access token {TOKEN}\nfor +1 650-555-1234, 16505551234", "code": 190}
    async with serving(answering(401, {"error": said})) as url:
        error = await failure(send(client_of(session, url)))
    assert error.reason == "WhatsApp answered 190: Malformed access token … for …, …"


async def test_an_unknown_number_id_is_a_refusal(session: aiohttp.ClientSession, emulator: Emulator) -> None:
    """A wrong phone_number_id fails no message: the service refuses us until it is set right."""
    error = await failure(send(client_of(session, emulator.graph_url, phone_number_id="999")))
    assert error.kind is Kind.REFUSED


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, "<html>Sorry</html>", Kind.LATER),
        (503, "", Kind.LATER),
        (429, "", Kind.EVERYBODY),
        (401, "", Kind.REFUSED),
        (404, "<html>nginx</html>", Kind.REFUSED),
        (302, "", Kind.REFUSED),
        (400, "[]", Kind.MESSAGE),
        (400, {"error": "text"}, Kind.MESSAGE),
        (400, {"error": {"code": "131056", "message": 7, "error_data": "text"}}, Kind.PAIR),
        (200, {"error": {"code": 131056}}, Kind.PAIR),
        (200, "<html>Sorry</html>", Kind.IN_DOUBT),
        (200, "", Kind.IN_DOUBT),
        (200, "null", Kind.IN_DOUBT),
        (200, "[" * 100_000, Kind.IN_DOUBT),
        (200, "x" * 2_000_000, Kind.IN_DOUBT),
        (200, {}, Kind.IN_DOUBT),
        (200, {"messages": []}, Kind.IN_DOUBT),
        (200, {"messages": [{}]}, Kind.IN_DOUBT),
        (200, {"messages": "wamid.1"}, Kind.IN_DOUBT),
        (200, {"messages": [{"id": 7}]}, Kind.IN_DOUBT),
        (200, {"error": {}}, Kind.IN_DOUBT),
    ],
)
async def test_any_other_answer_has_a_kind(
    session: aiohttp.ClientSession, status: int, body: object, kind: Kind
) -> None:
    """A 200 that names no message may have sent it; a page of a proxy is no reason to fail it."""
    async with serving(answering(status, body, {"Location": "http://127.0.0.1:1/"})) as url:
        assert (await failure(send(client_of(session, url)))).kind is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({"Retry-After": "999999999"}, 3600.0), ({"Retry-After": "soon"}, 5.0), ({}, 5.0)],
)
async def test_retry_after_is_honoured(session: aiohttp.ClientSession, headers: dict[str, str], seconds: float) -> None:
    """In seconds; without it a rate limit has its usual pause."""
    async with serving(answering(400, {"error": {"code": 130429}}, headers)) as url:
        error = await failure(send(client_of(session, url)))
    assert (error.kind, error.retry_after) == (Kind.EVERYBODY, seconds)


# -- what happens to the connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid", "https://127.0.0.1:{tls}"]
)
async def test_where_nothing_answers_nothing_was_sent(
    session: aiohttp.ClientSession, base_url: str, unused_tcp_port: int
) -> None:
    """Refused, no such name, no TLS: the service is down, and no message is in doubt."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        url = base_url.format(port=unused_tcp_port, tls=server.sockets[0].getsockname()[1])
        for call in (send(client_of(session, url)), client_of(session, url).mark_read("wamid.1", typing=True)):
            assert (await failure(call)).kind is Kind.DOWN


async def test_a_connection_that_is_not_made_in_time_sent_nothing() -> None:
    """Waiting for a connection ends before the whole call's time does, and says so."""
    holding = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        holding.set()
        await asyncio.Event().wait()
        raise AssertionError

    connector = aiohttp.TCPConnector(limit=1)  # a second call can't even connect
    async with serving(handler) as url, aiohttp.ClientSession(connector=connector) as session:
        first = asyncio.ensure_future(send(client_of(session, url)))
        await holding.wait()
        assert (await failure(send(client_of(session, url, timeout_seconds=0.2)))).kind is Kind.DOWN
        first.cancel()


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("cut", {}),
        ("cut", {"after": True}),
        ("hang", {}),
        ("cut_body", {}),
        ("broken", {}),
        ("drip", {"seconds": 30.0}),
    ],
)
async def test_a_send_whose_answer_does_not_arrive_is_in_doubt(
    session: aiohttp.ClientSession, emulator: Emulator, fault: str, fields: dict[str, Any]
) -> None:
    """After the bytes left nobody knows; the same fault to a read mark is only worth a later try."""
    client = client_of(session, emulator.graph_url, timeout_seconds=0.3)
    emulator.faults.add(fault, service="graph.send", **fields)
    assert (await failure(send(client))).kind is Kind.IN_DOUBT
    emulator.faults.add(fault, service="graph.read", **fields)
    assert (await failure(client.mark_read("wamid.1", typing=True))).kind is Kind.LATER


async def test_a_kept_connection_that_the_server_closed_is_never_tried_twice(session: aiohttp.ClientSession) -> None:
    """The request may have arrived before the close: in doubt, and sent once only."""
    seen = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        await request.read()
        if seen == 2:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"messages": [{"id": "wamid.1"}]})

    async with serving(handler) as url:
        client = client_of(session, url)
        await send(client)
        assert (await failure(send(client))).kind is Kind.IN_DOUBT
        assert seen == 2


def test_a_client_shows_no_secret(session: aiohttp.ClientSession) -> None:
    """Neither its repr nor that of its parts that a traceback may print."""
    assert TOKEN not in repr(client_of(session, "http://127.0.0.1:1"))


@pytest.mark.parametrize(("ahead", "off"), [(-400, True), (-200, False), (0, False), (200, False), (400, True)])
async def test_the_date_of_an_answer_tells_whether_our_clock_is_wrong(
    client: GraphClient, emulator: Emulator, ahead: int, off: bool
) -> None:
    """By more than five minutes, in either direction; nothing is known before the first answer."""
    emulator.settings.clock_offset_seconds = ahead
    assert client.clock_off is None
    await client.phone_number()
    assert client.clock_off is off


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 24 Nov 2026 10:00:00 -0000"])
async def test_an_answer_without_a_date_says_nothing_of_our_clock(session: aiohttp.ClientSession, date: str) -> None:
    """Nor does one that can't be read."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"id": "1"}, headers={"Date": date})

    async with serving(answer) as address:
        client = client_of(session, address)
        await client.phone_number()
        assert client.clock_off is None


async def test_a_template_goes_out_with_its_one_parameter(client: GraphClient, emulator: Emulator) -> None:
    """In one line and not too long, whatever it is filled in with; to whoever, whenever they wrote."""
    emulator.settings.window_hours = 24
    wamid = await client.send_template(
        ANA, "alert", "en", "one\n\ntwo\tthree       four " + "x" * 2000, callback="cb.1"
    )
    [entry] = emulator.log.of("graph.send")
    assert (entry.wamid, entry.accepted, entry.callback_data) == (wamid, True, "cb.1")
    assert entry.text.startswith("one two three four xxx")
    assert len(entry.text) == 1024
    assert entry.request["to"] == "+16505551234"
    assert entry.request["template"] == {
        "name": "alert",
        "language": {"code": "en"},
        "components": [{"type": "body", "parameters": [{"type": "text", "text": entry.text}]}],
    }


async def test_a_template_that_is_not_there_says_so(client: GraphClient) -> None:
    """In another language it is another template."""
    error = await failure(client.send_template(ANA, "alert", "es", "my words", callback="cb.1"))
    assert error.code == "132001"
    assert "does not exist in es" in error.reason


async def test_a_text_outside_of_the_24_hours_is_expired(client: GraphClient, emulator: Emulator) -> None:
    """131047."""
    emulator.settings.window_hours = 24
    error = await failure(send(client))
    assert (error.kind, error.code) == (Kind.EXPIRED, "131047")
