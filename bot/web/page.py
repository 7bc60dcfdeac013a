"""The status page: drawn on the server, works without JavaScript, tells what is and what can be done about it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

import jinja2
import structlog
from aiohttp import web
from markupsafe import Markup

from bot import __version__
from bot.clock import age, readable
from bot.errors import NotFound
from bot.store.failures import Retried
from bot.store.operators import SKIPPED
from bot.store.people import CONVERSATION_MOST
from bot.store.store import Store
from bot.web import privacy
from bot.web.guard import VISITOR, Visitor, operator
from bot.web.wire import AUDIT_CURSOR, FAILURES_CURSOR, USERS_CURSOR, filters, paging, prefers_html

log = structlog.get_logger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
# What of a page is kept live, in the order of the page: each is an element's id and templates/parts/ID.html.
PARTS = {
    "status.html": ("headline", "figures", "charts", "users", "failures"),
    "user.html": ("person", "queue", "conversation"),
}
# `?done=` carries a word and figures only, so that a link from elsewhere can't put words into the page's mouth.
DONE: dict[str, str] = json.loads((TEMPLATES.parent / "done.json").read_text("utf-8"))
# What of a query the status page obeys: filters, and where its two lists go on.
ASKED = ("search", "state", "sort", "limit", "after", "cause", "failed", "failures_after")


class Page:
    """Draws the status page, the page of a user, the question before messages are cancelled, and errors."""

    def __init__(
        self, store: Store, reasons: dict[str, str], asked: Callable[[web.Request], Awaitable[dict[str, Any]]]
    ) -> None:
        self._store, self._insights, self._reasons, self._asked = store, store.insights, reasons, asked
        self._charts: tuple[Any, Markup] = (None, Markup())  # as last drawn

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages."""
        return [
            web.get("/", self.status),
            web.get("/users/{user_id}", self.user),
            web.post("/api/users/{user_id}/reveal", self.reveal),
            web.get("/users/{user_id}/clear", self.confirm_clear),
            web.get("/clear", self.confirm_clear),
            web.get("/messages/{id}", self.message),
            web.get("/audit", self.audit),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Draw the status page."""
        return await self._whole(request, request.path, request[VISITOR])

    async def user(self, request: web.Request) -> web.Response:
        """Draw one user: what waits, what failed, the conversation."""
        return await self._whole(request, request.path, request[VISITOR])

    async def reveal(self, request: web.Request) -> web.Response:
        """Show a user as they are, also where numbers and texts are hidden; the audit keeps who looked."""
        user_id, who = await self._insights.find_user(request.match_info["user_id"]), operator(request)
        await self._store.reveal(user_id, who=who)
        log.info("operator", action="revealed", user=f"u{user_id}", who=who.name)
        if not prefers_html(request):
            return web.json_response(await self._insights.user(f"u{user_id}"))
        return await self._whole(request, f"/users/u{user_id}", replace(request[VISITOR], hides=False))

    async def parts(self, path: str, query: Mapping[str, str], visitor: Visitor) -> dict[str, str]:
        """Draw the parts that are kept live of the page at `path`, by id. Raises NotFound where there is no such."""
        template, values = await self._values(path, query)
        return self._parts(template, values, visitor)

    async def _whole(self, request: web.Request, path: str, visitor: Visitor) -> web.Response:
        template, values = await self._values(path, request.query)
        parts = self._parts(template, values, visitor)
        live = request.path == path  # what is revealed isn't kept live: that would hide it again
        return self.draw(template, visitor, here=path, live=live, done=_done(request), parts=parts, **values)

    def _parts(self, template: str, values: dict[str, Any], visitor: Visitor) -> dict[str, str]:
        values = privacy.shown(visitor, values) | {"acts": visitor.role == "admin", "visitor": visitor}
        return {part: self._part(part, values) for part in PARTS[template]}

    def _part(self, name: str, values: dict[str, Any]) -> Markup:
        # Charts take longest, change once a minute, and nothing in them depends on who looks.
        if name == "charts" and self._charts[0] == values["trends"]:
            return self._charts[1]
        drawn = Markup(_templates().get_template(f"parts/{name}.html").render(values))
        self._charts = (values["trends"], drawn) if name == "charts" else self._charts
        return drawn

    async def _values(self, path: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Return the template of a page and what it shows."""
        if not _templates.cache_info().currsize:
            await asyncio.to_thread(_templates)
        if found := re.fullmatch("/users/([^/]+)", path):
            return "user.html", {**await self._insights.user(found[1]), "conversation_most": CONVERSATION_MOST}
        if path != "/":
            raise NotFound("there is no such page")
        asked = {name: query.get(name, "") for name in ASKED}
        limit, after = paging(query, USERS_CURSOR)
        _, failures_after = paging(query, FAILURES_CURSOR, "failures_after")
        chosen, failing = filters(query, "search", "state", "sort"), filters(query, "cause", "failed")
        which = {"cause": failing.get("cause", ""), "search": failing.get("failed", "")}
        known, look = list(self._reasons.values()), self._insights
        looks: dict[str, Awaitable[Any]] = {
            "headline": self._store.headline(known),
            "reasons": self._store.reasons(),
            "circuits": look.circuits(),
            "alerts": look.alerts(),
            "stats": look.queue_stats(),
            "today": look.today(),
            "trends": look.trends(),
            "users": look.users(limit, after, **chosen),
            "failures": look.failures(limit, failures_after, **which),
            "causes": look.causes(),
        }
        values = dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))  # together: one hop, one moment
        values["reasons"] = [*known, *values["reasons"]]
        return "status.html", values | {"asked": asked, "link": partial(_link, asked)}

    async def message(self, request: web.Request) -> web.Response:
        """Draw what the model was sent for a message."""
        sent = await self._asked(request)
        return self.draw("message.html", request[VISITOR], id=request.match_info["id"], **sent)

    async def audit(self, request: web.Request) -> web.Response:
        """Draw what operators did."""
        limit, after = paging(request.query, AUDIT_CURSOR)
        rows = await self._insights.audit(limit, after)
        return self.draw("audit.html", request[VISITOR], here=request.path, asked={"after": after}, **rows)

    async def confirm_clear(self, request: web.Request) -> web.Response:
        """Ask before waiting messages are cancelled, of one user or of everybody."""
        if named := request.match_info.get("user_id"):
            user = (await self._insights.user(named))["user"]
            waiting = user["depth"] - (user["state"] == "leased")
            return self.draw("clear.html", request[VISITOR], user=user, waiting=waiting, paused=user["paused"])
        stats = await self._insights.queue_stats()
        return self.draw("clear.html", request[VISITOR], user=None, waiting=stats["pending"], paused=stats["paused"])

    def draw(self, name: str, visitor: Visitor, status: int = 200, **values: Any) -> web.Response:
        """Draw a template for somebody, what is hidden masked; `error.html` wants a `reason`."""
        known = {"acts": visitor.role == "admin", "visitor": visitor, "here": "", "status": status}
        text = _templates().get_template(name).render(known | privacy.shown(visitor, values))
        return web.Response(status=status, text=text, content_type="text/html")


