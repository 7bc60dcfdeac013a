"""The process stands still for longer than a lease, as on a suspended machine: nothing is answered twice."""

import asyncio
import signal
import time

import pytest

from bot.emulator import Emulator, StatusPlan, payloads
from bot.emulator.model import ModelRequest
from tests.process.harness import Bot, Process, until

ANA, LUIS = "34600111222", "34600333444"
LEASE_SECONDS = 1.0


async def suspend(process: Process, seconds: float) -> None:
    """Stop it for so long, then let it go on."""
    process.send(signal.SIGSTOP)
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > seconds)
    process.send(signal.SIGCONT)


@pytest.mark.parametrize("moment", ["model", "send", "sent"])
async def test_a_process_that_stood_still_answers_once_and_in_order(bot: Bot, emu: Emulator, moment: str) -> None:
    """While the model thinks, while a part is under way, after it went out: what came meanwhile waits its turn."""
    bot.configure(queue={"lease_seconds": LEASE_SECONDS}, whatsapp={"confirm_seconds": 0.5})
    emu.settings.statuses = StatusPlan(("sent", "delivered"), (0.1,))
    service = "model" if moment == "model" else "graph.send"
    emu.faults.add("slow", service=service, contains="one", seconds=0.4, after=moment == "sent")
    process = await bot.start()
    await emu.say(ANA, "one")
    await emu.wait_for(lambda: emu.log.of(service))
    for who, text in ((ANA, "two"), (LUIS, "hola")):
        payload = emu.compose([(who, payloads.text_message, {"body": text})])
        emu.deliveries.spawn(emu.deliveries.deliver(payload))
    await suspend(process, 2 * LEASE_SECONDS)
    await until(lambda: len(bot.states()) == 3 and not bot.waiting(), seconds=10)
    assert emu.sends(ANA) == ["answer to: one", "answer to: two"]
    assert emu.sends(LUIS) == ["answer to: hola"]
    assert set(bot.states().values()) == {"done"}
    assert bot.sql("SELECT sum(crashes) FROM outbox") == [(0,)]
    assert process.running


async def test_a_turn_whose_lease_was_taken_meanwhile_says_nothing(bot: Bot, emu: Emulator) -> None:
    """By hand, as nothing else can: who holds the row now answers, whatever the turn that stood still comes with."""
    answering = [asyncio.Event(), asyncio.Event()]
    calls = iter(answering)

    async def answer(asked: ModelRequest) -> str:
        await next(calls).wait()
        return f"answer to: {asked.text}"

    emu.model.responder = answer
    process = await bot.start()
    await emu.say(ANA, "one")
    await emu.wait_for(lambda: emu.log.of("model"))
    process.send(signal.SIGSTOP)
    bot.sql("UPDATE outbox SET state = 'pending', leased_at = NULL")
    process.send(signal.SIGCONT)
    await emu.wait_for(lambda: len(emu.log.of("model")) == 2)
    lost, held = answering
    lost.set()
    await process.logged("turn", outcome="released")
    assert emu.sends() == []
    held.set()
    await until(lambda: not bot.waiting())
    assert emu.sends() == ["answer to: one"]
    assert bot.sql("SELECT state, attempts, crashes FROM outbox") == [("done", 0, 0)]
