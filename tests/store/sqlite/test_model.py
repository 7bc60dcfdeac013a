"""The queue's model on SQLite, with somebody at the sqlite3 command line beside it."""

import sqlite3
from random import Random
from typing import Any

from hypothesis.stateful import invariant

from bot.clock import stamp
from bot.store.rows import digest
from bot.store.store import Store
from tests.store.desk import at
from tests.store.expected import NEVER, Said
from tests.store.model import PROFILE, WEIGHTS, QueueMachine
from tests.store.sqlite.terminal import check_sums_of


def waits_until(m: Said) -> str | None:
    """Say how long a message that waits isn't to be touched."""
    return stamp(m.due) if m.state == "pending" and m.due > NEVER else None


class SqliteMachine(QueueMachine):
    """The file is read and changed by hand, too; all that triggers keep is counted again after each step."""

    weights = WEIGHTS | {
        "set_a_state_by_hand": 1, "set_a_time_by_hand": 2, "pause_by_hand": 1, "delete_by_hand": 1,
        "try_what_is_refused": 1,
    }  # fmt: skip

    async def open_store(self, **limits: Any) -> Store:
        """Open the file, and a terminal beside it."""
        path = self.folder / "bot.db"
        store = await Store.open(path, **limits)
        self.terminal = sqlite3.connect(path, isolation_level=None)
        await store._db._writer.execute("PRAGMA synchronous = OFF")
        return store

    def close(self) -> None:
        """Close both."""
        super().close()
        self.terminal.close()

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read by the terminal."""
        return self.terminal.execute(query, values).fetchall()

    def compare(self) -> None:
        """Each message's person, state, place and words; cheaper than the pages, and all of it."""
        lines: dict[int, list[str]] = {}
        for user, wamid in self.ask(
            """SELECT user_id, wamid FROM outbox WHERE state IN ('pending', 'leased')
                ORDER BY user_id, state = 'pending', begun_at IS NULL, sent_at, id"""
        ):
            lines.setdefault(user, []).append(wamid)
        expected = [[m.name for m in self.expected.line(who)] for who in self.expected.people]
        assert sorted(lines.values()) == sorted(line for line in expected if line)
        waits = "SELECT wamid, state, body, iif(state = 'pending', not_before_at, NULL) FROM outbox"
        there = {name: (state, body, until) for name, state, body, until in self.ask(waits)}
        assert there == {m.name: (m.state, m.body, waits_until(m)) for m in self.expected.said}
        owners = dict(self.ask("SELECT id, user_id FROM user_ids"))
        together = {frozenset(id_ for id_, user in owners.items() if user == one) for one in owners.values()}
        people = self.expected.ids.values()
        assert together == {frozenset(id_ for id_, who in self.expected.ids.items() if who is one) for one in people}

    @invariant()
    def sums_are_right(self) -> None:
        """Who is next, depths, one lease a person; and the leases are those that turns hold."""
        if hasattr(self, "desk"):
            check_sums_of(self.terminal)
            known = {(turn.lease.messages[0].id, turn.lease.token) for turn in self.turns}
            assert set(self.ask("SELECT id, leased_at FROM outbox WHERE state = 'leased'")) == known

    def forget(self) -> None:
        """See what is gone: nothing that wasn't decided, and nobody of whom something is left."""
        there = {wamid for (wamid,) in self.ask("SELECT wamid FROM outbox")}
        gone = [m for m in self.expected.said if m.name not in there]
        assert {m.state for m in gone} <= {"done", "failed", "cancelled", "ignored"}
        for m in gone:
            self.expected.said.remove(m)
        hashes = {told for (told,) in self.ask("SELECT told FROM forgotten")}
        self.expected.forgotten = {name for name in self.expected.forgotten if digest(name) in hashes}
        known = {id_ for (id_,) in self.ask("SELECT id FROM user_ids")}
        left = {who for who in self.expected.people if who.paused or self.expected.joining(who)}
        left |= {each.who for each in (*self.expected.said, *(one for one in self.expected.letters if one.waits))}
        for id_ in self.expected.ids.keys() - known:
            assert self.expected.ids[id_] not in left
            who = self.expected.ids.pop(id_)
            self.expected.people = [one for one in self.expected.people if one is not who]

    # -- by hand

    def edit(self, m: Said, changes: str, *values: object) -> None:
        """Change a row as a person with the sqlite3 CLI does."""
        self.terminal.execute(f"UPDATE outbox SET {changes} WHERE wamid = ?", (*values, m.name))

    def set_a_state_by_hand(self, random: Random) -> None:
        """Set any message that isn't leased to any state but leased."""
        state = random.choice(["pending", "pending", "done", "failed", "cancelled", "ignored"])
        if m := self.some(random, "pending", "done", "failed", "cancelled", "ignored"):
            self.edit(m, "state = ?", state)
            if state == "pending" and m.state != "pending":
                self.expected.reopen([m])
            m.state = state

    def set_a_time_by_hand(self, random: Random) -> None:
        """Let a message wait, or no longer; or move it in its line."""
        if m := self.some(random, "pending"):
            if random.random() < 0.5:
                m.sent = at(random.randrange(30)) or NEVER
                self.edit(m, "sent_at = ?", stamp(m.sent))
            else:
                until = random.choice([None, at(60)])
                m.due = until or NEVER
                self.edit(m, "not_before_at = ?", until and stamp(until))

    def pause_by_hand(self, random: Random) -> None:
        """Pause or resume somebody, or everybody."""
        user, who = self.somebody(random)
        if who is None:
            self.expected.paused = random.random() < 0.4
            self.terminal.execute("UPDATE control SET paused_at = ?", ("now" if self.expected.paused else None,))
        if who is not None:
            who.paused = random.random() < 0.4
            self.terminal.execute("UPDATE users SET paused_at = ? WHERE id = ?", ("now" if who.paused else None, user))

    def delete_by_hand(self, random: Random) -> None:
        """Delete a message that isn't leased."""
        if m := self.some(random, "pending", "done", "failed", "cancelled", "ignored"):
            self.terminal.execute("DELETE FROM outbox WHERE wamid = ?", (m.name,))
            self.expected.said.remove(m)

    def try_what_is_refused(self, random: Random) -> None:
        """Take a message out of its lease, or lease one that was decided."""
        m, change = self.some(random, "leased"), "state = 'pending'"
        if m is None:
            m, change = (
                self.some(random, "done", "failed", "cancelled", "ignored"),
                "state = 'leased', leased_at = 'now'",
            )
        try:
            if m is not None:
                self.edit(m, change)
        except sqlite3.IntegrityError:
            return
        assert m is None, "that was not refused"


class TestQueue(SqliteMachine.TestCase):
    """The machine as a test."""

    settings = PROFILE
