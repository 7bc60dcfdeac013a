"""Put a soak together: daemon and emulator in processes of their own, people, troubles, readers, a meter."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout

from bot.emulator import StatusPlan
from tests.bench import rig
from tests.soak import confined, trouble
from tests.soak.ledger import Ledger
from tests.soak.meter import Meter
from tests.soak.people import People
from tests.soak.remote import Remote
from tests.soak.verdict import HEAD, Judged, Row, Rule, line, percentile

MOST_BYTES = 256 * 2**20
DRAIN_SECONDS = 120.0
READ_SECONDS = 0.3
JOURNAL_SECONDS = 0.5
STATUSES = StatusPlan(("sent", "delivered", "read"), (0.02, 0.1, 0.4), shuffled=True)
EMULATOR = ("--log-limit", "3000", "--redelivery-base-seconds", "0.1")
SETTINGS = {
    "WHATSAPP__PAIR_INTERVAL_SECONDS": 0,
    "WHATSAPP__CONFIRM_SECONDS": 5,
    "OPENAI__TIMEOUT_SECONDS": 2,
    "QUEUE__BACKOFF_BASE_SECONDS": 0.1,
    "QUEUE__BACKOFF_MAX_SECONDS": 2,
    "QUEUE__MAX_ATTEMPTS": 50,  # a fault of the emulator's is nobody's fault: apologies would be a mistake
    "LIMITS__ANSWERS_PER_USER_PER_HOUR": 0,
    "LIMITS__ANSWERS_PER_USER_PER_DAY": 0,
}
PATHS = ("/", "/queue-stats", "/api/users?limit=50", "/api/failures", "/api/users/u1", "/", "/healthz")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much: `periods` of `period_seconds` each give a row."""

    periods: int
    period_seconds: float
    per_second: float
    rules: Sequence[Rule]


@dataclass(slots=True)
class Soaked:
    """What came of it."""

    rows: list[Row] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    peak_mb: float = 0.0

    @property
    def well(self) -> bool:
        """Whether everything was flat and everybody answered once, in order."""
        return not self.wrong and all(judged.flat for judged in self.judged)


async def soak(folder: Path, plan: Plan, tell: Callable[[str], None]) -> Soaked:
    """Run it; each period is told as a line when it ends."""
    soaked, ledger, port, admin = Soaked(), Ledger(), rig.free_port(), rig.free_port()
    prefix = (sys.executable, confined.__file__, str(MOST_BYTES))
    settings = {**SETTINGS, "ADMIN__PORT": admin}
    with (
        rig.emulator(port, statuses=STATUSES, delay=0.05, options=EMULATOR) as url,
        rig.daemon(folder, url, port=port, settings=settings, prefix=prefix) as running,
        Meter(running.pid, port, folder / "bot.db") as meter,
    ):
        remote = Remote(url)
        try:
            await _under_load(folder, plan, remote, ledger, admin, lambda: _period(soaked, ledger, meter, tell))
            soaked.peak_mb = meter.peak_mb()
        finally:
            await remote.close()
    soaked.wrong += [meter.trouble] if meter.trouble else []
    ledger.close()
    soaked.answered = ledger.answered
    soaked.wrong += [f"{count} x {what}" for what, count in ledger.wrong.items()] + ledger.examples
    soaked.wrong += _broken_lines(folder / "daemon.jsonl")
    if soaked.rows:
        soaked.judged = [rule.judge(soaked.rows) for rule in plan.rules]
    return soaked


async def _under_load(
    folder: Path, plan: Plan, remote: Remote, ledger: Ledger, admin: int, row: Callable[[], None]
) -> None:
    people = People(remote, ledger, plan.per_second, plan.period_seconds)

    async def follow() -> None:
        while True:
            ledger.read(await remote.entries())
            await asyncio.sleep(JOURNAL_SECONDS)

    async with _side_by_side(follow()):
        async with _side_by_side(
            people.write(),
            trouble.come_and_go(remote, plan.period_seconds),
            trouble.hands_on_the_file(folder / "bot.db", plan.period_seconds),
            _read_pages(f"http://127.0.0.1:{admin}"),
        ):
            began = time.monotonic()
            for period in range(plan.periods):
                await asyncio.sleep(began + (period + 1) * plan.period_seconds - time.monotonic())
                row()
        trouble.let_go(folder / "bot.db")
        await remote.clear_faults()
        await people.done()
        ends = time.monotonic() + DRAIN_SECONDS
        while ledger.depth and time.monotonic() < ends:
            await asyncio.sleep(JOURNAL_SECONDS)
        await asyncio.sleep(2 * JOURNAL_SECONDS)  # what would come twice has come


def _period(soaked: Soaked, ledger: Ledger, meter: Meter, tell: Callable[[str], None]) -> None:
    sample, acks, answers = meter.take(), ledger.acks_ms, ledger.answers_ms
    ledger.acks_ms, ledger.answers_ms = [], []
    answered = ledger.answered - sum(row.answered for row in soaked.rows)
    for head in HEAD if not soaked.rows else ():
        tell(head)
    row = Row(
        number=len(soaked.rows) + 1,
        rss_mb=percentile(sample.rss_mb, 50),
        descriptors=max(sample.descriptors, default=0.0),
        wal_mb=max(sample.wal_mb, default=0.0),
        db_mb=meter.database_mb(),
        answered=answered,
        ack_p50=percentile(acks, 50),
        ack_p95=percentile(acks, 95),
        answer_p50=percentile(answers, 50),
        answer_p95=percentile(answers, 95),
        lag_p50=percentile(sample.healthz_ms, 50),
        lag_p95=percentile(sample.healthz_ms, 95),
        machine_p50=percentile(sample.machine_ms, 50),
        machine_p95=percentile(sample.machine_ms, 95),
        depth=ledger.depth,
    )
    soaked.rows.append(row)
    tell(line(row))


async def _read_pages(admin_url: str) -> None:
    async with ClientSession(admin_url, timeout=ClientTimeout(total=30)) as client:
        while True:
            for path in PATHS:
                async with client.get(path) as response:
                    await response.read()
                    early = path == "/api/users/u1" and response.status == 404  # nobody wrote yet
                    assert response.status == 200 or early, f"GET {path}: {response.status}"
                await asyncio.sleep(READ_SECONDS)


@contextlib.asynccontextmanager
async def _side_by_side(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless works while the block runs; one that breaks ends the block with its error."""
    block = asyncio.current_task()
    assert block is not None
    tasks = [asyncio.create_task(work) for work in works]
    broken: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            broken.append(error)
            block.cancel()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not broken:
            raise
        block.uncancel()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if broken:
        raise broken[0]


def _broken_lines(log: Path) -> list[str]:
    """Find log lines that hold a traceback, and see that the daemon stopped by itself in the end."""
    lines = log.read_text(errors="replace").splitlines()
    found = [line for line in lines if "Traceback" in line or '"trace":' in line or '"exception":' in line]
    stopped = bool(lines) and json.loads(lines[-1]).get("event") == "stopped"
    return [f"log: {line[:1500]}" for line in found[:5]] + ([] if stopped else [f"it did not stop: {lines[-1:]}"])
