"""What the commands that look print, for people and with --json, and what the ones that act say in JSON."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.clock import Clock, stamp
from bot.domain import AccountWarning, Answer, Batch, Operator
from bot.store.replies import Plan
from bot.store.store import Store
from bot.terminal import report
from tests.flow.people import fail, lease, wait
from tests.house.tree import ROOT
from tests.unit.test_cli import ANA, BEA, bot, folder, with_store  # noqa: F401 (a fixture)

PAGE = ROOT / "docs" / "terminal.md"


async def _day(store: Store) -> None:
    """Ana was answered and waits again; Bea's message failed; an operator paused her."""
    await wait(store, ANA, "hola")
    taken = await lease(store)
    answer = Answer(("¡Hola!",), 12, 3, "req_1")
    await store.plan(Plan(taken, "answer", ["¡Hola!"], answer=answer, duration_ms=850))
    await fail(store, BEA, "late question", "the model broke", name="Bea")
    await _next_millisecond()
    await store.pause(await store.insights.find_user(BEA), who=Operator("page", "192.0.2.7"))
    await _next_millisecond()
    await wait(store, ANA, "¿y mañana?")


async def _next_millisecond() -> None:
    """What happened in the same one has no order between its tables."""
    clock = Clock()
    now = stamp(clock.now())
    while stamp(clock.now()) == now:
        await asyncio.sleep(0)


