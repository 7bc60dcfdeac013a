"""What `bot backup` refuses: where a copy would not be whole, or what is no place for one. One sentence, untouched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.test_cli import bot, folder  # noqa: F401
from tests.unit.test_restore import ready, untouched  # noqa: F401

PLACES: list[tuple[str, Callable[[Path], object], str]] = [
    ("other.db", lambda there: (there / "other.db-wal").touch(), "another in use"),
    ("other.db", lambda there: (there / "other.db-journal").touch(), "another in use"),
    ("pipe", lambda there: os.mkfifo(there / "pipe"), "or no file"),
    ("copy.db/in-a-file.db", lambda _: None, "can't be written: Not a directory"),
    ("n" * 250, lambda _: None, "can't be written: File name too long"),
]


@pytest.mark.parametrize(("name", "prepare", "sentence"), PLACES)
def test_what_is_no_place_for_a_copy_is_refused(
    ready: Path,  # noqa: F811
    name: str,
    prepare: Callable[[Path], object],
    sentence: str,
) -> None:
    """SQLite would apply another WAL to the copy; a device would be a device no more; and no traceback."""
    prepare(ready)
    with untouched(ready):
        ended = bot(ready, "backup", str(ready / name))
        assert (ended.exit_code, ended.stdout, sentence in ended.stderr) == (1, "", True)


def test_a_pipe_that_is_called_like_a_leftover_is_not_waited_for(ready: Path) -> None:  # noqa: F811
    """In /tmp anybody may make one: to open it would last until somebody writes to it."""
    os.mkfifo(ready / "x.bot-part")
    assert bot(ready, "backup", str(ready / "new.db")).exit_code == 0


def test_a_link_is_followed(ready: Path) -> None:  # noqa: F811
    """It stays one: /dev/stdout is, and the newest copy may be called so."""
    (ready / "link.db").symlink_to("new.db")
    assert bot(ready, "backup", str(ready / "link.db")).exit_code == 0
    assert ((ready / "link.db").is_symlink(), (ready / "new.db").is_symlink()) == (True, False)
