"""How long to wait before the next try: full jitter over a floor, as AWS's builders' library recommends it."""

import random


def backoff_seconds(
    attempt: int,
    *,
    base: float,
    maximum: float,
    retry_after: float | None = None,
    rng: random.Random | None = None,
) -> float:
    """Return the seconds to wait after the `attempt`-th try (1 for the first) failed.

    Between half the base and base × 2^(attempt - 1), never over `maximum`, spread evenly so that callers who failed
    together don't come back together; never less than the service's own Retry-After.
    """
    ceiling = min(maximum, base * 2.0 ** min(attempt - 1, 32))
    floor = min(base / 2, ceiling)
    wait = (rng or random).uniform(floor, ceiling)
    return max(wait, retry_after or 0.0)
