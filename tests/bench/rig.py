"""Set up what is measured: processes of their own for daemon and emulator, their CPU and memory, seeded files."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from bot.clock import Clock
from bot.domain import Batch
from bot.emulator import Settings, StatusPlan
from bot.store.store import Store
from tests.bench import load

T = TypeVar("T")
BATCH = 1000
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
LEAN = ("--lean", "--no-log")
NO_STATUSES = StatusPlan(names=())
DONE = "SELECT count(*) FROM outbox WHERE state = 'done'"


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started and is ready."""

    pid: int
    port: int
    ready_seconds: float  # from its start

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, to 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self, field: str) -> float:
        """Memory by a field of /proc: VmRSS, or VmHWM for the most it ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a fresh process of its own and return what it returns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(name: str, folder: Path, quick: bool) -> list[Any]:
    """Run the measure of that name."""
    figures: list[Any] = import_module(f"tests.bench.{name}").measure(folder, quick=quick)
    return figures


def silence(folder: Path) -> None:
    """Send this process's log lines to a file, as a service's go to the journal."""
    with (folder / "log.jsonl").open("a") as log:
        os.dup2(log.fileno(), 2)


@contextlib.contextmanager
def daemon(
    folder: Path, emulator_url: str, *, port: int = 0, settings: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None, cpus: Iterable[int] | None = None, prefix: Sequence[str] = (),
    module: str = "bot",
) -> Iterator[Running]:  # fmt: skip
    """Run `bot run` on `folder`/bot.db until the block ends; `settings` are BOT_ variables without the prefix.

    `env`: further variables of the process; `prefix`: a command that runs it; `module`: one that stands in for bot.
    """
    port = port or free_port()
    told = {
        "SERVER__PORT": port,
        "ADMIN__PORT": 0,
        "STORE__URL": f"sqlite:///{folder}/bot.db",
        "WHATSAPP__PHONE_NUMBER_ID": load.NUMBER,
        "WHATSAPP__BASE_URL": emulator_url,
        "WHATSAPP__ACCESS_TOKEN": Settings().access_token,
        "WHATSAPP__APP_SECRET": load.SECRET,
        "WHATSAPP__VERIFY_TOKEN": "verify",
        "OPENAI__BASE_URL": f"{emulator_url}/v1",
        "OPENAI__API_KEY": Settings().api_key,
        **(settings or {}),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BOT_", "OPENAI_"))}
    environment |= {f"BOT_{name}": str(value) for name, value in told.items()}
    (folder / "bot.toml").touch()
    log = folder / "daemon.jsonl"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ready:
        ready.bind(f"\0bot-bench-{os.getpid()}-{time.monotonic_ns()}")
        ready.settimeout(0.2)
        environment["NOTIFY_SOCKET"] = "@" + ready.getsockname()[1:].decode()
        environment |= env or {}
        command = [*prefix, sys.executable, "-m", module, "run", "--config", str(folder / "bot.toml")]
        began = time.perf_counter()
        with log.open("w") as lines, _ended(subprocess.Popen(command, env=environment, stderr=lines)) as process:
            if cpus:
                os.sched_setaffinity(process.pid, cpus)
            while not _told(ready):
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise RuntimeError(f"the daemon did not start: {log.read_text()[-2000:]}")
            seconds = time.perf_counter() - began
            ready.close()  # what is told later is told to nobody, who takes no time
            yield Running(process.pid, port, seconds)


def _told(ready: socket.socket) -> bool:
    try:
        return bool(ready.recv(64))
    except TimeoutError:
        return False


@contextlib.contextmanager
def emulator(
    webhook_port: int = 0, *, statuses: StatusPlan = NO_STATUSES, delay: float = 0.0, options: Sequence[str] = LEAN
) -> Iterator[str]:
    """Run an emulator, a lean one, in a process of its own and yield its address; statuses go to `webhook_port`."""
    plan = json.dumps(asdict(statuses))
    command = [
        sys.executable, "-m", "bot.emulator", *options, "--statuses", plan,
        "--model-delay-seconds", str(delay), "--webhook-url", f"http://127.0.0.1:{webhook_port}/webhook",
    ]  # fmt: skip
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]


@contextlib.contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def fill(path: Path, messages: int, users: int) -> None:
    """Append so many waiting messages by the store's own way in."""
    store = await Store.open(path, clock=Clock())
    said = load.people_write(messages, users)
    while batch := tuple(load.inbound(one) for one in islice(said, BATCH)):
        await store.append(Batch(messages=batch))
    await store.close()


def wait_until(path: Path, query: str, wanted: int, *, seconds: float) -> None:
    """Look at the file from outside until the query's number is `wanted`."""
    until = time.monotonic() + seconds
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        while (found := connection.execute(query).fetchone()[0]) != wanted:
            if time.monotonic() > until:
                raise TimeoutError(f"{found} instead of {wanted} after {seconds:.0f} s: {query}")
            time.sleep(0.1)


def alternate(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Run measures in turn, so many rounds, so that a noisy neighbour hits all alike; return each one's results."""
    results: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for index, measure in enumerate(measures):
            results[index].append(measure())
    return results
