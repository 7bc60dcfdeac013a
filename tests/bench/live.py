"""What open pages cost a busy daemon, how old they get, and how soon a page over a long queue is there."""

import asyncio
import contextlib
import http.client
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from urllib.parse import quote

from bot.web.live import WARM_UP_SECONDS
from tests.bench import client, load, page_cpu, rig
from tests.bench.figures import Figure, at_most
from tests.bench.order import check_file

PER_SECOND = 50.0
SECONDS, ROUNDS = 8, 8  # short and many: what is looked for is smaller than what one round differs from the next
USERS = 200
VIEWS = ("/",) * 8 + ("/users/u1", "/users/u2")
ROWS = (1_000_000, 100_000)  # messages, users
REQUESTS = 50


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Post at regular times, with ten pages open and with none, in turn; then ask for pages over many rows."""
    seconds, rounds = (4, 3) if quick else (SECONDS, ROUNDS)
    messages, users = (100_000, 10_000) if quick else ROWS
    return [*_open_pages(folder / "open", seconds, rounds), *_long_queue(folder / "long", messages, users)]


# -- ten open pages


def _open_pages(folder: Path, seconds: int, rounds: int) -> list[Figure]:
    folder.mkdir()
    a_round = int(PER_SECOND * seconds) // USERS * USERS
    said = list(load.people_write(2 * rounds * a_round, USERS))
    port, admin = rig.free_port(), rig.free_port()
    settings = {"ADMIN__PORT": admin}
    gaps: list[float] = []
    drawing: list[float] = []  # the share of a core that pages took in each round, as they are timed themselves
    told = folder / "page_cpu"
    env = {page_cpu.FILE: str(told)}
    with (
        rig.emulator(port) as url,
        rig.daemon(folder, url, port=port, settings=settings, env=env, cpus={0}, module=page_cpu.__name__) as running,
    ):

        def share() -> float:
            """Return the share of a core that the daemon takes for the next messages."""
            requests = [load.request(said.pop(0), "live") for _ in range(a_round)]
            done = 2 * rounds * a_round - len(said)
            busy, drawn = running.cpu_seconds(), page_cpu.seconds(running.pid, told)
            acks = client.post(port, requests, per_second=PER_SECOND)
            assert set(acks.statuses) == {200}, acks.statuses
            rig.wait_until(folder / "bot.db", rig.DONE, done, seconds=30.0)
            drawing.append((page_cpu.seconds(running.pid, told) - drawn) / acks.seconds)
            return (running.cpu_seconds() - busy) / acks.seconds

        def watched() -> float:
            with _pages(admin, gaps):
                return share()

        _ask(admin, "/")  # the thread that reads is known then
        without, with_pages = rig.alternate(rounds, share, watched)
        by_hand = [_by_hand(folder / "bot.db", running, seconds)]
        with _pages(admin, []):
            by_hand.append(_by_hand(folder / "bot.db", running, seconds))
    check_file(folder / "bot.db", 2 * rounds * a_round)
    idle, watching = (drawing[n::2] for n in (0, 1))  # without pages the same thread reads, for the house
    costs = sorted((b - a) * 100 for a, b in zip(without, with_pages, strict=True))
    shares = f"{median(with_pages):.2%} of a core with them, {median(without):.2%} without"
    beside = f"{costs[0]:.1f} to {costs[-1]:.1f}; ratio {median(with_pages) / median(without):.3f}; {shares}"
    timed = sorted((b - a) * 100 for a, b in zip(idle, watching, strict=True))
    return [
        at_most(
            "ten open pages at 50 messages/s, each step and read timed (% of a core)",
            median(timed),
            1.0,
            beside=f"{timed[0]:.2f} to {timed[-1]:.2f}",
        ),
        Figure("… as the whole daemon's CPU differs with them (% of a core)", f"{median(costs):.2f} ({beside})"),
        at_most(
            "… the same with 50 changes/s by another program (% of a core)",
            (by_hand[1] - by_hand[0]) * 100,
            1.0,
            beside=f"{by_hand[1]:.2%} of a core with them, {by_hand[0]:.2%} without",
        ),
        Figure("… the status page renewed every (s), p50", f"{median(gaps):.1f} (at most {max(gaps):.1f})"),
    ]


def _by_hand(path: Path, running: rig.Running, seconds: int) -> float:
    """Return the daemon's share of a core while another program renames people: it has nothing to do but its pages."""
    with contextlib.closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        began, busy = time.monotonic(), running.cpu_seconds()
        for n in range(int(PER_SECOND * 2 * seconds)):
            db.execute("UPDATE users SET name = ? WHERE id = ?", (f"Ana {n}", n % USERS + 1))
            time.sleep(max(began + n / PER_SECOND - time.monotonic(), 0.0))
        return (running.cpu_seconds() - busy) / (time.monotonic() - began)


@contextlib.contextmanager
def _pages(port: int, gaps: list[float]) -> Iterator[None]:
    """Keep ten pages open; `gaps` gets the seconds between two events of a status page."""
    responses = []
    for view in VIEWS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", f"/events?view={quote(view, safe='')}")
        responses.append(connection.getresponse())
        assert responses[-1].status == 200, responses[-1].status
    ended = threading.Event()
    threads = [
        threading.Thread(target=_read, args=(each, ended, [] if n else gaps)) for n, each in enumerate(responses)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for response in responses:
            response.close()


def _read(response: http.client.HTTPResponse, ended: threading.Event, gaps: list[float]) -> None:
    last = 0.0
    while not ended.is_set():
        line = response.readline()  # a ping comes every 15 s at the latest
        if line.startswith(b"event:"):
            now = time.monotonic()
            gaps.extend([now - last] if last else [])
            last = now


# -- many rows


def _long_queue(folder: Path, messages: int, users: int) -> list[Figure]:
    folder.mkdir()
    path, admin = folder / "bot.db", rig.free_port()
    asyncio.run(rig.fill(path, messages, users))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE control SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
        db.execute("UPDATE outbox SET state = 'failed', error = 'bad' WHERE id % 50 = 0")
    figures = []
    with rig.emulator() as url, rig.daemon(folder, url, settings={"ADMIN__PORT": admin}):
        time.sleep(WARM_UP_SECONDS + 1.0)
        for path_ in ("/", "/users/u17"):
            times = [_ask(admin, path_) for _ in range(REQUESTS)]
            beside = f"the first {times[0]:.0f} ms, at most {max(times):.0f} ms"
            name = f"{path_} over {messages:,} messages of {users:,} users, p50 (ms)"
            figures.append(at_most(name, median(times), 100.0, "{:.0f}", beside))
    return figures


def _ask(port: int, path: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "text/html"})
    response = connection.getresponse()
    body = response.read()
    milliseconds = (time.perf_counter() - began) * 1000
    assert response.status == 200, body
    connection.close()
    return milliseconds
