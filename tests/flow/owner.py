"""The owner's end: a server that takes alerts as JSON and as ntfy does, fails, hangs and comes back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.flow.listeners import serving


@dataclass(frozen=True, slots=True)
class Post:
    """One request that came in."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Owner:
    """What came in at /hook (JSON) and at /topic (ntfy); `status` and `hang` are what becomes of the next ones."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.port = 0
        self.status = 200
        self.hang = False
        self.asked = 0

    @property
    def hook(self) -> str:
        """Where JSON goes; as many services have it, with a secret in the address."""
        return f"http://127.0.0.1:{self.port}/hook?key=KEY-IN-THE-ADDRESS"

    @property
    def topic(self) -> str:
        """Where ntfy's format goes."""
        return f"http://127.0.0.1:{self.port}/topic-KEY-IN-THE-ADDRESS"

    def got(self, path: str) -> list[str]:
        """Return what was accepted at a path, each as `name state` or ntfy's title."""
        found = [post for post in self.posts if post.path.startswith(path)]
        return [
            f"{post.body['name']} {post.body['state']}" if path == "/hook" else post.headers["Title"] for post in found
        ]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Owner"]:
        """Serve on a free port until the block ends."""
        app = web.Application()
        app.router.add_post("/{path}", self._take)
        async with serving(app) as self.port:
            yield self

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.hang:
            await asyncio.sleep(60)  # longer than anybody waits
        if self.status == 200:
            body = await (request.json() if request.path == "/hook" else request.text())
            self.posts.append(Post(request.path, request.headers, body))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})
