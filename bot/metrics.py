"""What Prometheus is told: counts and times of this process, and figures that a scrape reads from the store.

metrics.json is the list. Labels are a few words of ours and codes of the Graph API, never anything of a user's.
"""

import asyncio
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, GCCollector, Info, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from bot import __version__
from bot.domain import Answer, Batch, Done, Lease, Outcome

# KNOWN are counters with their labels' values that are there from the start: so their first increase shows.
COUNTERS, KNOWN, HISTOGRAMS, GAUGES = json.loads(Path(__file__).with_name("metrics.json").read_text("utf-8")).values()
LAG_EVERY_SECONDS = 0.5


class Metrics:
    """Counts what happens where it happens, by a call each; one object for a daemon.

    The counts are plain numbers, which a scrape puts into the library's families: its own objects, with a lock for
    each number, take 0.6 µs to count and 1.3 to observe (these 0.3), and of the cheapest turn that is felt.
    """

    def __init__(self) -> None:
        self.figures: Mapping[str, float | None] = {}  # what a scrape read: by gauge, or by gauge:label's value
        self._counts: Counter[tuple[str, ...]] = Counter(dict.fromkeys(map(tuple, KNOWN), 0))
        self._observed = {name: [0] * (len(about["buckets"]) + 1) for name, about in HISTOGRAMS.items()}
        self._sums = dict.fromkeys(HISTOGRAMS, 0.0)
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("bot_build", "The version that runs.", registry=self.registry).info({"version": __version__})

    def collect(self) -> Iterable[Metric]:
        """Tell everything in the library's terms; of a figure that could not be read, what it would tell."""
        counters = {name: CounterMetricFamily(f"bot_{name}", **about) for name, about in COUNTERS.items()}
        for (name, *values), count in self._counts.items():
            counters[name].add_metric(values, count)
        yield from counters.values()
        for name, about in HISTOGRAMS.items():
            bounds = [*map(str, about["buckets"]), "+Inf"]
            buckets = list(zip(bounds, accumulate(self._observed[name]), strict=True))
            yield HistogramMetricFamily(f"bot_{name}", about["documentation"], buckets, self._sums[name])
        gauges = {name: GaugeMetricFamily(f"bot_{name}", **about) for name, about in GAUGES.items()}
        for figure, number in self.figures.items():
            name, _, value = figure.partition(":")
            if number is not None:
                gauges[name].add_metric([value] if value else [], float(number))
        yield from gauges.values()

    def count(self, *what: str, by: int = 1) -> None:
        """Count one of COUNTERS: its name, and its labels' values."""
        self._counts[what] += by

    def observe(self, name: str, value: float) -> None:
        """Count a value of one of HISTOGRAMS."""
        self._observed[name][bisect_left(HISTOGRAMS[name]["buckets"], value)] += 1
        self._sums[name] += value

    def webhook(self, batch: Batch, known: int) -> None:
        """Count a webhook that was stored, and what it brought."""
        self.count("webhooks", "200")
        self.count("messages", "known", by=known)
        self.count("messages", "new", by=len(batch.messages) - known)
        for status in batch.statuses:
            self.count("statuses", status.delivery)

    def turn(self, lease: Lease, outcome: Outcome, now: datetime, seconds: float) -> None:
        """Count a turn. How long people wait is told of what was answered, but for what was tried again by hand."""
        self.count("turns", type(outcome).__name__.lower())
        if isinstance(outcome, Done) and not lease.manual:
            whole = max((now - lease.messages[0].received_at).total_seconds(), seconds)
            self.observe("answer_seconds", whole)
            self.observe("queue_wait_seconds", whole - seconds)

    def answered(self, answer: Answer, seconds: float) -> None:
        """Count a question that the model answered."""
        self.count("model_calls", "answered")
        self.observe("model_seconds", seconds)
        self.count("model_tokens", "input", by=answer.input_tokens)
        self.count("model_tokens", "output", by=answer.output_tokens)

    def committed(self, calls: int, seconds: float) -> None:
        """Count a transaction that writes."""
        self.observe("commit_seconds", seconds)
        self.observe("commit_batch_size", calls)

    async def watch_loop(self) -> None:
        """Measure, until cancelled, how late the event loop is: while something blocks it, everybody waits."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_SECONDS
            await asyncio.sleep(LAG_EVERY_SECONDS)
            self.observe("event_loop_lag_seconds", max(loop.time() - due, 0.0))
