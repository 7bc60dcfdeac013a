"""The JSON of the admin listener, and the actions that page and programs share."""

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.bell import Bell
from bot.config import Config
from bot.domain import Service
from bot.errors import WrongState
from bot.store.operators import SKIPPED
from bot.store.rows import Row
from bot.store.store import Store
from bot.web import privacy, wire
from bot.web.guard import VISITOR, operator
from bot.web.public import alive
from bot.whatsapp.split import split

OPENAPI = Path(__file__).with_name("openapi.json")

log = structlog.get_logger(__name__)


class Api:
    """Reads from the store's insights, acts by the store's verbs, rings the bell where there may be work now."""

    def __init__(self, store: Store, bell: Bell, reasons: dict[str, str], config: Config) -> None:
        self._store, self._bell, self._reasons, self._config = store, bell, reasons, config

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the API and of the probes."""
        read = self._store.insights
        return [
            web.get("/queue-stats", _told(lambda _: read.queue_stats())),
            web.get("/api/users", _told(self.users)),
            web.get("/api/users/{user_id}", _told(lambda request: read.user(request.match_info["user_id"]))),
            web.get("/api/failures", _told(self.failures)),
            web.get("/api/causes", _told(self.causes)),
            web.get("/api/audit", _told(lambda request: read.audit(*wire.paging(request.query, wire.AUDIT_CURSOR)))),
            web.get("/api/messages/{id}/model", _told(self.asked)),
            web.get("/api/openapi.json", openapi),
            web.post("/api/messages/{id}/retry", self.retry),
            web.post("/api/failures/retry", self.retry),
            web.post("/api/{verb:pause|resume|clear}", self.steer),
            web.post("/api/users/{user_id}/{verb:pause|resume|clear}", self.steer),
            web.post("/api/users/{user_id}/reply", self.reply),
            web.post("/api/circuits/{service:graph|model}/try", self.try_circuit),
            web.get("/healthz", alive),
            web.get("/readyz", self.readyz),
        ]

    async def users(self, request: web.Request) -> Row:
        """Return a page of people."""
        limit, after = wire.paging(request.query, wire.USERS_CURSOR)
        return await self._store.insights.users(limit, after, **wire.filters(request.query, "search", "state", "sort"))

    async def failures(self, request: web.Request) -> Row:
        """Return a page of what failed."""
        limit, after = wire.paging(request.query, wire.FAILURES_CURSOR)
        return await self._store.insights.failures(limit, after, **wire.filters(request.query, *wire.FILTERS))

    async def causes(self, _: web.Request) -> Row:
        """Return why messages failed."""
        return {"causes": await self._store.insights.causes()}

    async def asked(self, request: web.Request) -> Row:
        """Return what the model was sent for a message."""
        return await self._store.insights.asked(wire.message_id(request), self._config.openai)

    async def retry(self, request: web.Request) -> web.Response:
        """Put failed messages back: that of the path; those of `{"ids": [7, 8]}`, of a filter, or all that can be."""
        which, who = await wire.wanted(request), operator(request)
        retried = await self._store.retry(which, who=who)
        # Not the filter's values: they may be what people wrote.
        named = "ids" if isinstance(which, list) else "filter"
        about = {named: [*which][:20] if isinstance(which, list) else [x for x in wire.FILTERS if getattr(which, x)]}
        left = [retried.why.get(why, 0) for why in SKIPPED.values()] if retried.why else []
        return self._done(request, "retried", about, retried.as_row(), [retried.retried, *left])

    async def reply(self, request: web.Request) -> web.Response:
        """Answer a person as the owner of the number, by the same sender."""
        user_id, who = await self._store.insights.find_user(request.match_info["user_id"]), operator(request)
        text, key = await wire.written(request)
        replies = await self._store.say(user_id, split(text), who, key)
        return self._done(request, "replied", {"user": f"u{user_id}"}, {"replies": replies})

    async def steer(self, request: web.Request) -> web.Response:
        """Pause, resume or clear the user that the path names; everybody where it names none."""
        named = request.match_info.get("user_id")
        user_id = None if named is None else await self._store.insights.find_user(named)
        verb, who = request.match_info["verb"], operator(request)
        about = {"user": f"u{user_id}" if user_id else "everybody"}
        if verb == "pause":
            return self._done(request, "paused", about, {"users": await self._store.pause(user_id, who=who)})
        if verb == "resume":
            users, messages = await self._store.resume(user_id, skip=await wire.wants_skip(request), who=who)
            return self._done(request, "resumed", about, {"users": users, "messages": messages})
        users, messages = await self._store.clear(user_id, who=who)
        return self._done(request, "cleared", about, {"users": users, "messages": messages})

    async def try_circuit(self, request: web.Request) -> web.Response:
        """Let the next message probe a service whose circuit is open."""
        service: Service = "graph" if request.match_info["service"] == "graph" else "model"
        if not await self._store.try_circuit(service, who=operator(request)):
            raise WrongState(f"the circuit of {service} is not open: nothing to try")
        return self._done(request, "trying", {"user": "everybody", "service": service}, {"circuits": 1})

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer 200 while messages can be answered, else 503 with the reasons."""
        reasons = [*self._reasons.values(), *await self._store.reasons()]
        answer = {"ready": False, "reasons": reasons} if reasons else {"ready": True}
        return web.json_response(answer, status=503 if reasons else 200)

    def _done(
        self, request: web.Request, what: str, about: Row, answer: Row, figures: Sequence[int] = ()
    ) -> web.Response:
        """Answer with JSON, or with the page that the button stood on, which then tells the figures in it."""
        self._bell.ring()
        route = getattr(request.match_info.route.resource, "canonical", None)  # a path may hold a phone number
        log.info("operator", action=what, **about, **answer, who=operator(request).name, route=route)
        if not wire.prefers_html(request):
            return web.json_response(answer)
        # Only our own pages, and only by path: Referer must not send anybody anywhere else.
        own = rf"https?://{re.escape(request.host)}(?:/api)?(/users/[^/?]+)?/?(?:clear|reveal)?(?:\?(.*))?"
        path, query = back.groups("") if (back := re.fullmatch(own, request.headers.get("Referer", ""))) else ("", "")
        kept = [(name, value) for name, value in parse_qsl(query) if name != "done"]
        told = "-".join([what, *map(str, figures or answer.values())])
        return web.Response(status=303, headers={"Location": f"{path or '/'}?{urlencode([*kept, ('done', told)])}"})


async def openapi(_: web.Request) -> web.FileResponse:
    """Answer with the description of this API, for programs: OpenAPI 3.1."""
    return web.FileResponse(OPENAPI)


def _told(query: Callable[[web.Request], Awaitable[Row]]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(privacy.shown(request[VISITOR], await query(request)))

    return answer
