"""One sentence on how it goes: over the status page, in the terminal and in the service manager's list."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.clock import age, readable

BACKLOG_SECONDS = 60.0  # who waits longer than that doesn't feel answered
# What a circuit's service, code and reason mean to the owner; the first that fits.
_CAUSES = (
    (r"model .*API key", "The model refuses our key"),
    (r"model .*to be paid", "The model wants to be paid"),
    (r"graph (0|102|190) ", "WhatsApp refuses our token"),
    (r"graph 131042 ", "WhatsApp wants to be paid"),
    (r"model ", "The model can't be used"),
    (r"graph ", "WhatsApp can't be used"),
)


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, and whether all is `good`, people wait for long (`busy`), or nobody is answered (`bad`)."""

    text: str
    mood: str


def headline(facts: Mapping[str, Any], known: Sequence[str] = ()) -> Headline:
    """Put what matters most into words. `facts` are those of Insights; `known` is what only the process knows.

    Without a rate there is no estimate: nothing is promised that wasn't measured.
    """
    bad = [f"{words[:1].upper()}{words[1:]}" for words in known]
    if facts["paused_at"]:
        bad.append(f"Paused since {_minute(facts['paused_at'], facts['now'])}")
    for circuit in facts["circuits"]:
        known_as = f"{circuit['service']} {circuit['code']} {circuit['reason']}"
        cause = next(words for pattern, words in _CAUSES if re.match(pattern, known_as, re.DOTALL))
        bad.append(f"{cause} since {_minute(circuit['opened_at'], facts['now'])}")
    if facts["budget_spent"]:
        bad.append("The day's budget for the model is spent: it goes on at 00:00 UTC")
    if bad:
        return Headline(bad[0], "bad")
    if (oldest := facts["oldest_age_seconds"]) is None or oldest < BACKLOG_SECONDS:
        return Headline("Answering normally", "good")
    to_go = "" if facts["to_go_seconds"] is None else f", about {age(facts['to_go_seconds'])} to go"
    return Headline(f"Backlog: {facts['waiting']:,} waiting, oldest {age(oldest)}{to_go}", "busy")


def _minute(at: str | None, now: str) -> str:
    """Write a time to the minute, with its day where that isn't today; a hand may have written anything."""
    return re.sub(":[0-9]{2} UTC$", " UTC", readable(at)).removeprefix(readable(now)[:7])
