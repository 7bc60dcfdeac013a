"""A real Prometheus scrapes a real daemon by the documented configuration, and knows what happened."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from bot.emulator import Emulator
from tests.monitoring.promtool import DOCS, metrics_in, of_dashboard, of_rules, promtool
from tests.process import rig
from tests.process.harness import POLL_SECONDS, Bot, reserved_port
from tests.scraping import samples
from tests.wanted import program

TOKEN = "a-token-that-may-only-read"
DASHBOARD = json.loads((DOCS / "dashboard.json").read_text("utf-8"))


class Prometheus:
    """One that runs: its HTTP API."""

    def __init__(self, http: ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def get(self, path: str, **query: str) -> Any:
        """Return the data of an answer of its API; None while it doesn't answer."""
        try:
            async with self._http.get(f"{self._url}/api/v1/{path}", params=query) as response:
                answer = await response.json()
        except ClientError:
            return None
        assert answer["status"] == "success", (query, answer)
        return answer["data"]

    async def value(self, expression: str) -> float | None:
        """Return an expression's one value; None where there is none."""
        found = await self.get("query", query=expression)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    async def knows(self, expression: str, wanted: float, seconds: float = 20.0) -> None:
        """Wait until an expression has a value."""
        try:
            async with asyncio.timeout(seconds):
                while await self.value(expression) != wanted:
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            targets = await self.get("targets")
            raise AssertionError(
                f"{expression}: {await self.value(expression)} instead of {wanted}; {targets}"
            ) from None


@asynccontextmanager
async def prometheus(folder: Path, bot: Bot, http: ClientSession) -> AsyncIterator[Prometheus]:
    """Run one on the documented files: only the bot's port is another, and it looks more often."""
    text = (DOCS / "prometheus.yml").read_text("utf-8")
    assert (text.count("127.0.0.1:8081"), text.count(": 15s")) == (1, 2)
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{bot.admin_port}").replace(": 15s", ": 200ms")
    folder.mkdir()
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    (folder / "alerts.rules.yml").write_bytes((DOCS / "alerts.rules.yml").read_bytes())
    (folder / "bot.token").write_text(f"{TOKEN}\n")
    with reserved_port() as port, (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("prometheus", "monitoring-deps"),
            f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield Prometheus(http, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            await process.wait()


async def test_prometheus_scrapes_a_daemon_and_knows_what_happened(tmp_path: Path) -> None:
    """Three messages came and were answered: so says a query. Rules and dashboard find what they look for."""
    program("prometheus", "monitoring-deps")
    async with rig.emulator() as emu, rig.configured(tmp_path / "bot", emu) as bot, ClientSession() as http:
        bot.configure(admin={"allowed_hosts": ["bot.example.com"]})
        await bot.start(env={"BOT_ADMIN__TOKEN": "the-owners-own", "BOT_ADMIN__READ_TOKEN": TOKEN})
        async with prometheus(tmp_path / "prometheus", bot, http) as monitor:
            await answered(emu, 3)
            await monitor.knows('sum(bot_turns_total{job="bot", outcome="done"})', 3)
            await monitor.knows('bot_messages_total{kind="new"}', 3)
            await monitor.knows("bot_answer_seconds_count", 3)
            await monitor.knows('up{job="bot"} * bot_ready * bot_store_up', 1)
            await monitor.knows("sum(bot_queue_messages)", 0)
            assert await monitor.value("bot_database_bytes") == bot.database.stat().st_size
            for expression in of_dashboard(DASHBOARD):
                filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
                assert await monitor.get("query", query=filled) is not None
            groups = (await monitor.get("rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
            assert (len(rules), [rule["name"] for rule in rules if rule["state"] == "firing"]) == (len(of_rules()), [])
        await looked_through(bot, http)


async def answered(emu: Emulator, messages: int) -> None:
    """Let somebody write, and wait for the answers."""
    who = emu.customer("Ana Torres", wa_id="34600111222")
    await emu.burst(who, [f"question {n}" for n in range(messages)])
    await emu.wait_for(lambda: len(emu.sends()) == messages, 10)


async def looked_through(bot: Bot, http: ClientSession) -> None:
    """What the daemon tells keeps the conventions and has all that is looked at; without the token it tells nothing."""
    assert (await http.get(f"{bot.admin_url}/metrics")).status == 401
    async with http.get(f"{bot.admin_url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
        text = await response.text()
    promtool("check", "metrics", text=text)
    told = {re.split("[{]", name)[0] for name in samples(text)}
    assert metrics_in([*of_rules(), *of_dashboard(DASHBOARD)]) - told == set()
