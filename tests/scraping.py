"""Read what GET /metrics says, in either format, by the library's own parsers."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text


def samples(text: str) -> dict[str, float]:
    """Return every sample of a scrape as `name{label="value"}`."""
    parse: Callable[[str], Iterable[Metric]] = read_openmetrics if text.endswith("# EOF\n") else read_text
    found = {}
    for sample in (sample for family in parse(text) for sample in family.samples):
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
        found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def counted(text: str) -> dict[str, float]:
    """Return what was counted: counters above zero, and how often each histogram was told something."""
    return {
        name.removeprefix("bot_"): value
        for name, value in samples(text).items()
        if name.startswith("bot_") and value and ("_total{" in name or name.endswith("_count"))
    }
