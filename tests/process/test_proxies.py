"""The recipes of docs/proxy.md, word for word, in real proxies before a real daemon."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.process.harness import START_SECONDS, Bot, reserved_port
from tests.wanted import program

RECIPES = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text("utf-8")
TOKEN, CLIENT = "proxy-test-token", "127.0.0.7"  # an address that isn't the proxy's own
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


def recipe(language: str) -> str:
    """Return the one block of a language in docs/proxy.md."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", RECIPES, re.DOTALL)
    return str(found)


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: its port for TLS, and whose certificates it shows."""

    port: int
    authority: Path

    def url(self, host: str, path: str) -> str:
        """Write an address of it."""
        return f"https://{host}.example.com:{self.port}{path}"

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a client that keeps cookies, checks certificates and calls from an address of its own."""
        trust = ssl.create_default_context(cafile=self.authority)
        connector = aiohttp.TCPConnector(resolver=_Here(), ssl=trust, local_addr=(CLIENT, 0), use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector, **options) as session:
            yield session


class _Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def running(*command: str, env: dict[str, str]) -> AsyncIterator[None]:
    """Run a proxy until the block ends; what it says is shown with a test that fails."""
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **env})
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def answering(proxy: Proxy) -> None:
    """Wait until a proxy has its certificates and takes requests."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with proxy.client() as client, client.get(proxy.url("bot", "/")):
                    return
            await asyncio.sleep(0.05)


def placed(text: str, bot: Bot) -> str:
    """Put the ports of a test's daemon into a recipe."""
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{bot.public_port}").replace(
        "127.0.0.1:8081", f"127.0.0.1:{bot.admin_port}"
    )


