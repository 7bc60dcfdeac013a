"""An idle daemon: commits in sequence that an answer takes, and how soon the model is asked."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from pydantic import SecretStr

from bot import logs
from bot.config import Config
from bot.config.settings import Admin, Server, Store, WhatsApp
from bot.daemon import Daemon
from bot.domain import Answer, Question
from bot.emulator import Emulator, Settings, StatusPlan
from bot.store import batch
from tests.bench import client, load, rig
from tests.bench.figures import Figure, at_most
from tests.bench.order import check_file

MESSAGES = 200
USERS = 20


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Send one message after the other, each to a daemon that has nothing else to do."""
    rig.silence(folder)
    logs.configure()
    messages = 20 if quick else MESSAGES
    return [asyncio.run(_commits(folder, messages)), asyncio.run(_latency(folder, messages))]


class OneLine:
    """Answer at once."""

    async def answer(self, _: Question) -> Answer:
        """Say one line."""
        return Answer(("An answer of one line.",))

    async def close(self) -> None:
        """Nothing to let go of."""


async def _commits(folder: Path, messages: int) -> Figure:
    """Count the transactions that wrote something while one message was answered; statuses are off."""
    async with Emulator(Settings(statuses=StatusPlan(names=()))) as emulator:
        config = _config(folder / "commits.db", emulator.url)
        with _written() as commits:
            async with Daemon(config, handler=OneLine()).running() as bot:
                port = int(bot.public_url.rpartition(":")[2])
                counted = []
                for n, said in enumerate(load.people_write(messages, USERS), 1):
                    before = len(commits)
                    await asyncio.to_thread(client.post, port, [load.request(said, "commits")], connections=1)
                    await emulator.wait_for(lambda n=n: len(emulator.sends()) == n)
                    await asyncio.to_thread(rig.wait_until, folder / "commits.db", rig.DONE, n, seconds=5.0)
                    counted.append(len(commits) - before)
    check_file(folder / "commits.db", messages)
    beside = f"{min(counted)} to {max(counted)} in {messages} messages"
    return at_most("commits in sequence for an answer in one part", median(counted), 4, "{:.0f}", beside)


@contextmanager
def _written() -> Iterator[list[float]]:
    """Note each transaction that changed the file; an empty one costs no fsync."""
    commits: list[float] = []
    original = batch.run_together

    def counting(connection: sqlite3.Connection, jobs: list[batch.Job], begin: str) -> Exception | None:
        before = connection.total_changes
        error = original(connection, jobs, begin)
        if connection.total_changes != before:
            commits.append(time.monotonic())
        return error

    batch.run_together = counting
    try:
        yield commits
    finally:
        batch.run_together = original


async def _latency(folder: Path, messages: int) -> Figure:
    """Time from the webhook's first byte to the model's request at its server, with the daemon as a process."""
    waits = []
    async with Emulator(Settings(statuses=StatusPlan(names=()))) as emulator:
        own = folder / "latency"
        own.mkdir()
        with rig.daemon(own, emulator.url) as running:
            for n, said in enumerate(load.people_write(messages, USERS), 1):
                request, began = [load.request(said, "latency")], time.monotonic()
                await asyncio.to_thread(client.post, running.port, request, connections=1)
                await emulator.wait_for(lambda n=n: len(emulator.sends()) == n)
                waits.append((emulator.log.of("model")[-1].began_at - began) * 1000)
                await asyncio.to_thread(rig.wait_until, own / "bot.db", rig.DONE, n, seconds=5.0)
        check_file(own / "bot.db", messages)
    ordered = sorted(waits)
    beside = f"p99 {ordered[int(len(ordered) * 0.99)]:.1f} ms"
    return at_most("webhook to model request on an idle daemon, p50 (ms)", median(waits), 5.0, "{:.1f}", beside)


def _config(path: Path, url: str) -> Config:
    known = Settings()
    return Config(
        server=Server(port=0),
        admin=Admin(port=0),
        store=Store(url=f"sqlite:///{path}"),
        whatsapp=WhatsApp(
            phone_number_id=load.NUMBER,
            base_url=url,
            access_token=SecretStr(known.access_token),
            app_secret=SecretStr(known.app_secret),
        ),
    )
