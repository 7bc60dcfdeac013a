"""One sentence on how it goes: over the status page and in the terminal."""

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.clock import age, readable
from bot.store.rows import dicts, statements

SQL = statements(__file__)
BACKLOG_SECONDS = 60.0  # who waits longer than that doesn't feel answered
SPENT = "The day's budget for the model is spent: it goes on at 00:00 UTC"


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, and whether all is `good`, people wait for long (`busy`), or nobody is answered (`bad`)."""

    text: str
    mood: str


def headline(db: sqlite3.Connection, at: dict[str, Any], known: Sequence[str], *, spent: bool) -> Headline:
    """Put what matters most into words. `known` is what only the process knows, `spent` whether the day's budget is.

    Without a rate there is no estimate: nothing is promised that wasn't measured.
    """
    facts, today = dicts(db, SQL["facts"], at)[0], readable(at["now"])[:7]
    stopped = [f"{words[:1].upper()}{words[1:]}" for words in known]
    for what, since in json.loads(facts["stopped"]):  # to the minute, and the day where it's another
        stopped.append(f"{what} since {re.sub(':[0-9]{2} UTC$', ' UTC', readable(since)).removeprefix(today)}")
    if stopped or spent:
        return Headline([*stopped, SPENT][0], "bad")
    if (facts["oldest_seconds"] or 0.0) < BACKLOG_SECONDS:
        alert = (facts["alert"] or "").partition(". ")[0]  # what to do about it stands in its own list
        return Headline(alert or "Answering normally", "busy" if alert else "good")
    to_go = f", about {age(facts['waiting'] / facts['pace'] * 60)} to go" if facts["pace"] else ""
    return Headline(f"Backlog: {facts['waiting']:,} waiting, oldest {age(facts['oldest_seconds'])}{to_go}", "busy")
