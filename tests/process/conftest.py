"""The fixtures of the process tests: a disk that can be held."""

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
