"""How the last minutes went: a row for each, made of what came in and ended in it; and what the day has used."""

import json
import math
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bot.clock import Clock, parse_stamp, stamp
from bot.store.db import Database
from bot.store.headline import Headline, headline
from bot.store.turns import Budget

Row = dict[str, Any]
MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=8)
MOST_ROWS = 20_000  # of a table that one minute is made of: WhatsApp takes 80 messages a second, 4,800 a minute
PACE_MINUTES = 5  # of which an estimate is made
OLDEST_LOOKED_AT = 1000  # messages: whoever is paused or put off is no backlog

_COLUMNS = """at, depth, arrived, answered, failed, wait_p50_ms, wait_p95_ms, answer_p50_ms, answer_p95_ms,
       last_outbox, last_attempt"""
# What ended has a try behind the last row's, or (a status told how a send ended) a little before and ended after it.
_ENDED = """
SELECT o.state = 'done' AS answered,
       CAST(round((julianday(o.begun_at) - julianday(o.received_at)) * 86400000) AS INTEGER) AS waited,
       CAST(round((julianday(o.finished_at) - julianday(o.begun_at)) * 86400000) AS INTEGER) AS took
  FROM (SELECT outbox_id, max(id) AS newest
          FROM (SELECT id, outbox_id FROM attempts WHERE id > :before ORDER BY id DESC LIMIT :most) GROUP BY outbox_id)
 CROSS JOIN outbox o ON o.id = outbox_id
 WHERE o.state IN ('done', 'failed') AND o.finished_at > :since AND (newest > :attempt OR o.finished_at > :last)"""
_MINUTE = f"""
SELECT depth, (SELECT coalesce(max(id), 0) FROM outbox), (SELECT coalesce(max(id), 0) FROM attempts),
       (SELECT count(*) FROM (SELECT received_at, state FROM outbox WHERE id > :outbox ORDER BY id DESC LIMIT :most)
         WHERE received_at > :since AND state <> 'ignored'),
       (SELECT json_group_array(json_array(answered, waited, took)) FROM ({_ENDED}))
  FROM control"""
_TRENDS = f"""
SELECT {_COLUMNS}, strftime('%s', :now) / 60 - strftime('%s', at) / 60 AS ago
  FROM minutes WHERE at > :since AND at <= :now ORDER BY at"""
_FACTS = """
SELECT :now AS now, paused_at, depth - (SELECT count(*) FROM outbox WHERE state = 'leased') AS waiting,
       (SELECT round((julianday(:now) - julianday(received_at)) * 86400, 3)
          FROM (SELECT user_id, received_at, not_before_at FROM outbox
                 WHERE finished_at IS NULL AND received_at <= :now ORDER BY received_at LIMIT :most)
         CROSS JOIN users u ON u.id = user_id
         WHERE u.paused_at IS NULL AND coalesce(not_before_at, '') <= :now LIMIT 1) AS oldest_age_seconds,
       (SELECT avg(answered) FROM minutes WHERE at > :since AND at <= :now AND depth > 0) AS answered_a_minute
  FROM control"""
_CIRCUITS = "SELECT service, code, reason, opened_at FROM circuits WHERE state = 'open' ORDER BY service DESC"


def measure(db: sqlite3.Connection, clock: Clock) -> Sequence[Any]:
    """Look at what happened since the last row of `minutes`, or in the last minute where that is longer ago.

    Walks the ids behind that row's, so it costs what the minute brought. Nothing counts twice: an id is behind once.
    """
    rows = db.execute(f"SELECT {_COLUMNS} FROM minutes ORDER BY at DESC LIMIT 2").fetchall()
    now = clock.now()  # after the first look: what this transaction sees had ended by then
    last, *_, outbox, attempt = rows[0] if rows else ("", 0, 0)
    recent = stamp(now - 1.5 * MINUTE) < last <= stamp(now)
    since = parse_stamp(last) - timedelta(seconds=1) if recent else now - MINUTE
    values = {"outbox": outbox, "attempt": attempt, "before": rows[1][-1] if len(rows) > 1 else 0, "last": last}
    values |= {"since": stamp(since), "most": MOST_ROWS}
    depth, last_outbox, last_attempt, arrived, text = db.execute(_MINUTE, values).fetchone()
    ended = json.loads(text)
    answered = [(waited, took) for done, waited, took in ended if done]
    spans = [_share(column, share) for column in zip(*answered, strict=True) for share in (0.5, 0.95)]
    counts = (depth, arrived, len(answered), len(ended) - len(answered))
    return stamp(now), *counts, *(spans or [None] * 4), last_outbox, last_attempt


