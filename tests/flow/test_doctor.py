"""`bot doctor`: a process of its own against the emulated services, the daemon up and down; each line wrong once."""

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.clock import Clock, stamp
from bot.config import Config
from bot.config.settings import Alerts, OpenAI, Store
from bot.doctor import examine
from bot.domain import Operator
from bot.store.store import Store as OpenStore
from tests.flow.conftest import World
from tests.flow.listeners import a_store

WITHOUT = dict.fromkeys(("BOT_WHATSAPP__ACCESS_TOKEN", "CREDENTIALS_DIRECTORY", "BOT_CONFIG"))
Told = list[tuple[str, str]]


async def doctor(folder: Path, *options: str, **secrets: str) -> tuple[int | None, Told, str]:
    """Run it as a program: exit code, the marks with their lines, standard error."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **secrets}
    command = ("-m", "bot", "doctor", "--config", str(folder / "bot.toml"), *options)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environ, stdout=pipe, stderr=pipe)
    said, errors = await process.communicate()
    lines = [line.split("  ", 1) for line in said.decode().splitlines()]
    return process.returncode, [(mark.strip(), text.strip()) for mark, text in lines], errors.decode()


def written(world: World, **whatsapp: str) -> dict[str, str]:
    """Write the bot.toml of a world; return the secrets, as the environment has them."""
    known = world.emu.settings
    keys = {"phone_number_id": known.phone_number_id, "waba_id": known.waba_id, "base_url": world.emu.graph_url}
    lines = [f'{name} = "{value}"' for name, value in (keys | whatsapp).items()]
    text = "\n".join(["[whatsapp]", *lines, "[openai]", f'base_url = "{world.emu.model_url}"', ""])
    (world.file.parent / "bot.toml").write_text(text)
    os.chmod(world.file.parent, 0o700)
    return {
        "BOT_WHATSAPP__ACCESS_TOKEN": known.access_token,
        "BOT_WHATSAPP__APP_SECRET": known.app_secret,
        "BOT_WHATSAPP__VERIFY_TOKEN": "verify-me",
        "OPENAI_API_KEY": known.api_key,
    }


async def test_all_is_well_while_the_daemon_runs(world: World) -> None:
    """Each line says ok, none is a secret, and what it read is as it was."""
    secrets = written(world)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.settled("done")
        before = world.rows("SELECT * FROM control, outbox")[0][3:]
        code, told, errors = await doctor(world.file.parent, **secrets)
        assert world.rows("SELECT * FROM control, outbox")[0][3:] == before
    unasked = [text.split()[:3] for mark, text in told if mark == "--"]
    assert [text for mark, text in told if mark == "WRONG"] == []
    assert (code, unasked) == (0, [["There", "is", "no"], ["Whether", "webhooks", "can"]])  # copy, server.public_url
    said = " ".join(text for _, text in told)
    for words in ("This is bot", "Permissions are right", "MB left", "whole and sound (schema ", "The daemon runs"):
        assert words in said
    for words in ("Nothing keeps", "came 0.0 hours ago", "token doesn't expire", "app is among", "messages among them"):
        assert words in said
    assert not [secret for secret in secrets.values() if secret in said + errors]
    assert f"to read all of {world.file} may take a while" in errors


async def test_what_is_wrong_outside_and_here_is_said_at_once(world: World) -> None:
    """Also with the daemon down: it leaves no file that wasn't there, and the exit code is 1."""
    secrets = written(world)
    async with world.running():
        pass
    world.emu.settings.token_days, world.emu.settings.subscribed = 3.5, False
    files = set(world.file.parent.iterdir())
    code, told, _ = await doctor(world.file.parent, **secrets)
    wrong = [text for mark, text in told if mark == "WRONG"]
    assert (code, len(wrong)) == (1, 3)
    assert "The daemon doesn't run, and could last take webhooks at" in wrong[0]
    assert "UTC: start it (`systemctl start bot`" in wrong[0]
    assert "token ends in 3 days" in wrong[1]
    assert "No app is subscribed" in wrong[2]
    assert set(world.file.parent.iterdir()) == files


# -- what the file and its folder tell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed folder with a bot.toml."""
    tmp_path.chmod(0o700)
    (tmp_path / "bot.toml").write_text("")
    return tmp_path


