"""The emulator runs as a process of its own and is steered over HTTP; its lean mode does the least."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from aiohttp.web import Application

from bot.emulator import Emulator, Settings, StatusPlan
from bot.emulator.__main__ import settings_from
from tests.unit.emulator_hook import Hook, post, text


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """Listen where the daemon would."""
    listening = Hook()
    app = Application()
    app.router.add_post("/webhook", listening.handle)
    async with TestServer(app) as server:
        listening.url = str(server.make_url("/webhook"))
        yield listening


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client."""
    async with ClientSession() as session:
        yield session


async def control(client: ClientSession, emu: Emulator, verb: str, **body: Any) -> tuple[int, Any]:
    """POST to the control side."""
    async with client.post(f"{emu.url}/_emulator/{verb}", json=body) as response:
        return response.status, await response.json()


async def test_it_starts_as_a_process_says_where_and_ends_on_sigterm(hook: Hook, client: ClientSession) -> None:
    """One line of JSON on stdout, then requests are served until SIGTERM, exit code 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bot.emulator", "--webhook-url", hook.url, "--statuses", '{"names": ["sent"], "delays": [0]}'),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        urls = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        url = urls["url"]
        assert urls == {"url": url, "graph_url": url, "model_url": url + "/v1"}
        said = await client.post(f"{url}/_emulator/say", json={"customer": "16505551234", "text": "hi"})
        assert (await said.json())["wamid"].startswith("wamid.")
        assert hook.texts == ["hi"]
        settings = Settings()
        headers = {"Authorization": f"Bearer {settings.access_token}"}
        messages = f"{url}/v26.0/{settings.phone_number_id}/messages"
        assert (await client.post(messages, json=text(), headers=headers)).status == 200
        log = await client.get(f"{url}/_emulator/log?service=webhook&count=2")
        assert [entry["status"] for entry in (await log.json())["entries"]] == [200, 200]
        assert hook.statuses[0]["status"] == "sent"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_every_setting_is_an_option() -> None:
    """Flags, numbers, lists and the plan of statuses."""
    given = settings_from(
        ["--port", "8099", "--lean", "--no-log", "--models", "a", "b", "--statuses", '{"names": [], "copies": 2}']
    )
    assert given == Settings(
        port=8099, lean=True, log=False, models=("a", "b"), statuses=StatusPlan(names=(), copies=2)
    )
    assert settings_from([]) == Settings()


def test_every_option_has_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What it does, and once what holds without it."""
    with pytest.raises(SystemExit):
        settings_from(["--help"])
    options = " ".join(capsys.readouterr().out.split()).partition(" options: ")[2]
    for field in fields(Settings):
        name = field.name.replace("_", "-")
        words = re.search(rf" --{name}(?:, --no-{name}| [A-Z_]+| JSON| \[.*?\])?( [^-].*?) \(default: [^)]+\)", options)
        assert words, name
        assert len(words[1].split()) > 2, name


async def test_faults_are_set_shown_and_cleared_over_http(client: ClientSession) -> None:
    """The fields of Fault as JSON; a mistake is a 400 that names it."""
    async with Emulator() as emu:
        assert (await control(client, emu, "faults", kind="error", code=131056, times=3))[0] == 200
        assert (await post(client, emu, text())).status == 400
        listed = await (await client.get(f"{emu.url}/_emulator/faults")).json()
        assert listed["1"] | {"kind": "error", "code": 131056, "times": 2} == listed["1"]
        await client.delete(f"{emu.url}/_emulator/faults")
        assert (await post(client, emu, text())).status == 200
        status, answer = await control(client, emu, "faults", kind="explode")
        assert status == 400
        assert "explode" in answer["error"]


