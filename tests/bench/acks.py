"""Webhook acks a second, durable, against the same handler without the store."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr

from bot import logs
from bot.bell import Bell
from bot.clock import Clock
from bot.config import WhatsApp
from bot.domain import Appended, Batch
from bot.metrics import Metrics
from bot.store.store import Store
from bot.web.public import public_app
from bot.web.server import runner
from tests.bench import client, load, rig
from tests.bench.figures import Figure, at_least
from tests.bench.order import Disorder

CONNECTIONS = 64
USERS = 500
ROUNDS = 5
MESSAGES = 10_000  # of a round


class Forgetful:
    """Answers like the store, and keeps nothing."""

    async def append(self, batch: Batch) -> Appended:
        """Say what the store would say."""
        return Appended(len(batch.messages), 0, len(batch.statuses), (1,) * len(batch.messages))


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Post to both servers in turn; each ack of the durable one must stand in the file."""
    rounds, messages = (1, MESSAGES // 4) if quick else (ROUNDS, MESSAGES)
    durable: list[client.Acks] = []
    bare: list[client.Acks] = []
    with _server(folder, folder / "bot.db") as durable_port, _server(folder, None) as bare_port:
        for number in range(rounds):
            for port, kept in ((durable_port, durable), (bare_port, bare)):
                kept.append(rig.alone(_client, port, messages, f"r{number}"))
    with contextlib.closing(sqlite3.connect(folder / "bot.db")) as db:
        stored = db.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone()[0]
    all_durable, all_bare = client.merged(durable), client.merged(bare)
    if {*all_durable.statuses, *all_bare.statuses} != {200} or stored != messages * rounds:
        raise Disorder(f"{all_durable.statuses} answered, {stored} stored; {all_bare.statuses}")
    ratios = sorted(one.per_second / other.per_second for one, other in zip(durable, bare, strict=True))
    beside = (
        f"{all_durable.per_second:,.0f}/s, p99 {all_durable.percentile(99):.0f} ms; "
        f"without the store {all_bare.per_second:,.0f}/s"
    )
    idle = max(acks.busy_seconds / acks.seconds for acks in (all_durable, all_bare))
    return [
        at_least("webhook acks, durable : without the store", ratios[len(ratios) // 2], 0.7, beside=beside),
        Figure("… the client's share of its core", f"{idle:.0%}"),
    ]


def _client(port: int, messages: int, run: str) -> client.Acks:
    requests = [load.request(said, run) for said in load.people_write(messages, USERS)]
    return client.post(port, requests, connections=CONNECTIONS)


@contextlib.contextmanager
def _server(folder: Path, database: Path | None) -> Iterator[int]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, database, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(30)


def _serve(folder: Path, database: Path | None, pipe: Connection) -> None:
    rig.silence(folder)
    logs.configure()
    asyncio.run(_serving(database, pipe))


async def _serving(database: Path | None, pipe: Connection) -> None:
    store = await Store.open(database, clock=Clock()) if database else None
    number = WhatsApp(phone_number_id=load.NUMBER, app_secret=SecretStr(load.SECRET))
    app = public_app(number, store=store or Forgetful(), bell=Bell(), metrics=Metrics())
    served = runner(app)
    await served.setup()
    await web.TCPSite(served, "127.0.0.1", 0, backlog=1024).start()
    pipe.send(served.addresses[0][1])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    await stop.wait()
    await served.cleanup()
    if store is not None:
        await store.close()