@asynccontextmanager
async def caddy(bot: Bot, folder: Path) -> AsyncIterator[Proxy]:
    """Run Caddy with certificates of its own authority."""
    caddy_ = program("caddy", "proxy-deps")
    with reserved_port() as http, reserved_port() as port:
        apart = f"http_port {http}\nhttps_port {port}\nadmin off\nlocal_certs\nskip_install_trust\n"
        apart += f"default_bind 127.0.0.1\nstorage file_system {folder}/storage\nlog {{\nlevel ERROR\n}}\n"
        file = folder / "Caddyfile"
        file.write_text(f"{{\n{apart}}}\n{placed(recipe('caddyfile'), bot)}")
        command = (caddy_, "run", "--config", str(file), "--adapter", "caddyfile")
        async with running(*command, env={"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}):
            proxy = Proxy(port, folder / "storage" / "pki" / "authorities" / "local" / "root.crt")
            await answering(proxy)
            yield proxy


@asynccontextmanager
async def nginx(bot: Bot, folder: Path) -> AsyncIterator[Proxy]:
    """Run nginx with a certificate that signs itself."""
    nginx_, openssl = program("nginx", "proxy-deps"), program("openssl", "proxy-deps")
    names = "subjectAltName=DNS:bot.example.com,DNS:status.example.com"
    wanted = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bot", "-addext", names)
    files = ("-keyout", f"{folder}/privkey.pem", "-out", f"{folder}/fullchain.pem")
    made = await asyncio.create_subprocess_exec(openssl, *wanted, *files, stderr=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    with reserved_port() as port:
        text = re.sub(r"/etc/letsencrypt/live/[\w.]+", str(folder), placed(recipe("nginx"), bot))
        text = re.sub(r"listen ((?:\[::\]:)?)443", rf"listen \g<1>{port}", text)
        if not Path("/proc/net/if_inet6").exists():
            text = re.sub(r".*listen \[::\].*\n", "", text)
        places = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        whose = "user root;\n" if os.geteuid() == 0 else ""
        head = f"{whose}daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        file.write_text(f"{head}http {{\naccess_log off;\n{places}{text}}}\n")
        async with running(nginx_, "-e", "stderr", "-c", str(file), env={}):
            proxy = Proxy(port, folder / "fullchain.pem")
            await answering(proxy)
            yield proxy


Start = Callable[[Bot, Path], contextlib.AbstractAsyncContextManager[Proxy]]
BOTH = pytest.mark.parametrize("start", [caddy, nginx])


@BOTH
async def test_the_page_is_used_behind_a_proxy_and_the_audit_knows_from_where(
    bot: Bot, tmp_path: Path, start: Start
) -> None:
    """Led to the sign-in and back, with a cookie for TLS alone; what a client says of its address is not believed."""
    bot.configure(**tomllib.loads(recipe("toml")))
    bot.env["BOT_ADMIN__TOKEN"] = TOKEN
    async with start(bot, tmp_path) as proxy, proxy.client() as client:
        await bot.start()
        page, origin = proxy.url("status", "/"), proxy.url("status", "").rstrip("/")
        async with client.get(page, headers=BROWSER) as asked:
            assert asked.url.path == "/signin"
            assert 'name="token"' in await asked.text()
        lies = {
            "X-Forwarded-For": "6.6.6.6",
            "Forwarded": "for=6.6.6.6;proto=http;host=evil.example",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "evil.example",
        }
        acting = BROWSER | {"Origin": origin} | lies
        async with client.post(
            f"{origin}/signin?to=/clear", data={"token": TOKEN}, headers=acting, allow_redirects=False
        ) as entered:
            assert (entered.status, entered.headers["Location"]) == (303, "/clear")
            cookie = entered.cookies["bot_session"]
            assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Strict")
        async with client.get(page, headers=BROWSER) as shown:
            assert (shown.status, shown.url.path) == (200, "/")
        async with client.post(f"{origin}/api/pause", headers=acting, allow_redirects=False) as pressed:
            assert (pressed.status, pressed.headers["Location"]) == (303, "/?done=paused-0")
        async with client.post(f"{origin}/api/resume", headers=BROWSER | {"Origin": "https://evil.example"}) as foreign:
            assert foreign.status == 403
        assert bot.sql("SELECT who, address, action FROM audit") == [("page", CLIENT, "pause")]
    async with bot.client.get(bot.admin_url + "/queue-stats") as direct:
        assert direct.status == 401


@BOTH
async def test_of_the_public_listener_a_proxy_shows_the_webhook_alone(bot: Bot, tmp_path: Path, start: Start) -> None:
    """With bodies as large as Meta's may be, and the name that the check from outside asks for."""
    bot.configure(**tomllib.loads(recipe("toml")))
    bot.env["BOT_ADMIN__TOKEN"] = TOKEN
    async with start(bot, tmp_path) as proxy, proxy.client() as client:
        await bot.start()
        hook = proxy.url("bot", "/webhook")
        query = {"hub.mode": "subscribe", "hub.verify_token": "process-verify-token", "hub.challenge": "4711"}
        async with client.get(hook, params=query) as challenged:
            assert (challenged.status, await challenged.text()) == (200, "4711")
        async with client.post(hook, data=BytesIO(b"x" * 3_000_000)) as large:
            assert (large.status, await large.text()) == (401, "missing or wrong X-Hub-Signature-256\n")
        for path in ("/", "/healthz", "/queue-stats", "/webhook/x"):
            async with client.get(proxy.url("bot", path)) as hidden:
                assert hidden.status == 404


@BOTH
async def test_events_pass_as_they_come(bot: Bot, tmp_path: Path, start: Start) -> None:
    """A proxy that gathers an answer before it passes it on would keep a live page still."""
    seen = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await seen.wait()
        await response.write(b"data: 2\n\n")
        return response

    app = web.Application()
    app.router.add_get("/events", events)
    async with (
        serving(app, bot.admin_port),
        start(bot, tmp_path) as proxy,
        proxy.client(timeout=aiohttp.ClientTimeout(total=10)) as client,
        client.get(proxy.url("status", "/events")) as stream,
    ):
        assert await stream.content.readuntil(b"\n\n") == b"data: 1\n\n"
        seen.set()
        assert await stream.content.read() == b"data: 2\n\n"


@asynccontextmanager
async def serving(app: web.Application, port: int) -> AsyncIterator[None]:
    """Serve an app in the daemon's place."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()
