"""Say what a failed call to a model means: our kinds for OpenAI's codes, and for how other servers put it.

Reasons name statuses and codes and never repeat the service's own text: it may quote the key or the user's words.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import openai

from bot.errors import Kind, ServiceError

LONGEST_WAIT_SECONDS = 86_400.0

_FILTERED = {"content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"}
_REFUSED = {
    "invalid_api_key",
    "account_deactivated",
    "model_not_found",
    "unsupported_parameter",
    "unknown_parameter",
}
_UNPAID = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_STATUSES = {
    401: "the model service doesn't accept the API key",
    402: "the model service wants to be paid",
    403: "the model service denies permission",
    404: "the model service doesn't know the model or the address",
}
_CAUSES: tuple[tuple[type[BaseException], Kind, str, str], ...] = (
    (aiohttp.ClientConnectorDNSError, Kind.DOWN, "the model's address can't be resolved", "dns"),
    (aiohttp.ClientSSLError, Kind.DOWN, "no TLS connection to the model's server", "tls"),
    (aiohttp.ClientConnectorError, Kind.DOWN, "no connection to the model's server", "connect"),
    (aiohttp.ConnectionTimeoutError, Kind.DOWN, "no connection to the model's server in time", "connect"),
    (TimeoutError, Kind.LATER, "the model gave no answer in time", "timeout"),
    (aiohttp.ClientConnectionError, Kind.LATER, "the connection to the model was cut", "cut"),
    (aiohttp.ClientPayloadError, Kind.LATER, "the connection to the model was cut", "cut"),
    (BaseException, Kind.LATER, "the model's answer can't be read", "malformed"),
)
_FLAGGED_TEXT = re.compile(r"flagged|moderation", re.IGNORECASE)
_REFUSED_TEXT = re.compile(r"credit balance|insufficient (?:balance|credit|funds)|api key not valid", re.IGNORECASE)
_TOO_LONG_TEXT = re.compile(
    r"context[ _](?:length|window|size)|maximum context|too many (?:input )?tokens|maximum number of tokens"
    r"|(?:prompt|input) is too long|reduce the length|request too large",
    re.IGNORECASE,
)
_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)


def failed(kind: Kind, reason: str, **details: Any) -> ServiceError:
    """Make the model's ServiceError; `details`: code, retry_after, request_id."""
    return ServiceError("model", kind, reason, **details)


def from_exception(error: Exception, now: datetime) -> ServiceError:
    """Explain what the openai package, its transport or our own time limit raised."""
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        wait, known_as = retry_after(headers, now), request_id(headers)
        return from_error(error.body, error.status_code, retry_after=wait, request_id=known_as)
    # On the aiohttp transport the package calls nearly all of these a timeout; the truth is further down.
    root: BaseException = error
    while root.__cause__ and not isinstance(root, aiohttp.ClientError | TimeoutError):
        root = root.__cause__
    causes = (cause for cause in _CAUSES if isinstance(root, cause[0]))
    _, kind, words, code = next(causes)
    return failed(kind, words, code=code)


def from_error(body: object, status: int | None = None, **details: Any) -> ServiceError:
    """Explain an error object; `status` is None where it came with HTTP 200. `details`: retry_after, request_id."""
    error: dict[Any, Any] = body if isinstance(body, dict) else {"message": body}
    code, message = error.get("code"), str(error.get("message"))[:4000]
    if status is None and isinstance(code, int) and 400 <= code < 600:
        status = code  # some proxies answer 200 and put the status inside
    names = [name for name in (code, error.get("type")) if isinstance(name, str) and _CODE.fullmatch(name)]
    if error.get("param") == "model":
        names.append("model_not_found")
    kind, words = _judge(status or 500, set(names), message)
    shown = ", ".join([*([f"HTTP {status}"] if status else []), *names[:1]])
    code = names[0] if names else str(status or "") or None
    return failed(kind, f"{words} ({shown})" if shown else words, code=code, **details)


def _judge(status: int, names: set[str], message: str) -> tuple[Kind, str]:
    if names & _FILTERED or (status == 403 and _FLAGGED_TEXT.search(message)):
        return Kind.MESSAGE, "the model's filter rejects the message"
    if names & _UNPAID:
        return Kind.REFUSED, _STATUSES[402]
    if names & _REFUSED or status in _STATUSES or _REFUSED_TEXT.search(message):
        return Kind.REFUSED, _STATUSES.get(status, "the model service refuses us")
    if status == 413 or "context_length_exceeded" in names or _TOO_LONG_TEXT.search(message):
        return Kind.TOO_LONG, "the conversation is too long for the model"
    if status in (400, 422):
        return Kind.MESSAGE, "the model service rejects the message"
    if status in (408, 409, 425, 429) or status >= 500:
        return (
            Kind.LATER,
            "the model service has no time" if status == 429 else "the model service is in trouble",
        )
    return Kind.REFUSED, "the model service refuses us"


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that a service asks to wait (at most a day), be they milliseconds, seconds or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        written = headers.get(name, "")
        try:
            seconds = float(written) / unit
        except ValueError:
            try:
                moment = parsedate_to_datetime(written)
            except ValueError:
                continue
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
        if seconds == seconds:  # "nan" is a float, too
            return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
    return None


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request, for support."""
    found = headers.get("x-request-id", "")
    return found if _CODE.fullmatch(found) else None
