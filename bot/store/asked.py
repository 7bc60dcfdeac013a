"""What the model was sent for a message, or would be now: put together again from the rows, for people who look."""

import json
import sqlite3
from typing import Any

from bot.clock import parse_stamp
from bot.config import OpenAI
from bot.errors import NotFound
from bot.store.claims import words_of
from bot.store.turns import SPOKEN, said

_QUESTION = """
SELECT body, user_id, phone_number_id, name, quoted_wamid,
       coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', asked_at), :now) FROM questions WHERE id = :id"""
_SPOKEN = f"""
SELECT {SPOKEN.format(decided=" AND finished_at <= :until AND id <> :id", written=" AND planned_at <= :until")}
  FROM users u WHERE u.id = :user"""


def asked(db: sqlite3.Connection, at: dict[str, Any], id_: int, openai: OpenAI) -> dict[str, Any]:
    """Return instructions, history, what the message quotes, and its text; see Insights.asked."""
    row = db.execute(_QUESTION, at | {"id": id_}).fetchone()
    if row is None:
        raise NotFound(f"there is no message {id_}")
    text, user_id, number, name, quoted, until = row
    values = {"id": id_, "user": user_id, "until": until, "messages": openai.history_messages}
    bounds = openai.history_messages, openai.history_characters
    heard, written = map(json.loads, db.execute(_SPOKEN, values).fetchone())
    return {
        "user_id": f"u{user_id}",
        "instructions": openai.render_instructions(parse_stamp(until), name),
        "history": [{"role": each.role, "text": each.text} for each in said(heard, written, *bounds)],
        "quotes": words_of(db, quoted, user_id, number) if quoted else None,
        "text": text,
    }
