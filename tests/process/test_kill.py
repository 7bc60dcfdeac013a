"""kill -9 at moments that matter: nothing is lost, nothing is answered twice. At any moment: tests/process/crash."""

import contextlib

import pytest

from bot.emulator import Emulator, StatusPlan
from bot.emulator.openai_shapes import ModelRequest
from tests.process.harness import Bot, until, write_lock
from tests.process.rig import assert_answered_once_in_order

ANA = "34600111222"


async def test_a_kill_while_the_model_thinks_asks_it_again(bot: Bot, emu: Emulator) -> None:
    """Nobody saw the first answer; the message is blamed for the crash but spends no attempt."""
    emu.faults.add("hang", service="model")
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: emu.log.of("model"))
    await process.kill()
    await bot.start()
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["hola"]})
    assert len(emu.log.of("model")) == 2
    assert bot.sql("SELECT state, attempts, crashes FROM outbox") == [("done", 0, 1)]


@pytest.mark.parametrize("went_out", [True, False])
async def test_a_kill_during_a_send_is_settled_by_the_status(bot: Bot, emu: Emulator, went_out: bool) -> None:
    """A part that a status names went out; one that none names within confirm_seconds is sent again, it alone."""
    bot.configure(whatsapp={"confirm_seconds": 3.0 if went_out else 1.0})
    emu.settings.statuses = StatusPlan(("sent",), (0.3,))  # later than the kill
    emu.faults.add("hang", contains="1 of 2" if went_out else "2 of 2", after=went_out)
    emu.model.script.append("1 of 2 " + "a" * 3990 + "\n\n2 of 2")
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: len(emu.log.of("graph.send")) == (1 if went_out else 2))
    await process.kill()
    await bot.start_in_doubt()
    await until(lambda: not bot.waiting())
    assert [text[:6] for text in emu.sends(ANA)] == ["1 of 2", "2 of 2"]
    assert len(emu.log.of("graph.send")) == (2 if went_out else 3)
    assert len(emu.log.of("model")) == 1, "the answer was planned before the first send"
    assert bot.sql("SELECT state, attempts, crashes FROM outbox") == [("done", 0, 0)]


async def test_a_kill_before_the_plan_is_stored_asks_the_model_again(bot: Bot, emu: Emulator) -> None:
    """The answer came, and somebody's lock kept it from being stored: no part of it may have gone out."""
    with contextlib.ExitStack() as locked:

        def answer(request: ModelRequest) -> str:
            if len(emu.log.of("model")) == 1:
                locked.enter_context(write_lock(bot))
            return f"answer to: {request.text}"

        emu.model.responder = answer
        process = await bot.start()
        await emu.say(ANA, "hola")
        await process.logged("store can't write")
        await process.kill()
    assert emu.log.of("graph.send") == []
    await bot.start()
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["hola"]})
    assert len(emu.log.of("model")) == 2


async def test_a_kill_before_the_wamid_is_stored_is_settled_by_the_status(bot: Bot, emu: Emulator) -> None:
    """The Graph API's 200 was seen and lost: the part counts as in doubt, and is not sent again."""
    bot.configure(whatsapp={"confirm_seconds": 3.0})
    emu.settings.statuses = StatusPlan(("sent",), (0.8,))  # later than the kill
    emu.faults.add("slow", seconds=0.3, after=True)
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(emu.sends)
    with write_lock(bot):  # before the answer of the send
        await process.logged("send", outcome="sent")
        await process.kill()
    await bot.start_in_doubt()
    await until(lambda: not bot.waiting())
    assert_answered_once_in_order(emu, {ANA: ["hola"]})
    assert bot.sql("SELECT state, doubts, duplicates FROM replies") == [("sent", 0, None)]