@cache
def _templates() -> jinja2.Environment:
    """Return the templates, all compiled, which takes 0.2 s: a thread's work, and not at the start."""
    loader, strict = jinja2.FileSystemLoader(TEMPLATES), jinja2.StrictUndefined
    templates = jinja2.Environment(loader=loader, autoescape=True, auto_reload=False, undefined=strict)
    templates.globals |= {"version": __version__, "new_key": partial(token_hex, 12)}
    templates.filters |= {"age": age, "readable": readable}
    for name in templates.list_templates():
        templates.get_template(name)
    return templates


def _link(asked: Mapping[str, str], **changes: str) -> str:
    """Return where the status page is with some of its filters changed and the others kept."""
    kept = {name: value for name, value in {**asked, **changes}.items() if value}
    return f"/?{urlencode(kept)}" if kept else "/"


def _done(request: web.Request) -> str | None:
    what, *figures = request.query.get("done", "").split("-")
    known = what in DONE and all(re.fullmatch("[0-9]{1,9}", figure) for figure in figures)
    if known and what == "retried" and len(figures) > 1:  # several were meant, and some of them left
        why = {words: int(count) for words, count in zip(SKIPPED.values(), figures[1:], strict=False) if int(count)}
        return f"{Retried(int(figures[0]), why)}."
    return DONE[what].format(*figures, "?", "?").removesuffix(" Messages skipped: 0.") if known else None
