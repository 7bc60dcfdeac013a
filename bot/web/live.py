"""What keeps open pages live: one task draws each page that somebody watches, all its watchers get what changed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from traceback import format_tb

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from yarl import URL

from bot.errors import StoreError
from bot.store.store import Store
from bot.web.guard import VISITOR, Visitor

log = structlog.get_logger(__name__)
MOST_WATCHERS = 100
LEAST_SECONDS = 1.0  # between two drawings
IDLE_SECONDS = 5.0  # after which ages are drawn anew though nothing changed
REST = 200  # times what drawing and sending took: 0.5 % of a core
PING_SECONDS = 15.0

Parts = Mapping[str, str]
Draw = Callable[[str, Mapping[str, str], Visitor], Awaitable[Parts]]


@dataclass(slots=True)
class _View:
    """A page that is watched: its parts with the round each last changed in, and the event since a round."""

    url: URL
    visitor: Visitor  # as what they watch, for those who may see the same
    watchers: int = 0
    round: int = 0
    parts: dict[str, tuple[int, str]] = field(default_factory=dict)
    events: dict[int, str] = field(default_factory=dict)

    def take(self, drawn: Parts) -> None:
        """Note what was drawn."""
        self.round += 1
        self.events.clear()
        for name, html in drawn.items():
            if self.parts.get(name, (0, None))[1] != html:
                self.parts[name] = (self.round, html)

    def since(self, seen: int) -> str:
        """Return what changed after a round, as one event for all who saw that one; "" where nothing did."""
        if seen not in self.events:
            changed = {name: html for name, (at, html) in self.parts.items() if at > seen}
            self.events[seen] = json.dumps(changed) if changed else ""
        return self.events[seen]


class Live:
    """Serve `GET /events?view=/users/u17`: events `parts`, whose data is `{part: html}`, all at first, then changes.

    A watcher that reads slowly skips what it had no time for: it gets the newest, and nobody waits for it.
    """

    def __init__(self, store: Store, reasons: Mapping[str, str], draw: Draw) -> None:
        self._store, self._reasons, self._draw = store, reasons, draw
        self._views: dict[tuple[URL, Visitor], _View] = {}
        self._watched, self._ended = asyncio.Event(), False
        self._drawn = asyncio.Event()  # of this round; the next has its own

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Draw while the app runs."""
        task = asyncio.create_task(self._keep_drawing(), name="live")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def end(self, _: web.Application) -> None:
        """Let the watchers go: an open page must not hold up a stop."""
        self._ended = True
        self._drawn.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Keep one page live until it is closed, or the daemon stops."""
        if sum(view.watchers for view in self._views.values()) >= MOST_WATCHERS:
            raise web.HTTPServiceUnavailable(reason="too many live pages are open; this one can be reloaded by hand")
        view, seen = await self._view(request.query.get("view", "/"), request[VISITOR]), 0
        view.watchers += 1
        self._watched.set()
        response = EventSourceResponse(headers={"X-Content-Type-Options": "nosniff"}, ping_interval=PING_SECONDS)
        try:
            await response.prepare(request)
            async with response:
                while not self._ended and response.is_connected() and request.transport is not None:
                    drawn = self._drawn
                    if event := view.since(seen):
                        seen = view.round
                        await response.send(event, event="parts", retry=2000)
                    else:
                        await drawn.wait()
        except (ConnectionError, TimeoutError):
            pass  # it went away, or hasn't read for minutes
        finally:
            view.watchers -= 1
            if not view.watchers:
                self._views.pop((view.url, view.visitor), None)
        return response

    async def _view(self, address: str, visitor: Visitor) -> _View:
        """Return a view that is watched already, or draw it. Raises NotFound where there is no such page."""
        try:
            url, visitor = URL(address), Visitor(visitor.role, "", visitor.hides)
        except ValueError:
            raise web.HTTPBadRequest(reason="view must be the path of a page") from None
        if (view := self._views.get((url, visitor))) is None:
            view = _View(url, visitor)
            view.take(await self._draw(url.path, url.query, visitor))
        return self._views.setdefault((url, visitor), view)

    async def _keep_drawing(self) -> None:
        seen: Sequence[object] = ()
        drawn_at = 0.0
        while True:
            if not self._views:
                self._watched.clear()
            await self._watched.wait()
            began, now = time.process_time(), time.monotonic()
            with contextlib.suppress(StoreError):  # the store tells that itself
                state = (await self._store.insights.changes(), self._store.trouble, *self._reasons.values())
                if state != seen or now - drawn_at > IDLE_SECONDS:
                    seen, drawn_at = state, now
                    await self._draw_all()
            # The process's whole time: while there is more important work, pages are drawn less often.
            await asyncio.sleep(max(LEAST_SECONDS, REST * (time.process_time() - began)))

    async def _draw_all(self) -> None:
        for view in list(self._views.values()):
            try:
                view.take(await self._draw(view.url.path, view.url.query, view.visitor))
            except StoreError:
                continue  # somebody who is gone, or a file that can't be read: the page stays as it was
            except Exception as error:  # one page that can't be drawn must not stop the others
                log.error("page not drawn", error=type(error).__name__, trace=format_tb(error.__traceback__))
        drawn, self._drawn = self._drawn, asyncio.Event()
        drawn.set()
        await asyncio.sleep(0)  # they send now, which counts as well
