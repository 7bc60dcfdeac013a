"""Draw pages as a browser would get them, and say what is on them."""

import re
from html.parser import HTMLParser

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from bot.bell import Bell
from bot.config import Config
from bot.store.store import Store
from bot.web.api import Api
from bot.web.guard import VISITOR, Visitor
from bot.web.page import Page

ANA, BEA = "5215512345678", "5215587654321"
HOSTILE = '"><script>alert(1)</script>{{ 12345*9 }}\u202e'


class Drawn:
    """A page and the reasons behind it."""

    def __init__(self, store: Store) -> None:
        self.store, self.reasons = store, dict[str, str]()
        api = Api(store, Bell(), self.reasons, Config())
        self._page, self.visitor = Page(store, self.reasons, api.asked), Visitor("admin", "127.0.0.1")

    async def status(self, query: str = "") -> str:
        """Draw the status page."""
        return (await self._page.status(self._request(f"/?{query}"))).text or ""

    async def user(self, user: str = "u1") -> str:
        """Draw the page of a user."""
        return (await self._page.user(self._request(f"/users/{user}", user_id=user))).text or ""

    async def parts(self, path: str) -> dict[str, str]:
        """Draw what is kept live of a page."""
        return await self._page.parts(path, {}, self.visitor)

    async def message(self, message: int) -> str:
        """Draw what the model was sent."""
        return (await self._page.message(self._request(f"/messages/{message}", id=str(message)))).text or ""

    async def audit(self, query: str = "") -> str:
        """Draw what operators did."""
        return (await self._page.audit(self._request(f"/audit?{query}"))).text or ""

    async def clear(self, user: str = "") -> str:
        """Draw the question before messages are cancelled."""
        names = {"user_id": user} if user else {}
        return (await self._page.confirm_clear(self._request("/clear", **names))).text or ""

    def error(self, reason: str) -> str:
        """Draw an error."""
        return self._page.draw("error.html", self.visitor, 409, reason=reason).text or ""

    def _request(self, path: str, **names: str) -> web.Request:
        request = make_mocked_request("GET", path, match_info=names)
        request[VISITOR] = self.visitor
        return request


class Outline(HTMLParser):
    """What a page holds: its words, its buttons with where they post to, its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.buttons = "", list[tuple[str, str]]()
        self.tags, self.links = list[tuple[str, dict[str, str | None]]](), list[str | None]()
        self._open: list[str] = []
        self._action = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br"}:
            self._open.append(tag)
        if tag == "form":
            self._action = dict(attrs)["action"] or ""
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words and the labels of buttons."""
        self.words += data
        if self._open and self._open[-1] == "button":
            self.buttons.append((data.strip(), self._action))


def headline(html: str) -> str:
    """Return the page's first heading."""
    found = re.search("<h1>(.*?)</h1>", html, re.DOTALL)
    assert found
    return found[1]
