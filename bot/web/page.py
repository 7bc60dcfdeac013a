"""The status page: drawn on the server, works without JavaScript, tells what is and what can be done about it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from aiohttp import web

from bot import __version__
from bot.clock import age, readable
from bot.health import Health
from bot.store.store import Store
from bot.web.api import reasons_not_ready
from bot.web.wire import FAILURES_CURSOR, USERS_CURSOR, found_user, paging

TEMPLATES = Path(__file__).parent / "templates"
# `?done=` carries a word and figures only, so that a link from elsewhere can't put words into the page's mouth.
DONE = {
    "retried": "Failed messages that are back in the queue: {0}.",
    "paused": "Paused. Users concerned: {0}.",
    "resumed": "Resumed. Users concerned: {0}; messages skipped: {1}.",
    "cleared": "Waiting messages cancelled: {1}, of users: {0}.",
    "trying": "The next message tries the service again.",
}


class Page:
    """Draws the status page, the page of a user, the question before messages are cancelled, and errors."""

    def __init__(self, store: Store, health: Health) -> None:
        self._store = store
        self._insights = store.insights
        self._health = health
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
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
        _, failures_after = paging(request, FAILURES_CURSOR, "failures_")
        users = await self._insights.users(limit, after)
        failures = await self._insights.failures(limit, failures_after)
        whole = not failures_after and not failures["next"]
        return self._draw(
            "status.html",
            stats=await self._insights.queue_stats(),
            reasons=await reasons_not_ready(self._health, self._store),
            circuits=await self._insights.circuits(),
            users=users["users"],
            failures=failures["failures"],
            retryable=sum(f["retryable"] for f in failures["failures"]) if whole else None,
            more_users=users["next"] and _link(request, after=users["next"]),
            more_failures=failures["next"] and _link(request, failures_after=failures["next"]),
            later=bool(after or failures_after),
            done=_done(request),
        )

    async def user(self, request: web.Request) -> web.Response:
        """Draw one user: what waits, what failed, the conversation."""
        return self._draw("user.html", done=_done(request), **await found_user(request, self._insights))

    async def confirm_clear(self, request: web.Request) -> web.Response:
        """Ask before waiting messages are cancelled, of one user or of everybody."""
        if "user_id" in request.match_info:
            user = (await found_user(request, self._insights))["user"]
            waiting = user["depth"] - (user["state"] == "leased")
        else:
            user, waiting = None, (await self._insights.queue_stats())["pending"]
        return self._draw("clear.html", user=user, waiting=waiting)

    def error(self, status: int, reason: str, headers: Mapping[str, str]) -> web.Response:
        """Draw an error."""
        return self._draw("error.html", status, headers, code=status, reason=reason)

    def _draw(
        self, name: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> web.Response:
        text = self._templates.get_template(name).render(values)
        return web.Response(status=status, headers=headers, text=text, content_type="text/html")


def _link(request: web.Request, **cursor: str) -> str:
    kept = {name: value for name, value in request.query.items() if name != "done"}
    return "/?" + urlencode(kept | cursor)


def _done(request: web.Request) -> str | None:
    what, *figures = request.query.get("done", "").split("-")
    if what not in DONE or not all(re.fullmatch("[0-9]{1,9}", figure, re.ASCII) for figure in figures):
        return None
    return DONE[what].format(*figures, "?", "?")
