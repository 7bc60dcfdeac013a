"""What is left of an answer where numbers and texts are hidden."""

import json
from typing import Any

import pytest

from bot.web.guard import Visitor
from bot.web.privacy import hide, shown

ANSWER: dict[str, Any] = {
    "user": {"user_id": "u17", "phone": "5215512340001", "bsuid": "US.13491208655302741918", "name": "Ana", "depth": 2},
    "queue": [{"id": 7, "body": "hola", "error": None, "wamid": "wamid.HBgNNTIxNTUxMjM0MDAwMQ=="}],
    "conversation": [{"body": "a" * 150, "attempts": [{"error": '400: bad input "my secret"', "code": "400"}]}],
    "history": [{"role": "user", "text": "b" * 1500}],
    "reasons": ["everything is paused"],
}


def test_numbers_lose_their_middle_and_texts_all_but_their_length() -> None:
    """Wherever they stand; what is no person's stays."""
    hidden = hide(ANSWER)
    assert hidden["user"] == {"user_id": "u17", "phone": "52…0001", "bsuid": "US…1918", "name": "Ana", "depth": 2}
    assert hidden["queue"] == [{"id": 7, "body": "••• (a few words)", "error": None, "wamid": "wa…MQ=="}]
    assert hidden["conversation"][0]["body"] == "••• (short)"
    assert hidden["conversation"][0]["attempts"] == [{"error": '400: bad input "•••"', "code": "400"}]
    assert hidden["history"] == [{"role": "user", "text": "••• (long)"}]
    assert hidden["reasons"] == ANSWER["reasons"]


def test_who_hides_nothing_gets_the_answer_as_it_is() -> None:
    """The very same object: nothing is copied for nothing."""
    assert shown(Visitor("reader", "192.0.2.1"), ANSWER) is ANSWER
    assert shown(Visitor("admin", "192.0.2.1", hides=True), ANSWER) == hide(ANSWER)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("Ana Torres", "Ana Torres"),
        ("Taller 24", "Taller 24"),
        ("+52 1 55 1234 0001", "+52…0001"),
        ("Ana (55) 1234-0001", "Ana (55…0001"),
        ("Ana +5215512340001 ventas", "Ana +52…0001 ventas"),
        ("1234567", "…"),
        ("", ""),
        (None, None),
    ],
)
def test_a_name_stays_but_for_the_numbers_in_it(name: str | None, left: str | None) -> None:
    """People call themselves by their number, too."""
    assert hide({"name": name}) == {"name": left}


@pytest.mark.parametrize(
    ("error", "left"),
    [
        ("the model broke", "the model broke"),
        ("it can't be read: didn't", "it can't be read: didn't"),
        ("131026: message to +52 1 55 1234 0001 undeliverable", "131026: message to +52…0001 undeliverable"),
        ("400: 'mi secreto' is bad", "400: '•••' is bad"),
        ("400: “mi secreto”, «otro»", "400: “•••”, «•••»"),
        ('400: {"input": "mi \n secreto"}', '400: {"•••": "•••"}'),
        ("400: 'Juan's secret' is bad", "400: '•••' is bad"),
        ("400: ‘Juan’s secret’ is bad", "400: ‘•••’ is bad"),
        ("400: 'the boys' secret' is bad", "400: '•••' is bad"),
        ('400: "the boys\' secret" is bad', '400: "•••" is bad'),
        ('400: "say \\"my secret\\" now" is bad', '400: "•••" is bad'),
        ("400: b'my secret', “mi” „Geheimnis“ is bad", "400: b'•••', “•••” „•••“ is bad"),
        ("400: can't read 'a' or 'Juan's b', didn't", "400: can't read '•••', didn't"),  # rather too much
        ('400: bad input "my secr', '400: bad input "•••'),
        ("400: bad input 'Juan's secr", "400: bad input '•••"),
        ('400: bad input "my secret\\', '400: bad input "•••'),
        ("the peers' queue isn't the user's", "the peers' queue isn't the user's"),
        ("expired", "expired"),
        (None, None),
    ],
)
def test_an_error_stays_but_for_what_it_quotes(error: str | None, left: str | None) -> None:
    """Services repeat what they refuse."""
    assert hide({"error": error}) == {"error": left}


@pytest.mark.parametrize(("length", "words"), [(1, "a few words"), (200, "short"), (2000, "long"), (9000, "very long")])
def test_of_a_text_its_length_is_left(length: int, words: str) -> None:
    """In words: enough to see whether somebody wrote a line or a letter."""
    assert hide({"text": "x" * length}) == {"text": f"••• ({words})"}


@pytest.mark.parametrize("name", ["body", "text", "payload", "phone", "bsuid", "wamid", "quotes"])
def test_a_list_below_a_hidden_name_is_hidden_too(name: str) -> None:
    """However an answer is nested: parts of a text, several numbers."""
    said = "what nobody else should read"
    assert said not in json.dumps(hide([{"x": [{name: said}, {name: [said, [said]]}]}]))
