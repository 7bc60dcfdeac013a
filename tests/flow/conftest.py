"""The whole daemon in this process, on real sockets and a real file, with an emulated WhatsApp and model around it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.clock import Clock
from bot.config.settings import Admin, Alerts, Config, Limits, OpenAI, Queue, Replies, Server, Store, WhatsApp
from bot.daemon import Daemon
from bot.domain import Handler
from bot.emulator import Customer, Emulator, Entry, Settings, StatusPlan

T = TypeVar("T")
ERROR_REPLY, UNSUPPORTED_REPLY, LIMIT_REPLY = "sorry: error", "sorry: unreadable", "sorry: limit"


class World:
    """The emulator, and the daemon that runs against it: `async with world.running(queue={"concurrency": 1})`.

    `rows` reads the daemon's file, `get` and `post` talk to its admin listener, `lines` are its log.
    """

    def __init__(self, emu: Emulator, http: aiohttp.ClientSession, file: Path, lines: list[Any]) -> None:
        self.emu, self.http, self.file, self.lines = emu, http, file, lines
        self.bot: Daemon | None = None
        self.ana = emu.customer("Ana Torres", wa_id="34600111222", user_id="ES.30000000000000000001")
        self.bea = emu.customer("Bea Ruiz", wa_id="34600333444", user_id="ES.30000000000000000002")
        self.cora = emu.customer("Cora Gil", wa_id="34600555666", user_id="ES.30000000000000000003")

    def config(self, **sections: dict[str, Any]) -> Config:
        """Give a configuration for the emulator, with short waits; `sections` override its keys."""
        known, emu = self.emu.settings, self.emu

        def filled(name: str, **defaults: Any) -> dict[str, Any]:
            return defaults | sections.get(name, {})

        return Config(
            server=Server(port=0),
            admin=Admin(port=0),
            store=Store(**filled("store", url=f"sqlite:///{self.file}")),
            whatsapp=WhatsApp(
                **filled(
                    "whatsapp",
                    phone_number_id=known.phone_number_id,
                    base_url=emu.graph_url,
                    access_token=SecretStr(known.access_token),
                    app_secret=SecretStr(known.app_secret),
                    verify_token=SecretStr("verify-me"),
                    sends_per_second=0,
                    pair_interval_seconds=0.0,
                    confirm_seconds=0.3,
                    confirm_after_downtime_seconds=0.6,
                )
            ),
            openai=OpenAI(
                **filled("openai", base_url=emu.model_url, api_key=SecretStr(known.api_key), timeout_seconds=2.0)
            ),
            queue=Queue(**filled("queue", backoff_base_seconds=0.02, backoff_max_seconds=0.1, drain_seconds=0.3)),
            limits=Limits(**sections.get("limits", {})),
            alerts=Alerts(**sections.get("alerts", {})),
            replies=Replies(**filled("replies", error=ERROR_REPLY, unsupported=UNSUPPORTED_REPLY, limit=LIMIT_REPLY)),
        )

    @asynccontextmanager
    async def running(
        self, *, clock: Clock | None = None, handler: Handler | None = None, **sections: dict[str, Any]
    ) -> AsyncIterator[Daemon]:
        """Run the daemon; webhooks go to it while it does, and wait for the next one after."""
        async with Daemon(self.config(**sections), clock=clock, handler=handler).running() as self.bot:
            self.emu.settings.webhook_url = f"{self.bot.public_url}/webhook"
            yield self.bot

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the file, as a person with the sqlite3 CLI would."""
        with closing(sqlite3.connect(self.file, timeout=5.0)) as db:
            return db.execute(query, values).fetchall()

    def opened(self, service: str) -> list[tuple[Any, ...]]:
        """Read reason, failed probes and the next probe's time of a circuit that is open."""
        query = "SELECT reason, probes, probe_at FROM circuits WHERE state = 'open' AND service = ?"
        return self.rows(query, service)

    def write(self, statement: str, *values: Any) -> None:
        """Change the file by hand."""
        with closing(sqlite3.connect(self.file, timeout=5.0)) as db, db:
            db.execute(statement, values)

    async def get(self, path: str) -> tuple[int, Any]:
        """GET something of the admin listener: status and JSON."""
        assert self.bot is not None
        async with self.http.get(self.bot.admin_url + path) as response:
            return response.status, await response.json()

    async def post(self, path: str, fields: dict[str, Any] | None = None) -> tuple[int, Any]:
        """POST something to the admin listener: status and JSON."""
        assert self.bot is not None
        async with self.http.post(self.bot.admin_url + path, json=fields or {}) as response:
            return response.status, await response.json()

    async def press(self, path: str, **form: str) -> int:
        """Press a button of the page, as a browser does; give the status before it is redirected."""
        assert self.bot is not None
        headers = {"Accept": "text/html", "Origin": self.bot.admin_url, "Sec-Fetch-Site": "same-origin"}
        async with self.http.post(
            self.bot.admin_url + path, data=form, headers=headers, allow_redirects=False
        ) as response:
            return response.status

    async def eventually(self, check: Callable[[], T], timeout_seconds: float = 5.0) -> T:
        """Return what `check` says once it is truthy: for what stands in the file and nobody tells of."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (found := check()):
                    await asyncio.sleep(0.005)
                return found
        except TimeoutError:
            state = self.rows("SELECT id, state, attempts, error, not_before_at FROM outbox")
            raise TimeoutError(f"never true; outbox: {state}; sent: {self.emu.sends()}") from None

    async def settled(self, *states: str, timeout_seconds: float = 5.0) -> None:
        """Wait until the messages are in these states, in the order of their arrival."""
        query = "SELECT state FROM outbox ORDER BY id"
        await self.eventually(lambda: [row[0] for row in self.rows(query)] == list(states), timeout_seconds)

    async def sent(self, count: int, who: Customer | str = "", timeout_seconds: float = 5.0) -> list[str]:
        """Wait until so many texts went out, to one customer or to all, and return them."""
        await self.emu.wait_for(lambda: len(self.emu.sends(who)) >= count, timeout_seconds)
        return self.emu.sends(who)

    async def asked(self, count: int, timeout_seconds: float = 5.0) -> list[Entry]:
        """Wait until the model was asked so many times; return its log."""
        return await self.emu.wait_for(
            lambda: log if len(log := self.emu.log.of("model")) >= count else [], timeout_seconds
        )

    def logged(self, event: str, **fields: Any) -> list[Any]:
        """List the log's lines of an event that have these fields."""
        found = [line for line in self.lines if line["event"] == event]
        return [line for line in found if all(line.get(key) == value for key, value in fields.items())]


