"""How long to wait before the next try: full jitter over a floor, as AWS's builders' library recommends it."""

import random
from collections.abc import Mapping

LONGEST_ASKED_SECONDS = 3600.0  # who asks for longer is asked once an hour


def backoff_seconds(attempt: int, *, base: float, maximum: float, retry_after: float | None = None) -> float:
    """Return the seconds to wait after the `attempt`-th try (1 for the first) failed.

    Between half the base and base × 2^(attempt - 1), never over `maximum`, spread evenly so that callers who failed
    together don't come back together; never less than the service's own Retry-After.
    """
    ceiling = min(maximum, base * 2.0 ** min(attempt - 1, 32))
    floor = min(base / 2, ceiling)
    return max(random.uniform(floor, ceiling), retry_after or 0.0)


def asked_seconds(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a service's Retry-After asks to wait: at most an hour, None for no wait.

    A date, which neither Meta nor OpenAI send, is passed over: the usual backoff does as well.
    """
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_ASKED_SECONDS) if seconds > 0 else None
