"""Sign in and out: a browser shows the token once, a cookie says so from then on."""

import re
from urllib.parse import parse_qs

import structlog
from aiohttp import web

from bot.web.guard import SESSION, SESSION_SECONDS, VISITOR, Guard
from bot.web.page import Page
from bot.web.wire import body_of

MOST_BYTES = 8192  # of a form that anybody may send

log = structlog.get_logger(__name__)


class SignIn:
    """The way in for browsers, and the way out."""

    def __init__(self, guard: Guard, page: Page) -> None:
        self._guard, self._page = guard, page

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        ways_in = [web.get("/signin", self.ask), web.post("/signin", self.sign_in)]
        return [*ways_in, web.post("/signout", self.sign_out)]

    async def ask(self, request: web.Request) -> web.Response:
        """Ask for the token; who is signed in goes on to where they wanted to go."""
        if request[VISITOR].signed_in:
            return _on_to(_wanted(request))
        # A link on another site brings no SameSite=Strict cookie; the same page, asked for by itself, does.
        again = request.headers.get("Sec-Fetch-Site") == "cross-site"
        return self._page.draw("signin.html", request[VISITOR], to=_wanted(request), again=again)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Turn the right token into a cookie and lead on. Raises HTTPException: a wrong one, or too many of them."""
        if not 0 < (request.content_length or 0) <= MOST_BYTES:
            raise web.HTTPBadRequest(reason="a form with a token is wanted")
        fields, visitor = parse_qs((await body_of(request)).decode(errors="replace")), request[VISITOR]
        role = await self._guard.role_of(fields.get("token", [""])[0].strip(), visitor.address)
        log.info("sign-in", role=role, address=visitor.address)
        if role is None:
            raise web.HTTPForbidden(reason="this token is wrong")
        response, cookie = _on_to(_wanted(request)), self._guard.cookie(role)
        # The origin is the browser's own word, where the proxy in front says nothing or isn't trusted.
        tls = visitor.scheme == "https" or request.headers.get("Origin", "").startswith("https:")
        response.set_cookie(SESSION, cookie, max_age=SESSION_SECONDS, secure=tls, httponly=True, samesite="Strict")
        return response

    async def sign_out(self, _: web.Request) -> web.Response:
        """Take the cookie away."""
        response = _on_to("/signin")
        response.del_cookie(SESSION)
        return response


def _on_to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _wanted(request: web.Request) -> str:
    """Return the path that `to` names, "/" for what leads elsewhere: browsers take //host and /\\host for a host."""
    to = request.query.get("to", "")
    return to if re.fullmatch(r"/(?!/)[!-\[\]-~]{0,2000}", to) else "/"
