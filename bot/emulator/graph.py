"""Answer as Meta's Graph API does: messages, the number, the business account's apps, media."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import hdrs, web

from bot.emulator import contract, registration
from bot.emulator.chats import Bubble, Chats, Customer
from bot.emulator.delivery import Deliveries
from bot.emulator.faults import SILENT, TRANSPORT, Fault, Faults, enact, pause
from bot.emulator.graph_errors import GraphError, unknown_object
from bot.emulator.journal import Entry, Journal
from bot.emulator.payloads import Json, new_wamid
from bot.emulator.settings import Settings

VERSION = r"{version:v\d+\.\d+}"
MEDIA_PATH = "/whatsapp_business/attachments/"
HEADERS = {"facebook-api-version": registration.VERSION}


class GraphApi:
    """Serve the Graph API's part of the emulator."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        faults: Faults,
        chats: Chats,
        deliveries: Deliveries,
        closing: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._faults = faults
        self._chats = chats
        self._deliveries = deliveries
        self._closing = closing
        self.media: dict[str, tuple[bytes, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        """List the paths that this part answers."""
        return [
            web.post(f"/{VERSION}/{{node}}/messages", self._messages),
            web.get(f"/{VERSION}/{{node}}/subscribed_apps", self._subscribed_apps),
            web.post(f"/{VERSION}/{{node}}/subscribed_apps", self._subscribed_apps),
            web.get(f"/{VERSION}/{{node}}/subscriptions", self._webhooks),
            web.get(f"/{VERSION}/{{node:debug_token}}", self._debug_token),
            web.get(f"/{VERSION}/{{node}}", self._node),
            web.get(MEDIA_PATH, self._download),
        ]

    def add_media(self, content: bytes, mime_type: str) -> str:
        """Keep a file as if a customer had sent it. Returns its media id."""
        media_id = str(10**15 + secrets.randbelow(9 * 10**15))
        self.media[media_id] = (content, mime_type)
        return media_id

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        if "status" in body:
            wamid = str(body.get("message_id", ""))
            marked = self._chats.bubble(wamid)
            user = marked.customer if marked else ""
            members: Json = {"user": user, "wamid": wamid, "typing": bool(body.get("typing_indicator"))}
            return await self._call(request, "graph.read", lambda entry: self._read(body, entry), body, members)
        address = str(body.get("to") or body.get("recipient") or "")  # with both, `to` wins
        customer = self._chats.find(address)
        members = {
            "user": customer.key if customer else address.removeprefix("+"),
            "text": contract.words_of(body),
            "callback_data": str(body.get("biz_opaque_callback_data", "")),
        }
        return await self._call(request, "graph.send", lambda entry: self._send(body, entry), body, members)

    async def _send(self, body: Json, entry: Entry) -> Json:
        contract.check_send(body)
        address = body.get("to") or body["recipient"]
        customer = self._chats.meet(address)
        self._check_window(body, customer)
        entry.user, entry.wamid, entry.accepted = customer.key, new_wamid(), True
        quotes = body.get("context", {}).get("message_id", "")
        self._chats.put(Bubble(entry.wamid, customer.key, "out", entry.text, quotes=quotes))
        await self._deliveries.statuses(customer, entry.wamid, entry.callback_data)
        if "to" in body:
            contact = {"input": address, "wa_id": customer.wa_id or address.removeprefix("+")}
        else:
            contact = {"input": address, "user_id": address}
        return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [{"id": entry.wamid}]}

    def _check_window(self, body: Json, customer: Customer) -> None:
        """Let free text go out only so long after the customer's last message, and templates that there are."""
        hours, templates = self._settings.window_hours, self._settings.templates
        if body["type"] == "template":
            name, language = body["template"]["name"], body["template"]["language"]["code"]
            if f"{name}/{language}" not in templates:
                raise GraphError(132001, f"template name ({name}) does not exist in {language}")
        elif hours and self._chats.last_wrote(customer) < time.time() - 3600 * hours:
            text = "Message failed to send because more than 24 hours have passed since the customer last replied"
            raise GraphError(131047, text)

    async def _read(self, body: Json, entry: Entry) -> Json:
        def known(wamid: str) -> bool:
            return not self._settings.check_read_ids or self._chats.bubble(wamid) is not None

        contract.check_read(body, known)
        entry.accepted = True
        self._chats.read(entry.wamid, typing=entry.typing)
        return {"success": True}

    async def _subscribed_apps(self, request: web.Request) -> web.StreamResponse:
        async def work(entry: Entry) -> Json:
            if request.match_info["node"] != self._settings.waba_id:
                raise unknown_object(request.method, request.match_info["node"])
            entry.accepted = True
            if request.method == hdrs.METH_POST:
                self._settings.subscribed = True
                return {"success": True}
            return registration.apps(self._settings)

        return await self._call(request, "graph.subscriptions", work, node=self._settings.waba_id)

    async def _debug_token(self, request: web.Request) -> web.StreamResponse:
        """Tell about `input_token`; a token may ask about itself."""

        async def work(entry: Entry) -> Json:
            entry.accepted = True
            return registration.token(self._settings, request.query.get("input_token", ""))

        return await self._call(request, "graph.token", work, node="debug_token")

    async def _webhooks(self, request: web.Request) -> web.StreamResponse:
        """Tell what the app is subscribed to; the app has to ask, with the token that its id and secret make."""

        async def work(entry: Entry) -> Json:
            entry.accepted = True
            return registration.webhooks(self._settings)

        known = self._settings
        own = f"{known.app_id}|{known.app_secret}"
        return await self._call(request, "graph.webhooks", work, node=known.app_id, token=own)

    async def _node(self, request: web.Request) -> web.StreamResponse:
        node = request.match_info["node"]

        async def number(entry: Entry) -> Json:
            known: Json = {
                "verified_name": self._settings.verified_name,
                "code_verification_status": "VERIFIED",
                "display_phone_number": "+" + self._settings.display_phone_number,
                "quality_rating": "GREEN",
                "platform_type": "CLOUD_API",
                "throughput": {"level": "STANDARD"},
                "id": node,
            }
            extra: Json = {
                "name_status": "APPROVED",
                "status": "CONNECTED",
                "messaging_limit_tier": "TIER_1K",
                "webhook_configuration": registration.callbacks(self._settings),
            }
            asked = [name for name in request.query.get("fields", "").split(",") if name]
            for name in asked:
                if name not in known | extra:
                    text = f"(#100) Tried accessing nonexisting field ({name}) on node type (PhoneNumber)"
                    raise GraphError(100, message=text)
            entry.accepted = True
            return {name: (known | extra)[name] for name in [*asked, "id"]} if asked else known

        async def media(entry: Entry) -> Json:
            content, mime_type = self.media[node]
            entry.accepted = True
            return {
                "url": f"{request.url.origin()}{MEDIA_PATH}?mid={node}",
                "mime_type": mime_type,
                "sha256": hashlib.sha256(content).hexdigest(),
                "file_size": len(content),
                "id": node,
                "messaging_product": "whatsapp",
            }

        if node in self.media:
            return await self._call(request, "graph.media", media, node=node)
        return await self._call(request, "graph.number", number)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        entry = self._journal.begin("graph.media", wamid=request.query.get("mid", ""))
        known = self.media.get(entry.wamid)
        entry.accepted = known is not None and self._token_fits(request)
        status = 200 if entry.accepted else 401 if known else 404
        self._journal.end(entry, status=status)
        if known is None or not entry.accepted:
            return web.Response(status=status)
        return web.Response(body=known[0], content_type=known[1].partition(";")[0])

    async def _call(
        self,
        request: web.Request,
        service: str,
        work: Callable[[Entry], Coroutine[Any, Any, Json]],
        body: Json | None = None,
        members: Json | None = None,
        *,
        node: str = "",
        token: str = "",
    ) -> web.StreamResponse:
        """Answer one call: its fault first, then the checks that every call meets, then `work`."""
        entry = self._journal.begin(service, request=body, **(members or {}))
        customer = self._chats.customers.get(entry.user)
        fault = self._faults.take(service, customer.ids if customer else {entry.user}, entry.text)
        entry.fault = fault.kind if fault else ""
        answer: Json = {}
        status, code = 200, 0
        try:
            if fault and fault.early:
                await self._strike(fault)
            if not (fault and fault.early) or fault.kind == "slow":
                self._check_caller(request, node or self._settings.phone_number_id, token)
                answer = await work(entry)
            if fault and not fault.early:
                await self._strike(fault)
        except GraphError as refused:
            answer, status, code = refused.body, refused.status, refused.code
        headers = {**HEADERS, **(fault.headers if fault else {})}
        response: web.StreamResponse = web.json_response(answer, status=status, headers=headers)
        if fault and fault.kind in TRANSPORT:
            response = await enact(fault, request, json.dumps(answer).encode(), self._closing)
        self._journal.end(entry, status=0 if entry.fault in SILENT else response.status, code=code)
        return response

    async def _strike(self, fault: Fault) -> None:
        if fault.kind == "slow":
            await pause(fault.seconds, self._closing)
        if fault.kind == "error":
            raise GraphError(int(fault.code), message=fault.message, status=fault.status)

    def _check_caller(self, request: web.Request, node: str, token: str) -> None:
        if token and self._token_fits(request):
            raise GraphError(15, message="(#15) This method must be called with an app access token")
        token = token or self._settings.access_token
        if not self._token_fits(request, token):
            raise GraphError(190, message="Invalid OAuth access token - Cannot parse access token")
        proof = request.query.get("appsecret_proof")
        if proof is None and self._settings.require_app_secret:
            text = "API calls from the server require an appsecret_proof argument"
            raise GraphError(100, message=text, kind="GraphMethodException")
        if proof is not None and not hmac.compare_digest(proof.encode(), self._proof(token)):
            text = "Invalid appsecret_proof provided in the API argument"
            raise GraphError(100, message=text, kind="GraphMethodException")
        if request.match_info["node"] != node:
            raise unknown_object(request.method, request.match_info["node"])

    def _proof(self, token: str) -> bytes:
        return hmac.new(self._settings.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest().encode()

    def _token_fits(self, request: web.Request, token: str = "") -> bool:
        return request.headers.get("Authorization", "") == f"Bearer {token or self._settings.access_token}"


async def _json(request: web.Request) -> Json:
    # Like Meta, take a body that isn't a JSON object for one without parameters.
    body: Any = {}
    with contextlib.suppress(ValueError):
        body = json.loads(await request.read())
    return body if isinstance(body, dict) else {}
