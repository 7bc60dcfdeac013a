"""The JSON of the admin listener, and the actions that page and programs share."""

from typing import get_args

from aiohttp import web

from bot.bell import Bell
from bot.domain import Service
from bot.errors import NotFound, StoreError, WrongState
from bot.health import Health
from bot.store.store import Store
from bot.web import wire
from bot.web.public import alive

SERVICES: dict[str, Service] = {service: service for service in get_args(Service)}


class Api:
    """Reads from the store's insights, acts by the store's verbs, rings the bell where there may be work now."""

    def __init__(self, store: Store, bell: Bell, health: Health) -> None:
        self._store = store
        self._bell = bell
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the API and of the probes."""
        return [
            web.get("/queue-stats", self.queue_stats),
            web.get("/api/users", self.users),
            web.get("/api/users/{user_id}", self.user),
            web.get("/api/failures", self.failures),
            web.post("/api/messages/{id}/retry", self.retry),
            web.post("/api/failures/retry", self.retry),
            *(
                web.post(f"/api/{scope}{verb}", act)
                for scope in ("users/{user_id}/", "")
                for verb, act in (("pause", self.pause), ("resume", self.resume), ("clear", self.clear))
            ),
            web.post("/api/circuits/{service}/try", self.try_circuit),
            web.get("/healthz", alive),
            web.get("/readyz", self.readyz),
        ]

    async def queue_stats(self, _: web.Request) -> web.Response:
        return web.json_response(await self._store.insights.queue_stats())

    async def users(self, request: web.Request) -> web.Response:
        limit, after = wire.paging(request, wire.USERS_CURSOR)
        return web.json_response(await self._store.insights.users(limit, after))

    async def user(self, request: web.Request) -> web.Response:
        return web.json_response(await wire.found_user(request, self._store.insights))

    async def failures(self, request: web.Request) -> web.Response:
        limit, after = wire.paging(request, wire.FAILURES_CURSOR)
        return web.json_response(await self._store.insights.failures(limit, after))

    async def retry(self, request: web.Request) -> web.Response:
        """Put failed messages back: the one in the path, those of `{"ids": [7, 8]}`, or all that can be."""
        one, who = request.match_info.get("id"), _who(request)
        ids = [wire.message_id(one)] if one is not None else await wire.wanted_ids(request)
        retried = await (self._store.retry_all(who=who) if ids is None else self._store.retry(ids, who=who))
        self._bell.ring()
        return wire.done(request, "retried", {"retried": retried})

    async def pause(self, request: web.Request) -> web.Response:
        users = await self._store.pause(await self._scope(request), who=_who(request))
        return wire.done(request, "paused", {"users": users})

    async def resume(self, request: web.Request) -> web.Response:
        skip = await wire.wants_skip(request)
        users, messages = await self._store.resume(await self._scope(request), skip=skip, who=_who(request))
        self._bell.ring()
        return wire.done(request, "resumed", {"users": users, "messages": messages})

    async def clear(self, request: web.Request) -> web.Response:
        users, messages = await self._store.clear(await self._scope(request), who=_who(request))
        return wire.done(request, "cleared", {"users": users, "messages": messages})

    async def try_circuit(self, request: web.Request) -> web.Response:
        service = SERVICES.get(request.match_info["service"])
        if service is None:
            raise NotFound("there is no such service: graph or model")
        if not await self._store.try_circuit(service):
            raise WrongState(f"the circuit of {service} is not open: nothing to try")
        self._bell.ring()
        return wire.done(request, "trying", {"circuits": 1})

    async def readyz(self, _: web.Request) -> web.Response:
        reasons = await reasons_not_ready(self._health, self._store)
        if reasons:
            return web.json_response({"ready": False, "reasons": reasons}, status=503)
        return web.json_response({"ready": True})

    async def _scope(self, request: web.Request) -> int | None:
        """Return the user that the path names; None where it names none: everybody."""
        return await wire.known_user(request, self._store.insights) if "user_id" in request.match_info else None


async def reasons_not_ready(health: Health, store: Store) -> list[str]:
    """Return why messages can't be answered, in words: what the process knows, then what the file knows."""
    reasons = list(health.reasons)
    if store.trouble:
        reasons.append(f"the file can't be written: {store.trouble}")
    try:
        reasons += (await store.insights.readiness()).reasons
    except StoreError as error:
        reasons.append(f"the file can't be read: {error}")
    return list(dict.fromkeys(reasons))


def _who(request: web.Request) -> str:
    return "page" if wire.prefers_html(request) else "api"
