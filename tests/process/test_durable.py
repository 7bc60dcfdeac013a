"""A webhook is answered 200 only after its messages are on disk, and what is on disk survives whatever comes."""

import asyncio

import pytest

from bot.emulator import Emulator
from tests.process.harness import Bot, until
from tests.process.slow_disk import SlowDisk

ANA, LUIS = "34600111222", "34600333444"
WAL = "bot.db-wal"


@pytest.mark.parametrize("disk", ["preload", "vfs"], indirect=True)
async def test_no_200_leaves_before_its_fsync_returned(bot: Bot, emu: Emulator, disk: SlowDisk) -> None:
    """While the disk holds the fsync of the WAL, the daemon lives on and keeps the webhook waiting."""
    process = await bot.start(env=disk.env)
    disk.hold()
    webhook = asyncio.create_task(emu.say(ANA, "hola"))
    await until(lambda: disk.held(WAL))
    for _ in range(20):
        async with bot.client.get(bot.public_url + "/healthz") as response:
            assert response.status == 200
    assert not webhook.done()
    assert bot.sql("SELECT count(*) FROM outbox") == [(0,)], "nobody sees what isn't on disk"
    disk.release()
    await webhook
    await _each_200_has_an_fsync_of_its_own_time(emu, disk)
    assert await process.stop() == 0


async def _each_200_has_an_fsync_of_its_own_time(emu: Emulator, disk: SlowDisk) -> None:
    """Many at once share commits; still a whole fsync lies between each webhook's first byte and its 200."""
    said = set(await asyncio.gather(*(emu.say(f"346007770{n:02}", f"hola {n}") for n in range(50))))
    syncs = disk.syncs(WAL)
    posts = [entry for entry in emu.log.of("webhook") if entry.wamid in said]
    assert [post.status for post in posts] == [200] * 50
    for post in posts:
        assert post.ended_at is not None
        assert any(post.began_at < began and ended < post.ended_at for began, ended in syncs)


async def test_a_webhook_whose_fsync_a_crash_cut_off_is_stored_once(bot: Bot, emu: Emulator, disk: SlowDisk) -> None:
    """Whether its commit got through or not, nobody was told 200: it comes again and counts once."""
    process = await bot.start(env=disk.env)
    disk.hold()
    webhook = asyncio.create_task(emu.say(ANA, "hola"))
    await until(lambda: disk.held(WAL))
    await process.kill()
    disk.release()
    await bot.start()
    await webhook
    await emu.wait_for(lambda: emu.sends() == ["answer to: hola"])
    await until(lambda: not bot.waiting())
    assert bot.states() == {"hola": "done"}
    assert len(emu.log.of("graph.send")) == 1


async def test_an_acknowledged_webhook_survives_a_kill_right_after_its_200(bot: Bot, emu: Emulator) -> None:
    """The process gets no time for anything more than the 200; Meta never sends the message again."""
    process = await bot.start()
    webhook = asyncio.create_task(emu.batch([(ANA, "from Ana"), (LUIS, "from Luis")]))
    webhook.add_done_callback(lambda _: process.send_kill())
    await webhook
    await process.ended()
    assert [entry.status for entry in emu.log.of("webhook")] == [200]
    assert bot.sql("SELECT body FROM outbox ORDER BY id") == [("from Ana",), ("from Luis",)]
    await bot.start()
    await until(lambda: not bot.waiting())
    assert sorted(emu.sends()) == ["answer to: from Ana", "answer to: from Luis"]
    assert len(emu.log.of("graph.send")) == 2
