"""What a turn reads before it answers: the conversation, what its user had already, what the day has cost."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.clock import moment_of, stamp
from bot.config import Config
from bot.domain import Utterance
from bot.store.rows import select, statements

SQL = statements(__file__)
SPOKEN = SQL["spoken"]
STANDING = SQL["standing"].format(spoken=SPOKEN.format(decided="", written=""))


@dataclass(frozen=True, slots=True)
class Standing:
    """Answers that a user got in the last hour and 24 hours, when they last got each notice, and the conversation."""

    answers_hour: int
    answers_day: int
    noticed_at: datetime | None
    limited_at: datetime | None
    history: tuple[Utterance, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """What the model may cost in a UTC day: 0 is no limit; prices per million tokens."""

    per_day: float = 0.0
    input_price: float = 0.0
    output_price: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "Budget":
        """Read the budget and the prices from the configuration."""
        openai = config.openai
        return cls(config.limits.cost_per_day, openai.price_input_per_million, openai.price_output_per_million)

    def spent(self, db: sqlite3.Connection, now: datetime) -> bool:
        """Whether today's budget is used up."""
        return bool(self.per_day) and self.cost(db, now) >= self.per_day

    def cost(self, db: sqlite3.Connection, now: datetime) -> float:
        """Return what the model cost today so far."""
        row = db.execute(SQL["used"], (f"{now:%Y-%m-%d}",)).fetchone() or (0, 0)
        return float(row[0] * self.input_price + row[1] * self.output_price) / 1_000_000


def standings(db: sqlite3.Connection, asked: Sequence[tuple[int, int, int]], now: datetime) -> list[Standing]:
    """Count what users got (bounded by the limits themselves: who reaches them gets no more) and read the histories.

    Asked is by message, whoever its user is by now, with how many messages and characters of the conversation at most.
    A history holds the newest utterances, oldest first, within both bounds: the user's words (of failed messages too),
    the answer parts that were sent and what the owner wrote, in the order of answering; no apologies and no notices,
    and nothing of cancelled or ignored messages.
    """
    leads, most = [lead for lead, *_ in asked], max(messages for _, messages, _ in asked)
    hour, day = (stamp(now - timedelta(hours=hours)) for hours in (1, 24))
    found, rows = dict[int, list[Any]](), most // 2 + 1  # an answered message is two utterances: so many do, as a rule
    while leads:
        values = {"leads": json.dumps(leads), "rows": rows, "messages": most, "hour": hour, "day": day}
        found |= {row[0]: row for row in select(db, STANDING, SQL["leads"], values)}
        leads = [lead for lead in leads if len(found[lead][4]) == rows < most and not all(map(all, found[lead][4]))]
        rows = most
    return [_standing(found[lead], *bounds) for lead, *bounds in asked]


def _standing(row: list[Any], most_messages: int, most_characters: int) -> Standing:
    noticed, limited = map(moment_of, row[1:3])
    (hour, day), messages, owners = row[3:]
    return Standing(hour, day, noticed, limited, said(messages, owners, most_messages, most_characters))


def said(messages: list[Any], owners: list[Any], most_messages: int, most_characters: int) -> tuple[Utterance, ...]:
    """Return the newest utterances, oldest first, within both bounds, of what the statement `spoken` found."""
    spoken = [(at, 0, n, "assistant", body) for n, (at, body) in enumerate(reversed(owners))]
    for id_, at, body, answer in messages:
        spoken += ((at, id_, 0, "user", body), (at, id_, 1, "assistant", answer))
    uttered = [(role, text) for *_, role, text in sorted(spoken) if text]
    chosen: list[Utterance] = []
    for role, text in reversed(uttered[-most_messages:] if most_messages else []):
        most_characters -= len(text)
        if most_characters < 0:
            break
        chosen.append(Utterance(role, text))
    return tuple(reversed(chosen))
