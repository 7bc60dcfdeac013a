"""Serve the two apps on real sockets, and talk to them byte by byte where a proper client would not do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr

from bot.bell import Bell
from bot.clock import Clock
from bot.config import Admin, Config, WhatsApp
from bot.domain import Batch, Identity, Inbound
from bot.metrics import Metrics
from bot.store.store import Store
from bot.web.admin import admin_app
from bot.web.guard import Guard
from bot.web.server import runner

APP_SECRET = "test_app_secret"
VERIFY_TOKEN = "the verify token"
NUMBER = "106540352242922"


def a_number(*, app_secret: str = APP_SECRET, verify_token: str = VERIFY_TOKEN) -> WhatsApp:
    """Configure a business number."""
    secrets = {"app_secret": SecretStr(app_secret), "verify_token": SecretStr(verify_token)}
    return WhatsApp(phone_number_id=NUMBER, **secrets)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    """Serve an app as the daemon does, on a free port of loopback; give the port."""
    served = runner(app, shutdown_seconds=0.5)
    await served.setup()
    try:
        await web.TCPSite(served, "127.0.0.1", 0, backlog=1024).start()
        yield served.addresses[0][1]
    finally:
        await served.cleanup()


@asynccontextmanager
async def a_store(folder: Path, **limits: object) -> AsyncIterator[Store]:
    """Open a new store in a folder."""
    store = await Store.open(folder / "bot.db", clock=Clock(), **limits)
    try:
        yield store
    finally:
        await store.close()


def a_window(
    store: Store,
    *,
    guard: Guard | None = None,
    bell: Bell | None = None,
    reasons: dict[str, str] | None = None,
    metrics: Metrics | None = None,
) -> web.Application:
    """Make the app of an admin listener, on loopback where no guard is given."""
    return admin_app(
        store=store,
        bell=bell or Bell(),
        reasons={} if reasons is None else reasons,
        guard=guard or Guard(Admin(), "key"),
        config=Config(),
        metrics=metrics or Metrics(),
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over a raw connection; status 0 where it was closed without an answer."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


async def read_reply(reader: asyncio.StreamReader, *, headers_only: bool = False) -> Reply:
    """Read one HTTP answer."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Reply(0)
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(0 if headers_only else int(headers.get("content-length", 0)))
    return Reply(int(head[0].split()[1]), body.decode(), headers)


async def exchange(port: int, *pieces: bytes) -> Reply:
    """Write pieces to a connection of their own and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
        async with asyncio.timeout(20):
            return await read_reply(reader, headers_only=pieces[0].startswith(b"HEAD "))
    finally:
        writer.close()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Write an HTTP request; header names take _ for -."""
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def inbound(wamid: str, phone: str, body: str = "hola", *, name: str = "Ana", minutes_ago: float = 0) -> Inbound:
    """Make a message of a user."""
    return Inbound(
        phone_number_id=NUMBER,
        wamid=wamid,
        sender=Identity(phone=phone, bsuid=None, name=name),
        type="text",
        body=body,
        payload="{}",
        sent_at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
    )


def batch(*messages: Inbound) -> Batch:
    """Put messages into a batch."""
    return Batch(messages=messages)
