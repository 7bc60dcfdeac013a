"""Live pages over real sockets: what is sent when, to whom, and that nobody has to wait for somebody else's page."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.testing import capture_logs

from bot.errors import NotFound, StoreUnavailable
from bot.store.store import Store
from bot.web.guard import VISITOR, Visitor
from bot.web.live import Live
from bot.web.page import PARTS, _templates
from bot.web.server import runner
from tests.flow.conftest import World
from tests.flow.listeners import a_store, a_window, exchange, request
from tests.flow.people import fail, wait

ANA, BEA = "5215512345678", "5215587654321"
STATUS = set(PARTS["status.html"])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as soon as something changed, and say often that the connection lives."""
    monkeypatch.setattr("bot.web.live.LEAST_SECONDS", 0.01)
    monkeypatch.setattr("bot.web.live.REST", 0)
    monkeypatch.setattr("bot.web.live.PING_SECONDS", 0.05)
    monkeypatch.setattr("bot.web.live.WARM_UP_SECONDS", 3600)  # nobody draws what nobody watches


class Open:
    """An open page: what was sent to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.pings = reader, writer, 0

    async def block(self) -> list[str]:
        """Read up to the next empty line, past the chunks' sizes."""
        lines: list[str] = []
        async with asyncio.timeout(5):
            while True:
                size = int(await self.reader.readline(), 16)
                if not size:
                    raise EOFError
                lines += (await self.reader.readexactly(size + 2))[:-2].decode().splitlines()
                if lines[-1] == "":
                    return lines[:-1]

    async def event(self) -> dict[str, str]:
        """Return the next event's parts."""
        while True:
            lines = await self.block()
            if lines[0].startswith(":"):
                self.pings += 1
                continue
            assert lines[0] == "event: parts"
            (data,) = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            return dict(json.loads(data))

    async def until(self, part: str, words: str) -> str:
        """Return a part once it says something."""
        while words not in (html := (await self.event()).get(part, "")):
            pass
        return html

    async def ended(self) -> None:
        """Read until the server has ended the stream as it should."""
        with contextlib.suppress(EOFError):
            while True:
                await self.event()


OpenPage = Callable[..., Awaitable[Open]]


