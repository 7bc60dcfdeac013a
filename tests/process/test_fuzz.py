"""Mutated webhooks against a real daemon, in the short form: `make fuzz N=20000 SEED=7` is the long one."""

import json
from pathlib import Path

from tests.fuzz.__main__ import told
from tests.fuzz.payload import is_object, make
from tests.fuzz.run import fuzz

SEED, PAYLOADS = 9, 250
NOW = 1_800_000_000


async def test_spoiled_webhooks_break_nothing_and_hold_up_no_good_message_beside_them(tmp_path: Path) -> None:
    """Each POST is answered as the contract says, each good neighbour once, and the file is whole afterwards."""
    report = await fuzz(tmp_path, SEED, range(PAYLOADS))
    assert report.failures == [], told(report)
    assert report.neighbours == report.answered > PAYLOADS / 2
    assert report.strangers > 0
    assert {status for _, status in report.statuses} >= {200, 400, 401}


def test_a_seed_and_a_number_make_the_same_payload_again() -> None:
    """What a failure prints is enough to repeat it."""
    first, again = ([make(SEED, number, NOW) for number in range(200)] for _ in range(2))
    assert first == again
    assert make(SEED, 1, NOW).body != make(SEED + 1, 1, NOW).body


def test_every_way_to_spoil_a_payload_is_taken() -> None:
    """Among a few thousand are dirty strings, doubled keys, numbers that are none, whatever else the grammar knows."""
    made = [make(SEED, number, NOW) for number in range(1500)]
    assert {payload.kind for payload in made} >= {"object", "not signed", "broken bytes", "no object", "too deep"}
    signed = b"".join(payload.body for payload in made if payload.kind == "object")
    marks = (b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"9" * 4301, b"user_changed_number", b"revoke", b"@callback@")
    assert [mark for mark in marks if mark not in signed] == []
    twice = [payload for payload in made if payload.kind == "object" and _says_twice(payload.body)]
    assert len(twice) > 10


def test_what_is_sent_as_an_object_is_one() -> None:
    """200 is asked for nothing that the contract lets the daemon refuse."""
    made = (make(SEED, number, NOW) for number in range(500))
    assert [payload.number for payload in made if payload.kind == "object" and not is_object(payload.body)] == []


def _says_twice(body: bytes) -> bool:
    found = []

    def look(pairs: list[tuple[str, object]]) -> None:
        found.append(len(pairs) != len({key for key, _ in pairs}))

    json.loads(body, object_pairs_hook=look, parse_int=float)
    return any(found)
