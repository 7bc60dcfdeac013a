"""The charts of the last hour, what the day has used, and what WhatsApp warned of: drawn by the server."""

import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.clock import stamp
from bot.domain import AccountWarning, Batch
from bot.store.store import Store
from bot.store.turns import Budget
from tests.clock import START, FakeClock
from tests.flow.listeners import a_store
from tests.unit.drawn import HOSTILE, Drawn, Outline


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Drawn]:
    """A page over a new store whose clock stands still."""
    store = await Store.open(tmp_path / "bot.db", clock=FakeClock())
    try:
        yield Drawn(store)
    finally:
        await store.close()


def shapes(html: str, kind: str) -> list[str]:
    """Return what a kind of line or bars is drawn by, chart after chart."""
    return re.findall(rf'<path class="{kind}" d="([^"]*)"', html)


async def minutes(page: Drawn, **columns: dict[int, int]) -> None:
    """Put in minutes, by how long ago each is; what isn't told is 0, times are NULL."""
    agos = sorted({ago for values in columns.values() for ago in values}, reverse=True)

    def put(db: sqlite3.Connection) -> None:
        for ago in agos:
            row = {"depth": 0, "arrived": 0, "answered": 0, "failed": 0, "last_outbox": 0, "last_attempt": 0}
            row |= {name: values[ago] for name, values in columns.items() if ago in values}
            at = stamp(START - timedelta(minutes=ago))
            marks = ", ".join("?" * (len(row) + 1))
            db.execute(f"INSERT INTO minutes (at, {', '.join(row)}) VALUES ({marks})", (at, *row.values()))

    await page.store._db.write(put)


async def test_the_depth_is_a_line_with_gaps_where_the_daemon_was_down(still: Drawn) -> None:
    """Minutes that follow each other are joined, others are not: nothing is drawn that nobody saw."""
    await minutes(still, depth={30: 0, 29: 4, 28: 8, 10: 8, 2: 2, 1: 4})
    (line,) = shapes(await still.status(), "depth")
    assert line == "M30 29.0h.01L31 15.0L32 1.0M50 1.0h.01M58 22.0h.01L59 15.0"


async def test_answered_and_failed_stand_on_each_other(still: Drawn) -> None:
    """A bar each minute, none where nothing ended."""
    await minutes(still, answered={5: 4, 4: 0, 3: 1}, failed={5: 4, 4: 0, 3: 1})
    html = await still.status()
    assert shapes(html, "answered") == ["M54.6 29.0v-14.0h.8V29.0zM56.6 29.0v-3.5h.8V29.0z"]
    assert shapes(html, "failed") == ["M54.6 15.0v-14.0h.8V15.0zM56.6 25.5v-3.5h.8V25.5z"]
    assert "5 answered, 5 failed in all" in Outline(html).words


async def test_times_are_lines_where_something_was_answered(still: Drawn) -> None:
    """Half and 95 of 100, of waiting and of answering; said in words, too."""
    await minutes(
        still,
        depth={4: 0, 3: 0, 2: 0},
        wait_p50_ms={4: 1000, 2: 500}, wait_p95_ms={4: 2000, 2: 1000},
        answer_p50_ms={4: 4000, 2: 3000}, answer_p95_ms={4: 120_000, 2: 60_000},
    )  # fmt: skip
    html = await still.status()
    assert shapes(html, "p50") == ["M56 15.0h.01M58 22.0h.01", "M56 28.1h.01M58 28.3h.01"]
    assert shapes(html, "p95") == ["M56 1.0h.01M58 15.0h.01", "M56 1.0h.01M58 15.0h.01"]
    words = Outline(html).words
    assert "half within 0.5 s, 95 of 100 within 1.0 s" in words
    assert "half within 3.0 s, 95 of 100 within 1 min" in words


async def test_a_minute_that_a_hand_edit_left_without_a_figure_is_drawn_without_it(still: Drawn) -> None:
    """A date of nonsense in one row made the whole page fail for an hour."""
    await minutes(still, answered={2: 1, 1: 1}, wait_p95_ms={2: 3, 1: 3}, answer_p95_ms={1: 2000})
    assert "The last hour" in Outline(await still.status()).words


async def test_every_minute_stands_in_a_table_too(still: Drawn) -> None:
    """For who can't see the charts; newest first, the charts themselves say in words what they show."""
    await minutes(still, depth={2: 7, 1: 8}, answered={1: 3})
    outline = Outline(await still.status())
    labels = [attributes["aria-label"] for tag, attributes in outline.tags if tag == "svg"]
    assert labels[0] == "Waiting, the last hour: 8 at the last minute's end, at most 8"
    assert len(labels) == 4
    rows = [attributes["data-key"] for tag, attributes in outline.tags if tag == "tr" and "data-key" in attributes]
    assert rows == sorted(rows, reverse=True)
    assert len(rows) == 2


async def test_the_days_cost_is_shown_against_its_limit(tmp_path: Path) -> None:
    """As figures and a meter; in red once it is spent."""
    budget = Budget(0.5, 1000.0, 10_000.0)
    async with a_store(tmp_path, budget=budget) as store:
        drawn = Drawn(store)
        assert "0.00" in Outline(await drawn.status()).words
        await store._db.write(lambda db: db.execute("INSERT INTO usage VALUES (date('now'), 9, 200, 20)"))
        html = await drawn.status()
        assert ("meter", "0.5", "0.4000") in [
            (tag, attributes.get("max"), attributes.get("value")) for tag, attributes in Outline(html).tags
        ]
        await store._db.write(lambda db: db.execute("UPDATE usage SET output_tokens = 1200000"))
        outline = Outline(await drawn.status())
        assert "1.2 M" in outline.words
        assert "budget for the model is spent" in outline.words


async def test_whatsapps_warnings_are_shown_as_they_came(still: Drawn) -> None:
    """With their time, escaped as everything else."""
    at = datetime(2026, 11, 24, 9, 41, 7, tzinfo=UTC)
    await still.store.append(
        Batch(warnings=(AccountWarning("account_update", f"Banned {HOSTILE}", grave=True, at=at),))
    )
    html = await still.status()
    assert "24 Nov 09:41:07 UTC" in html
    assert f"Banned {HOSTILE}" in Outline(html).words
