"""The disk fails in the middle of a commit that many callers share: a 200 has a sync that went well."""

import asyncio
import errno
from collections import Counter

from bot.emulator import Emulator, StatusPlan
from bot.emulator.journal import Entry
from tests.process.failing_disk import WAL, FailingDisk
from tests.process.file_faults.judge import assert_200_or_503, healed
from tests.process.harness import Bot, until
from tests.process.rig import assert_answered_once_in_order
from tests.process.slow_disk import SlowDisk

CALLERS = 12
MIDDLE = 5  # writes; the commit of twelve webhooks has over twenty
# (what, call, errno, how many get through, how many fail (0: all), how many of the callers are refused)
FAILURES = [
    ("the COMMIT fails, each alone succeeds", "sync", errno.EIO, 1, 1, 0),
    ("the COMMIT fails, and four of those that are alone", "sync", errno.EIO, 1, 5, 4),
    ("a write in the middle fails, each alone succeeds", "write", errno.EIO, MIDDLE, 1, 0),
    ("the disk is full from the middle on", "write", errno.ENOSPC, MIDDLE, 0, CALLERS),
]


async def test_a_200_in_a_batch_that_fails_has_a_sync_of_its_own(
    bot: Bot, emu: Emulator, failing: FailingDisk, disk: SlowDisk
) -> None:
    """Twelve webhooks gather behind a sync that is held; their commit fails: each is tried alone and told its own end.

    Those that were told 503 come again. At the end a kill: each message is there, and is answered once.
    """
    emu.settings.statuses = StatusPlan(())
    preload = f"{disk.env['LD_PRELOAD']}:{failing.env['LD_PRELOAD']}"
    process = await bot.start(env={**disk.env, **failing.env, "LD_PRELOAD": preload})
    bot.sql("UPDATE control SET paused_at = '2026-01-01T00:00:00.000Z'")  # claims write nothing meanwhile
    said: dict[str, list[str]] = {}
    for number, (what, call, error, skip, times, refused) in enumerate(FAILURES):
        callers = [f"34600777{number}{n:02}" for n in range(CALLERS)]
        already = len(emu.log.of("webhook"))
        disk.hold()
        opener = asyncio.create_task(emu.say(callers[0], "opens"))
        await until(lambda: disk.held(WAL))
        failing.fail(error, call, of=(WAL,), skip=skip, times=times)
        gathered = [asyncio.create_task(emu.say(caller, what)) for caller in callers]
        await _arrived(bot, emu, already + 1 + CALLERS)
        disk.release()
        await opener
        await emu.wait_for(lambda mine=already: all(post.ended_at for post in _first(emu, mine)))
        first_try = _first(emu, already)
        told = Counter(post.status for post in first_try)
        assert told == Counter({200: 1 + CALLERS - refused, 503: refused}), what
        for post in first_try:
            if post.status == 200:
                assert post.ended_at is not None
                assert failing.synced_between(post.began_at, post.ended_at), what
        failing.mend()
        await healed(bot, emu)
        await asyncio.gather(*gathered)
        said |= {caller: [what] for caller in callers}
        said[callers[0]].insert(0, "opens")
    assert_200_or_503(emu)
    await process.kill()
    bot.sql("UPDATE control SET paused_at = NULL")
    process = await bot.start()
    await until(lambda: not bot.waiting(), seconds=20)
    assert_answered_once_in_order(emu, said)
    assert await process.stop() == 0


def _first(emu: Emulator, already: int) -> list[Entry]:
    """List the first deliveries of the opener and the callers, which came before any second one."""
    return emu.log.of("webhook")[already : already + 1 + CALLERS]


async def _arrived(bot: Bot, emu: Emulator, posts: int) -> None:
    """Wait until webhooks were posted and the daemon, which serves in the order of arrival, has read them."""
    await emu.wait_for(lambda: len(emu.log.of("webhook")) >= posts)
    for _ in range(5):
        async with bot.client.get(bot.public_url + "/healthz") as response:
            assert response.status == 200
