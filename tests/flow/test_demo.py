"""`bot demo` as its user meets it: started, stopped, and started again."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.demo.run import PORTS, _demo
from bot.emulator import Emulator, StatusPlan
from bot.errors import StartError

ANA = "5215512345678"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo of a test keeps its files."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "bot-demo"


@asynccontextmanager
async def demo() -> AsyncIterator[Emulator]:
    """Run the demo with a model that answers at once."""
    async with _demo(False) as emulator:
        emulator.settings.model_delay_seconds = 0
        yield emulator


async def test_the_demo_shows_the_earlier_conversation_after_a_restart(folder: Path) -> None:
    """The emulator forgets at a stop; the file does not, and what is said next is answered."""
    async with demo() as emulator:
        await emulator.say(ANA, "Hola")
        await emulator.wait_for(lambda: emulator.sends(ANA))
        (before,) = emulator.sends(ANA)
    async with demo() as emulator:
        assert [bubble.text for bubble in emulator.chats.bubbles[ANA].values()] == ["Hola", before]
        await emulator.say(ANA, "Gracias")
        await emulator.wait_for(lambda: emulator.sends(ANA))
    assert (folder / "bot.db").is_file()


async def test_ticks_do_not_fall_at_a_restart_and_a_redelivery_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read stays read; the last webhook comes once more as it was, shows nothing new and is not answered."""
    async with demo() as emulator:
        await emulator.say(ANA, "Hola")
        await emulator.wait_for(lambda: _ticks(emulator) == ["read", "read"] and not emulator.deliveries.pending)
    async with demo() as emulator:
        before = [bubble.as_json() for bubble in emulator.chats.bubbles[ANA].values()]
        assert [bubble["tick"] for bubble in before] == ["read", "read"]
        told = _note_events(emulator, monkeypatch)
        assert await emulator.redeliver(ANA) == 200
        assert [bubble.as_json() for bubble in emulator.chats.bubbles[ANA].values()] == before
        assert {event["type"] for event in told} == {"call"}
    assert len(before) == 2


def _ticks(emulator: Emulator) -> list[str]:
    return [bubble.tick for bubble in emulator.chats.bubbles[ANA].values()]


async def test_statuses_that_a_stop_kept_from_arriving_come_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer's ticks go on where they stood."""
    async with demo() as emulator:
        emulator.settings.statuses = StatusPlan(names=())
        await emulator.say(ANA, "Hola")
        await emulator.wait_for(lambda: emulator.sends(ANA))
    async with demo() as emulator:
        await emulator.wait_for(lambda: _ticks(emulator) == ["read", "read"])


def _note_events(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what open pages are told."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(emulator.chats, "tell", told.append)
    return told


async def test_what_nobody_has_begun_to_answer_is_not_read_after_a_restart() -> None:
    """It waited behind another one: on the daemon's disk, and no further."""
    async with demo() as emulator:
        await emulator.say(ANA, "Hola")
        await emulator.wait_for(lambda: emulator.sends(ANA))
        emulator.faults.add("error", service="model", status=401, times=9)
        await emulator.say(ANA, "uno")
        await emulator.wait_for(lambda: emulator.chats.bubbles[ANA] and len(emulator.chats.bubbles[ANA]) == 3)
        await emulator.say(ANA, "dos")
    async with demo() as emulator:
        ticks = {bubble.text: bubble.tick for bubble in emulator.chats.bubbles[ANA].values()}
    assert (ticks["Hola"], ticks["dos"]) == ("read", "delivered")


async def test_a_second_demo_leaves_the_first_one_alone(folder: Path) -> None:
    """It says where the first one's page is; the first one's bot.toml stays."""
    async with demo():
        written = (folder / "bot.toml").read_text()
        page = json.loads((folder / "ports.json").read_text())["chat"]
        with pytest.raises(StartError, match=f"running already: its page is http://127.0.0.1:{page}/"):
            async with demo():
                raise AssertionError("two demos in one folder")
        assert (folder / "bot.toml").read_text() == written


@pytest.mark.parametrize("spoilt", [None, "[1]", '{"chat": "x"}', "no json"])
async def test_where_the_usual_ports_are_taken_the_same_others_are_used_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str | None
) -> None:
    """A page that stayed open finds the demo again after a restart; a file that was spoilt is written anew."""
    file = folder / "ports.json"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        monkeypatch.setattr("bot.demo.run.PORTS", dict.fromkeys(PORTS, usual))
        async with demo():
            first = json.loads(file.read_text())
        assert len({usual, *first.values()}) == 4
        if spoilt:
            file.write_text(spoilt)
        async with demo():
            second = json.loads(file.read_text())
    assert len({usual, *second.values()}) == 4
    assert (second == first) is (spoilt is None)
