"""The composition root: builds the parts from the configuration, starts them in order, drains and closes them."""

import asyncio
import contextlib
import fcntl
import functools
import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import structlog
from aiohttp import web

from bot import logs
from bot.alerts import Alerts, Channels
from bot.bell import Bell
from bot.clock import Clock
from bot.config import Admin, Config, Server, take_over
from bot.domain import Handler
from bot.errors import StartError, StoreUnavailable
from bot.janitor import feed_watchdog, note_listening, note_minutes, prune_daily, tell_manager, tell_reasons
from bot.letters import MOST, Letters
from bot.metrics import Metrics
from bot.scheduler import Scheduler
from bot.sender import Confirmation, NumberLimit, Sender
from bot.store.inbox import Door
from bot.store.insights import Insights
from bot.store.replies import PairLimit
from bot.store.store import Store
from bot.store.turns import Budget
from bot.systemd import SECTIONS, handed_over, notify
from bot.turn import Turn
from bot.web.admin import admin_app
from bot.web.guard import Guard
from bot.web.public import public_app
from bot.web.server import runner
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
BACKLOG = 1024
GARBAGE = (20_000, 20, 20)  # objects and rounds between collections; Python's 700, 10, 10 suit scripts
LOOK_PASSES_SECONDS = 0.05  # `bot status` shares the lock for a moment, to see whether a daemon runs
FIRST_REQUEST_SECONDS = 0.2  # from a connection to its request, where the next daemon serves those that come later
REQUESTS_END_SECONDS = 1.0  # on each listener, after the drain


class Daemon:
    """The whole bot in one object: `async with running(config)` serves until the block ends."""

    def __init__(self, config: Config, *, clock: Clock | None = None, handler: Handler | None = None) -> None:
        self._config, self._clock, self._handler, self._metrics = config, clock or Clock(), handler, Metrics()
        self.reasons = {"start": "starting"}  # why messages can't be answered that only the process knows
        self.insights: Insights
        self.broken: asyncio.Future[str]  # the file can't be used any more: why
        self.public_url = self.admin_url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Daemon"]:
        """Start everything, and at the end drain and close it. Raises StartError, with nothing left behind."""
        config = self._config
        async with contextlib.AsyncExitStack() as stack:
            public = stack.enter_context(_listen("public", config.server))
            admin = stack.enter_context(_listen("admin", config.admin))
            file, mend = config.store.path, "create the folder or name another in store.url"
            taken = f"another bot runs on {file}: stop it first, or name another file"
            stack.enter_context(only_instance(file.with_name(file.name + ".lock"), taken, mend))
            bell = Bell()
            store = await self._open_store()
            stack.push_async_callback(store.close)
            self._store, self.insights, self.broken = store, store.insights, store.broken
            adopted = await store.adopt()
            session = await stack.enter_async_context(_session(config.queue.concurrency))
            graph = GraphClient(session, config.whatsapp, self._clock)
            handler = self._handler or _openai_handler(config, self._clock)
            stack.push_async_callback(handler.close)

            public_side = public_app(config.whatsapp, store=store, bell=bell, metrics=self._metrics)
            admin_side = admin_app(
                store=store,
                bell=bell,
                reasons=self.reasons,
                guard=Guard(config.admin, await store.signing_key()),
                config=config,
                metrics=self._metrics,
            )
            self.admin_url = await stack.enter_async_context(_serving(admin_side, admin))
            self.public_url = await stack.enter_async_context(_serving(public_side, public))
            sender = self._sender(store, graph, deaf=await store.listening())
            turn = Turn(store, sender, graph, handler, self._clock, config, self._metrics)
            scheduler = Scheduler(store, turn.run, bell, self._clock, config.queue.concurrency, self._metrics)
            letters = Letters(store, sender, graph, self._clock, config.queue.backoff_base_seconds)
            side_tasks = (
                note_listening(store, self._clock, sender),
                prune_daily(store, self._clock, config.store, graph),
                note_minutes(store, self._clock),
                tell_reasons(store, self._clock),
                tell_manager(store, self.reasons),
                feed_watchdog(store),
                Alerts(store, Channels(config, self._clock, session, graph, sender.limit, store)).run(),
                letters.go_round(),
                self._metrics.watch_loop(),
            )
            for work in side_tasks:
                await stack.enter_async_context(logs.owned(work))
            scheduler.start()
            del self.reasons["start"]
            notify("READY=1")
            log.info("ready", public=self.public_url, admin=self.admin_url, taken_over=adopted)
            try:
                yield self
            finally:
                # The public listener stays open meanwhile: it only writes, and statuses settle sends.
                self.reasons["stop"] = "stopping"
                notify("STOPPING=1")
                log.info("draining", seconds=config.queue.drain_seconds)
                await asyncio.gather(*(work.drain(config.queue.drain_seconds) for work in (scheduler, letters)))

    def reload(self, new: Config) -> None:
        """Let count what can change while it runs, and say what does, and what wants a restart."""
        taken, left = take_over(self._config, new)
        with contextlib.suppress(AttributeError):  # while it starts: the store is opened with these
            self._store.limit(_door(self._config), Budget.of(self._config))
        log.info("reloaded", changed=taken, wants_restart=left)

    async def _open_store(self) -> Store:
        config, whatsapp = self._config, self._config.whatsapp
        return await Store.open(
            config.store.path,
            clock=self._clock,
            door=_door(config),
            budget=Budget.of(config),
            pair_limit=PairLimit(whatsapp.pair_interval_seconds, whatsapp.pair_burst),
            discreet=config.admin.privacy == "masked",
            committed=self._metrics.committed,
        )

    def _sender(self, store: Store, graph: GraphClient, *, deaf: bool) -> Sender:
        clock, whatsapp = self._clock, self._config.whatsapp
        waits, now = (whatsapp.confirm_seconds, whatsapp.confirm_after_downtime_seconds), clock.now()
        limit, confirmation = NumberLimit(whatsapp.sends_per_second, now), Confirmation(*waits, now, deaf)
        return Sender(store, graph, clock, limit, confirmation, self._metrics)


