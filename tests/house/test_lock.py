"""What is installed is what the lock says, on every machine."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\]+)")


def pins(name: str) -> dict[str, str]:
    """Return package and version of each pin in a lock."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(pin[1]): pin[2] for line in lines if (pin := PIN.match(line))}


def declared() -> tuple[set[str], set[str]]:
    """Return the names that pyproject.toml asks for: those of the daemon, and those of development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    development = [*groups["dev"], *groups["build"], *project["build-system"]["requires"]]
    return (
        {canonicalize_name(Requirement(text).name) for text in project["project"]["dependencies"]},
        {canonicalize_name(Requirement(text).name) for text in development},
    )


def test_everything_asked_for_is_locked() -> None:
    """A dependency that is declared and not locked would be missing from the next fresh clone: run `make lock`."""
    daemon, development = declared()
    assert daemon | development <= set(pins("requirements.txt"))
    assert daemon <= set(pins("requirements-run.txt"))


def test_the_daemon_runs_on_what_was_tested() -> None:
    """The lock for running holds versions of the lock for development, and none of its tools."""
    assert pins("requirements-run.txt").items() <= pins("requirements.txt").items()
    assert not {"pytest", "ruff", "mypy"} & set(pins("requirements-run.txt"))


def test_the_one_file_holds_what_was_tested() -> None:
    """Versions of the daemon's own dependencies are the same, and what builds it is locked."""
    assert pins("requirements-run.txt").items() <= pins("requirements-dist.txt").items()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert set(groups["dist"]) <= set(pins("requirements-dist.txt"))


def test_every_pin_has_a_hash_and_the_locks_say_nothing_of_where_from() -> None:
    """Only pins, hashes and comments: no index, no folder of wheels, no editable install."""
    for name in ("requirements.txt", "requirements-run.txt", "requirements-dist.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert len(re.findall(r"\\\n    --hash=sha256:[0-9a-f]{64}", text)) >= len(pins(name)) > 10
        assert [line for line in text.splitlines() if not re.match(r"\w|    --hash=|    # ", line)] == []
        assert [word for word in ("://", "--find-links", "--index-url", "file:") if word in text] == []
