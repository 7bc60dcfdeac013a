"""GET /metrics of a whole daemon: what came in by the front door and went out is what it tells, to the one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.config.settings import Admin
from bot.emulator import Fault, StatusPlan
from bot.errors import StoreUnavailable
from bot.metrics import Metrics
from bot.web import scrape
from bot.web.guard import Guard
from tests.flow.conftest import World
from tests.flow.listeners import Reply, a_store, a_window, exchange, request, serving
from tests.flow.people import wait
from tests.scraping import counted, samples

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
READ = "SELECT count(*) FROM replies WHERE delivery = 'read'"


async def scraped(world: World) -> str:
    """Scrape the daemon."""
    assert world.bot is not None
    async with world.http.get(f"{world.bot.admin_url}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        return await response.text()


async def test_what_came_in_and_went_out_is_counted_to_the_one(world: World) -> None:
    """Two messages answered, one of them delivered twice, one webhook with a wrong signature, one send refused."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(names=("sent", "read"), delays=(0.0, 0.01))
    emu.faults.add("error", code=131056)
    async with world.running(openai={"price_input_per_million": 1e6}, limits={"cost_per_day": 1e6}):
        await emu.say(world.ana, "hello")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        await emu.say(world.bea, "hello")
        world.write("UPDATE outbox SET not_before_at = NULL WHERE id = 1")
        await world.settled("done", "done")
        assert await emu.redeliver(world.bea) == 200
        assert await emu.deliveries.post({"entry": []}, headers={"X-Hub-Signature-256": "sha256=no"}) == 401
        await world.eventually(lambda: world.rows(READ) == [(2,)])
        await world.eventually(lambda: emu.deliveries.pending == 0)
        text = await scraped(world)
    found, tokens = counted(text), world.rows("SELECT input_tokens, output_tokens FROM usage")[0]
    assert found.pop("commit_seconds_count") == found.pop("commit_batch_size_count") > 0
    found.pop("event_loop_lag_seconds_count", None)
    assert {name: value for name, value in found.items() if not name.startswith("python_")} == {
        'webhooks_total{code="200"}': 3 + 4,
        'webhooks_total{code="401"}': 1,
        'messages_total{kind="new"}': 2,
        'messages_total{kind="known"}': 1,
        'statuses_total{delivery="sent"}': 2,
        'statuses_total{delivery="read"}': 2,
        'turns_total{outcome="released"}': 1,
        'turns_total{outcome="done"}': 2,
        'model_calls_total{outcome="answered"}': 2,
        'model_tokens_total{direction="input"}': tokens[0],
        'model_tokens_total{direction="output"}': tokens[1],
        'sends_total{code="131056",outcome="pair"}': 1,
        'sends_total{code="",outcome="sent"}': 2,
        "queue_wait_seconds_count": 2,
        "model_seconds_count": 2,
        "send_seconds_count": 3,
        "answer_seconds_count": 2,
    }
    told = samples(text)
    assert (told["bot_ready"], told["bot_store_up"], told["bot_store_writable"], told["bot_queue_users"]) == (
        1,
        1,
        1,
        0,
    )
    assert (told["bot_cost_today"], told["bot_cost_limit"]) == (tokens[0], 1e6)
    assert told["process_resident_memory_bytes"] > 1e7
    assert [name for name in told if any(word in name for word in (*world.ana.ids, "u1", "hello"))] == []


async def test_trouble_shows_and_counts_anew_after_a_restart_while_the_queue_does_not(world: World) -> None:
    """A circuit that opened, the message that waits: from the file; what this process counted begins at zero."""
    world.emu.faults.add(Fault("error", "model", times=0, status=401, code="invalid_api_key"))
    for restarted in (False, True):
        async with world.running():
            if not restarted:
                await world.emu.say(world.ana, "hello")
            await world.eventually(lambda: world.opened("model"))
            await world.eventually(lambda: world.logged("turn", outcome="released"))
            told = samples(await scraped(world))
            assert (told['bot_circuit_open{service="model"}'], told['bot_circuit_open{service="graph"}']) == (1, 0)
            assert told['bot_queue_messages{state="pending"}'] + told['bot_queue_messages{state="leased"}'] == 1
            assert told["bot_ready"] == 0
            assert told['bot_messages_total{kind="new"}'] == (not restarted)
            if not restarted:
                assert told['bot_model_calls_total{outcome="refused"}'] >= 1