def assert_discreet(emu: Emulator, lines: list[Any]) -> None:
    """No log line at info or above holds a phone, a BSUID, a name, a text or a secret."""
    told = [line for line in lines if line["log_level"] != "debug"]
    text = json.dumps(told, default=str, ensure_ascii=False)
    alerts = {line["text"] for line in lines if line.get("event") == "alert"}  # they may go to a number, too
    bubbles = [bubble.text for chat in emu.chats.bubbles.values() for bubble in chat.values()]
    bubbles = [text for text in bubbles if text not in alerts]
    people = [word for who in emu.chats.customers.values() for word in (*who.ids, who.name)]
    secrets = [emu.settings.access_token, emu.settings.app_secret, emu.settings.api_key, "verify-me"]
    private = {word for word in (*bubbles, *people, *secrets) if len(word) > 3}
    assert [word for word in private if word in text] == []


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An emulated WhatsApp and model, and a folder for the daemon; at the end its log is looked through."""
    statuses = StatusPlan(names=("sent", "delivered"), delays=(0.0, 0.01))
    settings = Settings(statuses=statuses, redelivery_base_seconds=0.02, subscribed=True)
    with capture_logs() as lines:
        async with Emulator(settings) as emu, aiohttp.ClientSession() as http:
            yield World(emu, http, tmp_path / "bot.db", lines)
    await _no_connection_left()
    assert_discreet(emu, lines)


async def _no_connection_left() -> None:
    """Let connections see that their other end is gone: one that was just being accepted hears of it late."""
    watched = asyncio.get_running_loop()._selector.get_map()
    async with asyncio.timeout(5):
        while len(watched) > 1:  # the loop's own pipe
            await asyncio.sleep(0)
