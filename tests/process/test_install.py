"""`bot init` as the owner of a new machine runs it: from nothing to a bot that answers, twice, and only for show."""

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.emulator import Emulator
from tests.house.tree import ROOT
from tests.process.harness import Bot
from tests.process.screen import screen
from tests.process.test_operators import ANA, answered
from tests.unit.test_install import webhook_site

URL = "https://127.0.0.1:9"  # nobody is there, and no name is looked up
SECRETS = {"BOT_WHATSAPP__ACCESS_TOKEN", "BOT_WHATSAPP__APP_SECRET", "BOT_WHATSAPP__VERIFY_TOKEN", "OPENAI_API_KEY"}
UNITS = {unit.name for unit in (ROOT / "systemd").iterdir()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's root, with systemd and nothing else."""
    systemd = tmp_path / "root" / "usr" / "lib" / "systemd" / "systemd"
    os.umask(0o022)  # a command that ran in this process set its own
    systemd.parent.mkdir(parents=True)
    systemd.touch()
    return tmp_path / "root"


@pytest.fixture
def owned(bot: Bot, emu: Emulator) -> Iterator[Bot]:
    """A bot whose owner set all that is asked, but for the verify token; its account isn't subscribed yet."""
    emu.settings.subscribed = False
    del bot.env["BOT_WHATSAPP__VERIFY_TOKEN"]
    bot.env |= {
        "BOT_WHATSAPP__PHONE_NUMBER_ID": emu.settings.phone_number_id,
        "BOT_WHATSAPP__WABA_ID": emu.settings.waba_id,
        "BOT_WHATSAPP__BASE_URL": emu.graph_url,
        "BOT_OPENAI__BASE_URL": emu.model_url,
        "BOT_SERVER__PUBLIC_URL": URL,
    }
    return bot


async def init(bot: Bot, root: Path, *options: str, **env: str) -> Result:
    """Run `bot init` below a root, in this process for the time it saves."""
    arguments = ["init", "--root", str(root), *options]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments, env=bot.env | env)


