"""What keeps open pages live: one task draws each page that somebody watches, all its watchers get what changed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from bot.errors import StoreError
from bot.logs import owned
from bot.store.store import Store
from bot.web.guard import VISITOR, Visitor

MOST_WATCHERS = 100
LEAST_SECONDS, MOST_SECONDS = 1.0, 8.0  # between two drawings
WARM_UP_SECONDS = 2.0  # after the start, which has better things to do
IDLE_SECONDS = 5.0  # after which ages are drawn anew though nothing changed
REST = 200  # times what drawing and sending took: 0.5 % of a core
PING_SECONDS = 15.0
NOSNIFF = {"X-Content-Type-Options": "nosniff"}  # a page's other headers say what it may load

Draw = Callable[[str, Mapping[str, str], Visitor], Awaitable[Mapping[str, str]]]
View = tuple[str, Visitor]  # a page's path and query, as those see it who may see the same
Parts = dict[str, str]  # by id, as JSON


class Live:
    """Serve `GET /events?view=/users/u17`: events `parts`, whose data is `{part: html}`, all at first, then changes.

    A watcher that reads slowly skips what it had no time for: it gets the newest, and nobody waits for it.
    """

    def __init__(self, store: Store, reasons: Mapping[str, str], draw: Draw) -> None:
        self._store, self._reasons, self._draw = store, reasons, draw
        self._watchers: list[View] = []  # each one's page
        self._parts: dict[View, Parts] = {}
        self._drawn, self._ended = asyncio.Event(), False

    def join(self, app: web.Application) -> None:
        """Become a part of an app: drawing while it runs, and at its shutdown gone at once."""
        app.router.add_get("/events", self.events, allow_head=False)
        app.cleanup_ctx.append(self._running)
        app.on_shutdown.append(self._end)

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        async with owned(self._warm_up()), owned(self._keep_drawing()):
            yield

    async def _end(self, _: web.Application) -> None:
        self._ended = True
        self._drawn.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Keep one page live until it is closed, or the daemon stops."""
        if len(self._watchers) >= MOST_WATCHERS:
            raise web.HTTPServiceUnavailable(reason="too many live pages are open; this one can be reloaded by hand")
        view = (request.query.get("view", "/"), Visitor(request[VISITOR].role, "", request[VISITOR].hides))
        response, sent = EventSourceResponse(headers=NOSNIFF, ping_interval=PING_SECONDS), Parts()
        self._watchers.append(view)  # before anything is waited for: who comes next has to count it
        try:
            # Anew, or a page would fall back to how it was before its last click; where there is none, this says so.
            self._parts[view] = await self._draw_one(view)
            await response.prepare(request)
            async with response:
                while not self._ended and request.transport is not None:
                    if changed := dict(self._parts[view].items() - sent.items()):
                        sent |= changed
                        event = ", ".join(f'"{name}": {html}' for name, html in changed.items())
                        await response.send(f"{{{event}}}", event="parts", retry=2000)
                    else:
                        await self._drawn.wait()
        except (ConnectionError, TimeoutError):
            pass  # it went away, or hasn't read for minutes
        finally:
            self._watchers.remove(view)
        return response

    async def _draw_one(self, view: View) -> Parts:
        path, _, query = view[0].partition("?")
        drawn = await self._draw(unquote(path), dict(parse_qsl(query)), view[1])
        return {name: json.dumps(html) for name, html in drawn.items()}

    async def _warm_up(self) -> None:
        """Draw once for nobody: whoever looks first waits neither for templates nor for a cold file."""
        await asyncio.sleep(WARM_UP_SECONDS)
        with contextlib.suppress(Exception):
            await self._draw_one(("/", Visitor("reader", "", hides=False)))

    async def _keep_drawing(self) -> None:
        seen: tuple[object, ...] = ()
        while True:
            began = time.process_time()
            with contextlib.suppress(StoreError):  # the store tells that itself
                known = (self._store.trouble, *self._reasons.values(), time.monotonic() // IDLE_SECONDS)
                if self._watchers and (state := (await self._store.insights.changes(), *known)) != seen:
                    await self._draw_all()
                    seen = state
            # The process's whole time: while there is more important work, pages are drawn less often. But one costly
            # drawing, as the first after a start, doesn't leave them behind for a minute.
            await asyncio.sleep(min(max(LEAST_SECONDS, REST * (time.process_time() - began)), MOST_SECONDS))

    async def _draw_all(self) -> None:
        for view in set(self._watchers):  # one after the other: who asks for a page meanwhile waits for one of them
            with contextlib.suppress(Exception):  # stays as it was; asked for as a page, it says why
                self._parts[view] = await self._draw_one(view)
        self._parts = {view: parts for view, parts in self._parts.items() if view in self._watchers}
        self._drawn.set()  # whoever waits now
        self._drawn.clear()
        await asyncio.sleep(0)  # they send, which counts as well
