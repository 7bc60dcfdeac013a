"""SIGHUP: what can change while the daemon runs counts at once, the rest is named, a mistake changes nothing."""

import asyncio
import signal
import socket

from bot.emulator import Emulator
from tests.process.harness import Bot, hear, until

ANA, BEA = "34600111222", "34600111333"


async def test_what_can_change_counts_for_the_next_message(bot: Bot, emu: Emulator) -> None:
    """A model, its instructions, a text, who is answered; a port wants a restart and is left as it is."""
    emu.settings.models = (*emu.settings.models, "another")
    process = await bot.start()
    await emu.say(ANA, "before")
    await until(lambda: bot.states() == {"before": "done"})
    bot.configure(
        openai={"model": "another", "instructions": "Speak like a pirate."},
        limits={"deny": [BEA]},
        replies={"unsupported": "In words, please."},
        server={"port": 1},
    )
    process.send(signal.SIGHUP)
    said = await process.logged("reloaded")
    assert said["changed"] == ["openai.model", "openai.instructions", "limits.deny", "replies.unsupported"]
    assert said["wants_restart"] == ["server.port"]
    assert BEA not in process.output
    await emu.say(BEA, "ignored")
    await emu.say(ANA, "after")
    await until(lambda: bot.states() == {"before": "done", "ignored": "ignored", "after": "done"})
    asked = emu.log.of("model")[-1].request
    assert (asked["model"], asked["instructions"]) == ("another", "Speak like a pirate.")


async def test_a_budget_that_is_lowered_or_raised_counts_at_once(bot: Bot, emu: Emulator) -> None:
    """What today has cost stays known."""
    bot.configure(openai={"price_output_per_million": 1e6}, limits={"cost_per_day": 1e6})
    process = await bot.start()
    await emu.say(ANA, "before")
    await until(lambda: bot.states() == {"before": "done"})
    async with asyncio.timeout(5):
        for limit, status in ((0.001, 503), (1e6, 200)):
            bot.configure(limits={"cost_per_day": limit})
            process.send(signal.SIGHUP)
            while (await bot.get("/readyz"))[0] != status:
                await asyncio.sleep(0.02)


async def test_a_mistake_changes_nothing_and_is_said(bot: Bot, emu: Emulator) -> None:
    """The log names the keys alone: what stands there may be a number, or a secret topic."""
    process = await bot.start()
    bot.configure(openai={"model": "another"}, limits={"cost_per_day": -1, "answers": 3, "deny": [34600111222]})
    process.send(signal.SIGHUP)
    line = await process.logged("not reloaded: `bot doctor` says why")
    assert {"limits.cost_per_day", "limits.answers", "limits.deny"} < set(line["mistakes"])
    assert "34600111222" not in process.output
    bot.config.write_text("x = " + "[" * 3000)
    process.send(signal.SIGHUP)
    await until(lambda: len([line for line in process.events if line["event"].startswith("not reloaded")]) == 2)
    await emu.say(ANA, "hola")
    await until(lambda: bot.states() == {"hola": "done"})
    assert emu.log.of("model")[-1].request["model"] != "another"


async def test_the_service_manager_is_told_when_it_reads_anew_and_when_it_has(bot: Bot, manager: socket.socket) -> None:
    """systemctl reload waits for that; also where it was refused."""
    process = await bot.launch(env={"NOTIFY_SOCKET": manager.getsockname()})
    await hear(manager, "READY=1")
    for toml in ({"model": "another"}, {"model": 7}):
        bot.configure(openai=toml)
        process.send(signal.SIGHUP)
        reloading = await hear(manager, "RELOADING=1")
        assert int(reloading.partition("\nMONOTONIC_USEC=")[2]) > 0
        await hear(manager, "READY=1")
