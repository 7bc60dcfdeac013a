"""`bot check --alerts`: a test alert by each channel, and in words why one didn't go out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.check import Finding, check_alerts
from bot.cli import main
from bot.config import Config
from bot.config.settings import Alerts, Store
from bot.emulator import Emulator
from tests.flow.conftest import World
from tests.flow.owner import Owner
from tests.flow.test_check_online import config_of

BOSS = "34699999999"


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    """Whoever is told."""
    async with Owner().listening() as listening:
        yield listening


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """WhatsApp."""
    async with Emulator() as running:
        yield running


async def found(config: Config, folder: Path, **alerts: Any) -> list[tuple[bool | None, str]]:
    """Try the channels; no address and no number is told."""
    store = config.store if config.store != Store() else Store(url=f"sqlite:///{folder / 'none.db'}")
    findings = await check_alerts(config.model_copy(update={"alerts": Alerts(**alerts), "store": store}))
    told = " ".join(finding.text for finding in findings)
    assert "KEY-IN-THE-ADDRESS" not in told
    assert BOSS not in told
    return [(finding.good, finding.text) for finding in findings]


async def test_a_test_goes_out_by_each_channel(emulator: Emulator, owner: Owner, tmp_path: Path) -> None:
    """Also before the bot was ever started; by WhatsApp it is the template then."""
    ways = {"whatsapp_to": BOSS, "whatsapp_template": "alert", "webhook_url": owner.hook, "ntfy_url": owner.topic}
    assert await found(config_of(emulator), tmp_path, **ways) == [
        (True, "A test alert went out by whatsapp (template alert): look whether it arrived."),
        (True, "A test alert went out by webhook (HTTP 200): look whether it arrived."),
        (True, "A test alert went out by ntfy (HTTP 200): look whether it arrived."),
    ]
    assert emulator.sends(BOSS) == ["This is a test: alerts of the bot arrive here."]
    assert owner.got("/hook") == ["test raised"]
    assert owner.got("/topic") == ["This is a test"]


async def test_what_does_not_go_out_says_why(emulator: Emulator, owner: Owner, tmp_path: Path) -> None:
    """The others are tried all the same."""
    owner.status = 403
    ways = {"whatsapp_to": BOSS, "webhook_url": "http://nowhere.invalid/hook", "ntfy_url": owner.topic}
    why = "that number wrote nothing to us for 24 hours, and alerts.whatsapp_template is empty"
    assert await found(config_of(emulator), tmp_path, **ways) == [
        (False, f"No test alert went out by whatsapp: {why}."),
        (False, "No test alert went out by webhook: it can't be reached (ClientConnectorDNSError)."),
        (False, "No test alert went out by ntfy: it answered HTTP 403: look at the address and the token."),
    ]


async def test_a_wrong_template_or_token_is_told_in_whatsapps_words(emulator: Emulator, tmp_path: Path) -> None:
    """With the code to look for."""
    emulator.settings.templates = ()
    ((good, text),) = await found(config_of(emulator), tmp_path, whatsapp_to=BOSS, whatsapp_template="alert")
    assert not good
    assert "132001" in text
    emulator.faults.add("error", code=190)
    ((good, text),) = await found(config_of(emulator), tmp_path, whatsapp_to=BOSS, whatsapp_template="alert")
    assert "WhatsApp answered 190" in text


async def test_a_number_that_wrote_lately_gets_free_text(world: World, tmp_path: Path) -> None:
    """As the daemon's file knows, while it runs."""
    async with world.running():
        await world.emu.say(world.ana, "good morning")
        await world.sent(1)
        config = world.config()
        ((good, text),) = await found(config, tmp_path, whatsapp_to=world.ana.wa_id)
    assert (good, "(free text)" in text) == (True, True)


async def test_without_a_channel_it_says_how_to_set_one(tmp_path: Path) -> None:
    """Neither good nor wrong."""
    ((good, text),) = await found(Config(), tmp_path)
    assert good is None
    assert "set whatsapp_to, webhook_url or ntfy_url under [alerts]" in text


@pytest.mark.parametrize(("good", "code"), [(True, 0), (None, 0), (False, 1)])
def test_the_command_ends_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool | None, code: int
) -> None:
    """Alone it asks no model; a channel that is wrong is an error."""

    async def answered(_: Config) -> list[Finding]:
        return [Finding(good, "x")]

    monkeypatch.setattr("bot.check.check_alerts", answered)
    (tmp_path / "bot.toml").write_text('[whatsapp]\nphone_number_id = "1"\n')
    names = ("BOT_WHATSAPP__ACCESS_TOKEN", "BOT_WHATSAPP__APP_SECRET", "BOT_WHATSAPP__VERIFY_TOKEN", "OPENAI_API_KEY")
    result = CliRunner().invoke(
        main, ["check", "--alerts", "--config", str(tmp_path / "bot.toml")], env=dict.fromkeys(names, "x")
    )
    assert result.exit_code == code
    assert len(result.output.splitlines()) == 2