class Unreadable:
    """A store whose file can't be read: it says so, or it never answers."""

    def __init__(self, *, hangs: bool) -> None:
        self.trouble = "disk I/O error"
        self.insights, self._hangs = self, hangs

    async def figures(self) -> Any:
        """Fail."""
        if self._hangs:
            await asyncio.Event().wait()
        raise StoreUnavailable(self.trouble)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_that_cant_be_read_leaves_what_the_process_knows(
    monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    """The scrape succeeds, says that the store is down, and tells nothing old of the queue."""
    monkeypatch.setattr(scrape, "READ_SECONDS", 0.05)
    metrics, store, guard = Metrics(), Unreadable(hangs=hangs), Guard(Admin(), "key")
    metrics.figures = {"queue_users": 3}
    metrics.count("webhooks", "503")
    async with serving(a_window(store, guard=guard, metrics=metrics)) as port:
        reply = await exchange(port, request("GET", "/metrics"))
    told = samples(reply.body)
    assert (reply.status, told['bot_webhooks_total{code="503"}']) == (200, 1)
    figures = {name for name in told if name.startswith(("bot_queue_", "bot_store", "bot_ready", "bot_wal"))}
    figures -= {name for name in figures if name.startswith("bot_queue_wait_seconds")}
    assert {name: told[name] for name in figures} == {"bot_store_up": 0, "bot_store_writable": 0, "bot_ready": 0}


async def test_the_daemon_tells_why_it_is_not_ready_by_a_zero_while_it_starts(tmp_path: Path) -> None:
    """As /readyz does: the process has reasons of its own."""
    reasons = {"start": "starting"}
    async with a_store(tmp_path) as store:
        app = a_window(store, reasons=reasons)
        async with serving(app) as port:
            assert samples((await exchange(port, request("GET", "/metrics"))).body)["bot_ready"] == 0
            reasons.clear()
            assert samples((await exchange(port, request("GET", "/metrics"))).body)["bot_ready"] == 1


async def test_accept_chooses_the_format_and_both_say_the_same(tmp_path: Path) -> None:
    """Prometheus' text for who asks for nothing; OpenMetrics, with its end marked, for who does."""
    async with a_store(tmp_path) as store:
        await wait(store, "34600111222", "hello")
        app = a_window(store)
        async with serving(app) as port:
            plain = await exchange(port, request("GET", "/metrics"))
            openly = await exchange(port, request("GET", "/metrics", Accept=OPENMETRICS))
            only = await exchange(port, request("GET", "/metrics?name[]=bot_queue_users"))
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openly.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openly.body.endswith("# EOF\n")
    ours = [{name for name in samples(reply.body) if name.startswith("bot_")} for reply in (plain, openly)]
    assert ours[0] == ours[1]
    assert samples(only.body) == {"bot_queue_users": 1}


async def test_the_guard_stands_before_it(tmp_path: Path) -> None:
    """Off loopback a program shows a token, and the one that may only read is enough."""
    guard = Guard(
        Admin(allowed_hosts=("bot.example.com",), token=SecretStr("secret"), read_token=SecretStr("for-reading")), "key"
    )
    async with a_store(tmp_path) as store, serving(a_window(store, guard=guard)) as port:

        async def get(**headers: str) -> Reply:
            return await exchange(port, request("GET", "/metrics", Host="bot.example.com", **headers))

        assert (await get()).status == 401
        assert (await get(Authorization="Bearer wrong")).status == 401
        assert (await get(Authorization="Bearer for-reading")).status == 200
        assert (await get(Authorization="Bearer secret")).status == 200
