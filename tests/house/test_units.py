"""The systemd units: systemd finds nothing to say against them, and they fit the configuration that they start."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from bot.config import Config
from bot.config.loading import SECRETS
from bot.systemd import SECTIONS
from tests.house.tree import ROOT
from tests.wanted import program

UNITS = ROOT / "systemd"
PROGRAM = "/usr/local/bin/bot"
MOST_EXPOSED = 1.2


@pytest.fixture
def analyze() -> str:
    """Return systemd's own judge of units."""
    return program("systemd-analyze", "systemd-deps")


def read(name: str) -> configparser.RawConfigParser:
    """Read a unit; of a key that stands several times the last one counts."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / name, encoding="utf-8")
    return unit


def test_systemd_has_nothing_to_say_against_a_unit(analyze: str, tmp_path: Path) -> None:
    """Not a word: unknown keys and what is out of fashion are warnings."""
    stand_in = tmp_path / "bot"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    for unit in UNITS.glob("bot*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, str(stand_in)))
    names = sorted(str(unit) for unit in tmp_path.glob("bot*.*"))
    assert len(names) >= 5
    judged = subprocess.run([analyze, "verify", "--man=no", *names], capture_output=True, text=True, check=False)
    about_these = [line for line in judged.stderr.splitlines() if "bot" in line]
    assert (judged.returncode, about_these) == (0, [])


@pytest.mark.parametrize("name", sorted(unit.name for unit in UNITS.glob("*.service")))
def test_a_service_is_let_do_little(analyze: str, name: str) -> None:
    """systemd counts what a program that was taken over could still do."""
    command = [analyze, "security", "--offline=true", "--no-pager", str(UNITS / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found
    assert float(found[1]) <= MOST_EXPOSED, told


def test_the_sockets_are_those_of_the_default_configuration() -> None:
    """Nobody has to set ports twice; names are those that the daemon knows."""
    config, named = Config(), {}
    for unit in UNITS.glob("*.socket"):
        held = read(unit.name)["Socket"]
        named[held["FileDescriptorName"]] = held["ListenStream"]
    assert named == {name: f"127.0.0.1:{getattr(config, SECTIONS[name].lower()).port}" for name in SECTIONS}


def test_every_credential_is_a_secret_that_the_daemon_reads() -> None:
    """A name that is wrong would be a secret that is missing; those that have to be there are not commented out."""
    text = (UNITS / "bot.service").read_text()
    named = re.findall(r"^(#?)LoadCredential=(\w+):/etc/bot/credentials/(\w+)$", text, re.MULTILINE)
    assert all(name == file for _, name, file in named)
    known = {names[-1] for names in SECRETS.values()}
    assert {name for _, name, _ in named} == known
    assert {name for off, name, _ in named if not off} == {
        name for name in known if not name.startswith(("BOT_ADMIN", "BOT_ALERTS"))
    }