def note(db: sqlite3.Connection, minute: Sequence[Any]) -> None:
    """Store a row of `minutes`, and take out old ones and those of a clock that was ahead."""
    old = stamp(parse_stamp(minute[0]) - KEPT)
    db.execute("DELETE FROM minutes WHERE at < ? OR at > ?", (old, minute[0]))
    db.execute(f"INSERT OR REPLACE INTO minutes ({_COLUMNS}) VALUES ({', '.join('?' * len(minute))})", minute)


def _share(values: Sequence[int | None], share: float) -> int | None:
    known = sorted(value for value in values if value is not None)
    return max(known[math.ceil(len(known) * share) - 1], 0) if known else None


class Trends:
    """Read-only queries about the last hour and the day; Insights offers them."""

    def __init__(self, database: Database, clock: Clock, budget: Budget) -> None:
        self._read, self._clock, self._budget = database.read, clock, budget

    async def trends(self) -> Row:
        """Return the last hour's `minutes`, oldest first, each with how many minutes `ago`; and newest `warnings`."""
        now = self._clock.now()
        since = {"now": stamp(now), "since": stamp(now - timedelta(hours=1))}

        def query(db: sqlite3.Connection) -> Row:
            warnings = _rows(db, "SELECT at, kind, text FROM warnings ORDER BY at DESC, id DESC LIMIT 5", {})
            return {"minutes": _rows(db, _TRENDS, since), "warnings": warnings}

        return await self._read(query)

    async def today(self) -> Row:
        """Return what the UTC day has used: answers, tokens, `cost` (None: bot.toml has no prices), `cost_per_day`."""
        now, budget = self._clock.now(), self._budget

        def query(db: sqlite3.Connection) -> Row:
            used = "SELECT answers, input_tokens, output_tokens FROM usage WHERE day = :day"
            row = (_rows(db, used, {"day": f"{now:%Y-%m-%d}"}) or [{}])[0]
            counts = {name: row.get(name, 0) for name in ("answers", "input_tokens", "output_tokens")}
            priced = budget.input_price or budget.output_price
            return counts | {"cost": budget.cost(db, now) if priced else None, "cost_per_day": budget.per_day}

        return await self._read(query)

    async def headline(self, known: Sequence[str] = ()) -> Headline:
        """Say in one sentence how it goes; `known` is what only the process knows, like "starting"."""
        now = self._clock.now()
        values = {"now": stamp(now), "since": stamp(now - PACE_MINUTES * MINUTE), "most": OLDEST_LOOKED_AT}

        def query(db: sqlite3.Connection) -> Row:
            (facts,) = _rows(db, _FACTS, values)
            pace = facts["answered_a_minute"]
            to_go = facts["waiting"] / pace * 60 if pace else None
            spent, circuits = self._budget.spent(db, now), _rows(db, _CIRCUITS, {})
            return facts | {"to_go_seconds": to_go, "budget_spent": spent, "circuits": circuits}

        return headline(await self._read(query), known)

    async def changes(self) -> int:
        """Return a number that is another one once anybody has written to the file."""
        number: int = await self._read(lambda db: db.execute("PRAGMA data_version").fetchone()[0])
        return number


def _rows(db: sqlite3.Connection, query: str, values: dict[str, Any]) -> list[Row]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
