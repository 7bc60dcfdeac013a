"""Run the real daemon as a real process: `bot run` with a bot.toml of its own, sockets, a file, signals.

The emulator runs in the test's process, so that it sees what left the daemon whatever became of it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import ClientError, ClientSession

from bot.emulator import Emulator

T = TypeVar("T")
START_SECONDS = 20.0  # for a loaded machine; a start takes about one
POLL_SECONDS = 0.02

Toml = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ran to its end."""

    code: int
    out: str
    err: str


class Process:
    """One `bot run`: its output as it comes, its exit code once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def output(self) -> str:
        """Everything that it wrote so far, to stdout and stderr."""
        return "\n".join(self.lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log lines; what is no JSON is left out."""
        found = []
        for line in self.lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [event for event in found if isinstance(event, dict)]

    async def logged(self, event: str, *, seconds: float = START_SECONDS, **members: Any) -> dict[str, Any]:
        """Wait for a log line and return it. Raises AssertionError when the process ends or time is up before."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **members}
            return next((line for line in self.events if wanted.items() <= line.items()), None)

        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(lambda: found() or self._reading.done())
        line = found()
        assert line is not None, f"no {event!r} in what it wrote:\n{self.output}"
        return line

    def send(self, signal_: signal.Signals) -> None:
        """Send a signal; nothing happens where the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal_)

    async def ended(self, seconds: float = START_SECONDS) -> int:
        """Wait for the end and return the exit code (negative: of which signal it died)."""
        async with asyncio.timeout(seconds):
            code = await self._process.wait()
            await self._reading
        return code

    async def stop(self, signal_: signal.Signals = signal.SIGTERM, *, seconds: float = START_SECONDS) -> int:
        """Send a signal and return the exit code."""
        self.send(signal_)
        return await self.ended(seconds)

    def terminate(self) -> None:
        """Ask it to end, as systemd does."""
        self.send(signal.SIGTERM)

    def send_kill(self) -> None:
        """End it as a power cut would, as far as the process is concerned."""
        self.send(signal.SIGKILL)

    async def kill(self) -> None:
        """Do so and wait for the end."""
        self.send_kill()
        await self.ended()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


@dataclass
class Bot:
    """A folder with a bot.toml and a database, and what is done with it from outside."""

    folder: Path
    emu: Emulator
    env: dict[str, str]
    public_port: int
    admin_port: int
    client: ClientSession
    toml: Toml = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    @property
    def public_url(self) -> str:
        """Where the public listener is, started or not."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def admin_url(self) -> str:
        """Where the admin listener is, started or not."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "bot.db"

    @property
    def config(self) -> Path:
        """The bot.toml."""
        return self.folder / "bot.toml"

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Change keys of bot.toml for the next start."""
        for name, keys in sections.items():
            self.toml.setdefault(name, {}).update(keys)
        self.config.write_text(_as_toml(self.toml), encoding="utf-8")

    async def launch(
        self, *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, pass_fds: Sequence[int] = ()
    ) -> Process:
        """Start `bot run` (or another command line) and don't wait for anything."""
        command = argv or (sys.executable, "-m", "bot", "run")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**24,
            pass_fds=pass_fds,
        )
        self.processes.append(Process(process))
        return self.processes[-1]

    async def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        """Start `bot run` and wait until it says that it is ready; what the emulator couldn't deliver comes at once."""
        process = await self.launch(*argv, env=env)
        await process.logged("ready")
        self.emu.deliveries.hurry()
        return process

    async def start_in_doubt(self, whose: str = "turn") -> Process:
        """Start while a send is in doubt; its status, if there is one, comes only after the daemon saw that it is."""
        self.emu.settings.webhook_url = ""
        process = await self.start()
        await process.logged(whose, outcome="indoubt")
        self.emu.settings.webhook_url = self.public_url + "/webhook"
        self.emu.deliveries.hurry()
        return process

    async def command(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
        """Run a command of bot to its end, e.g. `command("pause", "u1")`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *arguments),
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement on the file as the sqlite3 CLI does, in a process that isn't the daemon."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=5.0)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def waiting(self) -> bool:
        """Whether a message or a send isn't decided yet."""
        query = """SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state IN ('pending', 'leased')
                   UNION ALL SELECT 1 FROM replies WHERE state IN ('planned', 'sending'))"""
        return self.sql(query) != [(0,)]

    def states(self) -> dict[str, str]:
        """Return the state of each message, by its text."""
        return dict(self.sql("SELECT body, state FROM outbox"))

    async def reply(self, user: str, text: str) -> bool:
        """Write to somebody as the owner; False where nobody says that it is stored: then it may be, or not."""
        try:
            async with self.client.post(f"{self.admin_url}/api/users/{user}/reply", json={"text": text}) as response:
                return response.status == 200
        except ClientError:
            return False

    async def get(self, path: str) -> tuple[int, Any]:
        """GET from the admin listener; 0 where nothing answers."""
        try:
            async with self.client.get(self.admin_url + path) as response:
                text = await response.text()
                return response.status, json.loads(text) if text.startswith(("{", "[")) else text
        except ClientError:
            return 0, None

    async def close(self) -> None:
        """End every process that still runs."""
        for process in self.processes:
            if process.running:
                await process.kill()


async def until(condition: Callable[[], T], seconds: float = 5.0) -> T:
    """Wait until a condition is truthy and return what it says. Raises AssertionError when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition()}"
        await asyncio.sleep(POLL_SECONDS)
    return found


async def told(manager: socket.socket) -> str:
    """Wait for the next message to the service manager."""
    async with asyncio.timeout(20):
        return (await asyncio.get_running_loop().sock_recv(manager, 1000)).decode()


async def hear(manager: socket.socket, begin: str) -> str:
    """Wait for a message that begins so."""
    while not (message := await told(manager)).startswith(begin):
        pass
    return message


@contextlib.contextmanager
def write_lock(bot: Bot) -> Iterator[None]:
    """Hold the file's write lock as somebody with the sqlite3 CLI may, in the middle of a transaction."""
    with contextlib.closing(sqlite3.connect(bot.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a free port, so that nobody else is given it, and a daemon can listen on it again and again.

    Linux lets two sockets bind to a port when both say SO_REUSEADDR and at most one listens.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def environment(emu: Emulator) -> dict[str, str]:
    """Return what the process gets: this one's own, and the secrets of the emulator."""
    known = emu.settings
    return {
        **os.environ,  # tests/conftest.py took out what bot reads
        "BOT_WHATSAPP__ACCESS_TOKEN": known.access_token,
        "BOT_WHATSAPP__APP_SECRET": known.app_secret,
        "BOT_WHATSAPP__VERIFY_TOKEN": "process-verify-token",
        "OPENAI_API_KEY": known.api_key,
    }


def _as_toml(sections: Toml) -> str:
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
