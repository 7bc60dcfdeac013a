"""The chat page: a phone in the browser over the emulator."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application

from bot.demo.chat import ATTACHMENTS, CUSTOMERS, STATIC, chat_app
from bot.emulator import Bubble, Emulator, Settings, StatusPlan
from tests.unit.emulator_hook import Hook

ANA, KWAME = CUSTOMERS[0].key, CUSTOMERS[1].key
STATUS_URL = "http://127.0.0.1:8081/"

Page = TestClient[Any, Any]
Ask = Callable[..., Awaitable[tuple[int, Any]]]


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
    async with Emulator(Settings(webhook_url=hook.url, statuses=StatusPlan(names=()))) as emulator:
        yield emulator


@pytest.fixture
async def page(emu: Emulator) -> AsyncIterator[Page]:
    """Open the chat page's server."""
    async with TestClient(TestServer(chat_app(emu, STATUS_URL))) as client:
        yield client


@pytest.fixture
def ask(page: Page) -> Ask:
    """Press a button of the page."""

    async def press(verb: str, **body: Any) -> tuple[int, Any]:
        async with page.post(f"/{verb}", json={"customer": ANA, **body}) as response:
            return response.status, await response.text()

    return press


async def test_the_page_brings_all_that_it_needs(page: Page) -> None:
    """No build step and nothing from elsewhere: each address in the page is our own, and is served."""
    html = await (await page.get("/")).text()
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", html)
    script = (STATIC / "chat.js").read_text(encoding="utf-8")
    imported = re.findall(r"from \"\./([\w.]+)\"", script)
    for path in [*re.findall(r"(?:src|href)=\"(/[^\"]+)\"", html), *(f"/static/{name}" for name in imported)]:
        assert (await page.get(path)).status == 200, path
    assert "default-src 'none'" in (await page.get("/")).headers["Content-Security-Policy"]


async def test_the_script_finds_every_element_that_it_asks_for(page: Page) -> None:
    """An id that was renamed in one of the two files would leave a dead button."""
    html = await (await page.get("/")).text()
    script = (STATIC / "chat.js").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\(\"([\w-]+)\"\)", script))
    assert len(asked) > 10
    assert asked <= set(re.findall(r"\bid=\"([\w-]+)\"", html))
    assert set(re.findall(r"data-kind=\"(\w+)\"", html)) == set(ATTACHMENTS)


def test_the_page_says_nothing_in_the_browsers_words_and_hides_no_message() -> None:
    """ "Failed to fetch" is no sentence for people; what is said stands beside the messages, not on top of them."""
    assert not re.search(r"toast\(\w*error", (STATIC / "chat.js").read_text(encoding="utf-8"))
    (toast,) = re.findall(r"\.toast \{([^}]*)\}", (STATIC / "chat.css").read_text(encoding="utf-8"))
    assert not re.search("absolute|fixed", toast)


async def test_a_reload_loses_nothing(emu: Emulator, page: Page, ask: Ask) -> None:
    """The state names the customers, one of them without a phone, and holds every message so far."""
    assert (await ask("say", text=" ¿Hola? "))[0] == 200
    await emu.wait_for(lambda: emu.chats.bubbles[ANA] and emu.deliveries.pending == 0)
    state = await (await page.get("/state")).json()
    assert state["status_url"] == STATUS_URL
    assert len(state["customers"]) == 5
    assert [who["key"] for who in state["customers"] if not who["wa_id"]] == [KWAME]
    [bubble] = state["bubbles"][ANA]
    assert (bubble["text"], bubble["direction"], bubble["tick"]) == ("¿Hola?", "in", "delivered")
    assert "payload" not in bubble


async def test_an_earlier_conversation_is_shown(emu: Emulator, page: Page) -> None:
    """The emulator forgets when it ends; whoever starts it again hands the conversation over."""
    emu.chats.restore([Bubble("wamid.1", KWAME, "in", "hi"), Bubble("wamid.2", KWAME, "out", "hello")])
    state = await (await page.get("/state")).json()
    assert [bubble["text"] for bubble in state["bubbles"][KWAME]] == ["hi", "hello"]


