"""What edits and revokes do: they change or cancel a message that waits, or may be retried. For use inside a write."""

import json
import sqlite3
from collections.abc import Sequence

from bot.store import replies
from bot.store.rows import select, statements

SQL = statements(__file__, IN_PLAN=replies.IN_PLAN)


def apply_to(db: sqlite3.Connection, ids: Sequence[int], now: str) -> None:
    """Do what `apply` does for messages that turns gave back: they were not to be changed meanwhile."""
    given_back = "json_each(?) CROSS JOIN outbox o ON o.id = value"
    apply(db, select(db, "phone_number_id, wamid", given_back, (json.dumps(ids),)), now)


def apply(db: sqlite3.Connection, wamids: Sequence[Sequence[str]], now: str) -> None:
    """Let a revoke, or else the newest edit, have its way with each message (business number, wamid) that has one."""
    changed = set()
    for id_, kind, body, payload, sent_at in db.execute(SQL["changes"], (json.dumps(wamids),)).fetchall():
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