def as_json(folder: Path, *arguments: str) -> Any:  # noqa: F811
    """Run a command with --json and read what it printed."""
    result = bot(folder, *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.isascii()
    return json.loads(result.stdout)


@pytest.fixture
def day(folder: Path) -> Path:  # noqa: F811
    """A folder whose database holds a little."""
    with_store(folder, _day)
    return folder


def test_json_is_what_the_api_answers(day: Path) -> None:
    """The same queries, whole, in ASCII; `bot status` has the queue's figures, and what the page's head shows."""

    async def asked(store: Store) -> list[Any]:
        read = store.insights
        return [await read.users(), await read.user("u1"), await read.failures(), await read.causes()]

    for users in (found := with_store(day, asked))[0]["users"], [found[1]["user"]]:
        for user in users:
            del user["oldest_age_seconds"]
    users, ana = as_json(day, "users"), as_json(day, "show", ANA)
    for user in [*users["users"], ana["user"]]:
        del user["oldest_age_seconds"]
    assert [users, ana, as_json(day, "failures")] == [*found[:2], found[2] | {"causes": found[3]}]
    status = as_json(day, "status")
    assert (status["totalMessages"], status["activeUsers"], status["failed"]) == (2, 1, 1)
    assert (status["running"], status["ready"], status["reasons"], status["circuits"]) == (False, False, [], [])
    assert status["headline"] == "Answering normally"
    assert [user["user_id"] for user in status["users"]] == ["u1", "u2"]


def test_who_acts_gets_figures(day: Path) -> None:
    """As the API's POSTs answer."""
    assert as_json(day, "retry", "--user", BEA) == {"retried": 1}
    assert as_json(day, "pause", "--all") == {"users": 2}
    assert as_json(day, "resume", "u2", "--skip", "--yes") == {"users": 1, "messages": 1}
    assert as_json(day, "clear", "--yes") == {"users": 1, "messages": 1}


def test_a_reply_is_planned_and_refused_when_it_says_nothing_or_comes_too_late(day: Path) -> None:
    """In parts that WhatsApp takes, as the API's; nothing is written otherwise."""
    assert bot(day, "reply", ANA, "word " * 1000).output == f"{ANA}: replies that the daemon sends: 2.\n"
    assert bot(day, "reply", ANA, "  ").exit_code == 2
    assert bot(day, "reply", "u9", "hi").exit_code == 1

    async def long_ago(store: Store) -> None:
        await wait(store, "5215500000007", "hi", minutes_ago=25 * 60)

    with_store(day, long_ago)
    late = bot(day, "reply", "5215500000007", "hi")
    assert (late.exit_code, late.stdout) == (1, "")
    assert "24 hours" in late.stderr
    assert bot(day, "tail", "--once").output.count("  letter    planned") == 2


def test_users_are_found_chosen_and_sorted(day: Path) -> None:
    """By name, number, state and figure; nobody is a word."""

    def shown(*arguments: str) -> list[str]:
        return re.findall(r"^(u\d+) ", bot(day, "users", *arguments).output, re.MULTILINE)

    assert shown() == ["u1", "u2"]
    assert shown("--search", "bea") == shown("--search", BEA[-4:]) == shown("--state", "paused") == ["u2"]
    assert shown("--sort", "failed") == ["u2"]
    assert shown("--limit", "1") == ["u1"]
    assert "There are more" in bot(day, "users", "--limit", "1").output
    assert bot(day, "users", "--search", "nobody of that name").output == "Nobody.\n"
    too_long = bot(day, "users", "--search", "x" * 500)
    assert (too_long.exit_code, len(too_long.stderr.splitlines())) == (2, 1)


def test_show_tells_what_waits_and_how_each_message_was_tried(day: Path) -> None:
    """Who, the line in its order, the conversation with states and the tries below each message."""
    lines = bot(day, "show", "u1").output.splitlines()
    assert lines[1].split()[:3] == ["u1", "2", "0"]
    place = lines.index("in line")
    assert [line.split(", > ") for line in lines[place + 1 : place + 3]] == [
        ["   1  message 1, leased", "hola"],
        ["   2  message 3, pending", "¿y mañana?"],
    ]
    said = [re.sub(r"\d+ \w{3} [\d:]{8} UTC", "TIME", line) for line in lines[lines.index("conversation") + 1 :]]
    assert said == [
        "TIME  < hola  [message 1, leased]",
        "    TIME  model, answered, 850 ms, 12 tokens in, 3 tokens out",
        "TIME  > answer: ¡Hola!  [planned, to message 1]",
        "TIME  < ¿y mañana?  [message 3, pending]",
    ]
    failed = bot(day, "show", BEA).output
    assert "[message 2, failed, the model broke]" in failed
    assert "  paused     Bea" in failed


def test_ticks_have_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """WhatsApp's own, and what they mean; a delivery that failed is red and says why."""
    user = {"user_id": "u1", "phone": ANA, "bsuid": "MX.ana", "name": None, "depth": 0, "state": "idle", "failed": 0}
    user |= {"oldest_age_seconds": None, "paused_by": None}
    line = {
        "direction": "out",
        "kind": "answer",
        "body": "hi",
        "type": "text",
        "state": "sent",
        "at": None,
        "message_id": None,
    }
    said = [line | {"delivery": delivery, "error": None} for delivery in (None, "delivered", "read")]
    said.append(line | {"delivery": "failed", "error": "131047: too late"})
    lines = report.person_lines({"user": user, "queue": [], "conversation": said, "failures": []}, running=True)
    assert lines[1].endswith(f"idle       +{ANA}, MX.ana")
    ticks = [re.sub(r"\x1b\[\d+m", "", line).partition("  [")[2] for line in lines[-4:]]
    assert ticks == ["✓ sent]", "✓✓ delivered]", "✓✓ read]", "failed, 131047: too late]"]
    assert "\x1b[31m" in lines[-1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(report.person_lines({"user": user, "queue": [], "conversation": said}, running=True))


def test_failures_are_counted_by_cause_and_filtered(folder: Path) -> None:  # noqa: F811
    """The most common cause first; a filter lists without counting; nothing is a sentence."""

    async def three(store: Store) -> None:
        for n, error in enumerate(("timeout", "filter", "timeout")):
            await fail(store, ANA, f"text {n}", error)

    with_store(folder, three)
    assert bot(folder, "failures").output.splitlines()[:2] == ["     2  timeout", "     1  filter"]
    filtered = bot(folder, "failures", "--cause", "filter").output
    assert re.findall(r"> (.*)", filtered) == ["text 1"]
    assert "     1  " not in filtered
    assert bot(folder, "failures", "--user", "u9").exit_code == 1
    assert bot(folder, "retry", "--cause", "timeout").output == "Messages back in the queue: 2.\n"
    assert bot(folder, "failures", "--cause", "timeout").output == "No failure is like that.\n"
    assert bot(folder, "retry", "--cause", "filter", "--all").output == "Messages back in the queue: 1.\n"


def test_tail_prints_the_last_lines_without_texts(day: Path) -> None:
    """One for each arrival, try and action; who is u17; what people wrote is asked for."""

    def shown(*arguments: str) -> list[list[str]]:
        lines = bot(day, "tail", "--once", *arguments).output.splitlines()
        return [line.split(" UTC  ")[1].split(maxsplit=2) for line in lines]

    assert shown() == [
        ["u1", "arrival", "message 1, text"],
        ["u1", "attempt", "message 1, model, answered, 850 ms, 12 tokens in, 3 tokens out"],
        ["u2", "arrival", "message 2, text"],
        ["u2", "attempt", shown()[3][2]],
        ["u2", "operator", "pause, by page, from 192.0.2.7"],
        ["u1", "arrival", "message 3, text"],
    ]
    assert re.fullmatch(r"message 2, turn, failed(, \d+ ms)?, the model broke", shown()[3][2])
    assert shown("-n", "2") == shown()[-2:]
    assert shown("-n", "0") == []
    assert shown("--texts")[1][2].endswith("tokens out, > ¡Hola!")
    assert shown("--texts")[-1][2] == "message 3, text, > ¿y mañana?"


def test_tail_shows_whatsapps_warnings_whole(folder: Path) -> None:  # noqa: F811
    """They are about the account and hold nobody's data: no --texts is needed."""

    async def warned(store: Store) -> None:
        await wait(store, ANA, "hola")
        await store.append(Batch(warnings=(AccountWarning("account_update", "the number is restricted", True, None),)))

    with_store(folder, warned)
    arrival, warning = bot(folder, "tail", "--once").output.splitlines()
    assert "hola" not in arrival
    assert warning.endswith("warning   account_update, > the number is restricted")
    assert json.loads(bot(folder, "tail", "--once", "-n", "1", "--json").output)["text"] == "the number is restricted"


def test_tail_as_json_has_the_same_members_in_each_line(day: Path) -> None:
    """Those that docs/terminal.md names; null where there is nothing."""
    lines = bot(day, "tail", "--once", "--json", "--texts").output.splitlines()
    events = [json.loads(line) for line in lines]
    assert {tuple(event) for event in events} == {tuple(re.findall(r"`(\w+)`", _row("bot tail")))}
    assert events[-1]["text"] == "¿y mañana?"
    assert [event["event"] for event in events].count("operator") == 1


def _row(command: str) -> str:
    """Return the row of the page's table of JSON that is about a command."""
    text = PAGE.read_text("utf-8").partition("## For programs")[2]
    (row,) = re.findall(rf"^\| `{command}` \|(.*)$", text, re.MULTILINE)
    return str(row)


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "users",
        "show u1",
        "failures",
        "retry 2",
        "pause u1",
        "resume u1",
        "clear u1 --yes",
        "reply u1 hi",
        "export u1",
        "forget u2 --yes",
    ],
)
def test_the_documented_members_are_there(day: Path, command: str) -> None:
    """What a script may rely on."""
    name, *arguments = command.split()
    assert set(as_json(day, name, *arguments)) == set(re.findall(r"`(\w+)`", _row(f"bot {name}")))


