"""The files of docker/: they fit the configuration, the unit and the lock, and ask for little."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config import Config, ConfigError, load
from bot.config.loading import SECRETS
from tests.house.test_units import read
from tests.house.tree import ROOT

FOLDER = ROOT / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
BOT = SERVICES["bot"]
UNIT = read("bot.service")["Service"]
MOUNTED = dict(volume.split(":")[:2] for volume in BOT["volumes"])


def instructions(name: str) -> list[list[str]]:
    """Return the words of each instruction of the Dockerfile that is called so."""
    return [shlex.split(line) for line in re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)]


def environment() -> dict[str, str]:
    """Return what the image sets."""
    (words,) = instructions("ENV")
    return dict(word.split("=", 1) for word in words)


def configured(folder: Path, secrets: list[str]) -> Config:
    """Read a configuration as the daemon does in the container, with a file for each of these secrets."""
    for name in secrets:
        (folder / name).write_text("a-secret-of-a-test\n")
    (folder / "bot.toml").write_text('[whatsapp]\nphone_number_id = "106540352242922"\n')
    assert environment()["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    return load(folder / "bot.toml", environment() | {"CREDENTIALS_DIRECTORY": str(folder)}, to_run=True)


def test_the_container_has_all_that_the_daemon_wants(tmp_path: Path) -> None:
    """It listens where others reach it, keeps its file in the volume, and reads bot.toml from the folder given."""
    config = configured(tmp_path, BOT["secrets"])
    assert {config.server.host, config.admin.host} == {"0.0.0.0"}
    assert str(config.store.path.parent) == MOUNTED["data"] == "/var/lib/bot"
    assert str(Path(environment()["BOT_CONFIG"]).parent) == MOUNTED["/etc/bot"]
    assert instructions("ENTRYPOINT") + instructions("CMD") == [["[bot]"], ["[run]"]]


@pytest.mark.parametrize("missing", BOT["secrets"])
def test_no_secret_of_the_compose_file_is_too_many(tmp_path: Path, missing: str) -> None:
    """Also the page's: inside a container the listener can't be on loopback, so a token is wanted."""
    with pytest.raises(ConfigError, match=re.escape(missing)):
        configured(tmp_path, [name for name in BOT["secrets"] if name != missing])


def test_secrets_lie_where_the_unit_has_them() -> None:
    """Who changes from one to the other moves nothing."""
    files = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert files == {name: f"/etc/bot/credentials/{name}" for name in BOT["secrets"]}
    assert set(files) <= {name for names in SECRETS.values() for name in names}


def test_ports_are_those_of_the_default_configuration() -> None:
    """The page's for this machine alone, the webhook's for Caddy alone."""
    config = Config()
    public, admin = config.server.port, config.admin.port
    assert BOT["ports"] == [f"127.0.0.1:{admin}:{admin}"]
    assert re.findall(r"^\s*reverse_proxy (\S+)", (FOLDER / "Caddyfile").read_text("utf-8"), re.MULTILINE) == [
        f"bot:{public}"
    ]
    assert f"http://127.0.0.1:{public}/healthz" in BOT["healthcheck"]["test"][-1]


def test_limits_are_the_units() -> None:
    """As long to end, as much memory, as many threads."""
    assert BOT["stop_grace_period"] == f"{UNIT['TimeoutStopSec']}s"
    assert Config().queue.drain_seconds < int(UNIT["TimeoutStopSec"])
    assert BOT["mem_limit"].upper() == UNIT["MemoryMax"]
    assert BOT["pids_limit"] == int(UNIT["TasksMax"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(name: str) -> None:
    """It writes to volumes alone, gains nothing, and its log doesn't fill the disk."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == {"bot": [], "caddy": ["NET_BIND_SERVICE"]}[name]
    assert "max-size" in service["logging"]["options"]
    assert instructions("USER") == [["10001"]]


def test_only_what_the_lock_has_a_hash_for_is_installed() -> None:
    """And what is copied into the image is there."""
    asked = [" ".join(words) for words in instructions("RUN")]
    installs = [part for line in asked for part in line.split("&&") if re.search(r"\bpip\b.* install ", part)]
    assert len(installs) == 3
    assert all("--require-hashes -r requirements-" in part or "--no-index" in part for part in installs)
    copied = [word for words in instructions("COPY") if not words[0].startswith("--") for word in words[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
