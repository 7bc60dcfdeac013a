"""What the commands that look print: plain lines for a terminal, free of what could take it over."""

import fcntl
import json
import os
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from bot.clock import age, readable

LONGEST_BODY = 300
LONGEST_SAID = 4096  # where one person is looked at
OVER_LIMIT = "limit_per_hour"  # who paused a user whom limits.answers_per_user_per_hour stopped
# How each thing that is known of an event, a try or a message is told, and in which colours.
WORDS = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))


def show(found: Any, lines: list[str], *, as_json: bool, over: bool = False) -> None:
    """Print what was found: lines for people (`over` those before, on a terminal), or one line of JSON.

    JSON in ASCII: what a stranger wrote can't drive a terminal there either.
    """
    if over and not as_json and sys.stdout.isatty():
        # What doesn't fit is left out by the terminal itself (autowrap off), which knows how wide its characters are.
        kept = "".join(f"{line}\x1b[K\n" for line in lines[: get_terminal_size().lines - 1])
        click.echo(f"\x1b[H\x1b[?7l{kept}\x1b[J\x1b[?7h", nl=False)
    else:
        click.echo(json.dumps(found) if as_json else "\n".join(lines))


def status_lines(found: dict[str, Any]) -> list[str]:
    """Describe the queue: how it goes in a sentence, why nothing is answered, what waits, who waits, what failed."""
    headline = _painted(_safe(found["headline"]), found["headline"]) + "."
    if found["reasons"]:
        headline = _painted("Not answering: ", "failed") + headline
    if not found["running"]:
        headline = _painted("The daemon is not running: what waits is answered once it runs.", "failed")
    reasons = [reason for reason in found["reasons"] if reason.casefold() != found["headline"].casefold()]
    lines = [headline, *(f"  {_safe(readable(reason))}" for reason in reasons), ""]
    lines += [readable(circuit["next_try"]) for circuit in found["circuits"]]
    people = f"(being answered: {found['leased'] * found['running']}), of users: {found['activeUsers']}"
    failed = _painted(f"{found['failed']} (bot failures lists them)", "failed") if found["failed"] else "0"
    lines.append(f"Waiting: {found['totalMessages']} {people}. Failed: {failed}.")
    users = [user for user in found["users"] if user["depth"] or user["failed"] or user["paused"]]
    lines += ["", *user_lines(users, running=found["running"])] if users else []
    if found["activeUsers"] > len(users):
        lines.append(f"… of {found['activeUsers']} users who wait; bot users --limit 500 shows more.")
    return lines


def user_lines(users: list[dict[str, Any]], *, running: bool) -> list[str]:
    """Describe people, a line each under a heading; the name, which may be of any width, comes last."""
    lines = ["user    waiting   oldest failed  state      who"] if users else []
    for user in users:
        figures = f"{user['user_id']:<8}{user['depth']:>7}{age(user['oldest_age_seconds']):>9}{user['failed']:>7}"
        state = _state(user, running=running)
        lines.append(f"{figures}  {_painted(f'{state:<10}', state)} {_who(user)}")
    return lines


def person_lines(found: dict[str, Any], *, running: bool) -> list[str]:
    """Describe a person: who and how, what waits in the order of its turns, the conversation with each one's tries."""
    user = found["user"]
    lines = user_lines([user], running=running)
    lines[-1] += f", {_safe(user['bsuid'])}" if user["phone"] and user["bsuid"] else ""
    lines += ["", "in line"] if found["queue"] else []
    lines += [f"{place:>4}  {_details(message)}" for place, message in enumerate(found["queue"], 1)]
    lines += ["", "conversation"] if found["conversation"] else []
    for line in found["conversation"]:
        who, state = f"> {line['kind']}:", line["delivery"] or line["state"]
        told = [WORDS["ticks"].get(state, state), _safe(line["error"])]
        told += [f"to message {line['message_id']}"] * bool(line["message_id"])
        if line["direction"] == "in":
            who, told = "<", [f"message {line['message_id']}", state, told[1]]
        body = _safe(line["body"] or line["type"], LONGEST_SAID)
        lines.append(f"{readable(line['at'])}  {who} {body}  [{_painted(', '.join(filter(None, told)), state)}]")
        for attempt in line.get("attempts") or ():
            lines.append(f"    {readable(attempt['at'])}  {_painted(_details(attempt), attempt['outcome'])}")
    return lines


def failure_lines(found: dict[str, Any]) -> list[str]:
    """Describe what failed: how often for which cause, then each, newest first: id, who, when, why, what they wrote."""
    lines = [f"{cause['count']:>6}  {_safe(cause['error'])}" for cause in found["causes"]]
    for failure in found["failures"]:
        again = "" if failure["retryable"] else ", can't be retried"
        when = f"{readable(failure['failed_at'])}, tries: {failure['attempts']}{again}"
        lines += [""] if lines else []
        lines.append(f"{failure['id']}  {failure['user_id']} {_who(failure)}, {when}")
        lines += [f"    {_painted(_safe(failure['error']), 'failed')}", f"    > {_safe(failure['body'])}"]
    return lines


def event_line(event: dict[str, Any]) -> str:
    """Describe what happened, in a line."""
    whom = event["user_id"] or ("all" if event["event"] == "operator" else "")
    return f"{readable(event['at'])}  {whom:<7}  {event['event']:<8}  {_painted(_details(event), event['what'])}"


def more(found: dict[str, Any]) -> list[str]:
    """Say that a list goes on."""
    return ["There are more: --limit shows up to 500."] if found["next"] else []


def daemon_runs(database: Path) -> bool:
    """Tell whether a daemon holds the lock beside the database, by trying to share it for a moment."""
    try:
        with database.with_name(database.name + ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def _state(user: dict[str, Any], *, running: bool) -> str:
    state = str(user["state"]).replace("leased", "answering" if running else "waiting")
    return "over limit" if user["paused_by"] == OVER_LIMIT else state


def _details(row: dict[str, Any]) -> str:
    known = {name: str(row[name]) for name in WORDS["forms"] if row.get(name)}
    return ", ".join(WORDS["forms"][name].format(_safe(readable(value))) for name, value in known.items())


def _painted(text: str, what: str) -> str:
    """Give a text the colour of a state or an outcome; click takes it out again where no terminal shows it."""
    colour = WORDS["colours"].get(what)
    return click.style(text, fg=colour) if colour and not os.environ.get("NO_COLOR") else text


def _who(person: dict[str, Any]) -> str:
    phone = str(person.get("phone") or person.get("bsuid") or "")
    return _safe(" ".join(filter(None, (person["name"], f"+{phone}" if phone.isdecimal() else phone))))


def _safe(text: str | None, most: int = LONGEST_BODY) -> str:
    """Return a stranger's text as one line that a terminal shows and does not obey."""
    shown = " ".join((text or "").split())
    shown = "".join(char if char.isprintable() or char == "\u200d" else "\ufffd" for char in shown)
    return shown if len(shown) <= most else f"{shown[:most]}…"
