"""A daemon under a mixed load while faults come and go, in the short form: `make soak MINUTES=20` is the long one."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.ledger import Ledger, Said
from tests.soak.remote import Entry
from tests.soak.run import MOST_BYTES, Plan, soak
from tests.soak.verdict import RULES, SHORT_RULES, Row

FLAT = Row(1, 80.0, 30.0, 16.0, 5.0, 900, 8.0, 25.0, 90.0, 1500.0, 1.0, 8.0, 2.0, 9.0, 5)
ANA = "34600111222"


async def test_some_seconds_of_load_and_faults_leave_everything_flat_and_answered_once(tmp_path: Path) -> None:
    """Memory, descriptors, WAL, latencies and lag run away in no direction; each message has its answer, in order."""
    told: list[str] = []
    soaked = await soak(tmp_path, Plan(4, 3.0, 25.0, SHORT_RULES), told.append)
    assert soaked.wrong == []
    assert [str(judged) for judged in soaked.judged if not judged.flat] == [], "\n".join(told)
    assert soaked.answered > 50
    assert soaked.peak_mb < MOST_BYTES / 2**20


@pytest.mark.parametrize("column", [rule.column for rule in RULES])
def test_a_measure_that_rises_for_the_whole_run_is_not_flat(column: str) -> None:
    """The last third is compared with the first: what doubles and doubles is found, what stays isn't."""
    (rule,) = (rule for rule in RULES if rule.column == column)
    start = getattr(FLAT, column) + rule.plus
    rows = [replace(FLAT, number=number, **{column: start * (1 + number / 2)}) for number in range(20)]
    assert not rule.judge(rows).flat
    assert rule.judge([FLAT] * 20).flat


def test_a_machine_that_gets_slower_is_no_trend_of_the_daemons() -> None:
    """Where the same write by somebody else takes three times as long, an ack may, too."""
    (rule,) = (rule for rule in RULES if rule.column == "ack_p95")
    slow = [FLAT] * 10 + [replace(FLAT, ack_p95=3 * FLAT.ack_p95)] * 10
    assert not rule.judge(slow).flat
    assert rule.judge([replace(row, machine_p95=row.machine_p95 * row.ack_p95 / FLAT.ack_p95) for row in slow]).flat


def test_one_bad_minute_is_no_trend() -> None:
    """Medians of thirds: a neighbour's minute on the same machine fails nobody."""
    for rule in RULES:
        rows = [FLAT] * 19 + [replace(FLAT, **{rule.column: getattr(FLAT, rule.column) * 9})]
        assert rule.judge(rows).flat


def sent(text: str) -> Entry:
    """An answer as the journal has it."""
    return {"service": "graph.send", "accepted": True, "user": ANA, "text": text, "began_at": 1.0}


def said(ledger: Ledger, *texts: str, optional: bool = False) -> None:
    """Let Ana write something; more than one text: she edited it."""
    ledger.say(ANA, Said(texts[0], list(texts), optional))


@pytest.mark.parametrize(
    ("texts", "wrong"),
    [
        (["one", "two"], {}),
        (["one"], {"lost": 1}),
        (["two", "one"], {"misordered": 1}),
        (["one", "one", "two"], {"twice": 1}),
        (["one", "two", "three"], {"of nobody": 1}),
    ],
)
def test_the_ledger_sees_what_was_lost_doubled_or_misordered(texts: list[str], wrong: dict[str, int]) -> None:
    """It would be worth nothing if it took everything."""
    ledger = Ledger()
    said(ledger, "one")
    said(ledger, "two")
    ledger.read([sent(f"answer to: {text}") for text in texts])
    ledger.close()
    assert ledger.wrong == wrong


@pytest.mark.parametrize("texts", [["one", "three"], ["one", "two", "three (edited)"]])
def test_the_ledger_takes_an_edit_or_a_revoke_either_way(texts: list[str]) -> None:
    """Whether it came in time is the daemon's to say."""
    ledger = Ledger()
    said(ledger, "one")
    said(ledger, "two", optional=True)
    said(ledger, "three", "three (edited)")
    ledger.read([sent(f"answer to: {text}") for text in texts])
    ledger.close()
    assert ledger.wrong == {}
    assert ledger.answered == len(texts)


def test_an_apology_is_wrong_where_only_the_emulator_fails() -> None:
    """Faults come and go; the message waits for them to go."""
    ledger = Ledger()
    said(ledger, "one")
    ledger.read([sent("Lo siento, ocurrió un error")])
    ledger.close()
    assert ledger.wrong == {"apologies": 1, "lost": 1}
