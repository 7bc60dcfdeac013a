"""The admin listener: guard, page, JSON and probes put together, and what its errors look like."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from traceback import format_tb

import structlog
from aiohttp import web

from bot.bell import Bell
from bot.errors import NotFound, StoreError, WrongState
from bot.health import Health
from bot.store.store import Store
from bot.web.api import Api
from bot.web.guard import Guard
from bot.web.page import Page
from bot.web.wire import Malformed, prefers_html

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# The first that fits counts.
STATUSES = ((Malformed, 400), (NotFound, 404), (WrongState, 409), (StoreError, 503))

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def admin_app(*, store: Store, bell: Bell, health: Health, guard: Guard) -> web.Application:
    """Build the app of the admin listener: DESIGN §2, "Admin listener"."""
    page = Page(store, health)
    api = Api(store, bell, health)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        denial = guard.judge(request.method, request.headers)
        if denial is None:
            response = await _answer(request, handler, page)
        else:
            response = web.json_response({"error": denial.reason}, status=denial.status)
            if denial.status == 401:
                response.headers["WWW-Authenticate"] = 'Basic realm="bot", charset="UTF-8"'
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app = web.Application(middlewares=[answer])
    app.add_routes([*page.routes(), *api.routes(), web.static("/static", STATIC)])
    return app


async def _answer(request: web.Request, handler: Handler, page: Page) -> web.StreamResponse:
    headers = {}
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        status, reason = error.status, error.reason
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    except (Malformed, StoreError) as error:
        status, reason = next(code for kind, code in STATUSES if isinstance(error, kind)), str(error)
    except Exception as error:  # whatever it is, the listener goes on; the log says where, in no user's words
        log.error("admin request failed", error=type(error).__name__, trace=format_tb(error.__traceback__))
        status, reason = 500, "this went wrong inside; the log says why"
    if prefers_html(request):
        return page.error(status, reason, headers)
    return web.json_response({"error": reason}, status=status, headers=headers)
