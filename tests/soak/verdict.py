"""Say of each measure whether it stayed flat: the last third of a run against the first, once it is warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP = 4  # one period in so many comes before what is compared


@dataclass(frozen=True, slots=True)
class Row:
    """One period of a run."""

    number: int
    rss_mb: float  # median
    descriptors: float  # the most
    wal_mb: float  # the most
    db_mb: float
    answered: int
    ack_p50: float  # ms, from a webhook's first byte to its 200
    ack_p95: float
    answer_p50: float  # ms, from a webhook's first byte to its answer's send
    answer_p95: float
    lag_p50: float  # ms, GET /healthz
    lag_p95: float
    machine_p50: float  # ms, a small synced write by another process: what the machine itself takes
    machine_p95: float
    depth: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Flat: the median of the last third is at most `times` that of the first third, and `plus` of the unit.

    Of what is measured in milliseconds the first third counts for more where the machine itself got slower meanwhile
    by `beside`, another column: a neighbour's work is no trend of the daemon's.
    """

    column: str
    unit: str
    times: float
    plus: float
    beside: str = ""

    def judge(self, rows: Sequence[Row]) -> "Judged":
        """Compare the thirds."""
        warm = rows[len(rows) // WARM_UP :]
        third = max(1, len(warm) // 3)
        parts = (warm[:third], warm[-third:])
        first, last = (median(getattr(row, self.column) for row in part) for part in parts)
        slower = 1.0
        if self.beside:
            before, after = (median(getattr(row, self.beside) for row in part) for part in parts)
            slower = max(1.0, after / before)
        return Judged(self, first, last, slower, self.times * slower * first + self.plus)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a rule."""

    rule: Rule
    first: float
    last: float
    slower: float  # how many times the machine got slower from the first third to the last
    limit: float

    @property
    def flat(self) -> bool:
        """Whether it held."""
        return self.last <= self.limit

    def __str__(self) -> str:
        """Write it as a line."""
        rule = self.rule
        slower = f" x machine {self.slower:.2f}" if rule.beside else ""
        return (
            f"{rule.column:11} {'flat' if self.flat else 'NOT FLAT':8} first third {self.first:8.1f}, last"
            f" {self.last:8.1f}, at most {self.limit:8.1f} {rule.unit} ({rule.times:g} x first{slower} + {rule.plus:g})"
        )


# The file itself grows by what people write, until retention takes it out after 30 days: no leak, no rule.
RULES = (
    Rule("rss_mb", "MB", 1.05, 2),
    Rule("descriptors", "", 1.25, 20),  # connections that are kept alive after a burst
    Rule("wal_mb", "MB", 1.25, 8),
    Rule("ack_p50", "ms", 1.5, 5, "machine_p50"),
    Rule("ack_p95", "ms", 1.5, 15, "machine_p95"),
    Rule("answer_p50", "ms", 1.5, 50, "machine_p50"),
    Rule("answer_p95", "ms", 1.5, 500, "machine_p95"),
    Rule("lag_p50", "ms", 1.5, 2, "machine_p50"),
    Rule("lag_p95", "ms", 1.5, 10, "machine_p95"),
    Rule("depth", "", 1.5, 20),
)
# For half a minute beside other work on the machine: still warming up, few samples. It finds what runs away.
SHORT_RULES = (
    Rule("rss_mb", "MB", 1.0, 12),
    Rule("descriptors", "", 1.25, 40),
    Rule("wal_mb", "MB", 1.0, 20),
    Rule("ack_p50", "ms", 3, 500),
    Rule("ack_p95", "ms", 3, 2000),
    Rule("answer_p50", "ms", 3, 5000),
    Rule("lag_p50", "ms", 3, 200),
    Rule("lag_p95", "ms", 3, 1000),
    Rule("depth", "", 2, 200),
)
HEAD = (
    "  n   RSS  desc   WAL     db answered  ack p50  p95   answer p50    p95  lag p50    p95 machine    p95 depth",
    "      MB          MB     MB             ms             ms             ms             ms",
)


def line(row: Row) -> str:
    """Write a period as a line under HEAD."""
    return (
        f"{row.number:3} {row.rss_mb:5.1f} {row.descriptors:5.0f} {row.wal_mb:5.1f} {row.db_mb:6.1f} {row.answered:8}"
        f" {row.ack_p50:8.1f} {row.ack_p95:5.0f} {row.answer_p50:11.0f} {row.answer_p95:7.0f} {row.lag_p50:7.1f}"
        f" {row.lag_p95:6.1f} {row.machine_p50:7.1f} {row.machine_p95:6.1f} {row.depth:5}"
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value within which so many percent lie; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0.0
