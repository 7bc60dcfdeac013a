"""Serve the chat page: a phone in the browser from which one writes as one of several customers."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.emulator import Customer, Emulator, Undelivered, payloads

STATIC = Path(__file__).parent / "static"
CUSTOMERS = (
    Customer("Ana Torres", wa_id="5215512345678", user_id="MX.30000000000000000001"),
    Customer("Kwame Mensah", user_id="GH.13491208655302741918", username="kwame.m"),
    Customer("Sheena Nelson", wa_id="16505551234", user_id="US.20000000000000000002"),
    Customer("Diego Paz", wa_id="5491122334455"),
    Customer("Lucía Ferrer", wa_id="34600123456", user_id="ES.40000000000000000003"),
)
# By what the model answers on a customer's next message: tried again later, or never.
FAILURES = {"once": 500, "refuse": 400}
ATTACHMENTS: dict[str, tuple[Callable[..., payloads.Json], dict[str, Any]]] = {
    "photo": (payloads.image_message, {}),
    "caption": (payloads.image_message, {"caption": "¿Tienen esta maceta en azul?"}),
    "voice": (payloads.audio_message, {}),
    "location": (payloads.location_message, {"name": "Parque México"}),
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
STREAMS = web.AppKey("STREAMS", set[asyncio.Task[Any]])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def chat_app(emulator: Emulator, status_url: str, *, real_model: bool = False) -> web.Application:
    """Build the chat page over a running emulator; `status_url` is the daemon's status page, with its slash.

    With `real_model` the emulator isn't asked for answers, so the page offers no failing model.
    """
    for customer in CUSTOMERS:
        if emulator.chats.find(customer.key) is None:
            emulator.chats.add(customer)
    app = web.Application(middlewares=[_guard])
    app[STREAMS] = set()
    app.on_shutdown.append(_end_streams)
    page = _Page(emulator, status_url, real_model=real_model)
    app.add_routes(
        [
            web.get("/", page.index),
            web.get("/state", page.state),
            web.get("/events", page.events),
            web.post("/say", page.say),
            web.post("/attach", page.attach),
            web.post("/burst", page.burst),
            web.post("/fail", page.fail),
            web.post("/redeliver", page.redeliver),
            web.post("/warn", page.warn),
            web.static("/static", STATIC),
        ]
    )
    return app


class _Page:
    """Answer what the page asks for."""

    def __init__(self, emulator: Emulator, status_url: str, *, real_model: bool) -> None:
        self._emulator = emulator
        self._status_url = status_url
        self._real_model = real_model

    async def index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "chat.html")

    async def state(self, request: web.Request) -> web.Response:
        """Give everything that a page which was just (re)loaded has to show."""
        chats, settings = self._emulator.chats, self._emulator.settings
        return web.json_response(
            {
                "shop": settings.verified_name,
                "number": settings.display_phone_number,
                "status_url": self._status_url,
                "real_model": self._real_model,
                "customers": [{**asdict(who), "key": key} for key, who in chats.customers.items()],
                "bubbles": {key: [b.as_json() for b in chat.values()] for key, chat in chats.bubbles.items()},
                "typing": list(chats.typing),
            }
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream what happens, from the moment on at which the answer's headers arrive."""
        with self._emulator.subscribe() as events, _among(request.app[STREAMS]):
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            await stream.write(b"retry: 1000\n\n")
            with contextlib.suppress(ConnectionError):  # the browser went away
                async for event in events:
                    await stream.write(f"data: {json.dumps(event)}\n\n".encode())
        return stream

    async def say(self, request: web.Request) -> web.Response:
        asked = await request.json()
        text = str(asked["text"]).strip()[:4096]
        if not text:
            raise web.HTTPBadRequest(text="there is nothing to say")
        self._deliver(asked, payloads.text_message, {"body": text})
        return web.json_response({})

    async def attach(self, request: web.Request) -> web.Response:
        asked = await request.json()
        build, content = ATTACHMENTS[asked["kind"]]
        self._deliver(asked, build, content)
        return web.json_response({})

    async def burst(self, request: web.Request) -> web.Response:
        """Write several messages at once, each in a webhook of its own, in whatever order they arrive."""
        asked = await request.json()
        texts = [str(text) for text in asked["texts"]][:20]
        with contextlib.suppress(Undelivered):  # the ticks show it
            await self._emulator.burst(self._customer(asked), texts)
        return web.json_response({})

    async def fail(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._emulator.fail_model(self._customer(asked), status=FAILURES[asked["how"]])
        return web.json_response({})

    async def redeliver(self, request: web.Request) -> web.Response:
        """Post the customer's last webhook again, as Meta does when it missed the 200."""
        try:
            status = await self._emulator.redeliver(self._customer(await request.json()))
        except ValueError as nothing:
            raise web.HTTPConflict(text=str(nothing)) from None
        return web.json_response({"status": status})

    async def warn(self, request: web.Request) -> web.Response:
        """Tell what WhatsApp tells where people block or report a number."""
        self._emulator.deliveries.spawn(self._emulator.warn("phone_number_quality_update", event="FLAGGED"))
        return web.json_response({})

    def _deliver(self, asked: Any, build: Callable[..., payloads.Json], content: dict[str, Any]) -> None:
        payload = self._emulator.compose([(self._customer(asked), build, content)])
        self._emulator.deliveries.spawn(self._emulator.deliveries.deliver(payload))

    def _customer(self, asked: Any) -> Customer:
        return self._emulator.chats.customers[asked["customer"]]


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take verbs from our own page alone.

    A foreign page can't send JSON here without asking first; one whose name was pointed at us shows in Host.
    """
    if request.url.host not in LOOPBACK:
        raise web.HTTPForbidden(text="open the demo as http://127.0.0.1 or http://localhost")
    if request.method == "POST" and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON")
    try:
        response = await handler(request)
    except (KeyError, TypeError, json.JSONDecodeError) as wrong:
        raise web.HTTPBadRequest(text=f"missing or odd: {wrong}") from None
    if not response.prepared:
        response.headers.update({"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})
    return response


@contextlib.contextmanager
def _among(tasks: set[asyncio.Task[Any]]) -> Any:
    task = asyncio.current_task()
    assert task is not None
    tasks.add(task)
    try:
        yield
    finally:
        tasks.discard(task)


async def _end_streams(app: web.Application) -> None:
    # An open stream would hold up the shutdown until its timeout.
    streams = app[STREAMS]
    for task in list(streams):
        task.cancel()
