"""Keep the developer's own settings out of the tests."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables that bot reads, so that a test sees only what it sets itself."""
    for name in list(os.environ):
        if name.startswith(("BOT_", "OPENAI_")) or name in {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}:
            monkeypatch.delenv(name)
