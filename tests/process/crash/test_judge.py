"""The judge finds what it is there to find: each kind of wrong in a journal made by hand, and nothing else."""

import dataclasses
from collections.abc import Sequence

import pytest

from bot.emulator import Entry
from tests.process.crash.judge import Judge, Letter, Said

ANA, LUIS = "34600111222", "34600333444"


def posted(wamid: str, at: float, *, status: int = 200) -> Entry:
    """A webhook of one message, answered 0.1 s after."""
    return Entry(0, "webhook", wamid=wamid, began_at=at, ended_at=at + 0.1, accepted=status == 200, status=status)


def asked(number: int, at: float) -> Entry:
    """A question to the model."""
    return Entry(0, "model", text=f"m{number} answer 1", began_at=at, accepted=True)


def sent(text: str, at: float, *, to: str = ANA, callback: str = "") -> Entry:
    """A send that the Graph API took."""
    return Entry(0, "graph.send", user=to, text=text, callback_data=callback or f"{text}.1", began_at=at, accepted=True)


# Two messages of Ana's, the second in two parts, and one of Luis's, as they should go.
SAID = [Said(1, "w1", ANA, 100), Said(2, "w2", ANA, 101, parts=2), Said(3, "w3", LUIS, 100)]
RIGHT = [
    posted("w1", 1), posted("w2", 1), posted("w3", 1),
    asked(1, 2), sent("m1 a1 1/1", 3),
    asked(3, 2), sent("m3 a2 1/1", 3, to=LUIS),
    asked(2, 4), sent("m2 a3 1/2", 5), sent("m2 a3 2/2", 6),
]  # fmt: skip


def counts(entries: Sequence[Entry], said: Sequence[Said] = SAID, letters: Sequence[Letter] = ()) -> dict[str, int]:
    """Judge a journal; only what isn't 0."""
    judge = Judge()
    for letter in letters:
        judge.note_letter(letter)
    for one in said:
        judge.note(one)
    judge.read(entries)
    return {name: count for name, count in judge.verdict().counts.items() if count}


def test_a_right_journal_is_clean() -> None:
    """Everybody's messages one after the other, each part once."""
    assert counts(RIGHT) == {}


def test_what_never_got_its_200_is_not_lost() -> None:
    """Meta delivers it again: only an acknowledged message without an answer is lost."""
    assert counts([posted("w1", 1, status=503)]) == {}


WRONG = {
    "a message has no answer": ("lost", RIGHT[:3] + RIGHT[5:]),
    "a last part is missing": ("lost", RIGHT[:-1]),
    "a part went out twice": ("twice", [*RIGHT, sent("m1 a1 1/1", 3.5, callback="m1 a1 1/1.2")]),
    "an answer went to another": ("wrong user", [*RIGHT[:6], sent("m3 a2 1/1", 3, to=ANA), *RIGHT[7:]]),
    "nobody asked for it": ("wrong user", [*RIGHT, sent("hello", 9)]),
    "parts changed places": ("misordered", [*RIGHT[:8], sent("m2 a3 2/2", 5), sent("m2 a3 1/2", 6)]),
    "two were answered at a time": ("misordered", [*RIGHT[:7], asked(2, 2.5), *RIGHT[8:]]),
    "the younger one came first": (
        "misordered",
        [RIGHT[0], posted("w2", 1.5), RIGHT[2], asked(2, 2), sent("m2 a3 1/2", 3), sent("m2 a3 2/2", 4),
         *RIGHT[5:7], asked(1, 5), sent("m1 a1 1/1", 6)],
    ),
    "the model was asked after a send": ("model calls after a stored answer", [*RIGHT, asked(2, 7)]),
    "an answer has parts of two": (
        "model calls after a stored answer", [*RIGHT[:8], asked(2, 4.5), RIGHT[8], sent("m2 a4 2/2", 6)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_each_kind_of_wrong_is_found(what: str) -> None:
    """It is counted, and as what it is."""
    kind, entries = WRONG[what]
    assert counts(entries) == {kind: 1}


def test_the_model_may_not_see_the_words_of_another() -> None:
    """A history with somebody else's message counts as a wrong user."""
    question = dataclasses.replace(asked(1, 2), request={"input": ["m3 answer 1", "m1 answer 1"]})
    assert counts([*RIGHT[:3], question, *RIGHT[4:]]) == {"wrong user": 1}


def test_a_late_message_may_come_after_a_younger_one_that_had_begun() -> None:
    """Its 200 left when the younger one was claimed already: nobody could know of it."""
    began = [posted("w2", 1), asked(2, 2), posted("w1", 2.5), sent("m2 a3 1/2", 3), sent("m2 a3 2/2", 4)]
    assert counts([*began, asked(1, 5), sent("m1 a1 1/1", 6)], SAID[:2]) == {}


def test_who_waited_behind_an_answer_comes_before_a_younger_one() -> None:
    """Both were stored before the answer ahead of them had ended: whoever was claimed next could be chosen."""
    said = [SAID[0], dataclasses.replace(SAID[1], parts=1), Said(4, "w4", ANA, 99)]
    entries = [posted("w4", 1), asked(4, 2), posted("w2", 2.1), posted("w1", 2.2), sent("m4 a1 1/1", 3)]
    assert counts([*entries, asked(1, 4), sent("m1 a2 1/1", 5), asked(2, 6), sent("m2 a3 1/1", 7)], said) == {}
    wrong = [*entries, asked(2, 4), sent("m2 a2 1/1", 5), asked(1, 6), sent("m1 a3 1/1", 7)]
    assert counts(wrong, said) == {"misordered": 1}


# Three letters to Ana, the second of which nobody said to be stored, and one to Luis.
LETTERS_RIGHT = [
    *RIGHT, sent("letter 1 x", 3), sent("letter 3 x", 4), sent("letter 4 x", 4, to=LUIS),
]  # fmt: skip
LETTERS_WRONG = {
    "a letter that was stored never goes out": ("lost", LETTERS_RIGHT[:-1]),
    "a letter goes out twice": ("twice", [*LETTERS_RIGHT, sent("letter 1 x", 5, callback="letter 1 x.2")]),
    "one goes out twice that nobody said to be stored": (
        "twice", [*LETTERS_RIGHT[:-2], *[sent("letter 2 x", 3.5)] * 2, *LETTERS_RIGHT[-2:]],
    ),
    "a letter goes to another": ("wrong user", [*LETTERS_RIGHT[:-1], sent("letter 4 x", 4, to=ANA)]),
    "two letters change places": ("misordered", [*LETTERS_RIGHT, sent("letter 2 x", 5)]),
    "the model sees a letter to another": (
        "wrong user", [*LETTERS_RIGHT, dataclasses.replace(asked(1, 2.5), request={"input": ["letter 4 x", "m1 a"]})],
    ),
}  # fmt: skip


def letters() -> list[Letter]:
    """Give them anew: a judge writes into them."""
    return [Letter(1, ANA, True), Letter(2, ANA), Letter(3, ANA, True), Letter(4, LUIS, True)]


def test_letters_go_out_once_and_in_order() -> None:
    """Of one that nobody said to be stored nothing is known."""
    assert counts(LETTERS_RIGHT, letters=letters()) == {}


@pytest.mark.parametrize("what", LETTERS_WRONG)
def test_what_goes_wrong_with_letters_is_found(what: str) -> None:
    """It is counted, and as what it is."""
    kind, entries = LETTERS_WRONG[what]
    assert counts(entries, letters=letters()) == {kind: 1}
