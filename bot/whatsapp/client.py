"""Call the Graph API: send a text, mark a message read, ask about the number. Every failure is a ServiceError."""

import json
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

import aiohttp

from bot.domain import Identity
from bot.errors import Kind, ServiceError
from bot.whatsapp.clean import Json, objects, opaque, section, telling, text
from bot.whatsapp.codes import kind_of, pause_of
from bot.whatsapp.numbers import rewrite
from bot.whatsapp.signature import appsecret_proof

_ANSWER_LIMIT = 1024 * 1024  # bytes
_DAY = 86_400.0

# Raised before a byte of the request left: refused, DNS, TLS, no connection in time.
_NOTHING_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
)


class GraphClient:
    """One business number at the Graph API.

    The session belongs to the caller; its connector should allow as many connections as turns run at once, or
    waiting for one looks like a service that doesn't answer.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base_url: str,
        api_version: str,
        phone_number_id: str,
        access_token: str,
        app_secret: str = "",
        number_rules: Sequence[str] = (),
        timeout_seconds: float = 10.0,
    ) -> None:
        self._session = session
        self._root = f"{base_url.rstrip('/')}/{api_version}"
        self._number = phone_number_id
        self._proof = f"appsecret_proof={appsecret_proof(app_secret, access_token)}&" if app_secret else ""
        self._headers = {"Authorization": f"Bearer {access_token}"}
        self._rules = tuple(number_rules)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds / 2)

    async def send_text(self, to: Identity, body: str, *, callback: str, quote: str | None = None) -> str:
        """Send a text of at most 4,096 characters and return its wamid; accepted is not yet delivered.

        `callback` comes back in the statuses. Raises ServiceError; its kind is IN_DOUBT where the text may have gone.
        """
        message: Json = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            **self._address(to),
            "type": "text",
            "text": {"preview_url": False, "body": body},
            "biz_opaque_callback_data": callback,
        }
        if quote:
            message["context"] = {"message_id": quote}
        answer = await self._call("POST", f"{self._number}/messages", message, cut=Kind.IN_DOUBT)
        accepted = objects(answer, "messages")
        wamid = opaque(accepted[0].get("id")) if accepted else None
        if wamid is None:
            raise ServiceError("graph", Kind.IN_DOUBT, "WhatsApp answered 200 without the id of a message")
        return wamid

    async def mark_read(self, wamid: str, *, typing: bool) -> None:
        """Mark a user's message, and all before it, read; `typing` shows dots for 25 s or until the reply."""
        read: Json = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
        if typing:
            read["typing_indicator"] = {"type": "text"}
        await self._call("POST", f"{self._number}/messages", read)

    async def phone_number(self) -> Json:
        """Ask what the number is: `display_phone_number`, `verified_name` and so on."""
        fields = "fields=id,display_phone_number,verified_name,quality_rating"
        return await self._call("GET", self._number, query=fields)

    async def subscribed_apps(self, waba_id: str) -> list[Json]:
        """List the apps that get the business account's webhooks, each with `id` and `name`; empty: none does."""
        answer = await self._call("GET", f"{waba_id}/subscribed_apps")
        return [section(app, "whatsapp_business_api_data") or app for app in objects(answer, "data")]

    def _address(self, to: Identity) -> Json:
        # With both, Meta takes the phone; some messages can't go to a BSUID at all (131062).
        phone = to.phone or ""
        if phone.isascii() and phone.isdecimal():
            return {"to": f"+{rewrite(phone, self._rules)}"}
        return {"recipient": to.bsuid} if to.bsuid else {"to": phone}

    async def _call(
        self, method: str, path: str, body: Json | None = None, *, query: str = "", cut: Kind = Kind.LATER
    ) -> Json:
        """Make one call and return its JSON object. `cut` is the kind of an answer that didn't arrive whole."""
        try:
            async with self._session.request(
                method,
                f"{self._root}/{path}?{self._proof}{query}",
                json=body,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,  # a POST would come out as a GET
            ) as response:
                answer = await _read(response)
        # `from None`: aiohttp's texts may hold the URL with its proof.
        except _NOTHING_SENT as error:
            why = f"the Graph API can't be reached: {telling(str(error)) or type(error).__name__}"
            raise ServiceError("graph", Kind.DOWN, why) from None
        except TimeoutError:
            raise ServiceError("graph", cut, "the Graph API didn't answer in time") from None
        except aiohttp.ClientError as error:
            why = f"the connection to the Graph API was cut: {telling(str(error)) or type(error).__name__}"
            raise ServiceError("graph", cut, why) from None
        if 200 <= response.status < 300:
            if answer is None:
                raise ServiceError("graph", cut, "the Graph API answered something that is no JSON object")
            if "error" not in answer:
                return answer
        raise _refusal(section(answer or {}, "error"), response)


async def _read(response: aiohttp.ClientResponse) -> Json | None:
    """Read an answer's JSON object; None where it is something else or longer than 1 MiB."""
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > _ANSWER_LIMIT:
            response.close()
            return None
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(error: Json, response: aiohttp.ClientResponse) -> ServiceError:
    number = text(error.get("code"), 12)
    code = int(number) if number.isascii() and number.isdecimal() else None
    message, details = text(error.get("message")), text(section(error, "error_data").get("details"))
    kind = kind_of(code, response.status, f"{message} {details}")
    return ServiceError(
        "graph",
        kind,
        f"WhatsApp answered {number or f'HTTP {response.status}'}: {telling(details or message) or 'no reason given'}",
        code=number or None,
        retry_after=_retry_after(response) or pause_of(kind, code),
        request_id=opaque(error.get("fbtrace_id")),
    )


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Read Retry-After, seconds or a date (counted from the answer's own Date, so that our clock may be wrong)."""
    asked = response.headers.get("Retry-After", "").strip()
    try:
        if asked.isdecimal():
            seconds = float(asked)
        else:
            since = parsedate_to_datetime(response.headers.get("Date", ""))
            seconds = (parsedate_to_datetime(asked) - since).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(seconds, _DAY) if seconds > 0 else None
