"""Where alerts go: a WhatsApp number, an address that takes JSON, ntfy. Each says how it went out, or why not."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import aiohttp
from pydantic import SecretStr

from bot import __version__
from bot.clock import Clock, stamp
from bot.config import Config
from bot.domain import Identity
from bot.errors import Kind, ServiceError
from bot.sender import NumberLimit
from bot.store.operators import WINDOW
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

TIMEOUT = aiohttp.ClientTimeout(total=10)
LOOKS = {"raised": ("high", "rotating_light"), "reminded": ("default", "bell"), "cleared": ("low", "white_check_mark")}
TROUBLE: dict[type[Exception], str] = {  # never the error's own text, which may hold the address: that is a secret, too
    aiohttp.ClientConnectorDNSError: "its name is not known",
    aiohttp.ClientSSLError: "its TLS fails",
    aiohttp.ClientConnectorError: "it takes no connection",
    TimeoutError: "it gave no answer within 10 seconds",
    aiohttp.ClientError: "what answers there breaks off or speaks no HTTP",
}


@dataclass(frozen=True, slots=True)
class Telling:
    """What the owner is told about an alert; `since` is when it was raised."""

    name: str
    state: Literal["raised", "reminded", "cleared"]
    text: str
    since: datetime
    at: datetime


class Undelivered(Exception):
    """It couldn't be told by this way; the text says why."""


Way = Callable[[Telling], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Channels:
    """The ways that [alerts] names; `store` knows whether the owner's number wrote lately (None: nobody did)."""

    config: Config
    clock: Clock
    session: aiohttp.ClientSession
    graph: GraphClient
    limit: NumberLimit
    store: Store | None

    def ways(self) -> dict[str, Way]:
        """Return those that are set, by name. Each returns how it was told; raises Undelivered or ServiceError."""
        alerts = self.config.alerts
        whatsapp, webhook = (alerts.whatsapp_to, self.whatsapp), (alerts.webhook_url, self.webhook)
        every = {"whatsapp": whatsapp, "webhook": webhook, "ntfy": (alerts.ntfy_url, self.ntfy)}
        return {name: way for name, (address, way) in every.items() if address}

    async def whatsapp(self, telling: Telling) -> str:
        """Send free text while the number's 24 hours last, the template otherwise; nothing while WhatsApp is down."""
        alerts, callback, now = self.config.alerts, f"alert.{secrets.token_hex(8)}", self.clock.now()
        if self.store and "circuit_graph" in await self.store.named_reasons():
            raise Undelivered("WhatsApp can't be used now: this goes by the other channels alone")
        while come_back := self.limit.take(now):
            await self.clock.sleep((come_back - now).total_seconds())
            now = self.clock.now()
        to, signs = Identity(alerts.whatsapp_to), self.store and await self.store.insights.signs(alerts.whatsapp_to)
        if signs and (signs["owner_wrote_at"] or "") > stamp(now - WINDOW):
            try:
                await self.graph.send_text(to, telling.text, callback=callback)
                return "free text"
            except ServiceError as error:
                if error.kind is not Kind.EXPIRED:
                    raise
        if not alerts.whatsapp_template:
            raise Undelivered("that number wrote nothing to us for 24 hours, and alerts.whatsapp_template is empty")
        language = alerts.whatsapp_template_language
        await self.graph.send_template(to, alerts.whatsapp_template, language, telling.text, callback=callback)
        return f"template {alerts.whatsapp_template}"

    async def webhook(self, telling: Telling) -> str:
        """Post it as JSON."""
        server, number = self.config.server, self.config.whatsapp.phone_number_id
        bot = {"version": __version__, "phone_number_id": number, "public_url": server.public_url}
        body = asdict(telling) | {"since": stamp(telling.since), "at": stamp(telling.at), "bot": bot}
        return await self._post(self.config.alerts.webhook_url, self.config.alerts.webhook_token, json=body)

    async def ntfy(self, telling: Telling) -> str:
        """Post it as ntfy wants it."""
        priority, tags = LOOKS[telling.state]
        headers = {"Title": telling.text.partition(": ")[0], "Priority": priority, "Tags": tags}
        alerts, data = self.config.alerts, telling.text.encode()
        return await self._post(alerts.ntfy_url, alerts.ntfy_token, headers, data=data)

    async def _post(self, url: str, token: SecretStr, headers: dict[str, str] | None = None, **body: Any) -> str:
        bearer = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        options = {"headers": {**(headers or {}), **bearer}, "timeout": TIMEOUT, "allow_redirects": False, **body}
        try:
            async with self.session.post(url, **options) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Undelivered(next(words for kind, words in TROUBLE.items() if isinstance(error, kind))) from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answered HTTP {status}: look at the address and the token")
        return f"HTTP {status}"
