"""What requests say and what they get back: fields of a JSON or form body, paging, JSON or a page."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from bot.errors import NotFound
from bot.store.insights import Insights

USERS_CURSOR, FAILURES_CURSOR = "[0-9]{1,18}-[0-9]{1,18}", "[0-9]{1,18}"  # as the store's insights make them
DEFAULT_LIMIT, MOST_LIMIT = "50", 500


class Malformed(Exception):
    """The request can't be understood; the text says what it should be (400)."""


async def wanted_ids(request: web.Request) -> list[int] | None:
    """Return the messages that `ids` in the body names; None without it, which means all. Raises Malformed."""
    ids = await _field(request, "ids")
    if ids is not None and not isinstance(ids, list):
        raise Malformed("ids must be a list of message ids")
    return None if ids is None else [message_id(str(one)) for one in ids]


async def wants_skip(request: web.Request) -> bool:
    """Return whether a resume shall skip what waits: `{"waiting": "answer" | "skip"}`. Raises Malformed."""
    waiting = await _field(request, "waiting")
    choice = waiting[-1] if isinstance(waiting, list) and waiting else waiting
    if choice not in (None, "answer", "skip"):
        raise Malformed('waiting must be "answer" or "skip"')
    return bool(choice == "skip")


async def _field(request: web.Request, known: str) -> Any:
    """Return the one field that a JSON object or a form may have, there as a list; None where it isn't given."""
    body = (await request.read()).strip()
    try:
        if request.content_type == "application/x-www-form-urlencoded" and not body.startswith(b"{"):
            found: Any = parse_qs(body.decode(), keep_blank_values=True)
        else:
            found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.keys() - {known}:
        raise Malformed(f"the body must be a JSON object or a form with nothing but {known!r}")
    return found.get(known)


def message_id(text: str) -> int:
    """Return the id of a message as a number. Raises Malformed."""
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise Malformed("the id of a message must be a number")
    return int(text)


async def known_user(request: web.Request, insights: Insights) -> int:
    """Return the user that the path names by whatever id. Raises NotFound."""
    user_id = await insights.find_user(request.match_info["user_id"])
    if user_id is None:
        raise NotFound("there is no such user: u17, a phone or a business-scoped id")
    return user_id


async def found_user(request: web.Request, insights: Insights) -> dict[str, Any]:
    """Return what is known of the user that the path names. Raises NotFound."""
    found = await insights.user(await known_user(request, insights))
    if found is None:
        raise NotFound("this user is gone")
    return found


def paging(request: web.Request, cursor: str, which: str = "") -> tuple[int, str | None]:
    """Return `limit` (1 to 500, 50 where not given) and `after`, the `next` of the page before. Raises Malformed.

    `cursor` is the pattern of that; `which` goes before the names where a page holds two lists.
    """
    limit = request.query.get(f"{which}limit", DEFAULT_LIMIT)
    after = request.query.get(f"{which}after", "")
    if not re.fullmatch("[0-9]{1,3}", limit, re.ASCII) or not 1 <= int(limit) <= MOST_LIMIT:
        raise Malformed(f"limit must be a number from 1 to {MOST_LIMIT}")
    if after and not re.fullmatch(cursor, after, re.ASCII):
        raise Malformed("after must be the next of another page")
    return int(limit), after or None


def prefers_html(request: web.Request) -> bool:
    """Tell a browser from a program: Accept ranks text/html over application/json."""
    ranks = {}
    for item in request.headers.get("Accept", "").lower().split(","):
        name, _, parameters = item.partition(";")
        quality = re.search(r"\bq=([01](?:\.[0-9]{0,3})?)", parameters, re.ASCII)
        ranks[name.strip()] = float(quality[1]) if quality else 1.0
    anything = ranks.get("*/*", 0.0)
    return ranks.get("text/html", anything) > ranks.get("application/json", anything)


def done(request: web.Request, what: str, figures: dict[str, int]) -> web.Response:
    """Answer that something was done: its figures as JSON, or the page it was asked from, which then tells them."""
    if not prefers_html(request):
        return web.json_response(figures)
    referer = urlsplit(request.headers.get("Referer", ""))
    # Only our own pages, and only by path: this header must not send anybody anywhere else.
    own = referer.netloc == request.host and re.fullmatch("/|/users/u[0-9]+", referer.path, re.ASCII)
    told = "-".join([what, *map(str, figures.values())])
    return web.Response(status=303, headers={"Location": f"{referer.path if own else '/'}?done={told}"})
