"""What requests say: fields of a JSON or form body, paging, JSON or a page."""

import json
import re
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from bot.whatsapp import clean

ID = "[0-9]{1,18}"
USERS_CURSOR, FAILURES_CURSOR = f"{ID}-{ID}", ID  # as the store's insights make them
LIMITS = {str(limit): limit for limit in range(1, 501)}


async def wanted_ids(request: web.Request) -> list[int] | None:
    """Return the messages that the path or `ids` in the body names; None without either, which means all."""
    one = request.match_info.get("id")
    ids = await _field(request, "ids") if one is None else [one]
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(re.fullmatch(ID, str(each)) for each in ids):
        raise web.HTTPBadRequest(reason="messages must be named by a number, in ids by a list of numbers")
    return [int(each) for each in ids]


async def wants_skip(request: web.Request) -> bool:
    """Return whether a resume shall skip what waits: `{"waiting": "answer" | "skip"}`."""
    waiting = await _field(request, "waiting")
    if waiting not in (None, "answer", "skip", ["answer"], ["skip"]):
        raise web.HTTPBadRequest(reason='waiting must be "answer" or "skip"')
    return waiting in ("skip", ["skip"])


async def wanted_text(request: web.Request) -> str:
    """Return the `text` of the body: something, of at most 16,384 characters."""
    given = await _field(request, "text")
    given = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(given, str) or not given.strip() or len(given) > clean.TEXT_LIMIT:
        raise web.HTTPBadRequest(reason=f"text must be a text of 1 to {clean.TEXT_LIMIT} characters")
    return clean.text(given)


async def _field(request: web.Request, known: str) -> Any:
    """Return the one field that a JSON object or a form may have, there as a list; None where it isn't given."""
    body = (await request.read()).strip()
    # A body of JSON is understood under curl's default content type, too.
    form = request.content_type == "application/x-www-form-urlencoded" and not body.startswith(b"{")
    found: Any = None
    try:
        found = parse_qs(body.decode(), keep_blank_values=True) if form else json.loads(body or b"{}")
    except (ValueError, RecursionError):
        pass  # told below, with what is no object
    if not isinstance(found, dict) or found.keys() - {known}:
        raise web.HTTPBadRequest(reason=f"the body must be a JSON object or a form with nothing but {known!r}")
    return found.get(known)


def paging(request: web.Request, cursor: str, after: str = "after") -> tuple[int, str | None]:
    """Return `limit` (1 to 500, 50 where not given) and `after`, the `next` of the page before, like `cursor`."""
    limit, position = LIMITS.get(request.query.get("limit", "50")), request.query.get(after) or None
    if limit is None:
        raise web.HTTPBadRequest(reason="limit must be a number from 1 to 500")
    if position is not None and not re.fullmatch(cursor, position):
        raise web.HTTPBadRequest(reason=f"{after} must be the next of another page")
    return limit, position


def prefers_html(request: web.Request) -> bool:
    """Tell a browser from a program: Accept ranks text/html over application/json."""
    pattern = r"([\w*.+-]+/[\w*.+-]+)(?:[^,]*;\s*q=([01](?:\.[0-9]{0,3})?))?"
    accepted = re.findall(pattern, request.headers.get("Accept", "").lower(), re.ASCII)
    ranks = {name: float(quality or 1) for name, quality in accepted}
    anything = ranks.get("*/*", 0.0)
    return ranks.get("text/html", anything) > ranks.get("application/json", anything)
