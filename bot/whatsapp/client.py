"""Call the Graph API: send a text, mark a message read, ask about the number. Every failure is a ServiceError."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

import aiohttp
import structlog

from bot.backoff import asked_seconds
from bot.clock import Clock
from bot.config import WhatsApp
from bot.domain import Identity
from bot.errors import Kind, ServiceError
from bot.whatsapp.clean import Json, moment, objects, opaque, section, telling, text
from bot.whatsapp.codes import kind_of, pause_of
from bot.whatsapp.signature import appsecret_proof
from bot.whatsapp.webhook import Malformed, parse

log = structlog.get_logger(__name__)
PERMISSIONS = ("whatsapp_business_messaging", "whatsapp_business_management")
CLOCK_OFF = timedelta(minutes=5)
_read_date = lru_cache(1)(parsedate_to_datetime)  # the answers of a second have the same


class GraphClient:
    """One business number at the Graph API.

    The session is the caller's; where its connector has too few connections, to wait for one looks like no answer.
    """

    def __init__(
        self, session: aiohttp.ClientSession, whatsapp: WhatsApp, clock: Clock, *, timeout_seconds: float = 10.0
    ) -> None:
        token, secret = whatsapp.access_token.get_secret_value(), whatsapp.app_secret.get_secret_value()
        self._session, self._number, self._rules = session, whatsapp.phone_number_id, whatsapp.number_rules
        self.clock_off: bool | None = None  # whether our clock is over 5 minutes off the API's; None: not known yet
        self._clock, self._root = clock, f"{whatsapp.base_url}/{whatsapp.api_version}"
        signed = whatsapp.appsecret_proof and secret
        self._proof = f"appsecret_proof={appsecret_proof(secret, token)}" if signed else ""
        self._token, self._headers = token, {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds / 2)

    async def send_text(self, to: Identity, body: str, *, callback: str, quote: str | None = None) -> str:
        """Send a text of at most 4,096 characters and return its wamid; accepted is not yet delivered.

        `callback` comes back in the statuses. Raises ServiceError; its kind is IN_DOUBT where the text may have gone.
        """
        quoted = {"context": {"message_id": quote}} if quote else {}
        return await self._send(to, callback, type="text", text={"preview_url": False, "body": body}, **quoted)

    async def send_template(self, to: Identity, name: str, language: str, text: str, *, callback: str) -> str:
        """Send an approved template, which may go at any time, with one parameter in its body; return its wamid.

        Meta takes neither line breaks there nor over 1,024 characters. Raises ServiceError, as `send_text` does.
        """
        filled = {"type": "body", "parameters": [{"type": "text", "text": " ".join(text.split())[:1024]}]}
        template = {"name": name, "language": {"code": language}, "components": [filled]}
        return await self._send(to, callback, type="template", template=template)

    async def _send(self, to: Identity, callback: str, **content: object) -> str:
        message = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            **self._address(to),
            **content,
            "biz_opaque_callback_data": callback,
        }
        answer = await self._call("POST", f"{self._number}/messages", message, cut=Kind.IN_DOUBT)
        wamid = next((opaque(accepted.get("id")) for accepted in objects(answer, "messages")), None)
        if wamid is None:
            raise ServiceError("graph", Kind.IN_DOUBT, "WhatsApp answered 200 without the id of a message")
        return wamid

    async def mark_read(self, wamid: str, *, typing: bool) -> None:
        """Mark a user's message, and all before it, read; `typing` shows dots for 25 s or until the reply."""
        dots = {"typing_indicator": {"type": "text"}} if typing else {}
        read = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid, **dots}
        await self._call("POST", f"{self._number}/messages", read)

    async def phone_number(self) -> Json:
        """Ask what the number is: `display_phone_number`, `verified_name` and so on."""
        return await self._call("GET", self._number)

    async def clock_is_right(self) -> bool:
        """Whether our clock agrees with the API's, which is asked where it wasn't yet. Raises ServiceError."""
        if self.clock_off is None:
            try:
                await self.phone_number()
            except ServiceError:  # most have a date, too
                if self.clock_off is None:
                    raise
        return not self.clock_off

    async def subscribed_apps(self, waba_id: str, *, add_ours: bool = False) -> list[Json]:
        """List the apps that get the business account's webhooks, each with `id` and `name`; empty: none does.

        `add_ours` subscribes the token's own app before; where it is already, nothing changes.
        """
        if add_ours:
            await self._call("POST", f"{waba_id}/subscribed_apps")
        answer = await self._call("GET", f"{waba_id}/subscribed_apps")
        return [section(app, "whatsapp_business_api_data") or app for app in objects(answer, "data")]

    async def token(self) -> tuple[str, datetime | None, list[str]]:
        """Ask about our token: the id of its app ("": not told), when it ends (None: never), permissions it lacks."""
        told = section(await self._call("GET", f"debug_token?input_token={self._token}"), "data")
        ends = filter(None, (moment(told.get(name)) for name in ("expires_at", "data_access_expires_at")))  # 0: never
        lacking = [name for name in PERMISSIONS if name not in str(told.get("scopes"))]
        return text(told.get("app_id")), min(ends, default=None), lacking

    async def callback(self) -> str:
        """Ask where messages to the number are sent ("": nowhere); number, account and app can each name an address."""
        named = section(
            await self._call("GET", f"{self._number}?fields=webhook_configuration"), "webhook_configuration"
        )
        ways = (text(named.get(who)) for who in ("phone_number", "whatsapp_business_account", "application"))
        return next(filter(None, ways), "")

    async def fields(self, app: str) -> list[str]:
        """Ask which fields of WhatsApp's webhooks an app gets. Only the app is told: its token is id|secret."""
        kinds = objects(await self._call("GET", f"{app}/subscriptions"), "data")
        own = [kind for kind in kinds if kind.get("object") == "whatsapp_business_account" and kind.get("active")]
        return [text(field.get("name")) for kind in own for field in objects(kind, "fields")]

    def _address(self, to: Identity) -> Json:
        # With both, Meta takes the phone; some messages can't go to a BSUID at all (131062).
        phone = to.phone or ""
        if phone.isascii() and phone.isdecimal():
            return {"to": f"+{rewrite(phone, self._rules)}"}
        return {"recipient": to.bsuid} if to.bsuid else {"to": phone}

    async def _call(self, method: str, path: str, body: Json | None = None, *, cut: Kind = Kind.LATER) -> Json:
        """Make one call and return its JSON object. `cut` is the kind of an answer that didn't arrive whole."""
        try:
            async with self._session.request(
                method,
                f"{self._root}/{path}{'&' if '?' in path else '?'}{self._proof}",
                json=body,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,  # a POST would come out as a GET
            ) as response:
                self._compare_clocks(response.headers.get("Date", ""))
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            # Before a byte of the request left: refused, DNS, TLS, no connection in time.
            unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            kind, what = (Kind.DOWN, "can't be reached") if unsent else (cut, "gave no whole answer")
            why = telling(str(error)) or type(error).__name__
            # `from None`: aiohttp's texts may hold the URL with its proof.
            raise ServiceError("graph", kind, f"the Graph API {what}: {why}") from None
        try:
            answer = parse(raw)
        except Malformed:
            if response.status < 300:
                raise ServiceError("graph", cut, "the Graph API answered something that is no JSON object") from None
            answer = {}
        if response.status >= 300 or "error" in answer:
            raise _refusal(section(answer, "error"), response)
        return answer

    def _compare_clocks(self, date: str) -> None:
        with suppress(TypeError, ValueError):  # no date, or one without a zone
            ahead = self._clock.now() - _read_date(date)
            off = abs(ahead) > CLOCK_OFF
            if off and not self.clock_off:
                mend = "set it (timedatectl), then restart the bot; until then no question is too old"
                way, seconds = "behind" if ahead < timedelta(0) else "ahead", round(abs(ahead).total_seconds())
                log.error(f"this machine's clock is {way}", seconds=seconds, mend=mend)
            self.clock_off = off


def rewrite(number: str, rules: Sequence[str]) -> str:
    """Write a number as `to` wants it: by the first rule ("521########## > 52##########", # is a digit) that fits it.

    Mexico's and Argentina's mobiles arrive with a digit that Meta doesn't always take back. Never for stored numbers.
    """
    for rule in rules:
        source, _, target = rule.replace(" ", "").partition(">")
        if found := re.fullmatch(source.replace("#", "([0-9])"), number):
            return target.replace("#", "{}").format(*found.groups())
    return number


def _refusal(error: Json, response: aiohttp.ClientResponse) -> ServiceError:
    number = text(error.get("code"), 12)
    code = int(number) if number.isascii() and number.isdecimal() else None
    message, details = text(error.get("message")), text(section(error, "error_data").get("details"))
    kind = kind_of(code, response.status, f"{message} {details}")
    what, why = number or f"HTTP {response.status}", telling(details or message) or "no reason given"
    wait, trace = asked_seconds(response.headers) or pause_of(kind, code), opaque(error.get("fbtrace_id"))
    reason = f"WhatsApp answered {what}: {why}"
    return ServiceError("graph", kind, reason, code=number or None, retry_after=wait, request_id=trace)
