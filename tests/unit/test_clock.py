"""The daemon's own clock: the machine's as it stood at the start, whatever becomes of that one afterwards."""

import time
from datetime import datetime, timedelta

import pytest

from bot.clock import Clock
from tests.clock import START

HOUR = 3600.0


class Machine:
    """A machine whose wall clock a test sets, and which it suspends: then CLOCK_MONOTONIC alone stands still."""

    def __init__(self) -> None:
        self.wall, self._clocks = START.timestamp(), {time.CLOCK_BOOTTIME: 500.0, time.CLOCK_MONOTONIC: 300.0}

    def time(self) -> float:
        """Stand in for time.time."""
        return self.wall

    def clock_gettime(self, clock: int) -> float:
        """Stand in for time.clock_gettime."""
        return self._clocks[clock]

    def run(self, seconds: float) -> None:
        """Let time go by."""
        self._clocks[time.CLOCK_MONOTONIC] += seconds
        self.suspend(seconds)

    def suspend(self, seconds: float) -> None:
        """Let time go by while the machine stands still."""
        self._clocks[time.CLOCK_BOOTTIME] += seconds
        self.wall += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose clocks are right so far."""
    made = Machine()
    monkeypatch.setattr("bot.clock.time.time", made.time)
    monkeypatch.setattr("bot.clock.time.clock_gettime", made.clock_gettime)
    return made


def after(seconds: float) -> datetime:
    """So long after the start."""
    return START + timedelta(seconds=seconds)


def test_the_hours_of_a_suspended_machine_count(machine: Machine) -> None:
    """A laptop that was closed over night finds its waits over and its old questions expired."""
    clock = Clock()
    assert clock.now() == START
    machine.run(5)
    machine.suspend(8 * HOUR)
    machine.run(1)
    assert clock.now() == after(6 + 8 * HOUR)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_wall_clock_changes_nothing_until_the_next_start(machine: Machine, step: float) -> None:
    """Whoever sets it, whichever way: a running daemon's time goes on by itself."""
    clock = Clock()
    machine.wall += step
    machine.run(1)
    assert clock.now() == after(1)
    assert Clock().now() == after(1 + step)
