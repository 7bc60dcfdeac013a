"""What requests say: fields of a JSON or form body, paging, JSON or a page."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from bot.errors import BadValue
from bot.store.failures import EMPTY, Failing
from bot.whatsapp import clean

BODY_SECONDS = 10.0  # that a body may take to arrive
ID = "[0-9]{1,18}"
# As the store makes them.
USERS_CURSOR, FAILURES_CURSOR, AUDIT_CURSOR = f"(|{ID}|[0-9TZ:.-]{{24}})-{ID}", f"[0-9TZ:.-]{{24}}-{ID}", ID
LIMITS = {str(limit): limit for limit in range(1, 501)}
LONGEST_KEY = 200
FILTERS = ("cause", "user", "search")  # of failures


def message_id(request: web.Request) -> int:
    """Return the message that the path names."""
    if not re.fullmatch(ID, name := request.match_info["id"]):
        raise BadValue("id", "messages must be named by a number")
    return int(name)


async def wanted(request: web.Request) -> list[int] | Failing:
    """Return the messages that the path or the body's `ids` names, or what the filter there means; nothing: all."""
    if "id" in request.match_info:
        return [message_id(request)]
    found = await _fields(request, "ids", *FILTERS)
    if any(isinstance(value, str) and not value.strip() for value in found.values()):
        raise BadValue("body", EMPTY)
    if "ids" not in found:
        return Failing(**{name: _text(name, value) for name, value in found.items()})
    # To JSON 7.0 is the number 7.
    ids = [str(each).removesuffix(".0") for each in found["ids"]] if isinstance(found["ids"], list) else [""]
    if len(found) > 1 or not all(re.fullmatch(ID, each) for each in ids):
        raise BadValue("ids", "ids must be a list of messages' numbers, without a filter beside it")
    return [int(each) for each in ids]


async def wants_skip(request: web.Request) -> bool:
    """Return whether a resume shall skip what waits: `{"waiting": "answer" | "skip"}`."""
    waiting = (await _fields(request, "waiting")).get("waiting", "answer")
    if waiting not in ("answer", "skip"):
        raise BadValue("waiting", 'waiting must be "answer" or "skip"')
    return bool(waiting == "skip")


async def written(request: web.Request) -> tuple[str, str]:
    """Return what the owner wrote to somebody, free of what would spoil a row, and its key: `{"text", "key"}`."""
    found = await _fields(request, "text", "key")
    text = found.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > clean.TEXT_LIMIT:
        raise BadValue("text", f"text must be what to say, in at most {clean.TEXT_LIMIT} characters")
    if "key" in found and not 0 < len(_text("key", found["key"])) <= LONGEST_KEY:
        raise BadValue("key", f"key must be a text of 1 to {LONGEST_KEY} characters")
    return clean.text(text).replace("\r\n", "\n").strip(), found.get("key", "")


async def body_of(request: web.Request) -> bytes:
    """Return a body once it is here. Raises HTTPException: 408 when it doesn't arrive in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason=f"no whole body within {BODY_SECONDS:g} s") from None


async def _fields(request: web.Request, *known: str) -> dict[str, Any]:
    """Return the fields of a JSON object or of a form, where `ids` is a list. Raises BadValue for any but `known`."""
    body = (await body_of(request)).strip()
    # A body of JSON is understood under curl's default content type, too.
    form = request.content_type == "application/x-www-form-urlencoded" and not body.startswith(b"{")
    found: Any = None
    try:
        found = parse_qs(body.decode(), keep_blank_values=True) if form else json.loads(body or b"{}")
    except (ValueError, RecursionError):
        pass  # told below, with what is no object
    if not isinstance(found, dict) or found.keys() - set(known):
        raise BadValue("body", f"the body must be a JSON object or a form with nothing but {', '.join(known)}")
    if form:  # boxes stand beside an empty `ids`, so that a form with none checked doesn't mean all
        return {name: [one for one in ones if one] if name == "ids" else ones[-1] for name, ones in found.items()}
    return found


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or clean.text(value) != value:
        raise BadValue(name, f"{name} must be a text of at most {clean.TEXT_LIMIT} characters, whole ones and no NUL")
    return value


def filters(query: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return those of the named filters that the query gives."""
    return {name: _text(name, value) for name in names if (value := query.get(name))}


def paging(query: Mapping[str, str], cursor: str, after: str = "after") -> tuple[int, str | None]:
    """Return `limit` (1 to 500, 50 where not given) and `after`, the `next` of the page before, like `cursor`."""
    limit, position = LIMITS.get(query.get("limit", "50")), query.get(after) or None
    if limit is None:
        raise BadValue("limit", "limit must be a number from 1 to 500")
    if position is not None and not re.fullmatch(cursor, position):
        raise BadValue(after, f"{after} must be the next of another page")
    return limit, position


def prefers_html(request: web.Request) -> bool:
    """Tell a browser from a program: Accept ranks text/html over application/json."""
    pattern = r"([\w*.+-]+/[\w*.+-]+)(?:[^,]*;\s*q=([01](?:\.[0-9]{0,3})?))?"
    # Each by itself, from its beginning: to search the whole took the square of its length, and strangers send it.
    accepted = request.headers.get("Accept", "").lower().split(",")
    found = (re.match(pattern, one.strip(), re.ASCII) for one in accepted)
    ranks = {one[1]: float(one[2] or 1) for one in found if one}
    anything = ranks.get("*/*", 0.0)
    return ranks.get("text/html", anything) > ranks.get("application/json", anything)
