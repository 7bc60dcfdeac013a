"""The JSON of the admin listener, and the actions that page and programs share."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.bell import Bell
from bot.domain import Operator, Service
from bot.errors import WrongState
from bot.store.store import Store
from bot.web import wire
from bot.web.public import alive
from bot.whatsapp.split import split

log = structlog.get_logger(__name__)


class Api:
    """Reads from the store's insights, acts by the store's verbs, rings the bell where there may be work now."""

    def __init__(self, store: Store, bell: Bell, reasons: dict[str, str]) -> None:
        self._store, self._bell, self._reasons = store, bell, reasons

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the API and of the probes."""
        read = self._store.insights
        return [
            web.get("/queue-stats", _told(lambda _: read.queue_stats())),
            web.get("/api/users", _told(lambda request: read.users(*wire.paging(request, wire.USERS_CURSOR)))),
            web.get("/api/users/{user_id}", _told(lambda request: read.user(request.match_info["user_id"]))),
            web.get("/api/failures", _told(lambda request: read.failures(*wire.paging(request, wire.FAILURES_CURSOR)))),
            web.post("/api/messages/{id}/retry", self.retry),
            web.post("/api/failures/retry", self.retry),
            web.post("/api/{verb:pause|resume|clear}", self.steer),
            web.post("/api/users/{user_id}/{verb:pause|resume|clear}", self.steer),
            web.post("/api/users/{user_id}/reply", self.reply),
            web.post("/api/circuits/{service:graph|model}/try", self.try_circuit),
            web.get("/healthz", alive),
            web.get("/readyz", self.readyz),
        ]

    async def retry(self, request: web.Request) -> web.Response:
        """Put failed messages back: the one in the path, those of `{"ids": [7, 8]}`, or all that can be."""
        ids, who = await wire.wanted_ids(request), _who(request)
        about = {"user": "everybody"} if ids is None else {"ids": ids[:20]}
        return self._done(request, "retried", about, retried=await self._store.retry(ids, who=who))

    async def steer(self, request: web.Request) -> web.Response:
        """Pause, resume or clear the user that the path names; everybody where it names none."""
        named = request.match_info.get("user_id")
        user_id = None if named is None else await self._store.insights.find_user(named)
        verb, who = request.match_info["verb"], _who(request)
        about = {"user": f"u{user_id}" if user_id else "everybody"}
        if verb == "pause":
            return self._done(request, "paused", about, users=await self._store.pause(user_id, who=who))
        if verb == "resume":
            users, messages = await self._store.resume(user_id, skip=await wire.wants_skip(request), who=who)
            return self._done(request, "resumed", about, users=users, messages=messages)
        users, messages = await self._store.clear(user_id, who=who)
        return self._done(request, "cleared", about, users=users, messages=messages)

    async def reply(self, request: web.Request) -> web.Response:
        """Write to a person as the number, as the owner oneself: `{"text"}`."""
        user_id = await self._store.insights.find_user(request.match_info["user_id"])
        planned = await self._store.say(user_id, split(await wire.wanted_text(request)), _who(request))
        return self._done(request, "replied", {"user": f"u{user_id}"}, replies=planned)

    async def try_circuit(self, request: web.Request) -> web.Response:
        """Let the next message probe a service whose circuit is open."""
        service: Service = "graph" if request.match_info["service"] == "graph" else "model"
        if not await self._store.try_circuit(service, who=_who(request)):
            raise WrongState(f"the circuit of {service} is not open: nothing to try")
        return self._done(request, "trying", {"user": "everybody", "service": service}, circuits=1)

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer 200 while messages can be answered, else 503 with the reasons."""
        reasons = [*self._reasons.values(), *await self._store.reasons()]
        answer = {"ready": False, "reasons": reasons} if reasons else {"ready": True}
        return web.json_response(answer, status=503 if reasons else 200)

    def _done(self, request: web.Request, what: str, about: dict[str, Any], **figures: int) -> web.Response:
        """Answer with the figures as JSON, or with the page that the button stood on, which then tells them."""
        self._bell.ring()
        route = getattr(request.match_info.route.resource, "canonical", None)  # a path may hold a phone number
        log.info("operator", action=what, **about, **figures, who=_who(request).name, route=route)
        if not wire.prefers_html(request):
            return web.json_response(figures)
        # Only our own pages, and only by path: Referer must not send anybody anywhere else.
        own = rf"https?://{re.escape(request.host)}(/users/u[0-9]+)(\?.*)?"
        back = re.fullmatch(own, request.headers.get("Referer", ""))
        told = "-".join([what, *map(str, figures.values())])
        return web.Response(status=303, headers={"Location": f"{back[1] if back else '/'}?done={told}"})


def _told(query: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(await query(request))

    return answer


def _who(request: web.Request) -> Operator:
    return Operator("page" if wire.prefers_html(request) else "api", request.remote)
