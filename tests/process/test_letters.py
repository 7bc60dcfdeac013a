"""kill -9 while the owner's words go out: none is lost, none goes twice, none overtakes another."""

import asyncio

import pytest

from bot.emulator import Emulator, StatusPlan
from tests.process.harness import Bot, Process, until, write_lock

ANA = "34600111222"
LETTERS = "SELECT state, tries, duplicates FROM replies WHERE outbox_id IS NULL ORDER BY id"


async def greeted(bot: Bot, emu: Emulator) -> Process:
    """Start, and let Ana write and be answered."""
    process = await bot.start()
    await emu.say(ANA, "hola")
    await until(lambda: bot.states() == {"hola": "done"})
    return process


@pytest.mark.parametrize("went_out", [True, False])
async def test_a_kill_during_a_send_is_settled_by_the_status(bot: Bot, emu: Emulator, went_out: bool) -> None:
    """A letter that a status names went out; one that none names goes again. The next one waits for either."""
    bot.configure(whatsapp={"confirm_seconds": 3.0 if went_out else 1.0})
    process = await greeted(bot, emu)
    emu.settings.statuses = StatusPlan(("sent",), (0.3,))  # later than the kill
    emu.faults.add("hang", contains="one", after=went_out)
    assert await bot.reply(ANA, "one")
    assert await bot.reply(ANA, "two")
    await emu.wait_for(lambda: len(emu.log.of("graph.send")) == 2)
    await process.kill()
    await bot.start_in_doubt("letter")
    await until(lambda: not bot.waiting())
    assert emu.sends(ANA) == ["answer to: hola", "one", "two"]
    assert len(emu.log.of("graph.send")) == (3 if went_out else 4)
    assert bot.sql(LETTERS) == [("sent", 1 if went_out else 2, None), ("sent", 1, None)]


async def test_a_kill_before_the_wamid_is_stored_is_settled_by_the_status(bot: Bot, emu: Emulator) -> None:
    """The Graph API's 200 was seen and lost: it is in doubt, and not sent again."""
    bot.configure(whatsapp={"confirm_seconds": 3.0})
    process = await greeted(bot, emu)
    emu.settings.statuses = StatusPlan(("sent",), (0.8,))  # later than the kill
    emu.faults.add("slow", seconds=0.3, after=True)
    assert await bot.reply(ANA, "one")
    await emu.wait_for(lambda: len(emu.sends()) == 2)
    with write_lock(bot):  # before the answer of the send
        await process.logged("send", kind="human", outcome="sent")
        await process.kill()
    await bot.start_in_doubt("letter")
    await until(lambda: not bot.waiting())
    assert emu.sends(ANA) == ["answer to: hola", "one"]
    assert bot.sql(LETTERS) == [("sent", 1, None)]


async def test_a_kill_right_after_the_owner_was_told_that_it_is_stored_loses_nothing(bot: Bot, emu: Emulator) -> None:
    """Whatever came of the first of many: all go out, once each, in their order."""
    process = await greeted(bot, emu)
    texts = [f"letter {n}" for n in range(8)]
    emu.settings.statuses = StatusPlan(("sent",), (0.05,))
    for text in texts:
        assert await bot.reply(ANA, text)
    await process.kill()
    await bot.start()
    await until(lambda: not bot.waiting(), seconds=15.0)
    assert emu.sends(ANA) == ["answer to: hola", *texts]
    assert [row[0] for row in bot.sql(LETTERS)] == ["sent"] * 8


async def test_a_reply_that_got_no_answer_was_stored_whole_or_not_at_all(bot: Bot, emu: Emulator) -> None:
    """The daemon dies before its COMMIT: the owner is told nothing, and nothing goes out."""
    process = await greeted(bot, emu)
    with write_lock(bot):
        writing = asyncio.create_task(bot.reply(ANA, "one"))
        await process.logged("store can't write")
        await process.kill()
        assert not await writing
    await bot.start()
    assert await bot.reply(ANA, "two")
    await until(lambda: not bot.waiting())
    assert emu.sends(ANA) == ["answer to: hola", "two"]
