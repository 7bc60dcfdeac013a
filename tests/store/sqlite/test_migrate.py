"""The file is made, renewed, or refused in a sentence that says what to do; a refused file stays as it was."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StartError
from bot.store import migrate
from bot.store.store import Store
from tests.clock import START, FakeClock
from tests.store.desk import Desk
from tests.store.sqlite.terminal import by_hand, check_sums, rows


def sql(path: Path, *statements: str) -> None:
    """Run statements on a file."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def of_another_program(path: Path) -> None:
    """Write a database of somebody else."""
    sql(path, "CREATE TABLE songs (title TEXT)", "INSERT INTO songs VALUES ('Gracias a la vida')")


def of_another_program_with_versions(path: Path) -> None:
    """Write a database of somebody else who counts versions too."""
    sql(path, "CREATE TABLE songs (title TEXT)", "PRAGMA user_version = 1")


def of_a_newer_version(path: Path) -> None:
    """Write what a later bot would leave."""
    migrate.migrate(path, START)
    sql(path, "PRAGMA user_version = 999")


def no_database(path: Path) -> None:
    """Write a text."""
    path.write_text("Dear diary, " * 100)


def of_other_migrations(path: Path) -> None:
    """Write what a bot with an altered migration would leave."""
    migrate.migrate(path, START)
    sql(path, "UPDATE migrations SET checksum = 'other' WHERE version = 1")


def a_folder(path: Path) -> None:
    """Make a folder in its place."""
    path.mkdir()


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "another program's": (of_another_program, "another program: name another file"),
    "another program's, with versions": (of_another_program_with_versions, "another program: name another file"),
    "a newer version's": (of_a_newer_version, r"newer version of bot \(schema 999, .*install that version"),
    "no database": (no_database, "not a database"),
    "a folder": (a_folder, "can't be used"),
}


def content(path: Path) -> dict[str, bytes]:
    """Return all that is in the file's folder."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


@pytest.mark.parametrize("which", [*ODD, "other migrations"])
async def test_what_isnt_ours_is_refused_and_stays_as_it_was(path: Path, clock: FakeClock, which: str) -> None:
    """Not a byte is changed, and nothing is left beside it."""
    make, sentence = ODD.get(which, (of_other_migrations, "0001_queue.sql is not what this file was made with"))
    make(path)
    before = content(path)
    with pytest.raises(StartError, match=sentence) as refused:
        await Store.open(path, clock=clock)
    assert content(path) == before
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("which", ODD)
async def test_the_terminals_commands_refuse_it_too(path: Path, clock: FakeClock, which: str) -> None:
    """They migrate nothing."""
    make, sentence = ODD[which]
    make(path)
    before = content(path)
    with pytest.raises(StartError, match=sentence if which != "a folder" else "no database at"):
        await Store.open_existing(path, clock=clock)
    assert content(path) == before


async def test_the_terminals_commands_make_no_file(path: Path, clock: FakeClock) -> None:
    """A wrong path is said, not filled."""
    with pytest.raises(StartError, match=r"no database at .*start the daemon once"):
        await Store.open_existing(path, clock=clock)
    path.touch()
    with pytest.raises(StartError, match=r"older version.*start the daemon once"):
        await Store.open_existing(path, clock=clock)
    assert content(path) == {path.name: b""}


async def test_a_folder_that_isnt_there_is_said(tmp_path: Path, clock: FakeClock) -> None:
    """With the path, so that the mistake can be seen."""
    path = tmp_path / "no" / "bot.db"
    with pytest.raises(StartError, match=f"{path}.*unable to open"):
        await Store.open(path, clock=clock)
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["bot.db", "a b?c#d%20e&f.db", "ñandú.db"])
async def test_a_fresh_file_is_made_whatever_its_name(tmp_path: Path, clock: FakeClock, name: str) -> None:
    """And opened again by the daemon and by the terminal's commands."""
    path = tmp_path / name
    desk = Desk(await Store.open(path, clock=clock), clock)
    await desk.say("5215550001", "hello")
    await desk.store.close()
    assert path.exists()
    for opening in (Store.open, Store.open_existing):
        again = Desk(await opening(path, clock=clock), clock)
        assert await again.queue("5215550001") == ["hello"]
        await again.store.close()


def test_each_migration_is_recorded_with_its_checksum(path: Path) -> None:
    """And applied once."""
    known = migrate.known_migrations()
    for _ in range(2):
        migrate.migrate(path, START)
    assert rows(path, "SELECT version, name, checksum, applied_at FROM migrations") == [
        (migration.version, migration.name, migration.checksum, "2026-11-24T10:00:00.000Z") for migration in known
    ]
    assert rows(path, "PRAGMA user_version") == [(known[-1].version,)]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


def later_migrations(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Let there be further migrations."""
    known = migrate.known_migrations()
    last = known[-1].version
    more = [migrate.Migration(last + n, f"{last + n:04}_more.sql", text) for n, text in enumerate(texts, 1)]
    monkeypatch.setattr(migrate, "known_migrations", lambda: [*known, *more])


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it lacks, in order; its rows stay."""
    migrate.migrate(path, START)
    sql(path, "INSERT INTO users (phone, created_at) VALUES ('5215550001', 'now')")
    later_migrations(
        monkeypatch, "ALTER TABLE users ADD COLUMN mood TEXT", "UPDATE users SET mood = 'good'; -- a comment"
    )
    migrate.migrate(path, START)
    assert rows(path, "SELECT phone, mood FROM users") == [("5215550001", "good")]


def test_a_migration_that_fails_leaves_the_file_at_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a transaction of its own."""
    migrate.migrate(path, START)
    last = migrate.known_migrations()[-1].version
    later_migrations(
        monkeypatch,
        "ALTER TABLE users ADD COLUMN mood TEXT",
        "ALTER TABLE users ADD COLUMN hat TEXT; UPDATE nobody SET x = 1",
    )
    with pytest.raises(StartError, match=r"_more\.sql failed, nothing was changed: no such table"):
        migrate.migrate(path, START)
    assert rows(path, "PRAGMA user_version") == [(last + 1,)]
    columns = {name for _, name, *_ in rows(path, "PRAGMA table_info(users)")}
    assert "mood" in columns
    assert "hat" not in columns


async def test_the_schema_documents_itself(desk: Desk, path: Path) -> None:
    """Comments stand inside CREATE TABLE, so that .schema shows them; every column of outbox and replies has one."""
    for table in ("outbox", "replies", "users", "user_ids", "circuits", "attempts", "audit"):
        text = rows(path, "SELECT sql FROM sqlite_schema WHERE name = ?", table)[0][0]
        assert text.endswith(("STRICT", "STRICT, WITHOUT ROWID"))
        assert "-- " in text
    for view in ("queue_depth", "failures", "conversation", "events"):
        ((kind, text),) = rows(path, "SELECT type, sql FROM sqlite_schema WHERE name = ?", view)
        assert (kind, text.split("\n")[1][:3]) == ("view", "-- ")
        by_hand(path, f"SELECT * FROM {view}")
    for table, column in (
        ("audit", "address TEXT"),
        ("replies", "not_before_at TEXT"),
        ("control", "last_user INTEGER NOT NULL DEFAULT 0"),
    ):  # added later
        assert re.search(
            rf"{column} /\* .* \*/", rows(path, "SELECT sql FROM sqlite_schema WHERE name = ?", table)[0][0]
        )
    check_sums(path)
