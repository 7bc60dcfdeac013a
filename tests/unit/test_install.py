"""bot.toml as `bot init` writes it: the reference's text with other values; what can't be written is said."""

import errno
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.config.loading import FIELDS, SECRETS
from bot.errors import StartError
from bot.install import HERE, UNITS, fill_in, write
from tests.house.tree import ROOT

REFERENCE = (ROOT / "bot.toml").read_text("utf-8")
OTHER = {
    str: 'other "words", a \\ and a # in them\nñ \\1\x7f',
    bool: False,
    int: 8099,
    float: 0.25,
    tuple: ['a # b > "c"', "[d]"],
}


def test_every_key_can_be_set_and_every_comment_stays() -> None:
    """Whatever kind its value is, and whatever is in it; what isn't set is as it was."""
    defaults = tomllib.loads(REFERENCE)
    others = {key: OTHER[tuple if isinstance(was, list) else type(was)] for key, was in flat(defaults).items()}
    assert others.keys() == FIELDS.keys() - SECRETS.keys()
    written = fill_in(REFERENCE, others)
    assert flat(tomllib.loads(written)) == others
    assert re.findall("  # .*", fill_in(written, flat(defaults))) == re.findall("  # .*", REFERENCE)
    for key, other in others.items():
        assert flat(tomllib.loads(fill_in(REFERENCE, {key: other}))) == {**flat(defaults), key: other}


def flat(sections: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return values by dotted key."""
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


def test_the_reference_and_the_units_are_at_hand() -> None:
    """In a checkout by links, in a wheel and in the one file as files of the package."""
    assert (HERE / "bot.toml").read_text("utf-8") == REFERENCE
    assert {unit.name for unit in UNITS.iterdir()} == {unit.name for unit in (ROOT / "systemd").iterdir()}


def test_the_caddyfile_of_the_first_hour_is_the_one_that_is_tried() -> None:
    """tests/process/test_proxies.py takes docs/proxy.md; its half for the webhook stands in docs/install.md, too."""
    assert webhook_site() in (ROOT / "docs" / "install.md").read_text("utf-8")


def test_what_litestream_has_is_put_back_again_and_again_and_starts_paused_or_not_at_all(tmp_path: Path) -> None:
    """docs/litestream.md, line by line: each former file stays; where it can't be paused, nothing starts."""
    found = re.search("## Put it back\n\n```sh\n(.*?)```", (ROOT / "docs/litestream.md").read_text("utf-8"), re.DOTALL)
    assert found
    block = found[1].replace("/var/lib/bot", str(tmp_path)).replace("/etc/bot/litestream.env", "/dev/null")
    copy, database = tmp_path / "copy.db", tmp_path / "bot.db"
    copy.write_text("copy, ")

    def put_back(then: str = "") -> str:
        others = f'systemctl() {{ echo "$1"; }}\nlitestream() {{ [ ! -e {database} ] && cp {copy} {database}; }}\n'
        others += f'bot() {{ [ "$*" = "pause --all --config /etc/bot/bot.toml" ] && echo paused >> {database}; }}\n'
        return subprocess.run(["sh", "-c", others + then + block], capture_output=True, text=True, check=False).stdout

    for former in ("one", "two"):
        database.write_text(former)
        Path(f"{database}-wal").write_text(former)
        assert put_back() == "stop\nstart\n"
        assert database.read_text() == "copy, paused\n"
    assert sorted(old.read_text() for old in tmp_path.glob("old-*/*")) == ["one", "one", "two", "two"]
    assert put_back(then="bot() { return 1; }\n") == "stop\n"


def webhook_site() -> str:
    """Return what docs/proxy.md has for the webhook."""
    found = re.search(r"bot\.example\.com \{\n.*?\n\}\n", (ROOT / "docs" / "proxy.md").read_text("utf-8"), re.DOTALL)
    assert found
    return found[0]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves nothing under its name, one sentence, and no hindrance for the next time."""
    secret = tmp_path / "credentials" / "TOKEN"

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StartError, match=f"{secret} can't be written: No space"):
            write({secret: (b"much", 0o600)})
    assert not secret.exists()
    assert all(left.stat().st_mode & 0o77 == 0 for left in secret.parent.iterdir())
    write({secret: (b"t", 0o600), tmp_path / "etc" / "bot.toml": (b"", 0o644)})
    assert [left.name for left in secret.parent.iterdir()] == ["TOKEN"]
    assert secret.read_bytes() == b"t"


def test_who_is_not_root_is_told_before_any_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, exit code 1."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["init"])
    assert result.exit_code == 1
    assert re.fullmatch("This writes into /etc .*: run it as root .*\n", result.output)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "There is no terminal to ask at: set .*PHONE_NUMBER_ID, .*, BOT_SERVER__PUBLIC_URL in the environment."),
        ({"BOT_SERVER__PUBLIC_URL": "bot.example.com"}, r"(?s).*PUBLIC_URL must be empty or start with https://.*"),
        ({"BOT_WHATSAPP__WABA": "1"}, "(?s).*BOT_WHATSAPP__WABA sets nothing; the nearest known is .*WABA_ID"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_written(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    """Where nobody can be asked it is an error, exit code 2."""
    result = CliRunner().invoke(main, ["init", "--root", str(tmp_path)], env=environ)
    assert result.exit_code == 2
    assert re.fullmatch(f"{words}\n", result.output)
    assert list(tmp_path.iterdir()) == []
