"""What `bot restore` refuses: one sentence each, exit code 1, and nothing touched."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.store.migrate import migrate
from tests.clock import START
from tests.unit.test_cli import bot, folder  # noqa: F401


def _missing(_: Path, copy: Path) -> None:
    copy.unlink()


def _empty(_: Path, copy: Path) -> None:
    copy.write_bytes(b"")


def _a_folder(database: Path, copy: Path) -> None:
    _missing(database, copy)
    copy.mkdir()


def _foreign(database: Path, copy: Path) -> None:
    _missing(database, copy)
    with closing(sqlite3.connect(copy)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")


def _nothing_in_it(database: Path, copy: Path) -> None:
    _missing(database, copy)
    with closing(sqlite3.connect(copy)) as other:
        other.execute("VACUUM")


def _newer(_: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as other:
        other.execute("PRAGMA user_version = 4711")


def _itself(database: Path, copy: Path) -> None:
    _missing(database, copy)
    os.link(database, copy)


def _damaged(_: Path, copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)


def _text(_: Path, copy: Path) -> None:
    copy.write_text("no database" * 1000)


def _without_its_file(database: Path, _: Path) -> None:
    database.rename(database.with_name("bot.db-wal"))


REFUSED: list[tuple[Callable[[Path, Path], None], str]] = [
    (_missing, "is no file, or not for this user to read: name a copy of the database"),
    (_empty, "is empty: name a copy of the database"),
    (_a_folder, "is no file, or not for this user to read: name a copy of the database"),
    (_foreign, "is a database of another program: name another file"),
    (_nothing_in_it, "is empty: name a copy of the database"),
    (_newer, "was written by a newer version of bot (schema 4711"),
    (_itself, "is the database itself: name a copy of it"),
    (_damaged, "is damaged"),
    (_text, "is damaged: file is not a database"),
    (_without_its_file, "bot.db is empty or gone, bot.db-wal isn't: put it back, or move both away"),
]


@pytest.fixture
def ready(folder: Path) -> Path:  # noqa: F811
    """Give a folder with a database and a copy of the same kind."""
    for name in ("bot.db", "copy.db"):
        migrate(folder / name, START)
    return folder


@contextmanager
def untouched(there: Path) -> Iterator[None]:
    """See that nothing changes, but for the lock that says who runs."""
    before = {file.name: file.is_file() and file.read_bytes() for file in there.iterdir()}
    yield
    (there / "bot.db.lock").unlink(missing_ok=True)
    assert {file.name: file.is_file() and file.read_bytes() for file in there.iterdir()} == before


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[make.__name__[1:] for make, _ in REFUSED])
def test_what_can_not_take_the_place_is_refused(ready: Path, make: Callable[[Path, Path], None], sentence: str) -> None:
    """Whatever somebody names by mistake."""
    make(ready / "bot.db", ready / "copy.db")
    with untouched(ready):
        ended = bot(ready, "restore", str(ready / "copy.db"))
        assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert sentence in ended.stderr


def test_under_a_daemon_or_a_program_nothing_is_put(ready: Path) -> None:
    """The sentence says which, and how to end it."""
    for end in (".lock", ""):
        with untouched(ready), (ready / f"bot.db{end}").open("a") as held:
            other = sqlite3.connect(ready / "bot.db")
            if end:
                fcntl.flock(held, fcntl.LOCK_EX)
            else:
                other.execute("SELECT * FROM outbox").fetchall()
            ended = bot(ready, "restore", str(ready / "copy.db"))
            assert ended.exit_code == 1
            assert ("systemctl stop" if end else "close what else uses it") in ended.stderr
            other.close()


def test_what_comes_next_works_beside_a_reader(ready: Path) -> None:
    """`bot resume --all`, while a backup reads the restored file: no journal mode is left to be changed."""
    assert bot(ready, "restore", str(ready / "copy.db")).exit_code == 0
    with closing(sqlite3.connect(ready / "bot.db", isolation_level=None)) as other:
        other.executescript("BEGIN; SELECT * FROM outbox")
        assert bot(ready, "resume", "--all").exit_code == 0


def test_a_place_that_is_not_there_is_said(ready: Path) -> None:
    """On a new machine the folder comes first."""
    config = ready / "bot.toml"
    config.write_text(config.read_text() + '[store]\nurl = "sqlite:///nowhere/bot.db"\n')
    ended = bot(ready, "restore", str(ready / "copy.db"))
    assert (ended.exit_code, "create the folder or name another in store.url" in ended.stderr) == (1, True)
