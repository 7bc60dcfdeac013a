"""What `bot status` and `bot failures` print: plain lines for a terminal, free of what could take it over."""

import fcntl
from pathlib import Path
from typing import Any

from bot.clock import age, readable
from bot.store.insights import Insights
from bot.store.store import Store

MOST_USERS = 20
LONGEST_BODY = 300
OVER_LIMIT = "limit_per_hour"  # who paused a user whom limits.answers_per_user_per_hour stopped


async def status_lines(store: Store, database: Path) -> list[str]:
    """Describe the queue: the state in words, what waits, who waits, what failed."""
    insights, runs = store.insights, daemon_runs(database)
    stats = await insights.queue_stats()
    await store.try_writing()
    reasons = await store.reasons()
    state = "Not answering:" if reasons else "Answering."
    if not runs:
        state = "The daemon is not running: what waits is answered once it runs."
    lines = [state, *(f"  {_safe(readable(reason))}" for reason in reasons), ""]
    lines += [readable(circuit["next_try"]) for circuit in await insights.circuits()]
    leased = stats["leased"] if runs else 0
    lines.append(
        f"Waiting: {stats['totalMessages']} (being answered: {leased}), of users: {stats['activeUsers']}. "
        f"Failed: {stats['failed']}{' (bot failures lists them)' if stats['failed'] else ''}."
    )
    found = await insights.users(MOST_USERS)
    users = [user for user in found["users"] if user["depth"] or user["failed"] or user["paused"]]
    if users:
        lines += ["", "user    waiting   oldest failed  state      who"]
    for user in users:
        figures = f"{user['user_id']:<8}{user['depth']:>7}{age(user['oldest_age_seconds']):>9}{user['failed']:>7}"
        state = user["state"].replace("leased", "answering" if runs else "waiting")
        state = "over limit" if user["paused_by"] == OVER_LIMIT else state
        lines.append(f"{figures}  {state:<10} {_who(user)}")
    if stats["activeUsers"] > len(users):
        lines.append(f"… of {stats['activeUsers']} users who wait; the status page shows them all.")
    return lines


async def failure_lines(insights: Insights, limit: int) -> list[str]:
    """Describe what failed, newest first: id, who, when, why, and what they wrote."""
    found = await insights.failures(limit)
    lines = [] if found["failures"] else ["Nothing failed."]
    for failure in found["failures"]:
        again = "" if failure["retryable"] else ", can't be retried"
        when = f"{readable(failure['failed_at'])}, tries: {failure['attempts']}{again}"
        lines.append(f"{failure['id']}  {failure['user_id']} {_who(failure)}, {when}")
        lines += [f"    {_safe(failure['error'])}", f"    > {_safe(failure['body'])}"]
    if found["next"]:
        lines.append("There are more: --limit shows up to 500.")
    return lines


def daemon_runs(database: Path) -> bool:
    """Tell whether a daemon holds the lock beside the database, by trying to share it for a moment."""
    try:
        with database.with_name(database.name + ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def _who(person: dict[str, Any]) -> str:
    phone = str(person.get("phone") or person.get("bsuid") or "")
    return _safe(" ".join(filter(None, (person["name"], f"+{phone}" if phone.isdecimal() else phone))))


def _safe(text: str | None) -> str:
    """Return a stranger's text as one line that a terminal shows and does not obey."""
    shown = " ".join((text or "").split())
    shown = "".join(char if char.isprintable() or char == "\u200d" else "\ufffd" for char in shown)
    return shown if len(shown) <= LONGEST_BODY else f"{shown[:LONGEST_BODY]}…"
