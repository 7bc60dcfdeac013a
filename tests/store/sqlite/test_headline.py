"""The sentence over everything: what matters most, in the owner's words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clock import stamp
from bot.store import migrate
from bot.store.headline import Headline, headline
from tests.clock import START

Look = Callable[..., Headline]
WAITING = """INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at)
             VALUES ('1', ?, 1, 'text', 'hola', '{}', 'pending', ?, ?)"""


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a new file in which somebody is known."""
    migrate.migrate(path, START)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO users (id, phone, created_at) VALUES (1, '5215550001', ?)", (stamp(START),))
        yield connection


@pytest.fixture
def look(db: sqlite3.Connection) -> Look:
    """Return a function that gives the headline at the test's start."""
    return lambda *known, spent=False: headline(db, {"now": stamp(START)}, known, spent=spent)


def wait(db: sqlite3.Connection, count: int, seconds: float) -> None:
    """Let messages wait since so many seconds."""
    at = stamp(START - timedelta(seconds=seconds))
    db.executemany(WAITING, [(f"w{n}", at, at) for n in range(count)])


def refuse(db: sqlite3.Connection, service: str, code: str | None, reason: str, at: str | None) -> None:
    """Open a circuit."""
    query = "UPDATE circuits SET state = 'open', code = ?, reason = ?, opened_at = ? WHERE service = ?"
    db.execute(query, (code, reason, at, service))


def test_when_nothing_is_wrong_it_says_so(db: sqlite3.Connection, look: Look) -> None:
    """Also while some wait for less than a minute."""
    assert look() == Headline("Answering normally", "good")
    wait(db, 3, 40)
    assert look().text == "Answering normally"


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (None, "Backlog: 1,212 waiting, oldest 4 min"),
        (0, "Backlog: 1,212 waiting, oldest 4 min"),
        (200, "Backlog: 1,212 waiting, oldest 4 min, about 6 min to go"),
        (6000, "Backlog: 1,212 waiting, oldest 4 min, about 12 s to go"),
    ],
)
def test_a_backlog_is_told_with_its_age_and_where_known_its_end(
    db: sqlite3.Connection, look: Look, answered: int | None, said: str
) -> None:
    """Busy, which is not bad. The pace is that of full minutes, not of those in which nobody had to wait."""
    wait(db, 1212, 250)
    for ago, depth in ((1, 9), (2, 0), (3, 1212), (6, 9)) if answered is not None else ():
        at = stamp(START - timedelta(minutes=ago, seconds=-1))
        row = (at, depth, 0, answered if ago < 6 and depth else 7, 0, None, None, None, None, 0, 0)
        db.execute(f"INSERT INTO minutes VALUES ({', '.join('?' * 11)})", row)
    assert look() == Headline(said, "busy")


def test_a_thousand_messages_of_the_paused_hide_nobody(db: sqlite3.Connection, look: Look) -> None:
    """Since when whoever is next could be answered is told, where who waits longest isn't among the first thousand."""
    wait(db, 1000, 7200)
    db.execute("UPDATE users SET paused_at = ?", (stamp(START),))
    assert look().text == "Answering normally"
    db.execute("INSERT INTO users (id, phone, created_at) VALUES (2, '5215550002', ?)", (stamp(START),))
    db.execute(WAITING.replace("?, 1", "?, 2"), ("other", *[stamp(START - timedelta(minutes=50))] * 2))
    assert look() == Headline("Backlog: 1 waiting, oldest 50 min", "busy")


TODAY, YESTERDAY = "2026-11-24T09:41:07.123Z", "2026-11-23T10:41:07.123Z"


@pytest.mark.parametrize(
    ("service", "code", "reason", "at", "said"),
    [
        ("model", "invalid_api_key", "the model service doesn't accept the API key (HTTP 401, invalid_api_key)", TODAY,
         "The model refuses our key since 09:41 UTC"),
        ("model", "insufficient_quota", "the model service wants to be paid (HTTP 429, insufficient_quota)", TODAY,
         "The model wants to be paid since 09:41 UTC"),
        ("model", "connect", "no connection to the model", YESTERDAY, "The model can't be used since 23 Nov 10:41 UTC"),
        ("graph", "190", "WhatsApp answered 190: expired", TODAY, "WhatsApp refuses our token since 09:41 UTC"),
        ("graph", "131042", "WhatsApp answered 131042: no", TODAY, "WhatsApp wants to be paid since 09:41 UTC"),
        ("graph", None, "the Graph API can't be reached: API key", TODAY, "WhatsApp can't be used since 09:41 UTC"),
        ("model", None, "two\nlines", None, "The model can't be used since –"),
    ],
)  # fmt: skip
def test_a_service_that_refuses_us_is_named_with_what_it_wants(
    db: sqlite3.Connection, look: Look, service: str, code: str | None, reason: str, at: str | None, said: str
) -> None:
    """In words that say what to do about it, where the code tells; times to the minute, and the day."""
    refuse(db, service, code, reason, at)
    assert look() == Headline(said, "bad")


def test_what_keeps_everybody_waiting_comes_before_a_backlog_and_the_processs_own_first(
    db: sqlite3.Connection, look: Look
) -> None:
    """Stopping, then a pause, then a service, then the budget."""
    wait(db, 9, 900)
    assert look(spent=True).text == "The day's budget for the model is spent: it goes on at 00:00 UTC"
    refuse(db, "graph", "190", "x", TODAY)
    assert look(spent=True).text.startswith("WhatsApp refuses")
    db.execute("UPDATE control SET paused_at = ?", (TODAY,))
    assert look(spent=True).text == "Paused since 09:41 UTC"
    assert look("stopping").text == "Stopping"
    assert look("the file can't be written: disk full", "starting").text == "The file can't be written: disk full"


def test_what_a_hand_wrote_is_no_reason_to_fail(db: sqlite3.Connection, look: Look) -> None:
    """UPDATE control SET paused_at = 'now' pauses, too."""
    db.execute("UPDATE control SET paused_at = 'lunch time'")
    assert look().text == "Paused since lunch time"


def test_what_the_owner_was_alerted_of_is_said_where_all_else_is_well(db: sqlite3.Connection, look: Look) -> None:
    """Everything fails, and nothing waits: that isn't normal. What to do about it is said below."""
    text = "Messages fail one after the other: the last 5. `bot failures` says why."
    db.execute("INSERT INTO alerts VALUES ('failures', ?, ?, ?)", (text, stamp(START), stamp(START)))
    assert look() == Headline("Messages fail one after the other: the last 5", "busy")
    db.execute("DELETE FROM alerts")
    assert look() == Headline("Answering normally", "good")
