"""What the model was sent for a message, or would be now: put together again from the rows, for people who look."""

import json
import sqlite3
from typing import Any

from bot.clock import parse_stamp
from bot.config import OpenAI
from bot.errors import NotFound
from bot.store.claims import words_of
from bot.store.rows import statements
from bot.store.turns import SPOKEN, said

DECIDED, WRITTEN = " AND finished_at <= :until AND id <> :id", " AND planned_at <= :until"
SQL = statements(__file__, spoken=SPOKEN.format(decided=DECIDED, written=WRITTEN))


def asked(db: sqlite3.Connection, at: dict[str, Any], id_: int, openai: OpenAI) -> dict[str, Any]:
    """Return instructions, history, what the message quotes, and its text; see Insights.asked."""
    row = db.execute(SQL["question"], at | {"id": id_}).fetchone()
    if row is None:
        raise NotFound(f"there is no message {id_}")
    text, user_id, number, name, quoted, until = row
    bounds = most, _ = openai.history_messages, openai.history_characters
    values = {"id": id_, "user": user_id, "until": until, "messages": most, "rows": most}
    heard, written = map(json.loads, db.execute(SQL["history"], values).fetchone())
    return {
        "user_id": f"u{user_id}",
        "instructions": openai.render_instructions(parse_stamp(until), name),
        "history": [{"role": each.role, "text": each.text} for each in said(heard, written, *bounds)],
        "quotes": words_of(db, quoted, user_id, number) if quoted else None,
        "text": text,
    }
