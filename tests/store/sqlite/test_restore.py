"""A copy in the file's place: the old one or the new one, whole, whenever the restore is cut off; never a mix."""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bot.domain import Operator
from bot.errors import StartError
from bot.store import copies, migrate
from tests.clock import START
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk
from tests.store.sqlite.terminal import rows

ANA = "5215550001"
STEPS = {"os.link", "os.rename", "os.remove", "os.chown", "sqlite3.connect", "sqlite3.connect/handle", "fcntl.flock"}
NEW, OLD = [("of the copy",)], [("of the copy",), ("only in the WAL",)]


def bodies(path: Path) -> list[tuple[Any, ...]]:
    """Return what a file holds that SQLite finds sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT body FROM outbox ORDER BY id").fetchall()


def kept(path: Path) -> list[Path]:
    """List the files that a restore took out of the way."""
    return sorted(path.parent.glob(f"{path.name}.before-restore-*"))


@pytest.fixture
async def killed(desk: Desk, path: Path, tmp_path: Path) -> Path:
    """Make a folder as a killed daemon leaves it, its newest row in the WAL alone, and an older copy beside it."""
    folder = tmp_path / "killed"
    folder.mkdir()
    await desk.say(ANA, "of the copy")
    copies.back_up(path, folder / "copy.db")
    await desk.say(ANA, "only in the WAL")
    for end in ("", "-wal", "-shm"):
        shutil.copy(f"{path}{end}", folder / f"bot.db{end}")
    alone = shutil.copy(path, tmp_path / "alone.db")
    assert bodies(Path(alone)) != OLD
    return folder


def cut_off_at(step: int, copy: Path, path: Path) -> bool:
    """Restore in a process that is killed before the n-th step that shows in a folder; False: it got through."""
    steps = count(1)

    def hear(event: str, _: Any) -> None:
        if event in STEPS and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (pid := os.fork()):
        sys.addaudithook(hear)
        try:
            copies.put_back(copy, path)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_a_restore_that_is_killed_leaves_the_old_or_the_new(killed: Path, tmp_path: Path) -> None:
    """Before each of its steps; the next restore copes, and clears up what it finds."""
    found = []
    for step in count(1):
        folder = Path(shutil.copytree(killed, tmp_path / f"step-{step}"))
        path, copy = folder / "bot.db", folder / "copy.db"
        died = cut_off_at(step, copy, path)
        look = Path(shutil.copytree(folder, folder / "look")) / "bot.db"
        found.append(bodies(look))
        assert found[-1] == OLD or [bodies(file) for file in kept(look)] == [OLD]
        copies.put_back(copy, path)
        assert (bodies(path), bodies(kept(path)[-1])) == (NEW, found[-1])
        assert list(folder.glob("*part*")) == []
        if not died:
            break
    assert len(found) > 10
    assert found == sorted(found, key=len, reverse=True)
    assert (found[0], found[-2], found[-1]) == (OLD, NEW, NEW)


def test_the_old_wal_is_not_applied_to_the_new_file(killed: Path) -> None:
    """It goes into the file that it belongs to, which is kept."""
    path = killed / "bot.db"
    told = copies.put_back(killed / "copy.db", path)
    assert bodies(path) == NEW
    (old,) = kept(path)
    assert bodies(old) == OLD
    assert sorted(killed.iterdir()) == sorted([path, old, killed / "copy.db"])
    ((oldest,),) = rows(path, "SELECT received_at FROM outbox")
    assert (told["kept"], told["waiting"], told["oldest"]) == (str(old), 1, oldest)


@pytest.mark.parametrize("reads_first", [True, False])
def test_another_program_never_writes_into_a_mix(killed: Path, reads_first: bool) -> None:
    """One that has read keeps the restore from happening; one that only opened it can't write the old file any more."""
    path = killed / "bot.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if reads_first:
            other.execute("SELECT count(*) FROM outbox").fetchall()
            with pytest.raises(StartError, match="close what else uses it: database is locked"):
                copies.put_back(killed / "copy.db", path)
            assert (bodies(path), kept(path), list(killed.glob("*part*"))) == (OLD, [], [])
        else:
            copies.put_back(killed / "copy.db", path)
            for statement in ("DELETE FROM outbox", "PRAGMA journal_mode = WAL"):
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    other.execute(statement)
            assert bodies(path) == NEW