def test_every_command_is_on_the_page() -> None:
    """docs/terminal.md says what each is for."""
    text = PAGE.read_text("utf-8")
    assert [name for name in main.commands if f"`bot {name}" not in text] == []


def test_what_strangers_write_cannot_drive_the_terminal(folder: Path) -> None:  # noqa: F811
    """In every command that looks: no control characters, no right-to-left marks, no line breaks, in JSON neither."""
    evil = "a\x1b]0;owned\x07\nb\u202eevil\u2066\u200f"

    async def hostile(store: Store) -> None:
        await fail(store, ANA, evil, f"broke {evil}", name=evil)
        await wait(store, ANA, evil + "2", name=evil)

    with_store(folder, hostile)
    looks = ("status", "users", "show u1", "failures", "tail --once --texts")
    for look in looks:
        for more in [], ["--json"]:
            output = bot(folder, *look.split(), *more).output
            assert "owned" in output
            assert [char for char in output.replace("\n", "") if not char.isprintable()] == []
        assert not output.count("\n") > (2 if "tail" not in look else 9)


def test_a_terminal_without_the_letters_shows_something(folder: Path) -> None:  # noqa: F811
    """A name in emojis ends no command where the terminal speaks ISO 8859-1."""

    async def flowery(store: Store) -> None:
        await wait(store, ANA, "hi", name="Ana 🌸")

    with_store(folder, flowery)
    runner = CliRunner(charset="iso-8859-1")
    result = runner.invoke(main, ["users"], env={"BOT_CONFIG": str(folder / "bot.toml")})
    assert result.exit_code == 0
    assert b"Ana \\U0001f338" in result.stdout_bytes


def test_a_long_list_is_read_beside_a_daemon_at_work(folder: Path) -> None:  # noqa: F811
    """A page of 500 people in a blink: nothing is asked for each of them apart."""

    async def crowd(store: Store) -> None:
        for n in range(510):
            await wait(store, f"52155{n:08}", "hi", name=f"P{n}")

    with_store(folder, crowd)
    found = as_json(folder, "users", "--limit", "500")
    assert (len(found["users"]), found["next"] is not None) == (500, True)
    assert "… of 510 users who wait" in bot(folder, "status").output
