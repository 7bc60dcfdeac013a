"""Check that each user's messages were answered one at a time, oldest first: in the process, and in the file."""

import contextlib
import sqlite3
from pathlib import Path

from bot.domain import Lease

LOOK_AT_USERS = 2000
COMMIT_SECONDS = 1.0  # the longest that a commit takes on any disk that is measured


class Disorder(AssertionError):
    """A promise was broken; a figure got that way is worth nothing."""


class Watch:
    """Follow turns as they begin and end. It notes what is wrong, as an error inside a turn would be retried."""

    def __init__(self) -> None:
        self.ended = 0
        self.users: set[int] = set()
        self._running: set[int] = set()
        self._last: dict[int, tuple[object, int]] = {}
        self._wrong: list[str] = []

    def begin(self, lease: Lease) -> None:
        """Note that a turn begins."""
        user, key = lease.user_id, (lease.messages[0].sent_at, lease.messages[0].id)
        if user in self._running:
            self._wrong.append(f"two turns of u{user} at once")
        if user in self._last and self._last[user] >= key:
            self._wrong.append(f"u{user}: {key} was answered after {self._last[user]}")
        self._running.add(user)
        self._last[user] = key

    def end(self, lease: Lease) -> None:
        """Note that it ended."""
        self._running.discard(lease.user_id)
        self.ended += 1

    def check(self, path: Path) -> None:
        """Raise Disorder for what was noted, and where a message was left out. The file must be closed."""
        with contextlib.closing(sqlite3.connect(path)) as db:
            for user in list(self._last)[:LOOK_AT_USERS]:
                answered, waiting = db.execute(
                    """SELECT (SELECT max(sent_at || printf('%020d', id)) FROM outbox
                                WHERE user_id = ?1 AND state IN ('done', 'failed')),
                              (SELECT min(sent_at || printf('%020d', id)) FROM outbox
                                WHERE user_id = ?1 AND state = 'pending')""",
                    (user,),
                ).fetchone()
                if answered and waiting and answered > waiting:
                    self._wrong.append(f"u{user}: {waiting} was left out")
        if self._wrong:
            raise Disorder("; ".join(self._wrong[:5]))


def check_file(path: Path, messages: int, *, replies: bool = True) -> None:
    """Raise Disorder unless all were answered, once each, in order and one at a time, by the times in the file.

    A message may only come after a younger one that had begun before it was stored: `received_at` is when that was
    asked for, a commit earlier.
    """
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        done = db.execute("SELECT count(*) FROM outbox WHERE state = 'done'").fetchone()[0]
        sent = db.execute("SELECT count(DISTINCT outbox_id), count(*), sum(tries) FROM replies").fetchone()
        if done != messages or (replies and set(sent) != {messages}):
            raise Disorder(f"{messages} messages: {done} done, replies {sent} (of messages, parts, tries)")
        wrong = db.execute(
            """SELECT user_id, before, id FROM (
                 SELECT user_id, id, sent_at, received_at, begun_at,
                        lag(id) OVER line AS before, lag(sent_at) OVER line AS before_sent_at,
                        lag(begun_at) OVER line AS before_begun_at, lag(finished_at) OVER line AS before_finished_at
                   FROM outbox WINDOW line AS (PARTITION BY user_id ORDER BY begun_at, sent_at, id))
                WHERE begun_at < before_finished_at
                   OR ((sent_at, id) < (before_sent_at, before)
                       AND strftime('%Y-%m-%dT%H:%M:%fZ', received_at, ?) < before_begun_at)""",
            (f"+{COMMIT_SECONDS} seconds",),
        ).fetchall()
        if wrong:
            raise Disorder(f"answered at the same time or in the wrong order (user, before, id): {wrong[:5]}")
