"""What the daemon is measured against: the same calls by the same clients, with no queue, no disk and no log."""

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from ctypes import c_long
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from aiohttp import web

from bot import daemon
from bot.clock import Clock
from bot.config import Config
from bot.domain import Inbound, Message, Question, Utterance
from bot.web.server import runner
from bot.whatsapp.client import GraphClient
from bot.whatsapp.webhook import parse, translate
from tests.bench import load, rig

CONCURRENCY = 64


class Bare:
    """Parse a webhook, show "typing…", ask the model, send the answer; forget everything but the last words."""

    def __init__(self, config: Config, session: Any, answered: "Synchronized[int]", told: "Synchronized[int]") -> None:
        self._graph = GraphClient(session, config.whatsapp, Clock())
        self._handler = daemon._openai_handler(config, Clock())
        self._history: dict[str, list[Utterance]] = defaultdict(list)
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._answered = answered
        self._told = told
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a webhook at once and go on with its messages."""
        batch = translate(parse(await request.read()), phone_number_id=load.NUMBER)
        for message in batch.messages:
            task = asyncio.create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._told.value += len(batch.statuses)
        return web.Response()

    async def _answer(self, said: Inbound) -> None:
        assert said.sender.phone is not None
        assert said.sent_at is not None
        history = self._history[said.sender.phone]
        message = Message(1, said.wamid, said.type, said.body, said.sent_at, said.sent_at)
        async with self._slots:
            await self._graph.mark_read(said.wamid, typing=True)
            question = Question(said.wamid, (message,), tuple(history), said.sender.name)
            answer = await self._handler.answer(question)
            for part in answer.parts:
                await self._graph.send_text(said.sender, part, callback=said.wamid)
        history += [Utterance("user", said.body), *(Utterance("assistant", part) for part in answer.parts)]
        self._answered.value += 1


@contextlib.contextmanager
def bare(config: Config, port: int) -> Iterator[tuple[rig.Running, "Synchronized[int]", "Synchronized[int]"]]:
    """Run it in a process of its own; yield the process, and how many were answered and how many statuses came."""
    context = get_context("spawn")
    answered, told = context.Value(c_long, lock=False), context.Value(c_long, lock=False)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(config, port, answered, told, theirs))
    began = time.perf_counter()
    process.start()
    theirs.close()  # so that a process that ends before it is ready ends the wait for it
    try:
        ours.recv()
        yield rig.Running(process.pid or 0, port, time.perf_counter() - began), answered, told
    finally:
        process.terminate()
        process.join(30)


def _serve(config: Config, port: int, answered: Any, told: Any, pipe: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    asyncio.run(_serving(config, port, answered, told, pipe))


async def _serving(config: Config, port: int, answered: Any, told: Any, pipe: Connection) -> None:
    async with daemon._session(CONCURRENCY) as session:
        app = web.Application()
        app.router.add_post("/webhook", Bare(config, session, answered, told).receive)
        served = runner(app)
        await served.setup()
        await web.TCPSite(served, "127.0.0.1", port, backlog=1024).start()
        pipe.send("ready")
        await asyncio.Event().wait()