def tree(root: Path) -> dict[str, tuple[str, bytes | None]]:
    """Return mode and content of everything below a folder, by its path there."""
    return {
        str(path.relative_to(root)): (stat.filemode(path.stat().st_mode), path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


def in_a_line(text: str) -> str:
    """Return a text without its indentation."""
    return " ".join(text.split())


async def test_a_new_machine_has_a_bot_that_answers(owned: Bot, emu: Emulator, root: Path) -> None:
    """All is written, closed to others where it is secret; the account is subscribed; what was written runs."""
    done = await owned.command("init", "--root", str(root), "--subscribe")
    assert (done.code, done.err) == (0, "")
    assert emu.settings.subscribed
    written = tree(root)
    credentials = root / "etc/bot/credentials"
    assert {name for name, (mode, _) in written.items() if mode in ("-rw-------", "drwx------")} == {
        "etc/bot/credentials",
        *(f"etc/bot/credentials/{name}" for name in SECRETS),
    }
    assert {
        f"etc/systemd/system/{name}": ("-rw-r--r--", (ROOT / "systemd" / name).read_bytes()) for name in UNITS
    }.items() <= written.items()
    verify_token = (credentials / "BOT_WHATSAPP__VERIFY_TOKEN").read_text()
    told = [line.split() for line in done.out.splitlines()]
    assert ["Callback", "URL", f"{URL}/webhook"] in told
    assert ["Verify", "token", verify_token] in told
    assert len(verify_token) == 32
    assert in_a_line(webhook_site().replace("bot.example.com", "127.0.0.1:9")) in in_a_line(done.out)
    assert "bot init --subscribe" not in done.out
    assert not any((credentials / name).read_text() in done.out for name in SECRETS - {"BOT_WHATSAPP__VERIFY_TOKEN"})

    unset = dict.fromkeys(
        [*owned.env.keys() & {*SECRETS}, *(name for name in owned.env if name.startswith("BOT_"))], ""
    )
    owned.env = {name: value for name, value in owned.env.items() if name not in unset}
    owned.env |= {"CREDENTIALS_DIRECTORY": str(credentials), "BOT_STORE__URL": f"sqlite:///{owned.database}"}
    owned.env |= {"BOT_SERVER__PORT": str(owned.public_port), "BOT_ADMIN__PORT": str(owned.admin_port)}
    await owned.start(str(root / "usr/local/bin/bot"), "run", "--config", str(root / "etc/bot/bot.toml"))
    await emu.say(ANA, "hola")
    await answered(emu, "hola")


async def test_a_second_run_keeps_what_is_there_and_adds_what_is_not(owned: Bot, root: Path) -> None:
    """Not a byte changes, whatever is given, and what is there is tried; what was taken away is wanted again."""
    assert (await init(owned, root)).exit_code == 1  # nobody subscribed the account
    before, credentials = tree(root), root / "etc/bot/credentials"
    again = await init(
        owned, root, "--subscribe", BOT_WHATSAPP__ACCESS_TOKEN="another", BOT_SERVER__PUBLIC_URL="https://b"
    )
    assert again.exit_code == 0
    assert tree(root) == before
    assert "wrote" not in again.stdout
    assert again.stdout.count("kept ") == 1 + 1 + len(SECRETS) + len(UNITS)
    assert "would write another" not in again.stdout

    token = credentials / "BOT_ADMIN__TOKEN"
    token.write_text("a-token")  # which the unit that is kept doesn't load
    assert "system/bot.service  (this version would write another)\n" in (await init(owned, root)).stdout
    token.unlink()
    key = credentials / "OPENAI_API_KEY"
    key.unlink()
    (root / "etc/systemd/system/bot.service").unlink()
    wrong = await init(owned, root, OPENAI_API_KEY="")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "There is no terminal to ask at: set OPENAI_API_KEY in the environment.\n",
    )
    assert not (root / "etc/systemd/system/bot.service").exists()
    mended = await init(owned, root, BOT_ADMIN__TOKEN="a-token")
    assert (mended.exit_code, mended.stdout.count("wrote ")) == (0, 3)
    after = tree(root)
    service = before["etc/systemd/system/bot.service"]
    loads = after.pop("etc/systemd/system/bot.service")[1]
    assert b"\nLoadCredential=BOT_ADMIN__TOKEN:" in (loads or b"")
    assert after.pop("etc/bot/credentials/BOT_ADMIN__TOKEN") == ("-rw-------", b"a-token")
    assert after | {"etc/systemd/system/bot.service": service} == before


async def test_a_dry_run_asks_and_tries_and_touches_nothing(owned: Bot, emu: Emulator, root: Path) -> None:
    """It shows what would be written, no secret, not even the verify token; the account isn't subscribed."""
    before = tree(root)
    env = {"BOT_WHATSAPP__VERIFY_TOKEN": "my-verify-word", "BOT_SERVER__PUBLIC_URL": f"{URL}/shop"}
    shown = await init(owned, root, "--dry-run", "--subscribe", **env)
    assert (shown.exit_code, shown.stderr) == (1, "")
    assert tree(root) == before
    assert not emu.settings.subscribed
    assert shown.stdout.count("would write ") == 1 + 1 + len(SECRETS) + len(UNITS)
    assert f"            server.public_url = {URL}/shop\n" in shown.stdout
    proxied = "handle /shop/webhook { rewrite * /webhook reverse_proxy 127.0.0.1:8080 }"
    assert proxied in in_a_line(shown.stdout)
    assert "WRONG  No app is subscribed" in shown.stdout
    secrets = [owned.env.get(name, "my-verify-word") for name in SECRETS]
    assert not any(secret in shown.stdout for secret in secrets)


async def test_in_a_terminal_it_asks_until_the_answer_can_be_right(owned: Bot, emu: Emulator, root: Path) -> None:
    """Each answer is judged at once, in words; what is secret doesn't show; where there is no systemd it says so."""
    (root / "usr/lib/systemd/systemd").unlink()
    token = owned.env["BOT_WHATSAPP__ACCESS_TOKEN"]
    asked = {"BOT_WHATSAPP__PHONE_NUMBER_ID", "BOT_WHATSAPP__ACCESS_TOKEN", "BOT_SERVER__PUBLIC_URL"}
    env = {name: value for name, value in owned.env.items() if name not in asked}
    answers = (
        ("Phone number ID", "+1 555 078 3881", "must be the id that Meta shows, digits only (not the number)"),
        ("Phone number ID", emu.settings.phone_number_id, ""),
        ("Access token", "EAAG two words", "has a space or another character that no token has"),
        ("Access token", token, ""),
        ("Model [gpt-5.4-mini]", "", ""),
        ("Address that Meta is to call", "bot.example.com", "must be empty or start with https://"),
        ("Address that Meta is to call", URL, ""),
    )

    def type_in() -> str:
        command = (sys.executable, "-m", "bot", "init", "--root", str(root))
        with screen(*command, cwd=root, env=env, columns=200) as shown:
            seen = 0
            for question, answer, objection in answers:
                shown.until(lambda text, at=seen, wanted=question: wanted in text[at:] and text.endswith(": "))
                seen = len(shown.text)
                shown.press(f"{answer}\n")
                shown.until(lambda text, at=seen, wanted=objection: wanted in text[at:])
            assert shown.ended() == 1  # not subscribed
            return shown.text

    told = await asyncio.to_thread(type_in)
    assert "There is no systemd here, so no units are written." in told
    assert "systemctl daemon-reload" not in told
    assert token not in told
    assert "two words" not in told
    assert (root / "etc/bot/credentials/BOT_WHATSAPP__ACCESS_TOKEN").read_text() == token
    assert os.listdir(root / "etc") == ["bot"]


async def test_a_bot_toml_without_an_address_is_told_so_and_the_steps_stay_usable(owned: Bot, root: Path) -> None:
    """It is kept, so nobody is asked; what remains has the documentation's address in its place."""
    (root / "etc/bot").mkdir(parents=True)
    (root / "etc/bot/bot.toml").write_text('[whatsapp]\nphone_number_id = "1"\nbase_url = "http://127.0.0.1:9"\n')
    shown = (await init(owned, root, "--dry-run")).stdout
    assert "stands for your address: set server.public_url in /etc/bot/bot.toml." in shown
    assert "Callback URL   https://bot.example.com/webhook\n" in shown
    assert in_a_line(webhook_site()) in in_a_line(shown)
