"""A copy is the file as it was at one moment, whole and sound, or there is none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StartError
from bot.store import copies, migrate
from tests.clock import START
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk
from tests.store.sqlite.terminal import by_hand, check_sums, rows

ANA = "5215550001"


async def test_a_copy_has_what_was_acknowledged_and_is_one_file(desk: Desk, path: Path, tmp_path: Path) -> None:
    """Also what only the WAL holds yet; the file goes on as before."""
    await desk.say(ANA, "hello")
    copy = tmp_path / "copy.db"
    told: list[float] = []
    copies.back_up(path, copy, told.append)
    await desk.say(ANA, "after")
    assert rows(copy, "SELECT body FROM outbox") == [("hello",)]
    assert told[-1] == 1
    assert sorted(file.name for file in tmp_path.glob("*copy*")) == ["copy.db"]
    check_sums(copy)
    assert await desk.queue(ANA) == ["hello", "after"]


async def test_a_copy_is_of_one_moment_however_much_is_written(
    desk: Desk, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write between its steps; it neither mixes two moments nor begins again and again."""
    await desk.say(ANA, *(f"message {n}" for n in range(300)))
    monkeypatch.setattr(copies, "STEP_PAGES", 1)
    steps = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def write(_: float) -> None:
            nonlocal steps
            steps += 1
            other.execute("UPDATE users SET name = ?", (f"renamed {steps}",))
            other.execute("DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox)")

        copies.back_up(path, tmp_path / "copy.db", write)
    assert steps > 10
    assert rows(tmp_path / "copy.db", "SELECT count(*), max(name) FROM outbox, users") == [(300, None)]
    check_sums(tmp_path / "copy.db")


def test_a_damaged_file_gives_no_copy_and_takes_none_away(path: Path, tmp_path: Path) -> None:
    """The good one of yesterday stays."""
    migrate.migrate(path, START)
    copy = tmp_path / "copy.db"
    copies.back_up(path, copy)
    before = copy.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)
    with pytest.raises(StartError, match="damaged"):
        copies.back_up(path, copy)
    assert copy.read_bytes() == before
    assert list(tmp_path.glob("*part*")) == []


@pytest.mark.parametrize(("target", "why"), [("nowhere/copy.db", "can't be written"), ("folder", ".* or no file")])
def test_a_place_that_cannot_be_written_is_said(path: Path, tmp_path: Path, target: str, why: str) -> None:
    """In one sentence, with the place."""
    migrate.migrate(path, START)
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(StartError, match=f"{target} {why}"):
        copies.back_up(path, tmp_path / target)
    assert list(tmp_path.glob("**/*part*")) == []


async def test_a_copy_without_its_switches_waits_all_the_same(desk: Desk, path: Path, tmp_path: Path) -> None:
    """A hand took the row away: it is made anew, so that what may have been answered isn't answered again."""
    await desk.say(ANA, "hello")
    copy, restored = tmp_path / "copy.db", tmp_path / "restored.db"
    copies.back_up(path, copy)
    by_hand(copy, "DELETE FROM control")
    assert copies.put_back(copy, restored)["waiting"] == 1
    assert rows(restored, "SELECT depth, paused_at IS NOT NULL FROM control") == [(1, 1)]
    check_sums(restored)


@pytest.mark.parametrize("version", [migration.version for migration in migrate.known_migrations()])
async def test_a_file_of_any_version_is_renewed_and_goes_on(
    path: Path, open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """What waits in it is answered; before it is renewed it is copied, once, and what killed starts copied goes."""
    known = migrate.known_migrations()
    monkeypatch.setattr(migrate, "known_migrations", lambda: known[:version])
    migrate.migrate(path, START)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO users (id, phone, created_at) VALUES (7, ?, '2026-11-24T09:00:00.000Z')", (ANA,)
        )
        connection.execute("INSERT INTO user_ids VALUES (?, 7, '2026-11-24T09:00:00.000Z')", (ANA,))
        connection.executemany(
            """INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at)
               VALUES ('1', ?1, 7, 'text', ?1, '{}', 'pending', ?2, ?2)""",
            [("one", "2026-11-24T09:59:00.000Z"), ("two", "2026-11-24T09:59:00.000Z")],
        )
    monkeypatch.setattr(migrate, "known_migrations", lambda: known)
    left = [path.with_name(f"{path.name}.schema-1.{name}") for name in ("7.bot-part", "8.bot-part-journal")]
    for file in left:
        file.touch()
    for _ in range(2):
        migrate.migrate(path, START)
    check_sums(path)
    copy = path.with_name(f"{path.name}.schema-{version}")
    assert copy.exists() == (version < known[-1].version)
    if copy.exists():
        assert not any(file.exists() for file in left)
        assert rows(copy, "PRAGMA user_version") == [(version,)]
        assert rows(copy, "SELECT count(*) FROM outbox") == [(2,)]
    assert await (await open_desk()).serve_all() == ["one", "two"]
