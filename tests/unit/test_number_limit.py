"""WhatsApp's limit of sends for the whole number: who finds no place is told when to come back, each their own time."""

from datetime import datetime, timedelta

from bot.sender import NumberLimit
from tests.clock import START

PER_SECOND = 10


def after(tenths: int) -> datetime:
    """So many intervals after the start."""
    return START + timedelta(seconds=tenths / PER_SECOND)


def test_whoever_is_sent_away_finds_a_place_at_the_time_they_were_told() -> None:
    """A crowd of one moment goes out one by one, and each comes back once: not all of them for every place."""
    limit = NumberLimit(PER_SECOND, START)
    assert limit.take(START) is None
    told = [limit.take(START) for _ in range(50)]
    assert told == [after(n) for n in range(1, 51)]
    assert [limit.take(moment) for moment in told if moment] == [None] * 50


def test_nobody_is_told_a_time_within_a_hold_nor_all_the_same_one_after_it() -> None:
    """The Graph API said how long everybody has to wait."""
    limit = NumberLimit(PER_SECOND, START)
    limit.hold(after(600))
    told = [limit.take(after(n)) for n in range(3)]
    assert told == [after(600), after(601), after(602)]
    assert [limit.take(moment) for moment in told if moment] == [None] * 3


def test_zero_is_no_limit() -> None:
    """As many as there are at one moment."""
    limit = NumberLimit(0, START)
    assert [limit.take(START) for _ in range(100)] == [None] * 100
