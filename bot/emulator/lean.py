"""Answer with as little work as can be, so that a benchmark measures the daemon and not its emulator."""

import itertools
import json

from aiohttp import web

from bot.emulator.chats import Customer
from bot.emulator.delivery import Deliveries
from bot.emulator.journal import Journal
from bot.emulator.openai_shapes import Answer, ModelRequest, completion, response
from bot.emulator.payloads import Json, new_wamid
from bot.emulator.settings import Settings


class LeanApi:
    """Accept everything: canned answers, wamids that count up, statuses where the plan names some, no checks.

    A body is read as JSON only where the log or the statuses need what is in it.
    """

    def __init__(self, settings: Settings, journal: Journal, deliveries: Deliveries) -> None:
        self._settings = settings
        self._journal = journal
        self._deliveries = deliveries
        self._wamids = (f"{new_wamid()}{number}" for number in itertools.count())
        self._look = settings.log or bool(settings.statuses.names)
        answer = Answer("A plausible answer of one line.")
        model = settings.models[0] if settings.models else "gpt-5.4-mini"
        asked = ModelRequest("responses", model, "", (("user", "a question"),), False, {})
        self._response = json.dumps(response(asked, answer)).encode()
        self._completion = json.dumps(completion(asked, answer)).encode()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer any request."""
        body = await request.read()
        if request.path.endswith("/messages"):
            answer = await self._message(json.loads(body)) if self._look else self._sent(next(self._wamids))
        elif request.path == "/_emulator/log":
            found = [{"user": e.user, "text": e.text, "began_at": e.began_at} for e in self._journal.of("graph.send")]
            answer = json.dumps({"entries": found}).encode()
        else:
            answer = self._response if request.path == "/v1/responses" else self._completion
        return web.Response(body=answer, content_type="application/json")

    async def _message(self, body: Json) -> bytes:
        if "status" in body:
            return b'{"success":true}'
        wamid = next(self._wamids)
        phone, bsuid = str(body.get("to", "")).removeprefix("+"), str(body.get("recipient", ""))
        if self._settings.log:
            entry = self._journal.begin("graph.send", user=phone or bsuid, text=body["text"]["body"], wamid=wamid)
            entry.accepted = True
        customer = Customer("", phone, "" if phone else bsuid)
        await self._deliveries.statuses(customer, wamid, body.get("biz_opaque_callback_data", ""))
        return self._sent(wamid)

    def _sent(self, wamid: str) -> bytes:
        return b'{"messaging_product":"whatsapp","contacts":[],"messages":[{"id":"%s"}]}' % wamid.encode()