def run(config: Config, reread: Callable[[], Config]) -> int:
    """Run the daemon until SIGTERM or SIGINT, with what `reread` returns at SIGHUP; return the exit code.

    Raises StartError.
    """
    logs.configure(secrets=config.secrets)
    asyncio.run(_run(config, reread))
    return 0


async def _run(config: Config, reread: Callable[[], Config]) -> None:
    serving = asyncio.create_task(_serve(config, reread))
    stop = functools.cache(serving.cancel)  # once: a second signal must not cut the drain short
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop)
    await asyncio.wait([serving])
    for signal_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # one more would kill what is ending well
        asyncio.get_running_loop().remove_signal_handler(signal_)
        signal.signal(signal_, signal.SIG_IGN)
    if not serving.cancelled():
        serving.result()
    log.info("stopped")


def _reload(daemon: Daemon, reread: Callable[[], Config]) -> None:
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        daemon.reload(reread())
    except Exception as error:  # what stands there may be a number or a secret: the log gets the keys alone
        log.error("not reloaded: `bot doctor` says why", mistakes=[line.split()[0] for line in str(error).splitlines()])
    notify("READY=1")


async def _serve(config: Config, reread: Callable[[], Config]) -> None:
    daemon = Daemon(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, daemon, reread)
    async with daemon.running():
        # What was imported and built lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        try:
            raise StoreUnavailable(await asyncio.shield(daemon.broken))
        except asyncio.CancelledError:
            # It did its work; Debian 12's Python 3.11.2 would take it for every later asyncio.timeout of the drain's.
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()


def _openai_handler(config: Config, clock: Clock) -> Handler:
    from bot.model.handler import OpenAIHandler  # the openai package takes half a second: only where it is used

    return OpenAIHandler(config, clock)


def _door(config: Config) -> Door:
    queue, limits = config.queue, config.limits
    return Door(queue.max_depth_total, queue.max_depth_per_user, limits.allow, limits.deny)


def _session(concurrency: int) -> aiohttp.ClientSession:
    # A send and a read mark for each turn, letters, probes: none waits for a connection and looks like a dead service.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2 * concurrency + MOST + 2, keepalive_timeout=30))


def _listen(name: str, at: Server | Admin) -> socket.socket:
    """Listen before anything else is opened, so that a port that is taken leaves everything untouched."""
    if held := handed_over().get(name):
        return held.dup()  # the service manager's stays open
    try:
        family, _, _, _, address = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # :: takes IPv4, too
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except socket.gaierror as error:
        wrong = f"{SECTIONS[name].lower()}.host = {at.host!r} is no address of this machine"
        raise StartError(f"{wrong}: {error.strerror}") from error
    except OSError as error:
        why = os.strerror(error.errno or 0)  # its own text has the address once more
        mend = f"stop what uses it, or set {SECTIONS[name].lower()}.port"
        raise StartError(f"can't listen on {at.host} port {at.port}: {why}; {mend}") from error


@contextlib.asynccontextmanager
async def _serving(app: web.Application, listener: socket.socket) -> AsyncIterator[str]:
    app_runner = runner(app, shutdown_seconds=REQUESTS_END_SECONDS)
    await app_runner.setup()
    site = web.SockSite(app_runner, listener, backlog=BACKLOG)
    try:
        await site.start()
        host, port = listener.getsockname()[:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        if handed_over():  # who has come in already is answered, who comes now waits in the socket for the next daemon
            await site.stop()
            await asyncio.sleep(FIRST_REQUEST_SECONDS)
        await app_runner.cleanup()


@contextlib.contextmanager
def only_instance(lock: Path, taken: str, mend: str) -> Iterator[None]:
    """Hold a lock file until the block ends. Raises StartError: `taken`, or that it can't be written, and `mend`."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"can't write in {lock.parent}: {error.strerror}; {mend}") from error
    with os.fdopen(descriptor):
        if not _locked(descriptor):
            time.sleep(LOOK_PASSES_SECONDS)
            if not _locked(descriptor):
                raise StartError(taken)
        yield


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
