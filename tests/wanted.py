"""Programs of Debian's that tests want, or the reason why there are none."""

import os
import shutil

import pytest


def program(name: str, target: str) -> str:
    """Find a program; without it the test is skipped, naming the make target, and fails where CI=true."""
    if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        return found
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is missing: make {target}, as root")
