"""What the emulator's tests have in place of the daemon: a webhook that notes what it gets, and a Graph caller."""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession, web

from bot.emulator import Emulator


@dataclass
class Hook:
    """Hold each webhook in the order of arrival; answer `answers` first, then 200."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)

    async def handle(self, request: web.Request) -> web.Response:
        """Note a webhook."""
        self.bodies.append(await request.read())
        self.signatures.append(request.headers["X-Hub-Signature-256"])
        return web.Response(status=self.answers.popleft() if self.answers else 200)

    @property
    def values(self) -> list[dict[str, Any]]:
        """List the `value` of each webhook."""
        return [json.loads(body)["entry"][0]["changes"][0]["value"] for body in self.bodies]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """List all statuses in the order of arrival."""
        return [status for value in self.values for status in value.get("statuses", [])]

    @property
    def texts(self) -> list[str]:
        """List the texts in the order of arrival."""
        return [message["text"]["body"] for value in self.values for message in value.get("messages", [])]


def text(body: str = "hello", to: str = "+5215512345678", **more: Any) -> dict[str, Any]:
    """Give the JSON of a send that Meta accepts."""
    head = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": to, "type": "text"}
    return {**head, "text": {"body": body}, **more}


def read(wamid: str, *, typing: bool = True) -> dict[str, Any]:
    """Give the JSON of a read mark."""
    body: dict[str, Any] = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
    return body | ({"typing_indicator": {"type": "text"}} if typing else {})


async def post(client: ClientSession, emu: Emulator, body: Any, query: str = "", token: str = "") -> ClientResponse:
    """Call POST /messages as the daemon would."""
    settings = emu.settings
    url = f"{emu.graph_url}/v26.0/{settings.phone_number_id}/messages{query}"
    headers = {"Authorization": f"Bearer {token or settings.access_token}"}
    return await client.post(url, json=body, headers=headers)