@pytest.fixture
async def opened() -> AsyncIterator[OpenPage]:
    """Return a function that opens a page; all are closed when the test ends."""
    writers: list[asyncio.StreamWriter] = []

    async def open_one(port: int, view: str = "/") -> Open:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(request("GET", f"/events?view={quote(view, safe='')}"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200")
        assert "text/event-stream" in head
        assert "X-Accel-Buffering: no" in head  # nginx would wait for more
        return Open(reader, writer)

    yield open_one
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    """Serve an app that would wait long for requests under way."""
    served = runner(app, shutdown_seconds=60)
    await served.setup()
    try:
        await web.TCPSite(served, "127.0.0.1", 0).start()
        yield served.addresses[0][1]
    finally:
        async with asyncio.timeout(5):
            await served.cleanup()


class Admin:
    """The admin listener, its store and the reasons that only the process knows."""

    def __init__(self, store: Store, port: int, reasons: dict[str, str]) -> None:
        self.store, self.port, self.reasons = store, port, reasons


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    """Serve the real pages of a new store."""
    reasons = dict[str, str]()
    async with a_store(tmp_path) as store:
        app = a_window(store, reasons=reasons)
        async with serving(app) as port:
            yield Admin(store, port, reasons)


async def test_all_parts_come_at_first_and_then_what_changed(opened: OpenPage, admin: Admin) -> None:
    """A burst arrives: figures and users are sent anew, the failures, which are the same, are not."""
    page = await opened(admin.port)
    assert set(await page.event()) == STATUS
    await wait(admin.store, ANA, "one", "two", name="Ana")
    changed = await page.event()
    assert "Ana" in changed["users"]
    assert {"figures", "users"} <= set(changed) <= {"headline", "figures", "users"}
    message = await fail(admin.store, BEA, "three")
    failures = await page.until("failures", "the model broke")
    assert f"/api/messages/{message}/retry" in failures


async def test_a_users_page_is_live_by_any_name(opened: OpenPage, admin: Admin) -> None:
    """Its own parts; a phone with a plus is a path as well."""
    await wait(admin.store, ANA, "hola")
    for name in ("u1", ANA, f"+{ANA}"):
        page = await opened(admin.port, f"/users/{name}")
        assert set(await page.event()) == set(PARTS["user.html"])
    await wait(admin.store, ANA, "qué tal")
    assert "qué tal" in await page.until("conversation", "qué tal")


@pytest.mark.parametrize(
    "view", ["/clear", "/users/u1/clear", "/api/users", "users", "", "//", "http://[", "/users/u9"]
)
async def test_only_pages_that_exist_are_drawn(admin: Admin, view: str) -> None:
    """404 for all else, as JSON to a program."""
    reply = await exchange(admin.port, request("GET", f"/events?view={quote(view, safe='')}"))
    assert reply.status == 404
    assert json.loads(reply.body)["error"]


@pytest.mark.parametrize("view", ["/?limit=0", "/?after=x"])
async def test_a_malformed_view_is_400(admin: Admin, view: str) -> None:
    """As the page itself would be."""
    reply = await exchange(admin.port, request("GET", f"/events?view={quote(view, safe='')}"))
    assert reply.status == 400


async def test_what_only_the_process_knows_is_sent_too(opened: OpenPage, admin: Admin) -> None:
    """The file doesn't change as the daemon begins to stop."""
    page = await opened(admin.port)
    await page.event()
    admin.reasons["stop"] = "stopping"
    assert "<h1>Stopping</h1>" in await page.until("headline", "Stopping")


async def test_where_nothing_changed_nothing_is_sent(opened: OpenPage, admin: Admin) -> None:
    """Though the file was written: only pings, until there is something to show."""
    page = await opened(admin.port)
    await page.event()
    page.pings = 0
    for _ in range(5):
        await admin.store.listening()
        assert (await page.block())[0].startswith(": ping")
    await wait(admin.store, ANA, "one")
    assert "charts" not in await page.event()


# -- with pages that the test draws


class Pages:
    """Pages that show what the test set, and the app that keeps them live."""

    def __init__(self, store: Store) -> None:
        self.store, self.drawn = store, list[str]()
        self.shown: dict[str, dict[str, str]] = {"/": {"a": "1", "b": "1"}, "/other": {"a": "other"}}
        self.broken: dict[str, Exception] = {}
        self.may_draw, self.together, self.most_together = asyncio.Event(), 0, 0
        self.may_draw.set()
        self.visitors = [Visitor("admin", "127.0.0.1")]  # of the next requests; the last one stays
        self.app = web.Application(middlewares=[self._admit])
        self.live = Live(store, {}, self.parts)
        self.live.join(self.app)

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[VISITOR] = self.visitors.pop(0) if len(self.visitors) > 1 else self.visitors[0]
        return await handler(request)

    async def parts(self, path: str, _: Mapping[str, str], visitor: Visitor) -> dict[str, str]:
        """Draw a page."""
        self.drawn.append(path)
        self.together += 1
        self.most_together = max(self.together, self.most_together)
        await asyncio.sleep(0)
        await self.may_draw.wait()
        self.together -= 1
        if path in self.broken:
            raise self.broken[path]
        return dict(self.shown[path]) if visitor.role == "admin" else {"a": f"{visitor} may see no more"}

    async def show(self, path: str, **parts: str) -> None:
        """Change what a page shows, and the file."""
        self.shown[path] |= parts
        await self.store.listening()


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    """Make such pages."""
    async with a_store(tmp_path) as store:
        yield Pages(store)


async def eventually(check: Callable[[], Any], act: Callable[[], Awaitable[Any]] | None = None) -> None:
    """Wait until it is so, doing something meanwhile."""
    async with asyncio.timeout(5):
        while not check():
            await (act() if act else asyncio.sleep(0.005))


async def test_a_page_is_drawn_once_for_all_who_watch_it(opened: OpenPage, pages: Pages) -> None:
    """Ten watchers cost one drawing each time, and each gets the same; another page is drawn for itself."""
    async with serving(pages.app) as port:
        watchers = [await opened(port) for _ in range(10)]
        assert [await watcher.event() for watcher in watchers] == [{"a": "1", "b": "1"}] * 10
        pages.drawn.clear()
        await pages.show("/", a="2")
        assert [await watcher.event() for watcher in watchers] == [{"a": "2"}] * 10
        assert len(pages.drawn) <= 3  # a round may have been under way
        other = await opened(port, "/other")
        assert await other.event() == {"a": "other"}


async def test_pages_are_drawn_one_after_the_other(opened: OpenPage, pages: Pages) -> None:
    """Many open pages are many looks, not one as long as all of them together."""
    pages.shown |= {f"/{n}": {"a": "1"} for n in range(5)}
    async with serving(pages.app) as port:
        watchers = [await opened(port, f"/{n}") for n in range(5)]
        for watcher in watchers:
            await watcher.event()
        pages.most_together = 0
        for n in range(5):
            pages.shown[f"/{n}"] = {"a": "2"}
        await pages.show("/")
        assert [await watcher.event() for watcher in watchers] == [{"a": "2"}] * 5
        assert pages.most_together == 1


async def test_who_may_see_less_is_sent_less(opened: OpenPage, pages: Pages) -> None:
    """A reader and an admin watch the same page, drawn for each of the two; where they sit makes no difference."""
    pages.visitors = [Visitor(role, address) for role in ("admin", "reader") for address in ("192.0.2.1", "192.0.2.2")]
    async with serving(pages.app) as port:
        watchers = [await opened(port) for _ in range(4)]
        events = [await watcher.event() for watcher in watchers]
        assert events[:2] == [{"a": "1", "b": "1"}] * 2
        assert events[2] == events[3]
        assert "may see no more" in events[2]["a"]
        assert len(pages.live._parts) == 2


async def test_who_comes_later_gets_all_and_not_twice(opened: OpenPage, pages: Pages) -> None:
    """The parts as they are now, then the changes."""
    async with serving(pages.app) as port:
        first = await opened(port)
        await first.event()
        await pages.show("/", a="2")
        await first.event()
        second = await opened(port)
        assert await second.event() == {"a": "2", "b": "1"}
        await pages.show("/", b="3")
        assert [await first.event(), await second.event()] == [{"b": "3"}] * 2


async def test_who_does_not_read_holds_nobody_and_gets_the_newest(opened: OpenPage, pages: Pages) -> None:
    """However much there was to send meanwhile; nothing piles up for them."""
    async with serving(pages.app) as port:
        sleeper, reader = await opened(port), await opened(port)
        await reader.event()
        for n in range(40):
            await pages.show("/", a=f"{n} {'x' * 500_000}")
            assert (await reader.event())["a"].startswith(f"{n} ")
        seen = []
        while not seen or not seen[-1].startswith("39 "):
            seen.append((await sleeper.event())["a"])
        assert len(seen) < 40


async def test_a_stop_does_not_wait_for_open_pages(opened: OpenPage, pages: Pages) -> None:
    """Streams end properly, so that browsers come back; `serving` wants the stop in seconds where it may take 60."""
    async with serving(pages.app) as port:
        watchers = [await opened(port) for _ in range(5)]
        await watchers[0].event()
    for watcher in watchers:
        await watcher.ended()


async def test_more_pages_than_can_be_kept_live_are_refused(
    opened: OpenPage, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, until one is closed."""
    monkeypatch.setattr("bot.web.live.MOST_WATCHERS", 2)
    async with serving(pages.app) as port:
        first, second = await opened(port), await opened(port)
        await second.event()
        refused = await exchange(port, request("GET", "/events?view=/"))
        assert refused.status == 503
        first.writer.close()

        async def again() -> None:
            await pages.store.listening()  # who left is noticed as something is drawn
            reply = await exchange(port, request("GET", "/events?view=/"))
            statuses.append(reply.status)

        statuses: list[int] = []
        await eventually(lambda: statuses and statuses[-1] != 503, again)


async def test_pages_that_are_opened_together_count_as_well(
    opened: OpenPage, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are still drawn for the first time take their place; one that can't be drawn gives it back."""
    monkeypatch.setattr("bot.web.live.MOST_WATCHERS", 3)
    pages.may_draw.clear()
    async with serving(pages.app) as port:
        asking = [asyncio.create_task(exchange(port, request("GET", "/events?view=/unknown"))) for _ in range(7)]
        refused = [(await next_one).status for next_one in itertools.islice(asyncio.as_completed(asking), 4)]
        assert refused == [503] * 4
        pages.may_draw.set()
        statuses = sorted([(await each).status for each in asking])
        assert statuses == [500] * 3 + [503] * 4
        assert pages.live._watchers == []
        watcher = await opened(port)
        assert await watcher.event() == {"a": "1", "b": "1"}


async def test_pages_that_nobody_watches_are_not_drawn(opened: OpenPage, pages: Pages) -> None:
    """Nor kept: who closes a page is forgotten, whatever was written since."""
    async with serving(pages.app) as port:
        watcher = await opened(port)
        await watcher.event()
        watcher.writer.close()
        await eventually(lambda: not pages.live._watchers, pages.store.listening)
        pages.drawn.clear()
        other = await opened(port, "/other")
        await other.event()
        await pages.show("/other", a="2")
        await other.event()
        assert set(pages.drawn) == {"/other"}


@pytest.mark.parametrize("error", [NotFound("gone"), StoreUnavailable("locked"), ValueError("a template is wrong")])
async def test_a_page_that_cannot_be_drawn_stays_as_it_was(opened: OpenPage, pages: Pages, error: Exception) -> None:
    """The others go on, and so does this one as soon as it can, whatever was wrong."""
    async with serving(pages.app) as port:
        page, other = await opened(port), await opened(port, "/other")
        await page.event()
        await other.event()
        pages.broken["/"] = error
        await pages.show("/other", a="2")
        assert await other.event() == {"a": "2"}
        pages.broken.clear()
        await pages.show("/", a="3")
        assert await page.event() == {"a": "3"}


async def test_a_costly_drawing_is_not_paid_for_with_a_page_left_behind(
    opened: OpenPage, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first after a start compiles templates, 0.2 s: 200 times that was a page that stood still for 40 s."""
    monkeypatch.setattr("bot.web.live.REST", 1e9)
    monkeypatch.setattr("bot.web.live.MOST_SECONDS", 0.05)
    async with serving(pages.app) as port:
        page = await opened(port)
        await page.event()
        for n in range(3):
            await pages.show("/", a=f"change {n}")
            assert (await page.event())["a"] == f"change {n}"


async def test_drawing_that_breaks_is_told_at_once(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages would stand still, and the log say nothing until the daemon ends."""

    async def broken() -> int:
        raise LookupError("of its own")

    monkeypatch.setattr(pages.store.insights, "changes", broken)
    with capture_logs() as lines:
        async with serving(pages.app) as port:
            asking = asyncio.create_task(exchange(port, request("GET", "/events?view=/")))
            await eventually(lambda: [line for line in lines if line["event"] == "a side task broke"])
        asking.cancel()


async def test_a_page_never_falls_back_to_how_it_was(opened: OpenPage, pages: Pages, monkeypatch: Any) -> None:
    """Somebody else watches it, too, and it isn't yet the time to draw it for them again."""
    monkeypatch.setattr("bot.web.live.LEAST_SECONDS", 3600)
    async with serving(pages.app) as port:
        await (await opened(port)).event()
        await pages.show("/", a="2")
        assert (await (await opened(port)).event())["a"] == "2"


# -- with the whole daemon


async def test_a_burst_is_watched_as_it_comes_and_goes_and_a_restart_is_survived(
    opened: OpenPage, world: World
) -> None:
    """It shows, drains, and whoever connects to the next daemon has everything again; the stop waits for nobody."""
    async with world.running() as bot:
        page = await opened(int(bot.admin_url.rpartition(":")[2]))
        await page.event()
        for n in range(5):
            await world.emu.say(world.ana, f"message {n}")
        await page.until("users", "Ana Torres")
        await world.sent(5, world.ana)
        await page.until("figures", "<dt>Answers today</dt><dd>5</dd>")
    await page.ended()
    async with world.running() as bot:
        page = await opened(int(bot.admin_url.rpartition(":")[2]))
        assert "Ana Torres" in (await page.event())["users"]


async def test_the_status_page_was_drawn_before_anybody_looks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its templates take a fifth of a second to compile: who looks first must not wait for that."""
    monkeypatch.setattr("bot.web.live.WARM_UP_SECONDS", 0)
    _templates.cache_clear()
    async with world.running():
        await eventually(lambda: _templates.cache_info().currsize)
