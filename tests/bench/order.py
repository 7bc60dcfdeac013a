"""Check that each user's messages were answered one at a time, oldest first: in the process, and in the file."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bot.domain import Lease

LOOK_AT_USERS = 2000
COMMIT_SECONDS = 1.0  # the longest that a commit takes on any disk that is measured


class Disorder(AssertionError):
    """A promise was broken; a figure got that way is worth nothing."""


class Watch:
    """Follow turns as they begin and end. What they are worth is found afterwards: the watch takes next to no time."""

    def __init__(self) -> None:
        self.ended = 0
        self._seen: list[tuple[int, object, int] | int] = []  # a beginning, or the user whose turn ended

    def begin(self, lease: Lease) -> None:
        """Note that a turn begins."""
        message = lease.messages[0]
        self._seen.append((lease.user_id, message.sent_at, message.id))

    def end(self, lease: Lease) -> None:
        """Note that it ended."""
        self._seen.append(lease.user_id)
        self.ended += 1

    def _wrong(self) -> Iterator[str]:
        running: set[int] = set()
        last: dict[int, tuple[object, ...]] = {}
        for seen in self._seen:
            if isinstance(seen, int):
                running.discard(seen)
                continue
            user, *key = seen
            if user in running:
                yield f"two turns of u{user} at once"
            if user in last and last[user] >= tuple(key):
                yield f"u{user}: {key} was answered after {last[user]}"
            running.add(user)
            last[user] = tuple(key)

    def check(self, path: Path) -> None:
        """Raise Disorder for what was noted, and where a message was left out. The file must be closed."""
        wrong = list(self._wrong())
        users = {seen if isinstance(seen, int) else seen[0] for seen in self._seen}
        with contextlib.closing(sqlite3.connect(path)) as db:
            for user in list(users)[:LOOK_AT_USERS]:
                answered, waiting = db.execute(
                    """SELECT (SELECT max(sent_at || printf('%020d', id)) FROM outbox
                                WHERE user_id = ?1 AND state IN ('done', 'failed')),
                              (SELECT min(sent_at || printf('%020d', id)) FROM outbox
                                WHERE user_id = ?1 AND state = 'pending')""",
                    (user,),
                ).fetchone()
                if answered and waiting and answered > waiting:
                    wrong.append(f"u{user}: {waiting} was left out")
        if wrong:
            raise Disorder("; ".join(wrong[:5]))


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
