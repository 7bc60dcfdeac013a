"""The admin listener: guard, page, JSON and probes put together, and what its errors look like."""

from http import HTTPStatus
from pathlib import Path
from traceback import format_tb

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.bell import Bell
from bot.config import Config
from bot.errors import BadValue, NotFound, StoreError, WrongState
from bot.metrics import Metrics
from bot.store.store import Store
from bot.web.api import Api
from bot.web.guard import VISITOR, Guard
from bot.web.live import Live
from bot.web.page import Page
from bot.web.scrape import scrape
from bot.web.signin import SignIn
from bot.web.wire import prefers_html

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
STATUSES = {BadValue: 400, NotFound: 404, WrongState: 409}  # of the store's errors; the others: 503

log = structlog.get_logger(__name__)


def admin_app(
    *, store: Store, bell: Bell, reasons: dict[str, str], guard: Guard, config: Config, metrics: Metrics
) -> web.Application:
    """Build the app of the admin listener: DESIGN §2, "Admin listener"."""
    api = Api(store, bell, reasons, config)
    page = Page(store, reasons, api.asked)
    live = Live(store, reasons, page.parts)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await guard.admit(request)
            response = await handler(request)
        except Exception as error:  # whatever it is, the listener goes on
            status, reason, headers = _described(error)
            visitor = request.get(VISITOR)
            if visitor and prefers_html(request):  # who comes by a foreign host or from a foreign page gets none
                template = "signin.html" if request.path == "/signin" else "error.html"
                response = page.draw(template, visitor, status, reason=reason, to=request.query.get("to", "/"))
            else:
                response = _problem(status, reason, getattr(error, "field", None))
            response.headers.update(headers)
        response.headers.update(HEADERS)
        return response

    app = web.Application(middlewares=[answer])
    app.add_routes([*page.routes(), *SignIn(guard, page).routes(), *api.routes()])
    live.join(app)
    app.router.add_static("/static", STATIC)
    app.router.add_get("/metrics", scrape(store, reasons, metrics))
    return app


def _problem(status: int, reason: str, field: str | None) -> web.Response:
    """Say an error as RFC 9457 has it; `field` names what was malformed, `error` is `detail` for older programs."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": reason}
    problem |= {"error": reason} | ({"field": field} if field else {})
    return web.json_response(problem, status=status, content_type="application/problem+json")


def _described(error: Exception) -> tuple[int, str, dict[str, str]]:
    """Return the status, the reason in words and the headers that belong to an error."""
    if isinstance(error, web.HTTPException):
        kept = error.headers.keys() & {"Allow", "Location", "Retry-After", "WWW-Authenticate"}
        return error.status, error.reason, {name: error.headers[name] for name in kept}
    if isinstance(error, StoreError):
        return STATUSES.get(type(error), 503), str(error), {}
    # The log says where, without the error's own text: it may quote a message.
    log.error("admin request failed", error=type(error).__name__, trace=format_tb(error.__traceback__))
    return 500, "this went wrong inside; the log says why", {}
