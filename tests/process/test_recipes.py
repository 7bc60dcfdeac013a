"""docs/sqlite.md beside a daemon that runs: each correction counts within two seconds."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from bot.emulator import Emulator
from tests.process.harness import Bot, until
from tests.process.test_operators import ANA, AT_ONCE_SECONDS, LUIS, answered, by_hand, fail_one, line_moved
from tests.store.sqlite.test_recipes import AFRESH, PAUSE, RESUME, RETRY, the_one

PAUSE_ALL, RESUME_ALL = (
    the_one("UPDATE control SET paused_at = strftime"),
    the_one("UPDATE control SET paused_at = NULL"),
)
RETRY_BY_CAUSE = the_one("error LIKE '%in time%'")
NOW = the_one("SET not_before_at = NULL")
CANCEL, CANCEL_ALL = the_one("SET state = 'cancelled'", "id = 7"), the_one("SET state = 'cancelled'", "user_id = 17")
LATER = the_one("'+1 hour'")
CONVERSATION, EVENTS = the_one("FROM conversation"), the_one("FROM events")


async def does(bot: Bot, recipe: str, *, message: int = 1, user: int = 1, phone: str = ANA) -> str:
    """Run a recipe with ids of this test in the place of the page's; return what it prints."""
    for ours, theirs in (r"(?<=id = )17\b", user), (r"(?<=id = )7\b", message), ("5215550001", phone):
        recipe = re.sub(ours, str(theirs), recipe)
    ended = await by_hand(bot, recipe)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


async def held(bot: Bot, emu: Emulator, *texts: str) -> None:
    """Let Ana's messages wait behind the switch for everybody."""
    await does(bot, PAUSE_ALL)
    for text in texts:
        await emu.say(ANA, text)


async def retry_one(bot: Bot, emu: Emulator) -> None:
    """A failed message is answered."""
    await does(bot, RETRY, message=await fail_one(bot, emu, "bad"))
    await answered(emu, "bad")


async def retry_by_cause(bot: Bot, emu: Emulator) -> None:
    """What failed today with this error, and nothing else."""
    bot.sql("UPDATE outbox SET error = 'no answer in time' WHERE id = ?", await fail_one(bot, emu, "slow"))
    emu.faults.add("error", service="model", status=400)
    await emu.say(LUIS, "bad")
    await until(lambda: bot.states()["bad"] == "failed")
    await does(bot, RETRY_BY_CAUSE)
    await answered(emu, "slow")
    assert bot.states()["bad"] == "failed"


async def answer_afresh(bot: Bot, emu: Emulator) -> None:
    """The model is asked a second time, and the person reads its answer."""
    await emu.say(ANA, "hi")
    await answered(emu, "hi")
    await until(lambda: not bot.waiting())
    await does(bot, AFRESH)
    await emu.wait_for(lambda: emu.sends(ANA) == ["answer to: hi"] * 2, timeout=AT_ONCE_SECONDS)


async def try_now(bot: Bot, emu: Emulator) -> None:
    """A message that waits for its next try, ten minutes from now, is tried."""
    emu.faults.add("error", service="model", status=503, contains="later")
    await emu.say(ANA, "later")
    await until(lambda: bot.sql("SELECT 1 FROM outbox WHERE not_before_at > received_at AND state = 'pending'"))
    await does(bot, NOW)
    await answered(emu, "later")


async def pause_and_resume(bot: Bot, emu: Emulator) -> None:
    """One person waits while others are answered, and is answered."""
    await emu.say(ANA, "one")
    await answered(emu, "one")
    await does(bot, PAUSE)
    await emu.say(ANA, "two")
    await line_moved(emu, "moved")
    assert bot.states()["two"] == "pending"
    await does(bot, RESUME)
    await answered(emu, "two")


async def pause_and_resume_all(bot: Bot, emu: Emulator) -> None:
    """Nobody is answered, and it shows; then everybody is."""
    await held(bot, emu, "one")
    assert (await bot.get("/readyz"))[0] == 503
    assert bot.states() == {"one": "pending"}
    await does(bot, RESUME_ALL)
    await answered(emu, "one")


async def cancel_one(bot: Bot, emu: Emulator) -> None:
    """It is never answered; the next in line is."""
    await held(bot, emu, "one", "two")
    await does(bot, CANCEL)
    await does(bot, RESUME_ALL)
    await answered(emu, "two")
    assert emu.sends() == ["answer to: two"]


async def cancel_all_of_one(bot: Bot, emu: Emulator) -> None:
    """None of theirs is answered; others are."""
    await held(bot, emu, "one", "two")
    await does(bot, CANCEL_ALL)
    await does(bot, RESUME_ALL)
    await line_moved(emu, "moved")
    await until(lambda: bot.states() == {"one": "cancelled", "two": "cancelled", "moved": "done"})


async def let_wait(bot: Bot, emu: Emulator) -> None:
    """For an hour, and what comes behind it waits as well."""
    await held(bot, emu, "one", "two")
    await does(bot, LATER)
    await does(bot, RESUME_ALL)
    await line_moved(emu, "moved")
    await until(lambda: bot.states() == {"one": "pending", "two": "pending", "moved": "done"})


async def follow(bot: Bot, emu: Emulator) -> None:
    """What was said both ways, and all that happened, the newest first."""
    await emu.say(ANA, "one")
    await answered(emu, "one")
    await until(lambda: not bot.waiting())
    said = (await does(bot, CONVERSATION)).splitlines()
    assert said[0] == "1"
    assert [line.split("|")[1:5] for line in said[1:]] == [
        ["in", "text", "one", "done"],
        ["out", "answer", "answer to: one", "sent"],
    ]
    newest, *_, oldest = [line.split("|")[1:] for line in (await does(bot, EVENTS)).splitlines()]
    assert newest[:5] == ["attempt", "1", "1", "send", "sent"]
    assert oldest[:5] == ["arrival", "1", "1", "", "text"]


ALL = (
    *(retry_one, retry_by_cause, answer_afresh, try_now, pause_and_resume, pause_and_resume_all),
    *(cancel_one, cancel_all_of_one, let_wait, follow),
)


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.__name__)
async def test_a_running_daemon_follows(
    bot: Bot, emu: Emulator, recipe: Callable[[Bot, Emulator], Awaitable[None]]
) -> None:
    """A statement on the file is all it takes: what the recipe's own words say comes true within two seconds."""
    bot.configure(queue={"backoff_base_seconds": 600.0, "backoff_max_seconds": 600.0})
    process = await bot.start()
    await recipe(bot, emu)
    assert process.running
    assert {event["event"] for event in process.events if event["level"] == "error"} <= {"not answering"}
    assert await asyncio.wait_for(process.stop(), 20) == 0
