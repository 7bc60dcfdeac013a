"""The fixtures of the process tests: a disk that can be held, a service manager that listens."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.slow_disk import SlowDisk


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SlowDisk]:
    """Give a disk that can be held; a test's indirect parameter says in which way it is made."""
    made = SlowDisk(tmp_path / "disk", getattr(request, "param", "preload"))
    yield made
    made.release()


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(f"{folder}/notify")
        yield listener
