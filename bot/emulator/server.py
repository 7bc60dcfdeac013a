"""Put the emulator together: one server on one port that plays Meta's Graph API and OpenAI's API."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from bot.emulator import payloads
from bot.emulator.chats import Bubble, Chats, Customer
from bot.emulator.control import Control
from bot.emulator.delivery import Deliveries, card
from bot.emulator.faults import Faults
from bot.emulator.graph import GraphApi
from bot.emulator.journal import Entry, Journal
from bot.emulator.lean import LeanApi
from bot.emulator.model import ModelApi
from bot.emulator.settings import Settings

_T = TypeVar("_T")
Who = Customer | str  # a customer, or the phone or BSUID of one


class Emulator:
    """Run the emulator inside this process: `async with Emulator(Settings(…)) as emu`.

    Parts that tests reach for: `settings` (may be changed while it runs), `log`, `faults`, `chats`, `model`
    (`script`, `responder`), `graph` (`add_media`), `deliveries` (`plans`, `post`, `deliver`, `hurry`).
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.log = Journal(keep=self.settings.log, limit=self.settings.log_limit, ended=self._show)
        self.faults = Faults(self.settings.seed)
        self.chats = Chats(self.log.notify)
        self.deliveries = Deliveries(self.settings, self.log, self.chats)
        self._closing = asyncio.Event()
        self.graph = GraphApi(self.settings, self.log, self.faults, self.chats, self.deliveries, self._closing)
        self.model = ModelApi(self.settings, self.log, self.faults, self.chats, self._closing)
        self._runner: web.BaseRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Give the address of the server."""
        return f"http://{self.settings.host}:{self._port}"

    @property
    def graph_url(self) -> str:
        """Give what stands in for https://graph.facebook.com."""
        return self.url

    @property
    def model_url(self) -> str:
        """Give what stands in for https://api.openai.com/v1."""
        return self.url + "/v1"

    async def start(self) -> None:
        """Open the server. Raises OSError when the port is taken."""
        try:
            await self._open()
        except BaseException:  # a start that was cancelled leaves nothing open either
            await self.close()
            raise

    async def _open(self) -> None:
        await self.deliveries.open()
        if self.settings.lean:
            lean = LeanApi(self.settings, self.log, self.deliveries)
            self._runner = web.ServerRunner(web.Server(lean.handle), shutdown_timeout=0.1)
        else:
            self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Drop deliveries, let go of hanging requests and close the server."""
        self._closing.set()
        self.chats.close()
        await self.deliveries.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def customer(self, name: str, *, wa_id: str = "", user_id: str = "", username: str = "") -> Customer:
        """Register somebody who writes: with a phone (digits), a BSUID, or both."""
        return self.chats.add(Customer(name, wa_id, user_id, username))

    async def say(self, who: Who, text: str, **head: Any) -> str:
        """Write a text as a customer and wait until the webhook is answered 200. Returns the wamid.

        `head`: wamid, timestamp, context. Raises Undelivered when it never is.
        """
        return await self.send(who, payloads.text_message, body=text, **head)

    async def send(self, who: Who, build: Callable[..., payloads.Json], **content: Any) -> str:
        """Send what a builder of payloads.py makes, as a customer: `send(ana, image_message, caption="…")`."""
        payload = self.compose([(who, build, content)])
        await self.deliveries.deliver(payload)
        return str(_messages(payload)[0]["id"])

    async def burst(self, who: Who, texts: Sequence[str], *, shuffled: bool = False) -> list[str]:
        """Write several texts at once: a webhook each, delivered concurrently, a second apart by timestamp."""
        first = int(time.time()) - len(texts) + 1
        order = [
            self.compose([(who, payloads.text_message, {"body": text, "timestamp": first + n})])
            for n, text in enumerate(texts)
        ]
        leaving = random.Random(self.settings.seed).sample(order, len(order)) if shuffled else order
        await asyncio.gather(*(self.deliveries.deliver(payload) for payload in leaving))
        return [str(_messages(payload)[0]["id"]) for payload in order]

    async def batch(self, messages: Iterable[tuple[Who, str]]) -> list[str]:
        """Write texts of several customers in a single webhook. Returns the wamids."""
        payload = self.compose([(who, payloads.text_message, {"body": text}) for who, text in messages])
        await self.deliveries.deliver(payload)
        return [str(message["id"]) for message in _messages(payload)]

    async def redeliver(self, which: Who | Bubble) -> int:
        """Post a webhook once more as it was: of a message, or the last one of a customer. Returns the HTTP status.

        Raises ValueError when the customer wrote nothing yet.
        """
        if not isinstance(which, Bubble):
            found = self.chats.bubble(which) if isinstance(which, str) else None
            which = found or self._last(which)
        return await self.deliveries.post(which.payload)

    async def warn(self, field: str, **value: Any) -> payloads.Json:
        """Tell something of the account, e.g. `warn("security", event="PIN_CHANGED")`. Returns the webhook."""
        payload = payloads.account_webhook(field, value, waba_id=self.settings.waba_id)
        await self.deliveries.deliver(payload)
        return payload

    def compose(self, messages: Iterable[tuple[Who, Callable[..., payloads.Json], dict[str, Any]]]) -> payloads.Json:
        """Build one webhook from (customer, builder, content) and show its messages; deliver it yourself."""
        built, contacts = [], {}
        for who, build, content in messages:
            customer = self._customer(who)
            message = build(wa_id=customer.wa_id, user_id=customer.user_id, **content)
            built.append((customer, message))
            if message["type"] != "system":  # Meta leaves the contacts of those out
                contacts[customer.key] = card(customer)
        payload = self.deliveries.wrap(messages=[message for _, message in built], contacts=list(contacts.values()))
        for customer, message in built:
            quotes = message.get("context", {}).get("id", "")
            bubble = Bubble(message["id"], customer.key, "in", _shown(message), message["type"], quotes=quotes)
            bubble.tick, bubble.payload = "sent", payload
            self.chats.put(bubble)
        return payload

    def fail_model(self, who: Who, *, times: int = 1, status: int = 500) -> int:
        """Make the model fail for the next requests about this customer's words. Returns the fault's number."""
        return self.faults.add("error", service="model", user=self._customer(who).key, times=times, status=status)

    def sends(self, who: Who = "") -> list[str]:
        """List the texts that went out, oldest first, to one customer or to all."""
        ids = self._customer(who).ids if who else ""
        return [entry.text for entry in self.log.of("graph.send", ids) if entry.accepted]

    async def wait_for(self, predicate: Callable[[], _T], timeout: float = 5.0) -> _T:
        """Wait, without polling, until `predicate` is truthy, and return what it says. Raises TimeoutError."""
        return await self.log.wait_for(predicate, timeout)

    def subscribe(self) -> AbstractContextManager[AsyncIterator[dict[str, Any]]]:
        """Follow the chats live: `with emu.subscribe() as events: async for event in events` (see Chats)."""
        return self.chats.feed()

    def _customer(self, who: Who) -> Customer:
        return who if isinstance(who, Customer) else self.chats.meet(who)

    def _show(self, entry: Entry) -> None:
        bubble = self.chats.bubble(entry.wamid.partition(" ")[0])
        shown = {key: getattr(entry, key) for key in ("service", "status", "code", "fault", "typing")}
        took = round(((entry.ended_at or entry.began_at) - entry.began_at) * 1000)
        about = {"customer": bubble.customer if bubble else entry.user, "what": _about(entry.request), "ms": took}
        self.chats.tell({"type": "call", **shown, **about})

    def _last(self, who: Who) -> Bubble:
        for bubble in reversed(self.chats.bubbles[self._customer(who).key].values()):
            if bubble.payload:
                return bubble
        raise ValueError("this customer wrote nothing yet")

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 2**20)
        app.add_routes([*self.model.routes(), *Control(self).routes(), *self.graph.routes()])
        app.on_response_prepare.append(self._date)
        return app

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        if self.settings.clock_offset_seconds:
            shown = datetime.now(UTC) + timedelta(seconds=self.settings.clock_offset_seconds)
            response.headers["Date"] = format_datetime(shown, usegmt=True)


def _messages(payload: payloads.Json) -> list[payloads.Json]:
    found: list[payloads.Json] = payload["entry"][0]["changes"][0]["value"]["messages"]
    return found


def _about(request: Any) -> str:
    """Name what a webhook carries: the status, or the number of messages."""
    try:
        value = request["entry"][0]["changes"][0]["value"]
        return str(value["statuses"][0]["status"] if "statuses" in value else len(value["messages"]))
    except (KeyError, IndexError, TypeError):
        return ""  # no webhook, or one that is odd on purpose


def _shown(message: payloads.Json) -> str:
    """Give the words by which a chat shows a message."""
    kind = message["type"]
    content = message.get(kind, {})
    if kind == "edit":
        return str(content["message"]["text"]["body"])
    reply = content.get("button_reply") or content.get("list_reply") or {}
    for words in (content.get("body"), content.get("caption"), content.get("text"), content.get("emoji")):
        if words:
            return str(words)
    return str(reply.get("title") or content.get("name") or "")
