"""Meta's errors: code, HTTP status and title, and the body that carries them.

Codes and their HTTP statuses are those of Meta's error page for the WhatsApp Cloud API; throttles come as HTTP 400.
"""

import base64
import secrets
from typing import Any

CATALOGUE: dict[int, tuple[int, str]] = {
    0: (401, "We were unable to authenticate the app user"),
    1: (400, "An unknown error occurred"),
    2: (503, "Service temporarily unavailable"),
    3: (500, "Application does not have the capability to make this API call."),
    4: (400, "Application request limit reached"),
    10: (403, "Application does not have permission for this action"),
    33: (400, "Parameter value is not valid"),
    100: (400, "Invalid parameter"),
    190: (401, "Error validating access token: The session has been invalidated."),
    200: (
        403,
        "You do not have the necessary permissions to send messages on behalf of this WhatsApp Business Account",
    ),
    368: (403, "Temporarily blocked for policies violations"),
    80007: (400, "Rate limit issues"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User's number is part of an experiment"),
    130497: (403, "Business account is restricted from messaging users in this country."),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (500, "Service unavailable"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131030: (400, "Recipient phone number not in allowed list"),
    131031: (403, "Business Account locked"),
    131037: (400, "WhatsApp provided number needs display name approval before message can be sent."),
    131042: (400, "Business eligibility payment issue"),
    131045: (500, "Incorrect certificate"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "This message was not delivered to maintain healthy ecosystem engagement."),
    131050: (400, "User has stopped marketing messages"),
    131051: (400, "Unsupported message type"),
    131052: (400, "Media download error"),
    131053: (400, "Media upload error"),
    131056: (400, "(Business Account, Consumer Account) pair rate limit hit"),
    131057: (500, "Business Account is in maintenance mode"),
    131062: (400, "Business-scoped user id is not supported for this message"),
    131064: (403, "Template sending limit reached"),
    132000: (400, "Number of parameters does not match the expected number of params"),
    132001: (404, "Template name does not exist in the translation"),
    132005: (400, "Translated text too long"),
    132015: (400, "Template is paused"),
    133010: (400, "Phone number not registered"),
    135000: (400, "Generic user error"),
}

_PLAIN = {0, 3, 190}  # whose messages carry no "(#code)" in front


class GraphError(Exception):
    """Refuse a Graph call: `status` and `body` are what goes over the wire."""

    def __init__(
        self,
        code: int,
        details: str = "",
        *,
        message: str = "",
        kind: str = "OAuthException",
        subcode: int = 0,
        status: int = 0,
    ) -> None:
        known_status, title = CATALOGUE.get(code, (400, "Unknown error"))
        self.code = code
        self.status = status or known_status
        text = message or (title if code in _PLAIN else f"(#{code}) {title}")
        error: dict[str, Any] = {"message": text, "type": kind, "code": code}
        if details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": details}
        if subcode:
            error["error_subcode"] = subcode
        self.body: dict[str, Any] = {"error": error | {"fbtrace_id": new_trace_id()}}
        super().__init__(text)


def new_trace_id() -> str:
    """Make a trace id in Meta's style."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


def status_error(code: int) -> dict[str, Any]:
    """Build the entry of `errors` in a status `failed`."""
    title = CATALOGUE.get(code, (400, "Unknown error"))[1]
    return {"code": code, "title": title, "message": title, "error_data": {"details": title}}


def unknown_object(method: str, node: str) -> GraphError:
    """Answer as Meta does for an id that doesn't exist or isn't ours to see."""
    text = (
        f"Unsupported {method.lower()} request. Object with ID '{node}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation. Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api"
    )
    return GraphError(100, message=text, kind="GraphMethodException", subcode=33)
