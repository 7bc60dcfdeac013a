"""`bot demo` as its user meets it: started, stopped, and started again."""

from pathlib import Path

import pytest

from bot.demo.run import _demo

ANA = "5215512345678"


async def test_the_demo_shows_the_earlier_conversation_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator forgets at a stop; the file does not, and what is said next is answered."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with _demo(False) as emulator:
        emulator.settings.model_delay_seconds = 0
        await emulator.say(ANA, "Hola")
        await emulator.wait_for(lambda: emulator.sends(ANA))
        (before,) = emulator.sends(ANA)
    async with _demo(False) as emulator:
        emulator.settings.model_delay_seconds = 0
        assert [bubble.text for bubble in emulator.chats.bubbles[ANA].values()] == ["Hola", before]
        await emulator.say(ANA, "Gracias")
        await emulator.wait_for(lambda: emulator.sends(ANA))
    assert (tmp_path / "bot-demo" / "bot.db").is_file()