async def test_what_happens_is_streamed(emu: Emulator, page: Page, ask: Ask) -> None:
    """A message appears on every open page, with its tick and the calls behind it."""
    async with page.get("/events") as stream:
        await ask("say", text="hello")
        seen: list[tuple[str, str]] = []
        async with asyncio.timeout(5):
            while ("call", ANA) not in seen:
                line = await stream.content.readline()
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    seen.append((event["type"], event.get("customer", "")))
    assert [kind for kind, _ in seen][:1] == ["bubble"]


async def test_an_open_page_does_not_hold_up_the_end(emu: Emulator) -> None:
    """Streams end with the server, within a moment and not at its timeout."""
    client: Page = TestClient(TestServer(chat_app(emu, STATUS_URL)))
    await client.start_server()
    stream = await client.get("/events")
    assert (await stream.content.readline()).startswith(b"retry")
    async with asyncio.timeout(2):
        await client.server.close()
    await client.close()


async def test_a_burst_arrives_as_single_webhooks(hook: Hook, ask: Ask) -> None:
    """Five messages, five webhooks, each later than the one before by its timestamp."""
    texts = ["1", "2", "3", "4", "5"]
    assert (await ask("burst", texts=texts))[0] == 200
    messages = [value["messages"][0] for value in hook.values]
    in_order = sorted(messages, key=lambda message: int(message["timestamp"]))
    assert [message["text"]["body"] for message in in_order] == texts


@pytest.mark.parametrize("kind", sorted(ATTACHMENTS))
async def test_more_than_texts_can_be_sent(emu: Emulator, hook: Hook, ask: Ask, kind: str) -> None:
    """What this version of the daemon can't read is part of the show."""
    assert (await ask("attach", kind=kind))[0] == 200
    await emu.wait_for(lambda: hook.bodies)
    assert hook.values[0]["messages"][0]["type"] in {"image", "audio", "location"}


@pytest.mark.parametrize(("how", "status"), [("once", 500), ("refuse", 400)])
async def test_the_model_fails_for_the_next_message_of_that_customer(
    emu: Emulator, ask: Ask, how: str, status: int
) -> None:
    """Others don't feel it."""
    assert (await ask("fail", how=how))[0] == 200
    [fault] = emu.faults.list().values()
    assert (fault.service, fault.user, fault.times, fault.status) == ("model", ANA, 1, status)


async def test_the_last_webhook_comes_again(hook: Hook, ask: Ask) -> None:
    """The same bytes; a customer who wrote nothing has none."""
    assert (await ask("redeliver"))[0] == 409
    await ask("burst", texts=["once"])
    assert json.loads((await ask("redeliver"))[1]) == {"status": 200}
    assert hook.bodies[0] == hook.bodies[1]


async def test_whatsapp_can_be_let_warn(emu: Emulator, hook: Hook, ask: Ask) -> None:
    """As it does of the account, not of a customer."""
    assert (await ask("warn"))[0] == 200
    await emu.wait_for(lambda: hook.bodies)
    assert hook.values == [{"event": "FLAGGED"}]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("say", {}),
        ("say", {"text": "  "}),
        ("say", {"text": "hi", "customer": "nobody"}),
        ("fail", {"how": "softly"}),
        ("attach", {"kind": "scent"}),
    ],
)
async def test_odd_requests_are_told_so(ask: Ask, verb: str, body: dict[str, str]) -> None:
    """400 with a reason, never a stack trace."""
    status, says = await ask(verb, **body)
    assert status == 400
    assert says


async def test_a_foreign_page_cannot_press_the_buttons(page: Page, hook: Hook) -> None:
    """A form of another site can't send JSON without the browser asking first, and nobody answers that."""
    body = json.dumps({"customer": ANA, "text": "spend your money"})
    response = await page.post("/say", data=body, headers={"Content-Type": "text/plain"})
    assert response.status == 415
    assert (await page.options("/say")).status == 405
    rebound = await page.get("/state", headers={"Host": "evil.example:8082"})
    assert rebound.status == 403
    assert hook.bodies == []
