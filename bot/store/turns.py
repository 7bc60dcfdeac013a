"""What a turn reads before it answers (the conversation, what its user had already), and what its answer took."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import parse_stamp, stamp
from bot.domain import Answer, Utterance
from bot.store import replies


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

    def spent(self, db: sqlite3.Connection, now: datetime) -> bool:
        """Whether today's budget is used up."""
        return bool(self.per_day) and self.cost(db, now) >= self.per_day

    def cost(self, db: sqlite3.Connection, now: datetime) -> float:
        """Return what the model cost today so far."""
        row = db.execute(
            "SELECT input_tokens, output_tokens FROM usage WHERE day = ?", (f"{now:%Y-%m-%d}",)
        ).fetchone() or (0, 0)
        return float(row[0] * self.input_price + row[1] * self.output_price) / 1_000_000


def standing(db: sqlite3.Connection, user_id: int, now: datetime, messages: int, characters: int) -> Standing:
    """Count what a user got (bounded by the limits themselves: who reaches them gets no more) and read the history."""
    hour, day = stamp(now - timedelta(hours=1)), stamp(now - timedelta(days=1))
    row = db.execute(
        """SELECT count(r.id) FILTER (WHERE planned_at > ?2), count(r.id), noticed_at, limited_at
             FROM users LEFT JOIN replies r ON r.user_id = users.id AND kind = 'answer' AND part = 1
                  AND planned_at > max(?3, coalesce(resumed_at, ''))
            WHERE users.id = ?1""",
        (user_id, hour, day),
    ).fetchone()
    noticed, limited = (parse_stamp(text) if text else None for text in row[2:])
    return Standing(row[0], row[1], noticed, limited, history(db, user_id, messages, characters) if messages else ())


def record_answer(db: sqlite3.Connection, outbox_id: int, answer: Answer, duration_ms: int, now: datetime) -> None:
    """Store what the model's answer took, and that the model answers."""
    db.execute(
        """INSERT INTO attempts (outbox_id, at, stage, outcome, duration_ms, input_tokens, output_tokens, request_id)
           VALUES (?, ?, 'model', 'answered', ?, ?, ?, ?)""",
        (outbox_id, stamp(now), duration_ms, answer.input_tokens, answer.output_tokens, answer.request_id),
    )
    db.execute(
        """INSERT INTO usage (day, answers, input_tokens, output_tokens) VALUES (?, 1, ?, ?)
           ON CONFLICT (day) DO UPDATE SET answers = answers + 1, input_tokens = input_tokens + excluded.input_tokens,
                                           output_tokens = output_tokens + excluded.output_tokens""",
        (now.date().isoformat(), answer.input_tokens, answer.output_tokens),
    )
    replies.close_circuit(db, "model")


def history(db: sqlite3.Connection, user_id: int, messages: int, characters: int) -> tuple[Utterance, ...]:
    """Return the newest utterances, oldest first, within both bounds.

    The user's words (of failed messages too), the answer parts that were sent and what the owner wrote, in the order
    of answering; no apologies and no notices, and nothing of cancelled or ignored messages.
    """
    asked = db.execute(
        """SELECT id, finished_at, body FROM outbox WHERE user_id = ? AND state IN ('done', 'failed')
            ORDER BY finished_at DESC, id DESC LIMIT ?""",
        (user_id, messages),
    ).fetchall()
    owners = db.execute(
        """SELECT 0, planned_at, body FROM replies WHERE user_id = ? AND kind = 'human' AND state = 'sent'
            ORDER BY planned_at DESC LIMIT ?""",
        (user_id, messages),
    )
    answers: dict[int, list[str]] = {}
    for outbox_id, body in db.execute(
        """SELECT outbox_id, body FROM replies WHERE outbox_id IN (SELECT value FROM json_each(?))
              AND state = 'sent' AND kind = 'answer' ORDER BY outbox_id, part""",
        (json.dumps([row[0] for row in asked]),),
    ):
        answers.setdefault(outbox_id, []).append(body)
    spoken = [(at, id_, 0, Utterance("user" if id_ else "assistant", body)) for id_, at, body in [*owners, *asked]]
    spoken += [
        (at, id_, 1, Utterance("assistant", "\n\n".join(answers[id_]))) for id_, at, _ in asked if id_ in answers
    ]
    spoken.sort(key=lambda entry: entry[:3])
    return _newest([utterance for *_, utterance in spoken if utterance.text], messages, characters)


def _newest(spoken: list[Utterance], messages: int, characters: int) -> tuple[Utterance, ...]:
    chosen: list[Utterance] = []
    for utterance in reversed(spoken[-messages:] if messages else []):
        characters -= len(utterance.text)
        if characters < 0:
            break
        chosen.append(utterance)
    return tuple(reversed(chosen))
