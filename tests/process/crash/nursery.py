"""Start daemons by the hundred: a process that has imported bot already forks one for each start.

Each is a process of its own, with its own sockets, files and `bot run`; only the second that Python takes to import
everything is spent once. Run as a program this file is the process that forks; `Nursery` talks to it.
"""

import asyncio
import contextlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Child:
    """A forked daemon, with what Process of the harness needs of asyncio's subprocesses."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, code: "asyncio.Future[int]") -> None:
        self.pid, self.stdout, self._code = pid, stdout, code

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._code.result() if self._code.done() else None

    def send_signal(self, number: int) -> None:
        """Send a signal. Raises ProcessLookupError."""
        if self._code.done():
            raise ProcessLookupError
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for the end."""
        return await asyncio.shield(self._code)


class Nursery:
    """The process that forks; it lasts until it is closed, and serves one event loop at a time.

    `env`: for what must be there from its start, as LD_PRELOAD.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs, env={**os.environ, **env})
        self._codes: dict[int, asyncio.Future[int]] = {}
        self._born: asyncio.Queue[int] = asyncio.Queue()

    def close(self) -> None:
        """End it, and whoever it forked."""
        self._channel.close()
        self._process.wait(10)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Hear what becomes of daemons that are forked in this block."""
        loop = asyncio.get_running_loop()
        self._codes, self._born = {}, asyncio.Queue()
        loop.add_reader(self._channel, self._hear)
        try:
            yield
        finally:
            loop.remove_reader(self._channel)

    async def fork(self, folder: Path, env: Mapping[str, str]) -> Child:
        """Start `bot run` in a folder."""
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb"):
            order = json.dumps({"folder": str(folder), "env": dict(env)}).encode()
            socket.send_fds(self._channel, [order], [writing])
        stdout = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb")
        )
        async with asyncio.timeout(20):
            pid = await self._born.get()
        return Child(pid, stdout, self._codes[pid])

    def _hear(self) -> None:
        told: dict[str, Any] = json.loads(self._channel.recv(4096) or b"{}")
        if "code" in told:
            self._codes.pop(told["pid"]).set_result(told["code"])
        elif told:
            self._codes[told["pid"]] = asyncio.get_running_loop().create_future()
            self._born.put_nowait(told["pid"])


def _serve(channel: socket.socket) -> None:
    """Fork on demand and tell how each ended, until the other side is gone; then nobody is left behind."""
    looking = selectors.DefaultSelector()
    looking.register(channel, selectors.EVENT_READ)
    children: dict[int, int] = {}  # pid by pidfd
    while True:
        for key, _ in looking.select():
            if key.fileobj is channel:
                order, descriptors, _, _ = socket.recv_fds(channel, 2**20, 1)
                if not order:
                    for pid in children.values():
                        os.kill(pid, signal.SIGKILL)
                    return
                pid = os.fork()
                if pid == 0:
                    looking.close()
                    channel.close()
                    for pidfd in children:
                        os.close(pidfd)
                    _live(json.loads(order), descriptors[0])
                os.close(descriptors[0])
                channel.send(json.dumps({"pid": pid}).encode())
                pidfd = os.pidfd_open(pid)
                children[pidfd] = pid
                looking.register(pidfd, selectors.EVENT_READ)
            else:
                pidfd = int(key.fd)
                pid = children.pop(pidfd)
                looking.unregister(pidfd)
                os.close(pidfd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                channel.send(json.dumps({"pid": pid, "code": code}).encode())


def _live(order: dict[str, Any], output: int) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["env"])
        random.seed()
        from tests.process.crash import points

        points.install()
        from bot.cli import main

        main(["run"], prog_name="bot")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import bot.daemon
    import bot.model.handler
    from tests.process.crash import points

    assert all((bot.daemon, bot.model.handler, points))
    with socket.socket(fileno=os.dup(0)) as stdin:
        _serve(stdin)
