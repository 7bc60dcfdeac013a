"""What edits and revokes do: they change or cancel a message that waits, or may be retried. For use inside a write."""

import json
import sqlite3
from collections.abc import Sequence

from bot.store import replies
from bot.store.rows import select

# Whoever knows a wamid: only its author changes it, and only while nothing of an answer is planned for it. A revoke
# comes first, then the newest edit. The plus keeps SQLite from looking through all that a person ever wrote.
_CHANGES = f"""
SELECT o.id, c.type, c.body, c.payload, c.sent_at
  FROM json_each(?) CROSS JOIN outbox c ON c.phone_number_id = value ->> 0 AND c.target_wamid = value ->> 1
       CROSS JOIN outbox o
    ON o.wamid = c.target_wamid AND o.phone_number_id = c.phone_number_id AND +o.user_id = +c.user_id
 WHERE o.state IN ('pending', 'failed') AND NOT EXISTS (SELECT 1 FROM replies r
       WHERE r.outbox_id = o.id AND {replies.IN_PLAN} AND (r.kind = 'answer' OR o.state = 'pending'))
 ORDER BY c.type = 'revoke' DESC, c.sent_at DESC, c.id DESC"""


def apply_to(db: sqlite3.Connection, ids: Sequence[int], now: str) -> None:
    """Do what `apply` does for messages that turns gave back: they were not to be changed meanwhile."""
    given_back = "json_each(?) CROSS JOIN outbox o ON o.id = value"
    apply(db, select(db, "phone_number_id, wamid", given_back, (json.dumps(ids),)), now)


def apply(db: sqlite3.Connection, wamids: Sequence[Sequence[str]], now: str) -> None:
    """Let a revoke, or else the newest edit, have its way with each message (business number, wamid) that has one."""
    changed = set()
    for id_, kind, body, payload, sent_at in db.execute(_CHANGES, (json.dumps(wamids),)).fetchall():
        if id_ in changed:
            continue
        changed.add(id_)
        if kind == "revoke":
            db.execute(
                "UPDATE outbox SET state = 'cancelled', error = 'revoked', finished_at = ? WHERE id = ?", (now, id_)
            )
        else:
            db.execute(
                "UPDATE outbox SET type = ?, body = ?, payload = ?, edited_at = ? WHERE id = ?",
                (kind, body, payload, sent_at, id_),
            )
