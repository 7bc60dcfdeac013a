"""The clock that other tests lean on does what they think it does."""

import asyncio

import pytest

from tests.clock import START, FakeClock


async def test_a_sleeper_wakes_when_its_time_is_reached_and_not_before() -> None:
    """Two sleepers, moved on in two steps: the first wakes alone, then the second."""
    clock, woken = FakeClock(), []

    async def wait(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(wait(seconds)) for seconds in (5.0, 1.0)]
    await clock.until_sleeping(2)
    clock.advance(0.9)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(0.1)
    await tasks[1]
    assert woken == [1.0]
    clock.advance(60)
    await tasks[0]
    assert woken == [1.0, 5.0]
    assert clock.sleeping == 0
    assert (clock.now() - START).total_seconds() == 61


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Who was cancelled doesn't count as waiting."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.until_sleeping()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleeping == 0


async def test_waiting_for_a_sleeper_that_never_comes_ends() -> None:
    """A test that waits in vain fails instead of hanging."""
    with pytest.raises(TimeoutError):
        await FakeClock().until_sleeping(timeout_seconds=0.01)