def test_offline_nobody_is_asked_and_no_token_is_wanted(folder: Path) -> None:
    """As on a machine without a network, before it was ever started; else a missing token is a line of its own."""
    options = ["doctor", "--config", str(folder / "bot.toml")]
    offline = CliRunner().invoke(main, [*options, "--offline"], env=WITHOUT)
    assert offline.exit_code == 1
    assert [line.split()[0] for line in offline.stdout.splitlines()] == ["ok", "ok", "WRONG"]
    assert f"there is no database at {folder}/bot.db: start the daemon once" in offline.stdout
    online = CliRunner().invoke(main, options, env=WITHOUT)
    assert online.exit_code == 1
    assert offline.stdout in online.stdout
    assert "WRONG  whatsapp.access_token is missing; set BOT_WHATSAPP__ACCESS_TOKEN in the environment" in online.stdout


async def wrong(folder: Path, **sections: object) -> str:
    """Look, offline; return what is wrong but for the daemon, which doesn't run here."""
    config = Config(store=Store(url=f"sqlite:///{folder / 'bot.db'}"), **sections)
    findings = await examine(config, folder / "bot.toml", offline=True)
    texts = [finding.text for finding in findings if finding.good is False]
    return "\n".join(text for text in texts if "The daemon doesn't run" not in text)


@contextmanager
def by_hand(folder: Path) -> Iterator[sqlite3.Connection]:
    """Write to the file as a person does."""
    with closing(sqlite3.connect(folder / "bot.db", timeout=5.0)) as db, db:
        yield db


