"""The person behind a phone and a business-scoped id: look-up, linking, recycled numbers, merging of queues.

Functions of a connection, to be run inside a write.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from bot.clock import stamp
from bot.domain import Identity, IdentityChange
from bot.store.rows import digest, select, statements

SQL = statements(__file__)


@dataclass(slots=True)
class User:
    """What the write side needs to know of a person while it stores their messages."""

    id: int
    phone: str | None
    bsuid: str | None
    name: str | None
    depth: int
    last_message_at: str | None


_COLUMNS = "i.id, u.id, u.phone, u.bsuid, u.name, u.depth, u.last_message_at"
# Where two people become one: what the winner lacks is taken over; of two times the later one counts.
_KEPT = ("phone", "bsuid", "name", "paused_at", "paused_by")
_LATER = ("last_message_at", "served_at", "pair_full_at", "noticed_at", "limited_at")
_FOUND = "json_each(?) CROSS JOIN user_ids i ON i.id = value CROSS JOIN users u ON u.id = i.user_id"


class People:
    """The people that a write has to do with: looked up together, and again where one of them turned into another.

    `write_first` writes what is known of them so far and not yet in the file: it is called before rows of one person
    become another's.
    """

    def __init__(self, db: sqlite3.Connection, who: Iterable[Identity], write_first: Callable[[], None]) -> None:
        self._db, self._write_first = db, write_first
        self._known: dict[str, User | None] = {}
        self._people: dict[int, User] = {}
        self._look_up({known_as for one in who for known_as in (one.phone, one.bsuid) if known_as})

    def resolve(self, who: Identity, now: str, sent_at: str = "") -> User:
        """Find or create the person that `who` names in what was sent then, linking what arrives together at first.

        The business-scoped id comes first: a phone that is bound to another such id is a recycled number and moves to
        this person, without the old history; a phone known alone belongs to the same person.
        """
        user, holder = self._find(who.bsuid), self._find(who.phone)
        if holder is not None and (user is None or user.id != holder.id):
            if who.bsuid is None or (user is None and holder.bsuid is None):
                user = holder
            elif user is not None and holder.bsuid is None:
                self._merge(holder, user)
                user = self._find(who.bsuid)
            else:
                self._unbind_phone(holder, who.phone)
                user = self._find(who.bsuid)
        user = user or self._create(who, now)
        late = sent_at < (user.last_message_at or "")  # by now they may have another phone
        return self._bind(user, replace(who, phone=user.phone) if late and user.phone else who, now)

    def change_identity(self, change: IdentityChange, now: str) -> None:
        """Carry a person over to another phone or id, as a change event told: one person, one queue, one history."""
        before, after = change.before, change.after
        old = self._find(before.bsuid) or self._find(before.phone)
        if change.at:
            whom = old or self._find(after.bsuid) or self._find(after.phone)
            notice = digest(repr(change)), whom and whom.id, now
            if not self._db.execute("INSERT OR IGNORE INTO identity_changes VALUES (?, ?, ?)", notice).rowcount:
                return
        if old is None:
            return
        if change.at and old is not self._find(before.bsuid):  # a phone may be another's by now
            self._write_first()
            if self._db.execute(SQL["later"], (stamp(change.at), old.id)).fetchone()[0]:
                return
        known_before = old.id
        known = self._find(after.bsuid)
        if known is not None and known.id != old.id:
            self._merge(old, known)
            old = self._find(after.bsuid) or known
        holder = self._find(after.phone)
        if holder is not None and holder.id != old.id:
            if holder.bsuid is None:
                self._merge(holder, old)
            else:
                self._unbind_phone(holder, after.phone)
        # The new ids replace the old ones; the old phone may be given to a stranger tomorrow.
        if after.phone and before.phone and before.phone != after.phone:
            ids = (before.phone, known_before, old.id)
            self._db.execute("DELETE FROM user_ids WHERE id = ? AND user_id IN (?, ?)", ids)
        self._bind(old, after, now, replace=True)
        self.forget()

    def forget(self) -> None:
        """Write what is not yet in the file, and look at everybody anew."""
        self._write_first()
        self._known.clear()
        self._people.clear()

    def _look_up(self, ids: set[str]) -> None:
        if not ids:
            return
        self._known |= dict.fromkeys(ids)
        for known_as, *columns in select(self._db, _COLUMNS, _FOUND, (json.dumps(list(ids)),)):
            self._known[known_as] = self._people.setdefault(columns[0], User(*columns))

    def _find(self, known_as: str | None) -> User | None:
        if known_as and known_as not in self._known:
            self._look_up({known_as})
        return self._known[known_as] if known_as else None

    def _create(self, who: Identity, now: str) -> User:
        cursor = self._db.execute(SQL["create"], (who.phone, who.bsuid, who.name, now))
        assert cursor.lastrowid is not None
        created = User(cursor.lastrowid, who.phone, who.bsuid, who.name, 0, None)
        return self._people.setdefault(created.id, created)

    def _bind(self, user: User, who: Identity, now: str, *, replace: bool = False) -> User:
        """Make the ids of `who` lead to `user`; a phone that the user didn't have before becomes theirs."""
        phone = who.phone or user.phone
        bsuid = who.bsuid if who.bsuid and (replace or user.bsuid is None) else user.bsuid
        name = who.name or user.name
        for known_as, current in ((who.phone, user.phone), (who.bsuid, user.bsuid)):
            if known_as and (known_as != current or self._find(known_as) is None):
                self._known[known_as] = user
                self._db.execute(SQL["bind"], (known_as, user.id, now))
        if (phone, bsuid, name) != (user.phone, user.bsuid, user.name):
            self._db.execute(SQL["update"], (phone, bsuid, name, user.id))
            user.phone, user.bsuid, user.name = phone, bsuid, name
        return user

    def _merge(self, loser: User, winner: User) -> None:
        self.forget()
        merge(self._db, loser=loser.id, winner=winner.id)

    def _unbind_phone(self, user: User, phone: str | None) -> None:
        """Take a recycled number from who had it before; they are reached by their id alone."""
        self.forget()
        self._db.execute("DELETE FROM user_ids WHERE user_id = ? AND id = ?", (user.id, phone))
        theirs = "phone = ?2 AND (id = ?1 OR merging_into = ?1)"  # a merge that waits would bring it back
        self._db.execute(f"UPDATE users SET phone = NULL WHERE {theirs}", (user.id, phone))


