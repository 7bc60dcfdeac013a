"""`bot forget` and `bot export` as processes of their own, the daemon up or down: what comes later finds nobody."""

import asyncio
import json

from bot.emulator import Emulator, payloads
from bot.emulator.openai_shapes import ModelRequest
from tests.process.harness import Bot, until
from tests.process.test_operators import answered, does, line_moved

ANA, LUIS = "34600111222", "34600333444"
ROWS = """SELECT (SELECT count(*) FROM outbox WHERE user_id <> 2), (SELECT count(*) FROM replies WHERE user_id <> 2),
                 (SELECT count(*) FROM users WHERE id <> 2), (SELECT count(*) FROM user_ids WHERE user_id <> 2)"""


async def test_a_forgotten_person_comes_back_as_nobody_or_as_somebody_new(bot: Bot, emu: Emulator) -> None:
    """Beside the running daemon: what comes again and a late status change nothing, a new message is answered."""
    asked: list[ModelRequest] = []

    async def responder(request: ModelRequest) -> object:
        asked.append(request)
        return f"answer to: {request.text}"

    emu.model.responder = responder
    emu.customer("Ana Secreta", wa_id=ANA)
    await bot.start()
    await emu.say(ANA, "mi secreto")
    await answered(emu, "mi secreto")
    await line_moved(emu, "luis")
    await until(lambda: not bot.waiting())
    ((wamid, callback),) = bot.sql("SELECT wamid, callback_id || '.1' FROM replies WHERE user_id = 1")

    told = json.loads(await does(bot, "forget", "+" + ANA, "--yes", "--json"))
    assert told == {"messages": 1, "gone": True}
    left = b"".join(file.read_bytes() for file in bot.folder.glob("bot.db*"))
    assert (b"luis" in left, b"secret" in left.lower(), ANA.encode() in left) == (True, False, False)

    assert await emu.redeliver(ANA) == 200
    late = payloads.status(wamid=wamid, status="read", wa_id=ANA, callback_data=callback)
    assert await emu.deliveries.post(emu.deliveries.wrap(statuses=[late])) == 200
    await line_moved(emu, "luis again")
    assert bot.sql(ROWS) == [(0, 0, 0, 0)]
    assert emu.sends(ANA) == ["answer to: mi secreto"]

    await emu.say(ANA, "hola de nuevo")
    await answered(emu, "hola de nuevo")
    assert asked[-1].messages == (("user", "hola de nuevo"),)
    assert bot.sql("SELECT user_id FROM user_ids WHERE id = ?", ANA) == [(3,)]


async def test_who_is_being_answered_is_forgotten_when_that_has_ended(bot: Bot, emu: Emulator) -> None:
    """Until then a sentence and exit code 1, and the answer goes out; then with the daemon down."""
    go, thinking = asyncio.Event(), asyncio.Event()

    async def responder(request: ModelRequest) -> object:
        thinking.set()
        await go.wait()
        return f"answer to: {request.text}"

    emu.model.responder = responder
    process = await bot.start()
    await emu.say(ANA, "one")
    await thinking.wait()
    refused = await bot.command("forget", ANA, "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert "u1 is being answered" in refused.err
    go.set()
    await answered(emu, "one")
    await until(lambda: not bot.waiting())
    assert await process.stop() == 0

    document = json.loads(await does(bot, "export", ANA))
    assert [(m["body"], m["state"], m["payload"]["from"]) for m in document["messages"]] == [("one", "done", ANA)]
    assert [(r["body"], r["outbox_id"]) for r in document["replies"]] == [("answer to: one", 1)]
    said = await does(bot, "forget", ANA, "--yes")
    assert all(words in said for words in ("messages: 1", "bot backup", "bot.db.schema-N"))
    again = await bot.command("forget", ANA, "--yes")
    assert (again.code, "no such user" in again.err) == (1, True)

    await bot.start()
    assert await emu.redeliver(ANA) == 200
    await line_moved(emu, "luis")
    await until(lambda: bot.states() == {"luis": "done"})
    assert emu.sends(ANA) == ["answer to: one"]
