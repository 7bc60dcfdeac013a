"""The way in: one webhook's batch into the outbox, exactly once. Functions of a connection, for a write."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from bot.clock import stamp
from bot.domain import Appended, Batch, Echo, Inbound
from bot.store import edits, replies, users

_INSERT = """
INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, error, target_wamid, sent_at,
                    received_at, finished_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@dataclass(frozen=True, slots=True)
class Door:
    """Who and how much gets in: depth limits (0: none) and prefixes of numbers that are or aren't answered."""

    max_depth_total: int = 0
    max_depth_per_user: int = 0
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def answers(self, phone: str | None, bsuid: str | None) -> bool:
        """Whether this person is answered at all; prefixes may be written with or without a plus."""
        ids = [known_as for known_as in (phone, bsuid) if known_as]
        if any(known_as.startswith(prefix.lstrip("+")) for prefix in self.deny for known_as in ids):
            return False
        return not self.allow or any(known_as.startswith(p.lstrip("+")) for p in self.allow for known_as in ids)


def append(
    db: sqlite3.Connection, batch: Batch, door: Door, now: datetime, overtaken: replies.Overtaken
) -> tuple[Appended, bool]:
    """Store a batch; the second value says that max_depth_total kept new messages out (the rest is stored)."""
    text_now = stamp(now)
    matched = replies.apply_statuses(db, batch.statuses, text_now, overtaken)
    for change in batch.identity_changes:
        users.change_identity(db, change.before, change.after, text_now)
    for echo in batch.echoes:
        _store_echo(db, echo, text_now)
    new, seen, full = 0, [], False
    depth = db.execute("SELECT depth FROM control").fetchone()[0] if batch.messages else 0
    for message in batch.messages:
        if door.max_depth_total and depth >= door.max_depth_total and message.answerable:
            full = full or not _known(db, message)
            continue
        user, state = _append_message(db, message, door, text_now)
        if state is None:
            continue
        new += 1
        depth += state == "pending"
        if user not in seen:
            seen.append(user)
    known = len(batch.messages) - new
    return Appended(new, known, matched, tuple(seen)), full


def _append_message(db: sqlite3.Connection, message: Inbound, door: Door, now: str) -> tuple[int, str | None]:
    if _known(db, message):
        return 0, None
    user = users.resolve(db, message.sender, now)
    sent_at = stamp(message.sent_at) if message.sent_at else now
    state, error = "pending", None
    if not message.answerable or not door.answers(user.phone, user.bsuid):
        state = "ignored"
    elif door.max_depth_per_user and user.depth >= door.max_depth_per_user:
        state, error = "cancelled", "over_limit"
    db.execute(
        _INSERT,
        (message.phone_number_id, message.wamid, user.id, message.type, message.body, message.payload, state, error,
         message.target, sent_at, now, None if state == "pending" else now),
    )  # fmt: skip
    if user.last_message_at is None or sent_at > user.last_message_at:
        db.execute("UPDATE users SET last_message_at = ? WHERE id = ?", (sent_at, user.id))
    edits.apply(db, message.phone_number_id, message.target or message.wamid, now)
    return user.id, state


def _known(db: sqlite3.Connection, message: Inbound) -> bool:
    key = (message.phone_number_id, message.wamid)
    return db.execute("SELECT 1 FROM outbox WHERE phone_number_id = ? AND wamid = ?", key).fetchone() is not None


def _store_echo(db: sqlite3.Connection, echo: Echo, now: str) -> None:
    """Keep what the owner wrote from the phone: the model reads it as history."""
    user = users.resolve(db, echo.recipient, now)
    sent_at = stamp(echo.sent_at) if echo.sent_at else now
    db.execute(
        """INSERT INTO replies (user_id, part, kind, type, body, state, wamid, planned_at, sent_at)
           SELECT ?, 1, 'human', ?, ?, 'sent', ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM replies WHERE wamid = ?)""",
        (user.id, echo.type, echo.body, echo.wamid, sent_at, sent_at, echo.wamid),
    )
