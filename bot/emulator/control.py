"""Steer an emulator in another process over HTTP, under /_emulator/."""

import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot.emulator import payloads
from bot.emulator.delivery import Undelivered
from bot.emulator.faults import Fault
from bot.emulator.journal import as_json
from bot.emulator.payloads import Json
from bot.emulator.settings import StatusPlan

Verb = Callable[[web.Request], Coroutine[Any, Any, web.Response]]

if TYPE_CHECKING:
    from bot.emulator.server import Emulator


class Control:
    """Offer the verbs of an Emulator as JSON over HTTP."""

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator

    def routes(self) -> list[web.RouteDef]:
        """List the paths that this part answers."""
        verbs = {
            "faults": self._add_fault,
            "settings": self._change,
            "customers": self._customer,
            "say": self._say,
            "burst": self._burst,
            "redeliver": self._redeliver,
            "webhook": self._webhook,
            "warn": self._warn,
            "script": self._script,
            "hurry": self._hurry,
        }
        return [
            *(web.post(f"/_emulator/{name}", _answered(verb)) for name, verb in verbs.items()),
            web.get("/_emulator/log", self._log),
            web.delete("/_emulator/log", self._clear_log),
            web.get("/_emulator/faults", self._list_faults),
            web.delete("/_emulator/faults", self._clear_faults),
        ]

    async def _log(self, request: web.Request) -> web.Response:
        """Answer the entries after `since` of `service` and `user`, once `count` of them ended (`timeout`)."""
        query = request.query
        since, count = int(query.get("since", 0)), int(query.get("count", 0))
        service, user = query.get("service", ""), query.get("user", "")
        log = self._emulator.log

        def ended() -> bool:
            done = [e for e in log.of(service, user, since=since) if e.ended_at is not None]
            return len(done) >= count

        try:
            await log.wait_for(ended, float(query.get("timeout", 5)))
        except TimeoutError as late:
            return web.json_response({"error": str(late)}, status=408)
        entries = log.of(service, user, since=since)
        return web.json_response(
            {"entries": [as_json(e) for e in entries], "pending": self._emulator.deliveries.pending}
        )

    async def _clear_log(self, request: web.Request) -> web.Response:
        self._emulator.log.clear()
        return web.json_response({})

    async def _add_fault(self, request: web.Request) -> web.Response:
        return web.json_response({"number": self._emulator.faults.add(Fault(**await _object(request)))})

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response({n: dataclasses.asdict(fault) for n, fault in self._emulator.faults.list().items()})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._emulator.faults.clear()
        return web.json_response({})

    async def _change(self, request: web.Request) -> web.Response:
        """Change settings by name; `statuses` is an object of StatusPlan's fields."""
        for name, value in (await _object(request)).items():
            if not hasattr(self._emulator.settings, name):
                raise ValueError(f"no setting {name!r}")
            setattr(self._emulator.settings, name, _setting(name, value))
        return web.json_response({})

    async def _customer(self, request: web.Request) -> web.Response:
        customer = self._emulator.customer(**await _object(request))
        return web.json_response({"key": customer.key})

    async def _say(self, request: web.Request) -> web.Response:
        """Write as `customer`: `text`, or a `kind` of payloads.py with `content`; `wait: false`: not for the 200."""
        asked = await _object(request)
        kind = asked.get("kind", "text")
        build = getattr(payloads, f"{kind}_message", None)
        if build is None:
            raise ValueError(f"no message of kind {kind!r}")
        content = asked.get("content", {}) | ({"body": asked["text"]} if "text" in asked else {})
        payload = self._emulator.compose([(asked["customer"], build, content)])
        delivery = self._emulator.deliveries.deliver(payload)
        if asked.get("wait", True):
            await delivery
        else:
            self._emulator.deliveries.spawn(delivery)
        return web.json_response({"wamid": payload["entry"][0]["changes"][0]["value"]["messages"][0]["id"]})

    async def _burst(self, request: web.Request) -> web.Response:
        asked = await _object(request)
        return web.json_response({"wamids": await self._emulator.burst(asked["customer"], asked["texts"])})

    async def _redeliver(self, request: web.Request) -> web.Response:
        """Post the webhook of the message `wamid`, or the last of `customer`, once more."""
        asked = await _object(request)
        return web.json_response({"status": await self._emulator.redeliver(asked.get("wamid") or asked["customer"])})

    async def _webhook(self, request: web.Request) -> web.Response:
        """Sign and post whatever JSON came, once."""
        return web.json_response({"status": await self._emulator.deliveries.post(await request.json())})

    async def _warn(self, request: web.Request) -> web.Response:
        """Tell something of the account: `field`, and what stands in its `value`."""
        asked = await _object(request)
        return web.json_response(await self._emulator.warn(asked["field"], **asked.get("value", {})))

    async def _script(self, request: web.Request) -> web.Response:
        """Append `steps` to what the model says next: strings, or faults as objects."""
        steps = (await _object(request))["steps"]
        read = [step if isinstance(step, str) else Fault(**{"service": "model", **step}) for step in steps]
        self._emulator.model.script.extend(read)
        return web.json_response({})

    async def _hurry(self, request: web.Request) -> web.Response:
        self._emulator.deliveries.hurry()
        return web.json_response({})


def _answered(verb: Verb) -> Verb:
    async def handle(request: web.Request) -> web.Response:
        try:
            return await verb(request)
        except (KeyError, TypeError, ValueError) as wrong:
            return web.json_response({"error": str(wrong)}, status=400)
        except Undelivered as silent:
            return web.json_response({"error": str(silent)}, status=504)

    return handle


def _setting(name: str, value: Any) -> Any:
    if name == "statuses" and isinstance(value, Mapping):
        fields: Json = {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
        return StatusPlan(**fields)
    return tuple(value) if isinstance(value, list) else value


async def _object(request: web.Request) -> Json:
    body = await request.json() if request.can_read_body else {}
    if not isinstance(body, dict):
        raise ValueError("send a JSON object")
    return body
