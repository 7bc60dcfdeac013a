"""The commands: what they print, how they end, and that mistakes cost one sentence, not a traceback."""

import asyncio
import fcntl
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result

from bot import __version__
from bot.cli import main
from bot.domain import Operator
from bot.errors import StartError
from bot.store.store import Store
from tests.flow.listeners import a_store
from tests.flow.people import fail, lease, refuse, wait

T = TypeVar("T")
ANA, BEA = "5215512345678", "5215587654321"
SECRETS = {
    "BOT_WHATSAPP__ACCESS_TOKEN": "EAAtoken",
    "BOT_WHATSAPP__APP_SECRET": "appsecret",
    "BOT_WHATSAPP__VERIFY_TOKEN": "verify",
    "OPENAI_API_KEY": "sk-key",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a bot.toml of a number."""
    (tmp_path / "bot.toml").write_text('[whatsapp]\nphone_number_id = "106540352242922"\n')
    return tmp_path


def bot(folder: Path, *arguments: str, typed: str = "") -> Result:
    """Run a command as in that folder."""
    return CliRunner().invoke(main, arguments, env={"BOT_CONFIG": str(folder / "bot.toml")}, input=typed)


def with_store(folder: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with the store that the commands open next."""

    async def whole() -> T:
        async with a_store(folder) as store:
            return await work(store)

    return asyncio.run(whole())


async def _nothing(_: Store) -> None:
    """Only create the file."""


async def _some(store: Store) -> None:
    """Two messages of Ana's wait, one of Bea's failed (id 1)."""
    await fail(store, BEA, "late question", "the model broke", name="Bea")
    await wait(store, ANA, "one", "two")


# -- the group


def test_version_and_help() -> None:
    """Every command of the contract is there, with its help and its --config."""
    runner = CliRunner()
    assert runner.invoke(main, ["--version"]).output == f"bot, version {__version__}\n"
    listed = runner.invoke(main, ["--help"]).output
    own = ("run", "demo", "check", "doctor", "sql")
    for command in (
        *own,
        "status",
        "users",
        "show",
        "failures",
        "tail",
        "retry",
        "pause",
        "resume",
        "clear",
        "reply",
        "forget",
        "export",
    ):
        assert f"\n  {command} " in listed
        help_ = runner.invoke(main, [command, "--help"]).output
        assert "--config" in help_
        assert ("--json" in help_) == (command not in own)
    assert "Exit codes: 0 done; 1 can't be done" in listed


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--fast"],
        ["status", "extra"],
        ["retry"],
        ["retry", "x"],
        ["retry", "0"],
        ["retry", "9" * 30],
        ["retry", "1", "--all"],
        ["pause"],
        ["pause", "u1", "--all"],
        ["resume"],
        ["failures", "--limit", "0"],
        ["demo", "--model", "other"],
    ],
)
def test_wrong_arguments_are_named_and_exit_2(folder: Path, arguments: list[str]) -> None:
    """click says what would be right; nothing is opened."""
    result = bot(folder, *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert not (folder / "bot.db").exists()


# -- the configuration


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["check"],
        ["status"],
        ["failures"],
        ["retry", "1"],
        ["pause", "--all"],
        ["resume", "u1"],
        ["clear", "u1"],
    ],
)
def test_every_mistake_of_the_configuration_is_printed_and_the_exit_code_is_2(folder: Path, command: list[str]) -> None:
    """All at once, on stderr, before anything is opened."""
    (folder / "bot.toml").write_text('[server]\nport = "x"\n[queue]\nconcurency = 5\n')
    result = bot(folder, *command)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "server.port" in result.stderr
    assert "queue.concurency" in result.stderr
    assert "queue.concurrency" in result.stderr
    assert "Traceback" not in result.output
    assert [path.name for path in folder.iterdir()] == ["bot.toml"]


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    """With --config as with BOT_CONFIG."""
    result = CliRunner().invoke(main, ["status", "--config", str(tmp_path / "no.toml")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no.toml does not exist" in result.stderr


def test_check_names_what_is_missing_to_run(folder: Path) -> None:
    """Each secret by its variable; `run` says the same."""
    for command in ("check", "run"):
        result = bot(folder, command)
        assert result.exit_code == 2
        for variable in SECRETS:
            assert variable in result.stderr


def test_mistakes_and_what_is_missing_are_said_together(folder: Path) -> None:
    """One look is enough; what is wrong is not called missing as well."""
    (folder / "bot.toml").write_text('[whatsapp]\nphone_number_id = "+34 600"\n')
    for command in ("check", "run"):
        heading, *lines = bot(folder, command).stderr.splitlines()
        assert heading == f"{folder}/bot.toml: 5 mistakes"
        assert len(lines) == 1 + len(SECRETS)
        assert lines[0].startswith("whatsapp.phone_number_id must be")
        assert "phone_number_id" not in "".join(lines[1:])


def test_check_says_that_all_is_fine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0, no secret shown."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    result = bot(folder, "check")
    assert (result.exit_code, result.output) == (0, f"{folder}/bot.toml is fine.\n")


@pytest.mark.parametrize("code", [0, 3])
def test_run_ends_with_the_daemons_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The configuration arrives whole."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr("bot.daemon.run", lambda config, _: seen.append(config) or code)
    assert bot(folder, "run").exit_code == code
    assert seen[0].whatsapp.phone_number_id == "106540352242922"


def test_a_daemon_that_cannot_start_says_why_in_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1, no traceback."""

    def cannot(*_: object) -> int:
        raise StartError("port 8080 is in use: stop what uses it")

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("bot.daemon.run", cannot)
    result = bot(folder, "run")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "port 8080 is in use: stop what uses it\n")


# -- looking


def test_without_a_database_the_commands_say_how_to_get_one(folder: Path) -> None:
    """And create none."""
    result = bot(folder, "status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no database" in result.stderr
    assert not (folder / "bot.db").exists()


def test_a_file_that_is_no_database_is_left_alone(folder: Path) -> None:
    """One sentence, the bytes stay."""
    (folder / "bot.db").write_bytes(b"my diary, not a database" * 100)
    result = bot(folder, "status")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert (folder / "bot.db").read_bytes() == b"my diary, not a database" * 100


def test_status_of_an_empty_queue(folder: Path) -> None:
    """No empty tables."""
    with_store(folder, _nothing)
    result = bot(folder, "status")
    assert result.exit_code == 0
    assert "Waiting: 0" in result.output
    assert "user " not in result.output


def test_status_tells_who_waits_and_what_failed(folder: Path) -> None:
    """The state in words, the figures, a line for each user concerned."""
    with_store(folder, _some)
    lines = bot(folder, "status").output.splitlines()
    assert lines[0].startswith("The daemon is not running")
    assert "Waiting: 2 (being answered: 0), of users: 1. Failed: 1 (bot failures lists them)." in lines
    rows = [line.split() for line in lines if line.startswith("u") and line[1].isdigit()]
    assert [(row[0], row[1], row[-3:]) for row in rows] == [
        ("u2", "2", ["waiting", "Ana", f"+{ANA}"]),
        ("u1", "0", ["idle", "Bea", f"+{BEA}"]),
    ]


def test_status_knows_whether_the_daemon_runs_and_why_it_does_not_answer(folder: Path) -> None:
    """By the lock beside the file, which it shares for a moment at most; reasons from the file."""
    with_store(folder, _some)
    with (folder / "bot.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert bot(folder, "status").output.startswith("Answering normally.\n")
        with_store(folder, refuse)
        assert bot(folder, "pause", "--all").exit_code == 0
        output = bot(folder, "status").output
    assert output.startswith("Not answering: Paused since ")
    assert "Incorrect API key" in output
    assert re.search(r"The model is tried again at \d\d \w{3} [\d:]{8} UTC; bot check", output)
    assert "everything is paused since" in output
    with (folder / "bot.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no command holds on to it


def test_status_speaks_of_answering_and_of_no_time_that_has_passed(folder: Path) -> None:
    """The state that programs know as leased; a try that is due comes with the next message."""

    async def answering(store: Store) -> None:
        await wait(store, ANA, "one")
        await lease(store)
        await refuse(store)
        await store.try_circuit("model", who=Operator("test"))

    with_store(folder, answering)
    assert re.search(rf"^u1 .* waiting +Ana \+{ANA}$", bot(folder, "status").output, re.MULTILINE)  # nobody is there
    with (folder / "bot.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output = bot(folder, "status").output
    assert re.search(rf"^u1 .* answering +Ana \+{ANA}$", output, re.MULTILINE)
    assert "leased" not in output
    assert "The model is tried again with the next message; bot check --online may tell more.\n" in output
    assert "message 1 was being answered: only a failed one" in bot(folder, "retry", "1").stderr


def test_status_says_when_the_file_can_not_be_written(folder: Path) -> None:
    """As /readyz does: it is tried, for the daemon can't note it in a file that takes nothing."""
    with_store(folder, _some)
    with (folder / "bot.db.lock").open("w") as lock, closing(sqlite3.connect(folder / "bot.db")) as other:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other.execute("BEGIN IMMEDIATE")
        result = bot(folder, "status")
    assert result.output.startswith(
        "Not answering: The file can't be written: another program holds the file's write lock.\n\n"
    )
    assert result.stderr == ""


def test_failures_are_listed_with_their_ids_and_reasons(folder: Path) -> None:
    """What `bot retry` wants to know."""
    with_store(folder, _nothing)
    assert bot(folder, "failures").output == "Nothing failed.\n"
    with_store(folder, _some)
    causes, _, first, second, third = bot(folder, "failures").output.splitlines()
    assert causes == "     1  the model broke"
    assert first.startswith(f"1  u1 Bea +{BEA}, ")
    assert second.strip() == "the model broke"
    assert third.strip() == "> late question"


def test_a_long_list_of_failures_says_that_there_is_more(folder: Path) -> None:
    """--limit bounds it."""

    async def three(store: Store) -> None:
        for n in range(3):
            await fail(store, ANA, f"text {n}")

    with_store(folder, three)
    output = bot(folder, "failures", "--limit", "2").output
    assert "text 2" in output
    assert "text 0" not in output
    assert "There are more" in output


def test_what_strangers_write_cannot_drive_the_terminal(folder: Path) -> None:
    """Escape sequences, line breaks, bidirectional overrides and endless texts are defused."""

    async def hostile(store: Store) -> None:
        await fail(store, ANA, "a\x1b]0;owned\x07\nb\u202e" + "x" * 4000, "broke\x1b[2J", name="\x1b[31mred")

    with_store(folder, hostile)
    output = bot(folder, "failures").output + bot(folder, "status").output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    assert "owned" in output
    assert max(map(len, output.splitlines())) < 400


# -- acting


def test_retry_by_id_and_all(folder: Path) -> None:
    """How many are back is said; what can't be retried changes nothing."""
    with_store(folder, _some)
    unknown = bot(folder, "retry", "99")
    assert (unknown.exit_code, unknown.stdout, unknown.stderr) == (1, "", "message 99 was not found\n")
    waiting = bot(folder, "retry", "2")
    assert waiting.exit_code == 1
    assert "pending" in waiting.stderr
    assert bot(folder, "retry", "1", "99").output == "1 of 2 put back; 1 was not found.\n"
    assert bot(folder, "retry", "--all").output == "Messages back in the queue: 0.\n"
    assert "Waiting: 3" in bot(folder, "status").output


@pytest.mark.parametrize("wrong", ["abc", "u17", "0", "1.5", ""])
def test_what_is_no_id_of_a_message_is_told_what_one_is(folder: Path, wrong: str) -> None:
    """By its name, as the help has it; `bot failures` lists them."""
    result = bot(folder, "retry", wrong)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: Invalid value for 'ID...': ")


def test_pause_and_resume_a_user_by_any_id(folder: Path) -> None:
    """u17, phone with or without plus."""
    with_store(folder, _some)
    for name in ("u2", ANA, f"+{ANA}"):
        assert bot(folder, "pause", name).output == f"{name}: paused.\n"
        assert "paused" in bot(folder, "status").output
        assert bot(folder, "resume", name).output == f"{name}: resumed.\n"
    bot(folder, "pause", "u2")
    assert bot(folder, "resume", "u2", "--skip", "--yes").output == "u2: resumed. Messages skipped: 2.\n"


def test_a_reply_that_is_too_long_is_refused_whole(folder: Path) -> None:
    """What was cut off would be missed by the person alone."""
    with_store(folder, _some)
    result = bot(folder, "reply", "u2", "x" * 16_385)
    assert (result.exit_code, "16384 characters" in result.output) == (2, True)


@pytest.mark.parametrize("command", [("retry", "--all", "--cause", ""), ("retry", "--user", "u1", "--search", " ")])
def test_an_empty_filter_retries_nothing(folder: Path, command: tuple[str, ...]) -> None:
    """A script whose variable was empty doesn't mean everything."""
    with_store(folder, _some)
    result = bot(folder, *command)
    assert (result.exit_code, "an empty filter would mean all" in result.output) == (2, True)


@pytest.mark.parametrize("command", ["failures --cause", "failures --search", "retry --cause"])
def test_half_a_character_in_a_filter_finds_nothing(folder: Path, command: str) -> None:
    """A terminal hands over whatever was typed."""
    with_store(folder, _some)
    result = bot(folder, *command.split(), "\udcff")
    assert (result.exit_code, result.exception) == (0, None)


@pytest.mark.parametrize("name", ["u99", "5215500000000", "u" + "9" * 5000, "Ana", "", "\udcff", "\x00"])
@pytest.mark.parametrize("command", ["pause", "resume", "clear", "forget", "export"])
def test_an_unknown_user_is_one_sentence_and_changes_nothing(folder: Path, command: str, name: str) -> None:
    """Exit 1, even for names that no argument should be."""
    with_store(folder, _some)
    result = bot(folder, command, name, *["--yes"] * (command in ("clear", "forget")))
    assert result.exit_code == 1
    assert result.stderr.startswith("there is no such user")
    assert "Waiting: 2" in bot(folder, "status").output


def test_pause_all_and_resume_all(folder: Path) -> None:
    """The switch for everybody."""
    with_store(folder, _some)
    assert bot(folder, "pause", "--all").output == "Everybody: paused.\n"
    assert "everything is paused" in bot(folder, "status").output
    assert bot(folder, "resume", "--all").output == "Everybody: resumed.\n"
    assert "everything is paused" not in bot(folder, "status").output


def test_clear_of_everybody_asks_whoever_sits_at_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No or no answer: nothing happens; --yes doesn't ask."""
    with_store(folder, _some)
    with monkeypatch.context() as terminal:
        terminal.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
        for typed in ("n\n", "\n", ""):
            assert bot(folder, "clear", typed=typed).exit_code == 1
    assert "Waiting: 2" in bot(folder, "status").output
    assert bot(folder, "clear", "u1", "--yes").output == "Waiting messages cancelled: 0.\n"
    assert bot(folder, "clear", "--yes").output == "Waiting messages cancelled: 2.\n"
    assert bot(folder, "clear", "--yes").output == "Waiting messages cancelled: 0.\n"
    assert "Waiting: 0" in bot(folder, "status").output


def test_forget_asks_whoever_sits_at_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No or no answer: nothing happens. Without a terminal it wants --yes; then it says what still holds the person."""
    with_store(folder, _some)
    refused = bot(folder, "forget", "u1")
    assert (refused.exit_code, "can't be undone" in refused.stderr, "--yes" in refused.stderr) == (2, True, True)
    with monkeypatch.context() as terminal:
        terminal.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
        for typed in ("n\n", "\n", ""):
            asked = bot(folder, "forget", "u1", typed=typed)
            assert (asked.exit_code, "Forget all that was said with them for ever" in asked.stderr) == (1, True)
        assert bot(folder, "show", "u1").exit_code == 0
        forgotten = bot(folder, "forget", "u1", typed="y\n")
    assert (forgotten.exit_code, "bot backup" in forgotten.output, "schema-N" in forgotten.output) == (0, True, True)
    assert bot(folder, "show", "u1").exit_code == 1


def test_a_resume_that_skips_asks_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number that it would cancel: none of who isn't paused. One that answers what waits asks nothing."""
    with_store(folder, _some)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    assert "of u2, messages: 0? [y/N]" in bot(folder, "resume", "u2", "--skip", typed="n\n").stderr
    assert "of everybody, messages: 0? [y/N]" in bot(folder, "resume", "--all", "--skip", typed="n\n").stderr
    for whom in "u2", "--all":
        bot(folder, "pause", whom)
    assert "of u2, messages: 2? [y/N]" in bot(folder, "resume", "u2", "--skip", typed="n\n").stderr
    assert "of everybody, messages: up to 2? [y/N]" in bot(folder, "resume", "--all", "--skip", typed="n\n").stderr
    assert "everything is paused" in bot(folder, "status").output
    assert bot(folder, "resume", "--all", "--skip", typed="y\n").stdout == "Everybody: resumed. Messages skipped: 0.\n"
    assert bot(folder, "resume", "u2", "--skip", typed="y\n").stdout == "u2: resumed. Messages skipped: 2.\n"
    bot(folder, "pause", "u2")
    assert bot(folder, "resume", "u2").output == "u2: resumed.\n"


@pytest.mark.parametrize(
    "command", [["clear"], ["clear", "u2"], ["resume", "u2", "--skip"], ["resume", "--all", "--skip"]]
)
def test_what_cannot_be_taken_back_wants_yes_where_nobody_can_be_asked(folder: Path, command: list[str]) -> None:
    """In a script: exit code 2, a sentence, and nothing changed."""
    with_store(folder, _some)
    bot(folder, "pause", "u2")
    bot(folder, "pause", "--all")
    refused = bot(folder, *command)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr.splitlines()[-1]
    assert "everything is paused" in bot(folder, "status").output
    assert " paused " in bot(folder, "users", "--search", "Ana").output
    assert "Waiting: 2" in bot(folder, "status").output
    assert bot(folder, *command, "--yes").exit_code == 0


# -- as a process


def run(folder: Path, code: str, *, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run Python code with the folder's configuration."""
    environ = {**os.environ, "BOT_CONFIG": str(folder / "bot.toml")}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_the_terminals_commands_load_no_http_and_no_model(folder: Path) -> None:
    """`bot status` is asked often; aiohttp and openai alone would take half a second."""
    with_store(folder, _some)
    code = (
        "import sys; from bot.cli import main; main(['status'], standalone_mode=False); "
        "heavy = {'aiohttp', 'openai', 'jinja2', 'markdown_it'} & set(sys.modules); assert not heavy, heavy"
    )
    result = run(folder, code)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_pipe_is_no_error_to_speak_of(folder: Path) -> None:
    """`bot failures | head -1` ends quietly."""
    with_store(folder, _some)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = run(folder, "from bot.cli import main; main(['failures'])", stdout=writing)
    finally:
        os.close(writing)
    assert result.stderr == ""
