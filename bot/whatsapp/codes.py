"""Say what an error of the Graph API means for us: Meta's codes (codes.json), not HTTP statuses (throttles are 400).

Source: Meta's "Error codes" of the WhatsApp Cloud API and "Handle errors" of the Graph API, as of 2026.
"""

import json
import re
from pathlib import Path

from bot.errors import Kind

_CODES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_KINDS = {code: Kind[kind] for kind, causes in _CODES.items() for codes in causes.values() for code in codes.split()}

# Code 100 is our mistake in one message, but for these: every call would end so.
_REFUSALS = ("appsecret_proof", "does not exist, cannot be loaded due to missing permissions")


def kind_of(code: int | None, http_status: int, message: str = "") -> Kind:
    """Sort an error by its code; by the HTTP status where there is no code or an unknown one."""
    if code == 100 and any(words in message for words in _REFUSALS):
        return Kind.REFUSED
    if kind := _KINDS.get(re.sub("^2..$", "2xx", str(code))):
        return kind
    if http_status == 429:
        return Kind.EVERYBODY
    if http_status >= 500 or http_status in (408, 425):
        return Kind.LATER
    if http_status in (401, 403, 404, 405, 407) or 300 <= http_status < 400:
        return Kind.REFUSED  # not Meta's API behind base_url, or it doesn't know us
    return Kind.IN_DOUBT if http_status < 300 else Kind.MESSAGE


def pause_of(kind: Kind, code: int | None) -> float | None:
    """Return the seconds that everybody waits at a rate limit without Retry-After; most are counted by the hour."""
    return {None: 5.0, 130429: 5.0, 131057: 60.0}.get(code, 120.0) if kind is Kind.EVERYBODY else None
