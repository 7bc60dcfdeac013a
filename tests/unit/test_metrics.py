"""Counts and times of a process, as the library's families tell them."""

import asyncio
import time
from datetime import timedelta
from typing import get_args

import pytest
from prometheus_client import generate_latest

from bot import metrics as room
from bot.domain import Answer, Batch, Delivery, Done, Failed, Lease, Message, Outcome, Status
from bot.metrics import COUNTERS, GAUGES, HISTOGRAMS, KNOWN, Metrics
from tests.clock import START
from tests.scraping import counted, samples

ARRIVED = Message(1, "wamid.1", "text", "hi", START, START)


def told(metrics: Metrics) -> dict[str, float]:
    """Draw a scrape and read it."""
    return samples(generate_latest(metrics.registry).decode())


def lease(*, manual: bool = False) -> Lease:
    """Make a lease of a message that came at START."""
    return Lease((ARRIVED,), 1, None, "token", 0, 0, manual, None, START)


def test_a_value_counts_in_the_bucket_that_it_just_fits_and_in_all_above() -> None:
    """Bounds belong to their bucket (le means at most); beyond the last there is +Inf; the sum is of all."""
    metrics = Metrics()
    for seconds in (0.005, 0.0051, 120.0, 120.1):
        metrics.observe("send_seconds", seconds)
    found = told(metrics)
    buckets = [
        found[f'bot_send_seconds_bucket{{le="{bound}"}}'] for bound in ("0.005", "0.01", "60.0", "120.0", "+Inf")
    ]
    assert buckets == [1, 2, 2, 3, 4]
    assert (found["bot_send_seconds_count"], found["bot_send_seconds_sum"]) == (4, pytest.approx(240.1101))


def test_what_will_be_counted_is_there_before_it_happens() -> None:
    """A counter that appears with its first 1 has no increase that Prometheus could see."""
    found = told(Metrics())
    words = {"turns": [outcome.__name__.lower() for outcome in get_args(Outcome)], "statuses": list(get_args(Delivery))}
    for name, label in (("turns", "outcome"), ("statuses", "delivery")):
        assert [value for counter, value in KNOWN if counter == name] == words[name]
        assert all(found[f'bot_{name}_total{{{label}="{word}"}}'] == 0 for word in words[name])
    assert found["bot_answer_seconds_count"] == 0


def test_every_metric_has_a_name_by_the_conventions_and_words_that_explain_it() -> None:
    """Base units last, no _total but what the library adds, a sentence for each."""
    everything = {**COUNTERS, **HISTOGRAMS, **GAUGES}
    assert len(everything) == len(COUNTERS) + len(HISTOGRAMS) + len(GAUGES)
    for name, about in everything.items():
        assert name.replace("_", "").isalpha()
        assert not name.endswith(("_total", "_ms", "_count", "_sum", "_bucket"))
        assert about["documentation"].endswith(".")
    assert all(list(about["buckets"]) == sorted(about["buckets"]) for about in HISTOGRAMS.values())


def test_a_turn_tells_how_long_its_person_waited_and_for_what() -> None:
    """From arrival to the turn, and to its end; only of what was answered, and not days later by hand."""
    metrics, end = Metrics(), START + timedelta(seconds=5)
    metrics.turn(lease(), Done(), end, 2.0)
    metrics.turn(lease(), Failed("bad"), end, 2.0)
    metrics.turn(lease(manual=True), Done(), end, 2.0)
    found = told(metrics)
    assert (found['bot_turns_total{outcome="done"}'], found['bot_turns_total{outcome="failed"}']) == (2, 1)
    assert (found["bot_answer_seconds_count"], found["bot_answer_seconds_sum"]) == (1, 5.0)
    assert (found["bot_queue_wait_seconds_count"], found["bot_queue_wait_seconds_sum"]) == (1, 3.0)


def test_a_clock_that_was_put_back_makes_no_time_negative() -> None:
    """A message from the future waited for nothing; its answer took what the turn took."""
    metrics = Metrics()
    metrics.turn(lease(), Done(), START - timedelta(hours=1), 2.0)
    found = told(metrics)
    assert (found["bot_answer_seconds_sum"], found["bot_queue_wait_seconds_sum"]) == (2.0, 0.0)


def test_each_call_counts_what_it_is_about() -> None:
    """One webhook, its messages and statuses; one answer and its tokens; one commit and who shared it."""
    metrics = Metrics()
    statuses = (Status("w1", "sent", None), Status("w1", "read", None))
    metrics.webhook(Batch(statuses=statuses), 0)
    metrics.answered(Answer(("hello",), 12, 3), 0.7)
    metrics.committed(9, 0.004)
    metrics.count("sends", "pair", "131056")
    text = generate_latest(metrics.registry).decode()
    assert counted(text) == {
        'webhooks_total{code="200"}': 1,
        'statuses_total{delivery="sent"}': 1,
        'statuses_total{delivery="read"}': 1,
        'model_calls_total{outcome="answered"}': 1,
        'model_tokens_total{direction="input"}': 12,
        'model_tokens_total{direction="output"}': 3,
        'sends_total{code="131056",outcome="pair"}': 1,
        "model_seconds_count": 1,
        "commit_seconds_count": 1,
        "commit_batch_size_count": 1,
    }
    assert samples(text)['bot_commit_batch_size_bucket{le="16.0"}'] == 1


def test_figures_are_told_by_their_labels_and_what_is_unknown_is_left_out() -> None:
    """A gauge of something that could not be read is no zero: it is missing."""
    metrics = Metrics()
    metrics.figures = {"circuit_open:model": 1, "paused": False, "newest_message_timestamp_seconds": None}
    found = {name: value for name, value in told(metrics).items() if name.startswith(tuple(f"bot_{g}" for g in GAUGES))}
    assert found == {'bot_circuit_open{service="model"}': 1, "bot_paused": 0}


def test_daemons_in_one_process_count_apart() -> None:
    """Nothing is kept by the module."""
    one, other = Metrics(), Metrics()
    one.count("webhooks", "503")
    assert told(one)['bot_webhooks_total{code="503"}'] == 1
    assert told(other)['bot_webhooks_total{code="503"}'] == 0


def test_a_name_that_is_not_on_the_list_is_an_error() -> None:
    """It would be counted and never told."""
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.observe("no_such_seconds", 1.0)
    metrics.count("no_such")
    with pytest.raises(KeyError):
        told(metrics)


async def test_a_loop_that_is_blocked_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was due while a call held the loop came that much later."""
    monkeypatch.setattr(room, "LAG_EVERY_SECONDS", 0.001)
    metrics = Metrics()
    watching = asyncio.create_task(metrics.watch_loop())
    await asyncio.sleep(0)
    time.sleep(0.05)
    async with asyncio.timeout(5):
        while told(metrics)["bot_event_loop_lag_seconds_sum"] < 0.045:
            await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert (
        told(metrics)['bot_event_loop_lag_seconds_bucket{le="0.025"}']
        < told(metrics)["bot_event_loop_lag_seconds_count"]
    )
