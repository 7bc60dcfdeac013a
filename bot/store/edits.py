"""What edits and revokes do: they change or cancel a message that still waits. For use inside a write."""

import sqlite3

from bot.store import replies

# Whoever knows a wamid: only its author changes it, and only while nothing is planned for it. The plus keeps SQLite
# from looking through all that a person ever wrote.
_NEWEST = f"""
SELECT o.id, c.type, c.body, c.payload, c.sent_at
  FROM outbox c JOIN outbox o
    ON o.wamid = c.target_wamid AND o.phone_number_id = c.phone_number_id AND +o.user_id = +c.user_id
 WHERE {{which}} AND o.state = 'pending' AND NOT EXISTS
       (SELECT 1 FROM replies r WHERE r.outbox_id = o.id AND {replies.IN_PLAN})
 ORDER BY c.type = 'revoke' DESC, c.sent_at DESC, c.id DESC LIMIT 1"""
_OF_WAMID = _NEWEST.format(which="c.phone_number_id = ? AND c.target_wamid = ?")
_OF_ID = _NEWEST.format(which="o.id = ?")


def apply(db: sqlite3.Connection, phone_number_id: str, wamid: str, now: str) -> None:
    """Let a revoke, or else the newest edit, have its way with a message; nothing where there is neither."""
    _change(db, db.execute(_OF_WAMID, (phone_number_id, wamid)).fetchone(), now)


def apply_to(db: sqlite3.Connection, outbox_id: int, now: str) -> None:
    """Do the same for a message that a turn gave back: it was not to be changed meanwhile."""
    _change(db, db.execute(_OF_ID, (outbox_id,)).fetchone(), now)


def _change(db: sqlite3.Connection, newest: tuple[int, str, str, str, str] | None, now: str) -> None:
    if newest is None:
        return
    id_, kind, body, payload, sent_at = newest
    if kind == "revoke":
        db.execute(
            "UPDATE outbox SET state = 'cancelled', error = 'revoked', finished_at = ? WHERE id = ?",
            (now, id_),
        )
    else:
        db.execute(
            "UPDATE outbox SET type = ?, body = ?, payload = ?, edited_at = ? WHERE id = ?",
            (kind, body, payload, sent_at, id_),
        )
