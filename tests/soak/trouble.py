"""Faults that come and go, the same in each period, so that periods can be compared; and hands on the file."""

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.soak.remote import Remote


@dataclass(frozen=True, slots=True)
class Fault:
    """From when to when of a period (0 to 1) a fault of the emulator holds."""

    begins: float
    ends: float
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


def _model(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "fields": {"service": "model", **fields}}


FAULTS = (
    Fault(0.08, 0.15, **_model("error", status=500, probability=0.3)),
    Fault(0.16, 0.21, **_model("error", status=429, probability=0.3, headers={"Retry-After": "1"})),
    Fault(0.23, 0.28, **_model("hang", seconds=3.0, probability=0.1)),  # longer than openai.timeout_seconds
    Fault(0.30, 0.33, **_model("http", status=503)),  # all of it: the circuit opens
    Fault(0.40, 0.46, "error", {"code": 131000, "probability": 0.2}),
    Fault(0.48, 0.54, "cut", {"after": True, "probability": 0.2}),
    Fault(0.55, 0.58, "cut", {"probability": 0.2}),
    Fault(0.60, 0.64, "error", {"code": 131056, "probability": 0.1}),
    Fault(0.65, 0.67, "error", {"code": 130429, "probability": 0.2}),
)
LOCKED = (0.72, 0.745)
HELD_BACK = (0.78, 0.82)
BY_HAND = (0.86, 0.88)


async def come_and_go(remote: Remote, period_seconds: float) -> None:
    """Set the faults and take them away, period for period, until cancelled."""
    began = time.monotonic()
    for period in count():
        for fault in FAULTS:
            await _until(began + (period + fault.begins) * period_seconds)
            await remote.fault(fault.kind, **fault.fields)
            await _until(began + (period + fault.ends) * period_seconds)
            await remote.clear_faults()


async def hands_on_the_file(database: Path, period_seconds: float) -> None:
    """Lock it, read from it for a while, and correct rows by SQL and by commands, until cancelled."""
    began = time.monotonic()
    for period in count():
        start = began + period * period_seconds
        await _until(start + LOCKED[0] * period_seconds)
        with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=5.0)) as hand:
            hand.execute("BEGIN IMMEDIATE")
            await _until(start + LOCKED[1] * period_seconds)
            hand.execute("ROLLBACK")
            await _until(start + HELD_BACK[0] * period_seconds)
            hand.execute("BEGIN")
            hand.execute("SELECT count(*) FROM outbox").fetchone()
            await _until(start + HELD_BACK[1] * period_seconds)
            hand.execute("COMMIT")
            await _until(start + BY_HAND[0] * period_seconds)
            hand.execute("UPDATE users SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id % 5 = 0")
            hand.execute("UPDATE users SET name = 'Ana, corrected' WHERE id % 7 = 0")
            await _until(start + BY_HAND[1] * period_seconds)
            hand.execute("UPDATE users SET paused_at = NULL WHERE id % 5 = 0")
        for words in (("status",), ("failures",), ("pause", "u1"), ("resume", "u1")):
            await command(database, *words)


def let_go(database: Path) -> None:
    """Resume whoever a hand that was cut off left paused."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=5.0)) as hand:
        hand.execute("UPDATE users SET paused_at = NULL WHERE paused_at IS NOT NULL")


async def command(database: Path, *words: str) -> None:
    """Run a command of bot as somebody at the terminal does. Raises AssertionError where it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words, "--config", str(database.with_name("bot.toml"))),
        env={**os.environ, "BOT_STORE__URL": f"sqlite:///{database}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:  # the soak is over
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, f"bot {' '.join(words)}: {process.returncode} {out.decode()}"


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
