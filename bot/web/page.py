"""The status page: drawn on the server, works without JavaScript, tells what is and what can be done about it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from bot import __version__
from bot.clock import age, readable
from bot.errors import NotFound
from bot.store.failures import Retried
from bot.store.operators import SKIPPED
from bot.store.store import Store
from bot.web.wire import FAILURES_CURSOR, USERS_CURSOR, paging

TEMPLATES = Path(__file__).parent / "templates"
# What of a page is kept live, in the order of the page: each is an element's id and templates/parts/ID.html.
PARTS = {
    "status.html": ("headline", "figures", "charts", "users", "failures"),
    "user.html": ("person", "queue", "conversation"),
}
# `?done=` carries a word and figures only, so that a link from elsewhere can't put words into the page's mouth.
DONE = {
    "retried": "Failed messages that are back in the queue: {0}.",
    "paused": "Paused.",
    "resumed": "Resumed. Messages skipped: {1}.",
    "cleared": "Waiting messages cancelled: {1}, of users: {0}.",
    "replied": "Messages on their way: {0}.",
    "trying": "The next message tries the service again.",
}


class Page:
    """Draws the status page, the page of a user, the question before messages are cancelled, and errors."""

    def __init__(self, store: Store, reasons: dict[str, str]) -> None:
        self._store, self._insights, self._reasons = store, store.insights, reasons
        loader = jinja2.FileSystemLoader(TEMPLATES)
        self._templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self._templates.globals["version"] = __version__
        self._templates.filters |= {"age": age, "readable": readable}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages."""
        return [
            web.get("/", self.status),
            web.get("/users/{user_id}", self.user),
            web.get("/users/{user_id}/clear", self.confirm_clear),
            web.get("/clear", self.confirm_clear),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Draw the status page."""
        return await self._whole(request)

    async def user(self, request: web.Request) -> web.Response:
        """Draw one user: what waits, what failed, the conversation."""
        return await self._whole(request)

    async def parts(self, path: str, query: Mapping[str, str]) -> dict[str, str]:
        """Draw the parts that are kept live of the page at `path`, by id. Raises NotFound where there is no such."""
        template, values = await self._values(path, query)
        return self._parts(template, values)

    async def _whole(self, request: web.Request) -> web.Response:
        template, values = await self._values(request.path, request.query)
        return self.draw(template, done=_done(request), parts=self._parts(template, values), **values)

    def _parts(self, template: str, values: dict[str, Any]) -> dict[str, str]:
        draw = self._templates.get_template
        return {part: Markup(draw(f"parts/{part}.html").render(values)) for part in PARTS[template]}

    async def _values(self, path: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Return the template of a page and what it shows."""
        if found := re.fullmatch("/users/([^/]+)", path):
            return "user.html", await self._insights.user(found[1])
        if path != "/":
            raise NotFound("there is no such page")
        limit, after = paging(query, USERS_CURSOR)
        _, failures_after = paging(query, FAILURES_CURSOR, "failures_after")
        return "status.html", {
            "stats": await self._insights.queue_stats(),
            "reasons": [*self._reasons.values(), *await self._store.reasons()],
            "circuits": await self._insights.circuits(),
            "users": await self._insights.users(limit, after),
            "failures": await self._insights.failures(limit, failures_after),
            "later": bool(after or failures_after),
        }

    async def confirm_clear(self, request: web.Request) -> web.Response:
        """Ask before waiting messages are cancelled, of one user or of everybody."""
        if named := request.match_info.get("user_id"):
            user = (await self._insights.user(named))["user"]
            waiting = user["depth"] - (user["state"] == "leased")
            return self.draw("clear.html", user=user, waiting=waiting, paused=user["paused"])
        stats = await self._insights.queue_stats()
        return self.draw("clear.html", user=None, waiting=stats["pending"], paused=stats["paused"])

    def draw(self, name: str, status: int = 200, **values: Any) -> web.Response:
        """Draw a template; `error.html` wants a `reason`."""
        text = self._templates.get_template(name).render(values, status=status)
        return web.Response(status=status, text=text, content_type="text/html")


def _done(request: web.Request) -> str | None:
    what, *figures = request.query.get("done", "").split("-")
    known = what in DONE and all(re.fullmatch("[0-9]{1,9}", figure) for figure in figures)
    if known and what == "retried" and len(figures) > 1:  # several were meant, and some of them left
        why = {words: int(count) for words, count in zip(SKIPPED.values(), figures[1:], strict=False) if int(count)}
        return f"{Retried(int(figures[0]), why)}."
    return DONE[what].format(*figures, "?", "?") if known else None