async def test_settings_script_and_webhooks_over_http(hook: Hook, client: ClientSession) -> None:
    """What a test in another process needs: another webhook, the model's next words, any payload."""
    async with Emulator(Settings(redelivery_tries=1)) as emu:
        assert (await control(client, emu, "say", customer="16505551234", text="lost"))[0] == 504
        changes = {"webhook_url": hook.url, "statuses": {"names": ["sent"], "delays": [0.0]}}
        assert (await control(client, emu, "settings", **changes))[0] == 200
        assert emu.settings.statuses == StatusPlan(names=("sent",), delays=(0.0,))
        assert (await control(client, emu, "settings", colour="red"))[0] == 400
        assert (await control(client, emu, "webhook", object="odd"))[1] == {"status": 200}
        assert hook.bodies == [b'{"object":"odd"}']
        hook.bodies.clear()
        key = (await control(client, emu, "customers", name="Ana", wa_id="5215512345678"))[1]["key"]
        caption = {"caption": "a pot"}
        assert (await control(client, emu, "say", customer=key, kind="image", content=caption))[0] == 200
        assert hook.values[0]["contacts"][0]["profile"] == {"name": "Ana"}
        assert (await control(client, emu, "say", customer=key, kind="scent"))[0] == 400
        assert len((await control(client, emu, "burst", customer=key, texts=["1", "2"]))[1]["wamids"]) == 2
        assert (await control(client, emu, "redeliver", customer=key))[1] == {"status": 200}
        assert hook.bodies[-1] in hook.bodies[:-1]
        await control(client, emu, "script", steps=["one", {"kind": "refusal"}])
        assert emu.model.script[0] == "one"
        assert (await control(client, emu, "hurry"))[0] == 200
        told = {"field": "phone_number_quality_update", "value": {"event": "FLAGGED"}}
        assert (await control(client, emu, "warn", **told))[0] == 200
        assert hook.values[-1] == {"event": "FLAGGED"}


async def test_the_log_is_read_from_where_one_left_off(client: ClientSession) -> None:
    """`since` and `service` narrow it; `count` waits, and is a 408 when too little happens."""
    async with Emulator(Settings(statuses=StatusPlan(names=()))) as emu:
        log = f"{emu.url}/_emulator/log"
        waiting = asyncio.create_task(client.get(f"{log}?service=graph.send&count=2"))
        await post(client, emu, text("one"))
        await post(client, emu, text("two"))
        entries = (await (await waiting).json())["entries"]
        assert [entry["text"] for entry in entries] == ["one", "two"]
        later = await (await client.get(f"{log}?since={entries[0]['number']}&user=%2B5215512345678")).json()
        assert [entry["text"] for entry in later["entries"]] == ["two"]
        assert (await client.get(f"{log}?count=9&timeout=0.01")).status == 408
        await client.delete(log)
        assert emu.log.entries == []


async def test_lean_mode_answers_everything_without_a_check(hook: Hook, client: ClientSession) -> None:
    """No token, no body even; ids that differ; statuses where they are planned."""
    async with Emulator(Settings(lean=True, log=False, statuses=StatusPlan(names=()))) as emu:
        answers = [await (await client.post(f"{emu.url}/v26.0/1/messages")).json() for _ in range(2)]
        ids = {answer["messages"][0]["id"] for answer in answers}
        assert len(ids) == 2
        answer = await (await client.post(f"{emu.model_url}/responses")).json()
        assert answer["output"][0]["content"][0]["text"]
        answer = await (await client.post(f"{emu.model_url}/chat/completions")).json()
        assert answer["choices"][0]["message"]["content"]
    settings = Settings(lean=True, webhook_url=hook.url, statuses=StatusPlan(("sent",), (0.0,)))
    async with Emulator(settings) as emu:
        await post(client, emu, text("one", biz_opaque_callback_data="cb"))
        await emu.wait_for(lambda: hook.statuses)
        assert hook.statuses[0]["biz_opaque_callback_data"] == "cb"
        entries = (await (await client.get(f"{emu.url}/_emulator/log")).json())["entries"]
        assert [(entry["user"], entry["text"]) for entry in entries] == [("5215512345678", "one")]
