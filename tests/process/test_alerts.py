"""The real daemon, as a process: raises once, whatever ends it, and clears."""

import sys
from collections.abc import AsyncIterator

import pytest

from bot.emulator import Emulator
from tests.flow.owner import Owner
from tests.process.harness import Bot, until

SOON = """
from bot import alerts, cli
alerts.LOOK_SECONDS, alerts.HOLD_SECONDS, alerts.GONE_SECONDS = 0.05, 0.2, 0.2
cli.main()
"""
ANA = "34600111222"


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    """Whoever is told."""
    async with Owner().listening() as listening:
        yield listening


async def test_an_open_circuit_is_raised_once_over_a_kill_and_cleared(bot: Bot, emu: Emulator, owner: Owner) -> None:
    """The token was withdrawn: by ntfy and JSON, once, although the process is killed and started again."""
    run = (sys.executable, "-c", SOON, "run")
    bot.configure(alerts={"webhook_url": owner.hook, "ntfy_url": owner.topic, "disk_free_mb": 0})
    process = await bot.start(*run, env={"BOT_ALERTS__NTFY_TOKEN": "tk_of_the_owner"})
    fault = emu.faults.add("error", times=0, code=190)
    await emu.say(ANA, "hello")
    await until(lambda: owner.got("/hook") and owner.got("/topic"))
    await until(lambda: bot.sql("SELECT name FROM alerts WHERE told_at IS NOT NULL") == [("circuit_graph",)])
    assert "WhatsApp answered 190" in owner.posts[0].body["text"] if owner.posts[0].path == "/hook" else True
    await process.kill()
    process = await bot.start(*run, env={"BOT_ALERTS__NTFY_TOKEN": "tk_of_the_owner"})
    await process.logged("not answering")
    emu.faults.remove(fault)
    await emu.wait_for(lambda: emu.sends(ANA), timeout=40)  # the circuit's next probe
    await until(lambda: len(owner.posts) == 4)
    assert owner.got("/hook") == ["circuit_graph raised", "circuit_graph cleared"]
    assert await process.stop() == 0
    assert "tk_of_the_owner" not in process.output
    assert "KEY-IN-THE-ADDRESS" not in process.output


async def test_the_command_tries_the_channels(bot: Bot, emu: Emulator, owner: Owner) -> None:
    """Beside a running daemon and without one; exit code 1 where one doesn't work."""
    bot.configure(alerts={"webhook_url": owner.hook, "whatsapp_to": ANA})
    ended = await bot.command("check", "--alerts")
    assert ended.code == 1
    assert "WRONG  No test alert went out by whatsapp: that number wrote nothing to us for 24 hours" in ended.out
    assert "ok     A test alert went out by webhook (HTTP 200)" in ended.out
    await bot.start()
    await emu.say(ANA, "hello")
    await emu.wait_for(lambda: emu.sends(ANA))
    ended = await bot.command("check", "--alerts")
    assert (ended.code, ended.err) == (0, "")
    assert "ok     A test alert went out by whatsapp (free text)" in ended.out
    assert emu.sends(ANA)[-1] == "This is a test: alerts of the bot arrive here."
