"""The sentence over everything: what matters most, in the owner's words."""

from typing import Any

import pytest

from bot.store.headline import headline

FACTS: dict[str, Any] = {
    "now": "2026-11-24T11:00:00.000Z",
    "paused_at": None,
    "circuits": [],
    "budget_spent": False,
    "waiting": 0,
    "oldest_age_seconds": None,
    "to_go_seconds": None,
}


def circuit(service: str, code: str | None, reason: str, at: str | None = "2026-11-24T10:41:07.123Z") -> dict[str, Any]:
    """Describe an open circuit."""
    return {"service": service, "code": code, "reason": reason, "opened_at": at}


def test_when_nothing_is_wrong_it_says_so() -> None:
    """Also while some wait for less than a minute."""
    assert headline(FACTS).mood == "good"
    assert headline(FACTS | {"waiting": 3, "oldest_age_seconds": 40}).text == "Answering normally"


@pytest.mark.parametrize(
    ("to_go", "said"),
    [
        (None, "Backlog: 1,212 waiting, oldest 4 min"),
        (400, "Backlog: 1,212 waiting, oldest 4 min, about 6 min to go"),
        (12, "Backlog: 1,212 waiting, oldest 4 min, about 12 s to go"),
    ],
)
def test_a_backlog_is_told_with_its_age_and_where_known_its_end(to_go: float | None, said: str) -> None:
    """Busy, which is not bad."""
    found = headline(FACTS | {"waiting": 1212, "oldest_age_seconds": 250, "to_go_seconds": to_go})
    assert (found.text, found.mood) == (said, "busy")


@pytest.mark.parametrize(
    ("open_", "said"),
    [
        (circuit("model", "invalid_api_key", "the model service doesn't accept the API key (HTTP 401)"),
         "The model refuses our key since 10:41 UTC"),
        (circuit("model", "insufficient_quota", "the model service wants to be paid (HTTP 429, insufficient_quota)"),
         "The model wants to be paid since 10:41 UTC"),
        (circuit("model", "connect", "no connection to the model", "2026-11-23T10:41:07.123Z"),
         "The model can't be used since 23 Nov 10:41 UTC"),
        (circuit("graph", "190", "WhatsApp answered 190: expired"), "WhatsApp refuses our token since 10:41 UTC"),
        (circuit("graph", "131042", "WhatsApp answered 131042"), "WhatsApp wants to be paid since 10:41 UTC"),
        (circuit("graph", None, "the Graph API can't be reached: API key"), "WhatsApp can't be used since 10:41 UTC"),
        (circuit("model", None, "two\nlines", None), "The model can't be used since –"),
    ],
)  # fmt: skip
def test_a_service_that_refuses_us_is_named_with_what_it_wants(open_: dict[str, Any], said: str) -> None:
    """In words that say what to do about it, where the code tells; times to the minute, and the day."""
    found = headline(FACTS | {"circuits": [open_]})
    assert (found.text, found.mood) == (said, "bad")


def test_what_keeps_everybody_waiting_comes_before_a_backlog_and_the_processs_own_first() -> None:
    """Stopping, then a pause, then a service, then the budget."""
    facts = FACTS | {"waiting": 9, "oldest_age_seconds": 900, "budget_spent": True}
    assert headline(facts).text == "The day's budget for the model is spent: it goes on at 00:00 UTC"
    facts |= {"circuits": [circuit("graph", "190", "x")]}
    assert headline(facts).text.startswith("WhatsApp refuses")
    facts |= {"paused_at": "2026-11-24T10:00:00.000Z"}
    assert headline(facts).text == "Paused since 10:00 UTC"
    assert headline(facts, ["stopping"]).text == "Stopping"
    assert headline(facts, ["the file can't be written: disk full"]).text == "The file can't be written: disk full"


def test_what_a_hand_wrote_is_no_reason_to_fail() -> None:
    """UPDATE control SET paused_at = 'now' pauses, too."""
    assert headline(FACTS | {"paused_at": "lunch time"}).text == "Paused since lunch time"
