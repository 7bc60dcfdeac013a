"""Post payloads to a real daemon through real sockets; the emulator's journal and the file say what came of them."""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.emulator import Emulator, Settings, StatusPlan
from tests.bench import rig
from tests.fuzz import people
from tests.fuzz.after import looked_at_from_outside, wrong_in_the_file
from tests.fuzz.payload import Payload, make

AT_ONCE = 24
OURS_KEPT = 50  # of the newest sends: what statuses speak of
AGAIN = 5  # tries of a POST that is answered 503, as Meta makes them
STALLED_SECONDS = 30.0
UNDECIDED = """SELECT (SELECT count(*) FROM outbox WHERE state IN ('pending', 'leased'))
                    + (SELECT count(*) FROM replies WHERE state IN ('planned', 'sending'))"""


@dataclass(frozen=True, slots=True)
class Posted:
    """What is kept of a payload; the rest is made again from `now` (Unix) and the number."""

    number: int
    now: int
    kind: str
    neighbour: bool
    status: int


@dataclass(slots=True)
class Report:
    """What a run came to; `failures` say what went wrong and, where that is known, with which payload."""

    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    neighbours: int = 0  # that had to be answered
    answered: int = 0  # of those, once each
    strangers: int = 0  # neighbours in POSTs that were refused: not to be answered
    messages: int = 0  # that the file holds in the end
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    suspects: dict[int, Posted] = field(default_factory=dict)

    def fail(self, what: str, about: Posted | None = None) -> None:
        """Note that something went wrong."""
        self.failures.append(f"payload {about.number} ({about.kind}): {what}" if about else what)
        if about is not None:
            self.suspects[about.number] = about


@contextlib.asynccontextmanager
async def emulated():
    """Run the emulator in this process; a status follows each send, so that ticks move too."""
    async with Emulator(Settings(statuses=StatusPlan(("sent", "delivered"), (0.0, 0.05)))) as emu:
        yield emu


@contextlib.contextmanager
def served(folder: Path, emu: Emulator):
    """Run the daemon, without limits, as a process; webhooks go to it. Its log is daemon.jsonl in the folder."""
    admin = rig.free_port()
    told = {
        "ADMIN__PORT": admin,
        "WHATSAPP__SENDS_PER_SECOND": 0,
        "WHATSAPP__PAIR_INTERVAL_SECONDS": 0,
        "WHATSAPP__CONFIRM_SECONDS": 2,
        "LIMITS__ANSWERS_PER_USER_PER_HOUR": 0,
        "LIMITS__ANSWERS_PER_USER_PER_DAY": 0,
        "QUEUE__BACKOFF_BASE_SECONDS": 0.05,
        "OPENAI__HISTORY_CHARACTERS": 2000,  # the journal keeps each request
    }
    with rig.daemon(folder, emu.url, settings=told) as running:
        emu.settings.webhook_url = f"http://127.0.0.1:{running.port}/webhook"
        yield f"http://127.0.0.1:{admin}"


async def fuzz(folder: Path, seed: int, numbers: Iterable[int], samples: Sequence[bytes] = ()) -> Report:
    """Post the payloads of a seed, wait until everything is decided, and look at everything."""
    report, began = Report(seed), time.monotonic()
    async with emulated() as emu:
        with served(folder, emu) as admin_url:
            posted = await _post_all(emu, report, numbers, samples)
            await _settled(folder, report)
            await looked_at_from_outside(admin_url, report.fail)
        _judge_neighbours(emu, report, posted)
    _judge_log(folder, report)
    report.messages = wrong_in_the_file(folder / "bot.db", report.fail)
    report.seconds = time.monotonic() - began
    return report


async def _post_all(emu: Emulator, report: Report, numbers: Iterable[int], samples: Sequence[bytes]) -> list[Posted]:
    """Post everything, a few at once; return how each was answered in the end."""
    left, posted = iter(numbers), []

    async def work() -> None:
        for number in left:
            payload = make(report.seed, number, now := int(time.time()), samples)
            status = await _post(emu, report, payload)
            posted.append(Posted(number, now, payload.kind, payload.neighbour, status))
            if status not in payload.allowed or status == 503:
                expected = "/".join(map(str, sorted(payload.allowed - {503})))
                report.fail(f"answered {status or 'not at all'}, not {expected}", posted[-1])
            report.kinds[payload.kind] += 1
            report.mutations.update(payload.mutations)
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return posted


async def _post(emu: Emulator, report: Report, payload: Payload) -> int:
    dice = random.Random(payload.number)
    ours = [entry for entry in emu.log.newest("graph.send", OURS_KEPT) if entry.accepted]
    one = dice.choice(ours) if ours else None
    body = payload.filled(one.callback_data if one else "", one.wamid if one else "")
    headers = None if payload.signature is None else {"X-Hub-Signature-256": payload.signature}
    status = 0
    for _ in range(AGAIN):
        status = await emu.deliveries.post(body, headers=headers)
        report.statuses[payload.kind, status] += 1
        if status != 503:
            break
    return status


async def _settled(folder: Path, report: Report) -> None:
    """Wait until nothing waits any more; a failure where it gets no less."""
    least, since = None, time.monotonic()
    with contextlib.closing(sqlite3.connect(folder / "bot.db", timeout=30.0)) as db:
        while (left := db.execute(UNDECIDED).fetchone()[0]) and time.monotonic() < since + STALLED_SECONDS:
            if least is None or left < least:
                least, since = left, time.monotonic()
            await asyncio.sleep(0.2)
    if left:
        report.fail(f"{left} messages and replies are not decided, and nothing went on for {STALLED_SECONDS:g} s")


def _judge_neighbours(emu: Emulator, report: Report, posted: list[Posted]) -> None:
    accepted = [entry for entry in emu.log.of("graph.send") if entry.accepted]
    answers = Counter((entry.user, entry.text) for entry in accepted)
    for one in filter(lambda one: one.neighbour, posted):
        text = f"answer to: {people.neighbour_text(one.number)}"
        times, taken = answers[people.neighbour_phone(one.number), text], one.status == 200
        report.neighbours += taken
        report.answered += taken and times == 1
        report.strangers += not taken
        if times != taken:
            report.fail(f"was answered {one.status}, its good neighbour {times} times", one)


def _judge_log(folder: Path, report: Report) -> None:
    """No line with a traceback; the last one says that it stopped, so it ran to the end."""
    lines = (folder / "daemon.jsonl").read_text(errors="replace").splitlines()
    told: Counter[str] = Counter()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            event = {"event": "no log line", "trace": line}
        if event.get("level") in ("error", "critical") or "trace" in event or "Traceback" in line:
            trace = "".join(event.get("trace", event.get("exception", "")))
            told[f"log: {event['event']} {event.get('error', event.get('reason', ''))}\n{trace[-600:]}"] += 1
    for line, times in told.items():
        report.fail(f"{times} x {line}")
    if not lines or json.loads(lines[-1]).get("event") != "stopped":
        report.fail(f"the daemon did not stop by itself; its last line: {lines[-1:]}")
