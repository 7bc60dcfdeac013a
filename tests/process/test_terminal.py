"""The terminal as an operator has it: what happens is shown as it happens, and Ctrl-C is a good end."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from bot.emulator import Emulator
from tests.process.harness import Bot, until
from tests.process.screen import screen
from tests.process.test_operators import ANA, AT_ONCE_SECONDS, LUIS, answered, does, fail_one, line_moved

BOT = (sys.executable, "-m", "bot")
BIN = Path(sys.executable).parent


async def test_a_message_is_followed_held_and_let_go(bot: Bot, emu: Emulator) -> None:
    """`bot tail` shows it come and be answered; paused, the next one waits; resumed, it is answered within 2 s."""
    await bot.start()
    tail = await bot.launch(*BOT, "tail", "--texts")
    await emu.say(ANA, "one")
    await answered(emu, "one")
    await until(lambda: "attempt   message 1, send, sent" in tail.output)
    arrived, asked, *_ = tail.lines
    assert "  u1       arrival   message 1, text, > one" in arrived
    assert "  u1       attempt   message 1, model, answered, " in asked
    assert asked.endswith("> answer to: one")

    assert await does(bot, "pause", ANA) == f"{ANA}: paused.\n"
    await until(lambda: "operator  pause, by cli" in tail.output)
    await emu.say(ANA, "two")
    await until(lambda: "> two" in tail.output)
    await line_moved(emu, "moved")
    assert bot.states()["two"] == "pending"
    assert "  paused     " in await does(bot, "users", "--search", ANA)

    await does(bot, "resume", ANA)
    await answered(emu, "two")
    await until(lambda: "> answer to: two" in tail.output)
    events = [line.split()[5] for line in tail.lines]  # behind the time and u1
    assert events.count("operator") == 2
    assert events.count("arrival") == 3


async def test_tail_goes_on_over_a_restart_and_loses_nothing(bot: Bot, emu: Emulator) -> None:
    """It reads the file: whether the daemon is up or down."""
    process = await bot.start()
    await emu.say(ANA, "one")
    await answered(emu, "one")
    tail = await bot.launch(*BOT, "tail", "-n", "1", "--json")
    await until(lambda: tail.lines)
    await does(bot, "pause", "--all")
    await until(lambda: '"what": "pause"' in tail.output)
    assert await process.stop() == 0
    await does(bot, "resume", "--all")
    await until(lambda: '"what": "resume"' in tail.output)
    await bot.start()
    await emu.say(LUIS, "two")
    await answered(emu, "two")
    await until(lambda: '"message_id": 2, "stage": "send"' in tail.output)
    events = [json.loads(line) for line in tail.lines]
    assert [(event["event"], event["what"]) for event in events][:4] == [
        ("attempt", "sent"),
        ("operator", "pause"),
        ("operator", "resume"),
        ("arrival", "text"),
    ]
    assert {event["text"] for event in events} == {None}


async def test_a_failure_is_found_and_put_back_by_its_cause(bot: Bot, emu: Emulator) -> None:
    """Which causes there are, with counts; a retry says what it did; the daemon answers within 2 s."""
    await bot.start()
    for text in ("bad one", "bad two"):
        await fail_one(bot, emu, text)
    found = json.loads(await does(bot, "failures", "--json"))
    ((cause, count),) = [(cause["error"], cause["count"]) for cause in found["causes"]]
    assert count == 2
    assert f"     2  {cause}\n" in await does(bot, "failures")
    assert await does(bot, "retry", "--cause", "another") == "Messages back in the queue: 0.\n"
    assert await does(bot, "retry", "--cause", cause, "--user", ANA) == "Messages back in the queue: 2.\n"
    for text in ("bad one", "bad two"):
        await answered(emu, text)
    again = await bot.command("retry", "1")
    assert (again.code, again.out) == (1, "")
    assert "message 1 was answered meanwhile" in again.err


async def test_a_reply_goes_out_as_the_number(bot: Bot, emu: Emulator) -> None:
    """Within two seconds of the command, by the daemon; it shows in the conversation with its tick."""
    await bot.start()
    await emu.say(ANA, "one")
    await answered(emu, "one")
    assert "replies that the daemon sends: 1." in await does(bot, "reply", ANA, "¡Hola! Soy Luis.")
    await emu.wait_for(lambda: "¡Hola! Soy Luis." in emu.sends(ANA), timeout=AT_ONCE_SECONDS)
    await until(lambda: bot.sql("SELECT delivery FROM replies WHERE kind = 'human'") == [("delivered",)])
    assert "> human: ¡Hola! Soy Luis.  [✓✓ delivered]" in await does(bot, "show", ANA)


async def test_status_is_watched_until_ctrl_c(bot: Bot, emu: Emulator) -> None:
    """Redrawn in place, no higher and no wider than the terminal, which is left as it was found; exit code 0."""
    await bot.start()
    await emu.say(ANA, "one")
    await answered(emu, "one")
    with screen(*BOT, "status", "--watch", cwd=bot.folder, env=bot.env, columns=30, lines=3) as shown:
        await asyncio.to_thread(shown.until, lambda text: "Answering normally" in text)
        await does(bot, "pause", "--all")
        await asyncio.to_thread(shown.until, lambda text: "Not answering: " in text)
        shown.press("\x03")
        assert await asyncio.to_thread(shown.ended) == 0
    frames = shown.text.split("\x1b[H")[1:]
    assert len(frames) >= 2
    for frame in frames:
        assert frame.count("\n") == 2
        assert frame.startswith("\x1b[?7l")
        assert "\x1b[?7h" in frame
    assert "Aborted" not in shown.text
    assert "Traceback" not in shown.text


async def test_what_is_followed_into_a_closed_pipe_ends_quietly(bot: Bot, emu: Emulator) -> None:
    """`bot tail | head -2`, `bot status --watch | head -1`: no traceback, nothing left behind."""
    await bot.start()
    for command, lines in ("tail --json", 2), ("status --watch --json", 1):
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"{sys.executable} -m bot {command} | head -{lines}"),
            cwd=bot.folder,
            env=bot.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for text in (f"{command} {n}" for n in range(3)):
            await emu.say(ANA, text)
        async with asyncio.timeout(AT_ONCE_SECONDS * 10):
            out, err = await shell.communicate()
        assert (len(out.splitlines()), err) == (lines, b"")


async def test_clear_asks_at_a_terminal_and_names_the_number(bot: Bot, emu: Emulator) -> None:
    """No means no, and exit code 1."""
    await bot.start()
    await does(bot, "pause", "--all")
    for text in ("one", "two"):
        await emu.say(ANA, text)
    for answer, code in ("n", 1), ("y", 0):
        with screen(*BOT, "clear", "u1", cwd=bot.folder, env=bot.env) as shown:
            await asyncio.to_thread(shown.until, lambda text: "of u1, messages: 2? [y/N]" in text)
            shown.press(f"{answer}\n")
            assert await asyncio.to_thread(shown.ended) == code
    assert set(bot.states().values()) == {"cancelled"}


async def test_a_resume_that_skips_asks_at_a_terminal_too(bot: Bot, emu: Emulator) -> None:
    """No means that nothing changed, not even the pause; without a terminal it wants --yes."""
    await bot.start()
    await emu.say(ANA, "zero")
    await answered(emu, "zero")
    await does(bot, "pause", "u1")
    await emu.say(ANA, "one")
    refused = await bot.command("resume", "u1", "--skip")
    assert (refused.code, refused.out, "--yes" in refused.err) == (2, "", True)
    for answer, code in ("n", 1), ("y", 0):
        assert bot.states()["one"] == "pending"
        with screen(*BOT, "resume", "u1", "--skip", cwd=bot.folder, env=bot.env) as shown:
            await asyncio.to_thread(shown.until, lambda text: "of u1, messages: 1? [y/N]" in text)
            shown.press(f"{answer}\n")
            assert await asyncio.to_thread(shown.ended) == code
    assert bot.states()["one"] == "cancelled"


async def sql(bot: Bot, *arguments: str, typed: bytes = b"") -> tuple[int, str, str]:
    """Run `bot sql`, with something on its standard input."""
    process = await asyncio.create_subprocess_exec(
        *(*BOT, "sql", *arguments),
        cwd=bot.folder,
        env=bot.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(typed)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_sql_is_the_sqlite3_program_on_the_database(bot: Bot, emu: Emulator) -> None:
    """SQL as an argument or typed, its own options, foreign keys on, a write that counts at once; or only looking."""
    await bot.start()
    await does(bot, "pause", "--all")
    await emu.say(ANA, "one")
    assert await sql(bot, "SELECT body FROM outbox") == (0, "one\n", "")
    assert await sql(bot, typed=b"SELECT body FROM outbox;\nPRAGMA foreign_keys;\n") == (0, "one\n1\n", "")
    assert await sql(bot, "-json", "-header", "SELECT id FROM users") == (0, '[{"id":1}]\n', "")
    code, _, err = await sql(bot, "--readonly", "UPDATE control SET paused_at = NULL")
    assert code != 0
    assert "readonly" in err
    assert (await sql(bot, "UPDATE control SET paused_at = NULL"))[0] == 0
    await answered(emu, "one")


async def test_sql_at_a_terminal_says_where_one_is(bot: Bot) -> None:
    """A prompt of its own, a warning, tables in boxes."""
    process = await bot.start()
    await process.stop()
    with screen(*BOT, "sql", cwd=bot.folder, env=bot.env, columns=120) as shown:
        await asyncio.to_thread(shown.until, lambda text: "bot> " in text)
        assert "what you change counts at once" in shown.text
        shown.press("SELECT depth FROM control;\n")
        await asyncio.to_thread(shown.until, lambda text: "│ depth │" in text)
        shown.press(".quit\n")
        assert await asyncio.to_thread(shown.ended) == 0


async def test_sql_without_the_program_or_the_database_is_a_sentence(bot: Bot) -> None:
    """Which package to install; and no empty database is made by looking for one."""
    ended = await bot.command("sql", "SELECT 1")
    assert (ended.code, ended.out) == (1, "")
    assert "no database" in ended.err
    process = await bot.start()
    await process.stop()
    ended = await bot.command("sql", "SELECT 1", env={"PATH": str(bot.folder)})
    assert (ended.code, ended.out, ended.err) == (1, "", "there is no program sqlite3 here: apt install sqlite3\n")


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """In a real bash, with the Tab key, by the line that docs/terminal.md gives."""
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ ", "HOME": str(tmp_path)}
    with screen("bash", "--norc", "--noprofile", "-i", cwd=tmp_path, env=env) as shown:
        shown.press('eval "$(bot completion bash)" && echo re"ady"\n')
        shown.until(lambda text: "ready\r\n" in text)
        shown.press("bot pau\t")
        shown.until(lambda text: text.endswith("bot pause "))
        shown.press("--al\t")
        shown.until(lambda text: text.endswith("bot pause --all "))


def test_zsh_and_fish_get_a_script_too() -> None:
    """click's own."""
    for shell, words in ("zsh", "#compdef bot"), ("fish", "complete --no-files --command bot"):
        made = subprocess.run([*BOT, "completion", shell], capture_output=True, text=True, check=True)
        assert words in made.stdout


async def test_views_agree_with_the_commands(bot: Bot, emu: Emulator) -> None:
    """What `bot sql` shows of depth, failures and the conversation is what the commands show."""
    await bot.start()
    failed = await fail_one(bot, emu, "bad")
    await does(bot, "pause", "--all")
    await emu.say(LUIS, "waits")
    with closing(sqlite3.connect(bot.database)) as db:
        assert db.execute("SELECT known_as, depth FROM queue_depth").fetchall() == [(LUIS, 1)]
        assert db.execute("SELECT id, retryable FROM failures").fetchall() == [(failed, 1)]
        said = db.execute("SELECT direction, body FROM conversation WHERE user_id = 1 ORDER BY at").fetchall()
    shown = json.loads(await does(bot, "show", "u1", "--json"))
    assert [(line["direction"], line["body"]) for line in shown["conversation"]] == said
    text = await does(bot, "show", ANA)
    assert f"< bad  [message {failed}, failed, " in text
    assert "> apology: " in text