def merge(db: sqlite3.Connection, *, loser: int, winner: int) -> None:
    """Join two queues into the winner's: now, or as soon as at most one of them is being answered."""
    loser, winner = _end_of_merges(db, loser), _end_of_merges(db, winner)
    if loser != winner:
        db.execute("UPDATE users SET merging_into = ? WHERE id = ?", (winner, loser))
    complete_merges(db)


def complete_merges(db: sqlite3.Connection) -> None:
    """Carry out the merges that waited for a lease to end. Costs one look at an empty index when there are none."""
    while pair := db.execute(SQL["mergeable"]).fetchone():
        _join(db, *pair)


def _end_of_merges(db: sqlite3.Connection, user_id: int) -> int:
    """Follow merges that wait to whom they end with, so that they never form a ring."""
    row = db.execute("SELECT merging_into FROM users WHERE id = ?", (user_id,)).fetchone()
    return _end_of_merges(db, row[0]) if row[0] else user_id


def _join(db: sqlite3.Connection, loser: int, winner: int) -> None:
    for table in ("outbox", "replies", "user_ids", "identity_changes"):
        db.execute(f"UPDATE {table} SET user_id = ? WHERE user_id = ?", (winner, loser))
    db.execute("UPDATE users SET merging_into = ? WHERE merging_into = ?", (winner, loser))
    kept = [f"{column} = coalesce(users.{column}, old.{column})" for column in _KEPT]
    later = [f"{at} = nullif(max(coalesce(users.{at}, ''), coalesce(old.{at}, '')), '')" for at in _LATER]
    columns = ", ".join(kept + later)
    db.execute(f"UPDATE users SET {columns} FROM users old WHERE old.id = ? AND users.id = ?", (loser, winner))
    db.execute("DELETE FROM users WHERE id = ?", (loser,))
    ready_at = "(SELECT ready_at FROM readiness WHERE user_id = users.id)"
    db.execute(f"UPDATE users SET ready_at = {ready_at} WHERE id = ?", (winner,))