async def test_permissions_that_let_others_in_say_how_to_close_them(folder: Path) -> None:
    """Database 0600, secrets for their owner, bot.toml not for everybody to write; where others come by at all."""
    async with a_store(folder):
        pass
    (folder / "credentials").mkdir(0o700)
    for name in ("bot.db", "bot.toml", ".env", "credentials/OPENAI_API_KEY"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    assert await wrong(folder) == ""  # nobody gets as far as that
    folder.chmod(0o755)
    (folder / "bot.toml").chmod(0o755)  # which is odd, and changed by nobody
    assert await wrong(folder) == (
        f"Permissions are wrong. {folder}/.env is open to others: chmod go= {folder}/.env; "
        f"{folder}/bot.db is open to others: chmod go= {folder}/bot.db."
    )
    (folder / "credentials").chmod(0o755)
    (folder / "bot.toml").chmod(0o666)
    said = await wrong(folder)
    assert f"chmod go= {folder}/credentials/OPENAI_API_KEY;" in said
    assert f"chmod o-w {folder}/bot.toml;" in said
    folder.chmod(0o777)
    folder.parent.chmod(0o711)
    assert f"chmod o-w {folder};" in await wrong(folder)
    folder.parent.chmod(0o700)


async def test_a_file_that_is_not_the_folders_owners_says_whom_to_give_it_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a copy that root put back; where the folder lets a group write, whose it is doesn't matter."""
    async with a_store(folder):
        pass
    another, real = {"bot.db"}, Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:4], found.st_uid + (path.name in another), *found[5:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert f"chown --reference={folder} {folder}/bot.db*." in await wrong(folder)
    (folder / "bot.db").chmod(0o600)
    folder.chmod(0o770)
    assert await wrong(folder) == ""
    (folder / "bot.db.lock").touch(0o600)
    assert "chown --reference=" in await wrong(folder)


async def test_what_the_daemon_may_not_read_is_said_though_root_may(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bot check`, as root, finds nothing wrong; a reload and the next start would."""
    async with a_store(folder):
        pass
    toml, words, real = folder / "etc" / "bot.toml", folder / "etc" / "words.txt", Path.stat
    toml.parent.mkdir()
    toml.touch()
    words.touch()
    for place, mode in ((toml.parent, 0o755), (toml, 0o644), (words, 0o600)):  # whatever the umask
        place.chmod(mode)
    config = Config(store=Store(url=f"sqlite:///{folder / 'bot.db'}"), openai=OpenAI(instructions_file="words.txt"))

    def stat(path: Path, **options: bool) -> os.stat_result:
        mode, *found = real(path, **options)
        mode |= 0o055 * (path in folder.parents)
        owner = 1000 if path.is_relative_to(toml.parent) else 1001  # the daemon's is the rest
        return os.stat_result((mode, *found[:3], owner, owner, *found[5:]))

    monkeypatch.setattr(Path, "stat", stat)

    async def said() -> str:
        return "\n".join(finding.text for finding in await examine(config, toml, offline=True))

    assert f"{folder}'s owner, who runs the bot, can't read {words}: chmod a+r, or take it out" in await said()
    words.chmod(0o644)
    assert "Permissions are right" in await said()
    toml.chmod(0o640)
    assert f"can't read {toml}: chmod a+r" in await said()
    toml.chmod(0o644)
    toml.parent.chmod(0o700)
    assert f"can't read {words}" in await said()


async def test_a_damaged_file_is_told_and_where_help_is(folder: Path) -> None:
    """Whether one page is, or the whole file can't be read."""
    async with a_store(folder):
        pass
    with by_hand(folder) as db:
        pages = dict(db.execute("SELECT name, rootpage FROM sqlite_schema WHERE name IN ('users', 'control')"))
    for table in ("users", "control"):  # without the second no query of its answers, either
        with (folder / "bot.db").open("r+b") as file:
            file.seek((pages[table] - 1) * 4096)
            file.write(b"\xff" * 100)
        assert "damaged" in (said := await wrong(folder))
        assert "the end of docs/sqlite.md says what to do" in said
    (folder / "bot.db").write_bytes(b"no database at all" * 1000)
    assert "damaged" in await wrong(folder)


async def test_a_daemon_that_is_there_and_does_nothing_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock, and last noted over a minute ago that webhooks can arrive."""
    monkeypatch.setattr("bot.doctor.daemon_runs", lambda _: True)
    async with a_store(folder):
        pass
    with by_hand(folder) as db:
        db.execute("UPDATE control SET listening_at = ?", (stamp(Clock().now() - timedelta(seconds=58)),))
    assert await wrong(folder) == ""
    with by_hand(folder) as db:
        db.execute("UPDATE control SET listening_at = ?", (stamp(Clock().now() - timedelta(seconds=62)),))
    assert "The daemon is there, but has done nothing for over a minute" in await wrong(folder)


async def test_a_full_disk_is_told_before_an_update_needs_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as the file has to be free, and 200 MB at least."""
    async with a_store(folder):
        pass
    full = shutil.disk_usage(folder)._replace(free=199_000_000)
    monkeypatch.setattr("bot.store.insights.shutil.disk_usage", lambda _: full)
    assert (
        await wrong(folder)
        == "The disk has 199 MB left, and an update that copies the database wants 200 MB: make room."
    )


async def test_old_copies_are_told_where_copies_are_made(folder: Path) -> None:
    """In the folder that the nightly copy has; the newest counts."""
    async with a_store(folder):
        pass
    (folder / "backups").mkdir()
    for days, name in ((4, "bot-1.db"), (3, "bot-2.db")):
        (copy := folder / "backups" / name).touch()
        os.utime(copy, (0, Clock().now().timestamp() - days * 86_400 - 60))
    assert "The newest copy of the database is 72 hours old: look at `systemctl status" in await wrong(folder)
    (folder / "backups" / "bot-3.db").touch()
    assert await wrong(folder) == ""


async def pause(store: OpenStore) -> None:
    """Pause everybody."""
    await store.pause(None, who=Operator("test"))


async def open_circuit(store: OpenStore) -> None:
    """Have a circuit open."""
    sql = "UPDATE circuits SET state = 'open', reason = 'no token', opened_at = ? WHERE service = 'graph'"
    await store._db.write(lambda db: db.execute(sql, (stamp(Clock().now()),)))


@pytest.mark.parametrize(("work", "words"), [(pause, "everything is paused since"), (open_circuit, "no token")])
async def test_why_nobody_is_answered_is_told(folder: Path, work: Callable[[OpenStore], object], words: str) -> None:
    """In the words of the status page."""
    async with a_store(folder) as store:
        await work(store)
    assert (said := await wrong(folder)).startswith("Nobody is answered: ")
    assert words in said


async def test_the_newest_message_is_judged_by_the_alert_on_it(folder: Path) -> None:
    """As long as alerts.no_webhook_hours is 0 its age is only told."""
    async with a_store(folder):
        pass
    with by_hand(folder) as db:
        db.execute("INSERT INTO users (id, phone, created_at) VALUES (1, '34600111222', '2026-01-01T00:00:00.000Z')")
        columns = "phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at"
        old = stamp(Clock().now().replace(year=2025))
        db.execute(
            f"INSERT INTO outbox ({columns}) VALUES ('1', 'w', 1, 'text', 'x', '{{}}', 'pending', ?, ?)", (old, old)
        )
    assert await wrong(folder) == ""
    assert "over alerts.no_webhook_hours (12): the lines on" in await wrong(folder, alerts=Alerts(no_webhook_hours=12))
