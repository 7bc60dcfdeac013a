"""The status page: drawn on the server, works without JavaScript, tells what is and what can be done about it."""

import re
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from bot import __version__
from bot.clock import age, readable
from bot.store.failures import Retried
from bot.store.operators import SKIPPED
from bot.store.store import Store
from bot.web.wire import FAILURES_CURSOR, USERS_CURSOR, paging

TEMPLATES = Path(__file__).parent / "templates"
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
        limit, after = paging(request, USERS_CURSOR)
        _, failures_after = paging(request, FAILURES_CURSOR, "failures_after")
        return self.draw(
            "status.html",
            stats=await self._insights.queue_stats(),
            reasons=[*self._reasons.values(), *await self._store.reasons()],
            circuits=await self._insights.circuits(),
            users=await self._insights.users(limit, after),
            failures=await self._insights.failures(limit, failures_after),
            later=bool(after or failures_after),
            done=_done(request),
        )

    async def user(self, request: web.Request) -> web.Response:
        """Draw one user: what waits, what failed, the conversation."""
        return self.draw("user.html", done=_done(request), **await self._insights.user(request.match_info["user_id"]))

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
