"""`bot restore`: never under a daemon that runs; then the bot goes on from the copy, and nobody is answered twice."""

import contextlib
import json
import sqlite3
import stat
import sys
from pathlib import Path

from bot.emulator import Emulator
from bot.store.copies import back_up
from bot.store.migrate import migrate
from tests.clock import START
from tests.process.harness import Bot, until

ANA = "34600111222"
HELD = """
import sys, time
from pathlib import Path
from bot.store import copies
def held(place, whole=copies._sync):
    Path("held").touch()
    while not Path("go on").exists():
        time.sleep(0.01)
    whole(place)
copies._sync = held
sys.argv = ["bot", "restore", "copy.db"]
from bot.cli import main
main()
"""


async def test_the_bot_goes_on_from_the_copy(bot: Bot, emu: Emulator) -> None:
    """Not while it runs; then, also after a kill -9: with the old conversation, and nobody is answered twice.

    What waited when the copy was made is said to wait, and left to the owner.
    """
    process, copy = await bot.start(), bot.folder / "copy.db"
    await emu.say(ANA, "hola")
    await until(lambda: bot.states() == {"hola": "done"})
    bot.sql("UPDATE control SET paused_at = '2026-11-24T09:00:00.000Z'")
    await emu.say(ANA, "waits")
    back_up(bot.database, copy)
    with contextlib.closing(sqlite3.connect(copy)) as db, db:
        db.execute("UPDATE control SET paused_at = NULL")
        # As a copy finds it that is made during its turn: a skip before the start has to reach it, too.
        db.execute("UPDATE outbox SET state = 'leased', leased_at = received_at WHERE body = 'waits'")
    bot.sql("UPDATE control SET paused_at = NULL")
    await until(lambda: bot.states() == {"hola": "done", "waits": "done"})
    ended = await bot.command("restore", "copy.db")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("stop it, and what would start it (systemctl stop bot.socket bot-admin.socket bot)\n")
    assert process.running
    await process.kill()
    assert (bot.folder / "bot.db-wal").stat().st_size
    ended = await bot.command("restore", "copy.db")
    assert (ended.code, ended.err) == (0, "")
    assert f"{bot.database} is now what the copy holds." in ended.out
    assert "Messages that wait in it: 1, the oldest since " in ended.out
    assert bot.states() == {"hola": "done", "waits": "pending"}
    assert stat.S_IMODE(bot.database.stat().st_mode) == 0o600
    (kept,) = bot.folder.glob("bot.db.before-restore-*")
    assert f"What was there is kept: {kept}." in ended.out
    with contextlib.closing(sqlite3.connect(kept)) as old:
        assert dict(old.execute("SELECT body, state FROM outbox")) == {"hola": "done", "waits": "done"}
    assert (await bot.command("resume", "--all", "--skip", "--yes")).code == 0
    await bot.start()
    await emu.say(ANA, "again")
    await until(lambda: bot.states() == {"hola": "done", "waits": "cancelled", "again": "done"})
    assert emu.sends(ANA) == ["answer to: hola", "answer to: waits", "answer to: again"]
    assert "answer to: hola" in json.dumps(emu.log.of("model")[-1].request)


async def test_a_reply_by_hand_in_the_copy_is_said_to_wait(bot: Bot, emu: Emulator) -> None:
    """It may have gone out since: what the command says cancels it, and nobody reads it twice."""
    migrate(bot.database, START)
    bot.sql("INSERT INTO users (id, phone, created_at) VALUES (7, ?, '2026-11-24T09:00:00.000Z')", ANA)
    bot.sql("""INSERT INTO replies (user_id, part, kind, body, state, callback_id, planned_at)
               VALUES (7, 1, 'human', 'by hand', 'planned', 'x-1', '2026-11-24T09:00:00.000Z')""")
    back_up(bot.database, bot.folder / "copy.db")
    ended = await bot.command("restore", "copy.db")
    assert "Replies by hand that wait in it: 1." in ended.out
    bot.sql(ended.out.partition('bot sql "')[2].partition('"')[0])
    await bot.start()
    await emu.say(ANA, "hola")
    await until(lambda: emu.sends(ANA) == ["answer to: hola"])
    assert bot.sql("SELECT state FROM replies WHERE body = 'by hand'") == [("cancelled",)]


async def test_no_daemon_starts_in_the_middle(bot: Bot) -> None:
    """The restore holds its lock to the end; cut off, it leaves what was there, and the next one clears up."""
    for name in ("bot.db", "copy.db"):
        migrate(bot.folder / name, START)
    restoring = await bot.launch(sys.executable, "-c", HELD)
    await until((bot.folder / "held").exists, seconds=20)
    ended = await bot.command("run")
    assert (ended.code, "another bot runs" in ended.err) == (1, True)
    before = bot.database.stat().st_ino
    await restoring.kill()
    assert bot.database.stat().st_ino == before
    assert len(list(bot.folder.glob("bot.db.*.bot-part"))) == 1
    ended = await bot.command("restore", "copy.db", "--json")
    told = json.loads(ended.out)
    assert (told["database"], told["waiting"], told["oldest"]) == (str(bot.database), 0, None)
    assert Path(told["kept"]).stat().st_ino == before
    assert list(bot.folder.glob("*.bot-part*")) == []
