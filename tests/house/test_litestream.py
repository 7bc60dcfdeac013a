"""The recipe of docs/litestream.md fits the units; tests/process/litestream.py runs it with Litestream itself."""

import configparser
import re
import subprocess
from pathlib import Path

import yaml

from tests.house.test_units import read
from tests.house.tree import ROOT
from tests.wanted import program

RECIPE = (ROOT / "docs" / "litestream.md").read_text("utf-8")


def block(language: str) -> str:
    """Return the one block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", RECIPE, re.DOTALL)
    return str(found)


def test_the_unit_is_sound_and_runs_as_the_daemons_user_on_its_file(tmp_path: Path) -> None:
    """Only that user may read the file; and what it writes beside it has to be the daemon's as well."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    own, daemon = unit["Service"], read("bot.service")["Service"]
    for key in ("User", "DynamicUser", "StateDirectory", "StateDirectoryMode", "UMask"):
        assert own[key] == daemon[key]
    (database,) = yaml.safe_load(block("yaml"))["dbs"]
    assert database["path"] == f"/var/lib/{own['StateDirectory']}/bot.db"
    stand_in = tmp_path / "litestream"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    file = tmp_path / "litestream.service"
    file.write_text(block("ini").replace("/usr/local/bin/litestream", str(stand_in)))
    command = [program("systemd-analyze", "systemd-deps"), "verify", "--man=no", str(file)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in judged.stderr.splitlines() if "litestream" in line] == []
    assert judged.returncode == 0
