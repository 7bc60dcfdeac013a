"""A newer program on an older file, full of messages: it gets ready, wherever it was killed before.

`make upgrade` is the long form: 1,000,000 messages, from each version, and killed at every kind of moment of each
migration that there ever was.
"""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.emulator import Emulator
from tests.process.crash.nursery import Nursery
from tests.process.crash.older import HELD, LATEST, WAITING, looked_at, migrated, older_file, schema_of, version_of
from tests.process.harness import Bot, Process, until
from tests.process.rig import assert_answered_once_in_order

ROWS = int(os.environ.get("UPGRADE_ROWS", "20000"))
LONG = "UPGRADE_ROWS" in os.environ
SECONDS = 120.0 if LONG else 20.0  # that a start may take
OLDER = range(1, LATEST if LONG else 2)
ALL = LATEST  # no version has as many before it
COPYING = [("copy.step", 1), ("copy.sync", 1), ("copy.sync", 2)]  # it is being written, is checked, has its name
MIGRATING = [("migrate.statement", 2), ("migrate.tick", 1), ("migrate.tick", 200), ("migrate.commit", 1)]
BETWEEN = ("migrate.ended", 1)
EVERY = [*COPYING, *MIGRATING, BETWEEN]  # again and again
SOME = [COPYING[0], BETWEEN, MIGRATING[2], ("migrate.ended", ALL)]


class Upgrade:
    """An older file and the starts that renew it."""

    def __init__(self, bot: Bot, version: int) -> None:
        self.bot, self.copied = bot, set[int]()
        older_file(bot.database, version, ROWS)
        self.held = looked_at(bot.database, HELD)
        for known in range(version, LATEST + 1):
            migrated(bot.folder.parent / f"empty-{known}.db", known)

    @property
    def version(self) -> int:
        """The file's, now."""
        return version_of(self.bot.database)

    def copy(self, version: int) -> Path:
        """Where the copy of a version has to be."""
        return self.bot.folder / f"bot.db.schema-{version}"

    def left(self) -> set[Path]:
        """Return what stands beside the file, copies and what was to become one."""
        return set(self.bot.folder.glob("*.schema-*"))

    def assert_whole(self) -> None:
        """See nothing half: every row, what makes up exactly one version; in the copies, too, and no other is there."""
        for file in (self.bot.database, *map(self.copy, self.copied)):
            assert looked_at(file, HELD) == self.held, file.name
            assert schema_of(file) == schema_of(self.bot.folder.parent / f"empty-{version_of(file)}.db"), file.name
        assert {version: version_of(self.copy(version)) for version in self.copied} == {v: v for v in self.copied}
        assert {file for file in self.left() if "part" not in file.name} == set(map(self.copy, self.copied))

    async def assert_goes_on(self, emu: Emulator) -> None:
        """See that who waited and who writes now is answered, and that every file is sound; nothing else is left."""
        await emu.say("34600777001", "new")
        await until(lambda: not self.bot.waiting(), seconds=SECONDS)
        assert_answered_once_in_order(emu, WAITING | {"34600777001": ["one", "two", "new"]})
        for file in (self.bot.database, *map(self.copy, self.copied)):
            assert looked_at(file, "PRAGMA integrity_check(1)") == [("ok",)], file.name
        assert self.left() == set(map(self.copy, self.copied))


@pytest.fixture
async def forking(bot: Bot, nursery: Nursery) -> AsyncIterator[Bot]:
    """Give a bot whose daemons the nursery forks."""
    async with nursery.serving():
        yield bot
        await bot.close()


@pytest.mark.parametrize("version", OLDER)
async def test_an_older_file_is_copied_and_renewed_before_the_daemon_is_ready(
    bot: Bot, emu: Emulator, version: int
) -> None:
    """The real program, on so many rows: none is missing, the copy is the old file, and answers go on."""
    upgrade = Upgrade(bot, version)
    megabytes, began = bot.database.stat().st_size / 1e6, time.monotonic()
    process = await bot.launch()
    await until(upgrade.copy(version).exists, seconds=SECONDS)
    copied = time.monotonic() - began
    await process.logged("ready", seconds=SECONDS)
    print(
        f"\nschema {version}, {ROWS:,} messages, {megabytes:.0f} MB: copied after {copied:.2f} s, ready after ", end=""
    )
    print(f"{time.monotonic() - began:.2f} s")
    upgrade.copied = {version}
    await upgrade.assert_goes_on(emu)
    assert upgrade.version == LATEST
    assert looked_at(upgrade.copy(version), HELD) == upgrade.held
    assert upgrade.copy(version).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("version", OLDER)
async def test_a_kill_at_any_moment_of_an_upgrade_leaves_the_file_whole(
    forking: Bot, emu: Emulator, nursery: Nursery, version: int
) -> None:
    """Each start dies at the next moment, on what the last one left: the next finds one version or the other, whole.

    A migration that was applied stays applied; what the next start copies is then that version, and the copy of the
    first stays as it is.
    """
    bot, upgrade, kills = forking, Upgrade(forking, version), 0

    async def start(env: dict[str, str]) -> Process:
        bot.processes.append(Process(await nursery.fork(bot.folder, {**bot.env, **env})))
        return bot.processes[-1]

    async def dies(point: str, hit: int) -> None:
        nonlocal kills
        kills, before = kills + 1, upgrade.version
        process = await start({"CRASH_POINT": point, "CRASH_HIT": str(hit)})
        assert await process.ended(SECONDS) == -9, f"{point} was not reached: {process.output}"
        assert upgrade.version == before + (hit if point == "migrate.ended" else 0), point
        if before < LATEST and (point, hit) not in COPYING[:2]:
            upgrade.copied.add(before)
        upgrade.assert_whole()

    while upgrade.version < LATEST:
        for point, hit in EVERY if LONG and version == 1 else SOME:
            if left := LATEST - upgrade.version:
                await dies(point, min(hit, left) if point == "migrate.ended" else hit)
    await dies("listening", 1)
    await (await start({})).logged("ready", seconds=SECONDS)
    print(f"\nschema {version}, {ROWS:,} messages: {kills} kills")
    assert version in upgrade.copied
    await upgrade.assert_goes_on(emu)


def test_a_file_of_each_version_looks_different(tmp_path: Path) -> None:
    """Else the tests above would compare nothing."""
    for version in range(1, LATEST + 1):
        migrated(tmp_path / f"{version}.db", version)
    assert len({str(schema_of(tmp_path / f"{version}.db")) for version in range(1, LATEST + 1)}) == LATEST
