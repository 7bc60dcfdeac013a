"""A start that can't be: one sentence that says what to do, an exit code that isn't 0, and nothing touched."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.store.migrate import migrate
from tests.process.harness import Bot, Ended

MISTAKEN = 2  # the command line or the configuration is wrong


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder, but for the lock that says who runs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


async def refused(bot: Bot, *words: str, env: Mapping[str, str] | None = None, code: int = 1) -> Ended:
    """Try to start, and see that it fails as it should, `words` in its sentence."""
    before = contents(bot.folder)
    ended = await bot.command("run", env=env)
    assert ended.code == code, ended
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err
    if code != MISTAKEN:
        assert len(ended.err.splitlines()) == 1
    assert contents(bot.folder) == before
    return ended


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    """Be another program on a port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


@pytest.mark.parametrize("section", ["server", "admin"])
async def test_a_port_in_use(bot: Bot, section: str) -> None:
    """The sentence names port and key, and not even an empty database is left behind."""
    port = bot.public_port if section == "server" else bot.admin_port
    with listening(port):
        await refused(bot, str(port), f"set {section}.port")
    assert sorted(path.name for path in bot.folder.iterdir()) == ["bot.toml"]


async def test_another_daemon_on_the_file(bot: Bot) -> None:
    """Two daemons would answer everything twice; the first one is left in peace."""
    first = await bot.start()
    other = {"BOT_SERVER__PORT": "0", "BOT_ADMIN__PORT": "0"}
    ended = await bot.command("run", env=other)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"another bot runs on {bot.database}: stop it first, or name another file\n"
    assert (await bot.get("/readyz"))[0] == 200
    assert await first.stop() == 0


async def test_a_database_of_a_newer_version(bot: Bot) -> None:
    """What a newer version wrote is not for this one to change, not even in its journal mode."""
    migrate(bot.database, datetime.now(UTC))
    bot.sql("PRAGMA journal_mode = DELETE")
    bot.sql("PRAGMA user_version = 4711")
    await refused(bot, "newer version", "4711", "install that version")


async def test_a_database_of_another_program(bot: Bot) -> None:
    """It stays as it is, to the byte."""
    bot.sql("CREATE TABLE recipes (name TEXT)")
    await refused(bot, "another program", "store.url")


async def test_a_file_that_is_no_database(bot: Bot) -> None:
    """Whatever it is, it may be dear to somebody."""
    bot.database.write_bytes(b"dear diary, " * 1000)
    await refused(bot, str(bot.database))


async def test_a_folder_in_the_place_of_the_database(bot: Bot) -> None:
    """The path names a folder: nothing can be opened there."""
    bot.database.mkdir()
    await refused(bot, str(bot.database))


@pytest.mark.parametrize("place", ["bot.toml/bot.db", "missing/bot.db", "/sys/bot.db"])
async def test_a_place_where_nothing_can_be_written(bot: Bot, place: str) -> None:
    """Under a file, in a folder that isn't there, in one that takes no files: the folder and the key are named."""
    bot.configure(store={"url": f"sqlite:///{place}"})
    await refused(bot, str((bot.folder / place).parent), "store.url")


@pytest.mark.parametrize("what", ["folder", "file"])
async def test_no_permission_to_write(bot: Bot, what: str) -> None:
    """A folder or a file of another user: said at once, where a wait would look like a start that never ends."""
    migrate(bot.database, datetime.now(UTC))
    bot.sql("PRAGMA user_version")
    target = bot.folder if what == "folder" else bot.database
    target.chmod(0o555 if what == "folder" else 0o444)
    process = await bot.launch(*as_an_ordinary_user(sys.executable, "-m", "bot", "run"))
    try:
        assert await process.ended(seconds=10) == 1
    finally:
        target.chmod(0o755)
    assert len(process.lines) == 1
    assert str(target) in process.output
    assert "write" in process.output


@pytest.mark.parametrize("command", ["status", "failures"])
@pytest.mark.parametrize("what", ["folder", "file"])
async def test_no_permission_to_look(bot: Bot, what: str, command: str) -> None:
    """A file that may only be read, or can't be reached: a sentence that says as whom to come back."""
    kept = bot.folder / "kept"
    kept.mkdir()
    bot.configure(store={"url": "sqlite:///kept/bot.db"})
    migrate(kept / "bot.db", datetime.now(UTC))
    target = kept if what == "folder" else kept / "bot.db"
    target.chmod(0o000 if what == "folder" else 0o444)
    process = await bot.launch(*as_an_ordinary_user(sys.executable, "-m", "bot", command))
    try:
        assert await process.ended(seconds=10) == 1
    finally:
        target.chmod(0o755)
    mend = "run this as the user that owns it, or root"
    assert process.lines == [f"{kept / 'bot.db'} can't be written, and to look at it takes that, too: {mend}"]


def as_an_ordinary_user(*argv: str) -> tuple[str, ...]:
    """Take root's privileges from a command; its files stay readable to it. setpriv is part of every Debian."""
    return (("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()) + argv


async def test_every_missing_secret_is_named(bot: Bot) -> None:
    """One look tells all that there is to set."""
    secrets = [name for name in bot.env if name.startswith("BOT_") or name == "OPENAI_API_KEY"]
    assert len(secrets) == 4
    for name in secrets:
        del bot.env[name]
    bot.configure(whatsapp={"phone_number_id": ""})
    ended = await refused(bot, "phone_number_id", *secrets, code=MISTAKEN)
    assert len(ended.err.splitlines()) == 1 + 5


@pytest.mark.parametrize("arguments", [("run", "--nope"), ("walk",)])
async def test_an_unknown_argument(bot: Bot, arguments: tuple[str, ...]) -> None:
    """The command line is explained, nothing is started."""
    ended = await bot.command(*arguments)
    assert ended.code == MISTAKEN
    assert "Usage: " in ended.err
    assert "Traceback" not in ended.err
    assert not bot.database.exists()


async def test_every_mistake_in_the_configuration_is_said_at_once(bot: Bot) -> None:
    """A line for each: key, what is wrong, what to write."""
    bot.configure(queue={"concurency": 4, "max_attempts": 0}, servers={"port": 1}, admin={"port": "8081"})
    ended = await refused(
        bot, "queue.concurency", "queue.concurrency", "max_attempts", "servers", "admin.port", code=MISTAKEN
    )
    assert len(ended.err.splitlines()) == 1 + 4


async def test_a_bot_toml_that_is_none(bot: Bot) -> None:
    """Broken, or not there at all: said with the path."""
    bot.config.write_text("[server\n")
    await refused(bot, "bot.toml", "line 1", code=MISTAKEN)
    bot.config.unlink()
    await refused(bot, "bot.toml", "does not exist", "--config", code=MISTAKEN)