def test_nobody_gets_in_while_the_files_change_places(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody wrote then would be in the file that is kept alone, or its journal beside the new one."""
    path, link = killed / "bot.db", os.link

    def meanwhile(*names: Any) -> None:
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("DELETE FROM outbox")
        link(*names)

    monkeypatch.setattr(os, "link", meanwhile)
    copies.put_back(killed / "copy.db", path)
    assert (bodies(path), bodies(kept(path)[0])) == (NEW, OLD)


def test_who_takes_the_wal_up_again_between_is_seen(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bot pause` in the moment between the two statements that shut everybody out."""
    path = killed / "bot.db"
    monkeypatch.setitem(copies.SQL, "shut", copies.SQL["shut"].replace("BEGIN", "PRAGMA journal_mode = WAL; BEGIN"))
    with pytest.raises(StartError, match="cannot change out of wal mode"):
        copies.put_back(killed / "copy.db", path)
    assert (bodies(path), kept(path)) == (OLD, [])


def test_a_restore_where_nothing_was(killed: Path, tmp_path: Path) -> None:
    """On a new machine; also where only an empty file is."""
    for path in (tmp_path / "new.db", tmp_path / "empty.db"):
        if path.name == "empty.db":
            path.touch()
        assert copies.put_back(killed / "copy.db", path)["kept"] is None
        assert (bodies(path), kept(path)) == (NEW, [])


def test_what_was_being_answered_waits(killed: Path) -> None:
    """So a skip before the start reaches it. What was edited meanwhile stays leased: the start applies the edit."""
    path, copy = killed / "bot.db", killed / "copy.db"
    with closing(sqlite3.connect(copy)) as db, db:
        db.execute("UPDATE outbox SET state = 'leased', leased_at = received_at")
    copies.put_back(copy, path)
    assert rows(path, "SELECT state, leased_at, crashes FROM outbox") == [("pending", None, 0)]
    with closing(sqlite3.connect(copy)) as db, db:
        db.execute(
            """INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, target_wamid, sent_at,
                                   received_at)
               SELECT phone_number_id, 'edit', user_id, 'text', 'edited', '{}', 'ignored', wamid, sent_at, leased_at
                 FROM outbox"""
        )
    copies.put_back(copy, path)
    assert rows(path, "SELECT state FROM outbox ORDER BY id") == [("leased",), ("ignored",)]


@pytest.mark.parametrize("version", [1, migrate.known_migrations()[-1].version])
async def test_an_old_copy_or_a_new_one_waits_for_its_owner(
    path: Path, tmp_path: Path, open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """What waited may have been answered after it was made; the audit says who paused. An idle one goes on."""
    known, copy, idle = migrate.known_migrations(), tmp_path / "copy.db", tmp_path / "idle.db"
    monkeypatch.setattr(migrate, "known_migrations", lambda: known[:version])
    for file in (copy, idle):
        migrate.migrate(file, START)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(
            "INSERT INTO users (id, phone, created_at) VALUES (7, ?, '2026-11-24T09:00:00.000Z')", (ANA,)
        )
        connection.execute(
            """INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at)
               VALUES ('1', '1', 7, 'text', 'one', '{}', 'pending', ?1, ?1)""",
            ("2026-11-24T09:59:00.000Z",),
        )
    monkeypatch.setattr(migrate, "known_migrations", lambda: known)
    copies.put_back(idle, path)
    assert rows(path, "SELECT paused_at FROM control UNION ALL SELECT who FROM audit") == [(None,)]
    migrate.check_copy(copy, path)
    copies.put_back(copy, path)
    desk = await open_desk()
    assert await desk.serve_all() == []
    assert rows(path, "SELECT who, action FROM audit") == [("restore", "pause")]
    await desk.store.resume(None, skip=False, who=Operator("cli"))
    assert await desk.serve_all() == ["one"]


def test_what_is_restored_belongs_to_who_owns_the_folder(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of root's, or its lock, would keep the daemon out."""
    (killed / "bot.db.lock").touch()
    given: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "chown", lambda file, *owner: given.update({file.suffix: owner}))
    copies.put_back(killed / "copy.db", killed / "bot.db")
    assert given == dict.fromkeys([copies.PART, ".lock"], (killed.stat().st_uid, killed.stat().st_gid))
