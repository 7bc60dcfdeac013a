"""Put the demo together: emulator, daemon and chat page in one process, its data in a folder of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from bot import logs
from bot.clock import parse_stamp
from bot.config import Config, load
from bot.daemon import Daemon, only_instance
from bot.demo.chat import CUSTOMERS, chat_app
from bot.emulator import Bubble, Customer, Emulator, Settings, payloads
from bot.emulator.delivery import card
from bot.errors import NotFound, StartError
from bot.store.insights import Insights

PORTS = {"public": 8080, "admin": 8081, "chat": 8082}
ELSEWHERE = "set XDG_DATA_HOME to another folder"
VERIFY_TOKEN = "demo-verify-token"

CONFIG = """\
# Written anew at each start of `bot demo`; try `bot status --config` with this file.
[server]
port = {public}
[admin]
port = {admin}
[whatsapp]
phone_number_id = "{number}"
waba_id = "{account}"
base_url = "{graph}"
confirm_after_downtime_seconds = 15
[queue]
drain_seconds = 5
"""
SCRIPTED = """\
[openai]
base_url = "{model}"
"""


def run_demo(model: str) -> int:
    """Run the demo until SIGTERM or Ctrl-C; `model` is "scripted" or "openai". Raises StartError."""
    if model == "openai" and not os.environ.get("OPENAI_API_KEY"):
        raise StartError("--model openai wants your key: export OPENAI_API_KEY=sk-…")
    asyncio.run(_run(model == "openai"))
    return 0


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the demo keeps its file: $XDG_DATA_HOME/bot-demo or ~/.local/share/bot-demo."""
    home = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local" / "share"
    return Path(home) / "bot-demo"


async def _run(real_model: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stop.set)
    async with _demo(real_model):
        await stop.wait()
        click.echo("Stopping; what still waits is answered at the next start.")


@contextlib.asynccontextmanager
async def _demo(real_model: bool) -> AsyncIterator[Emulator]:
    settings = Settings(answers="assistant", model_delay_seconds=1.5, log_limit=1000)
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_own_folder())
        ports = _choose_ports(folder)
        emulator = await stack.enter_async_context(Emulator(settings))
        config = _configure(emulator, real_model, folder, ports)
        logs.configure(secrets=config.secrets)
        daemon = await stack.enter_async_context(Daemon(config).running())
        for customer in CUSTOMERS:
            emulator.chats.add(customer)
            await _remember(emulator, customer, daemon.insights)
        settings.webhook_url = f"{daemon.public_url}/webhook"
        await _catch_up(emulator)
        runner = web.AppRunner(
            chat_app(emulator, f"{daemon.admin_url}/", real_model=real_model), access_log=None, shutdown_timeout=1
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", ports["chat"]).start()
        click.echo(
            f"\n  Chat as a customer   http://127.0.0.1:{ports['chat']}/\n"
            f"  Status page          {daemon.admin_url}/\n"
            f"  Queue as JSON        {daemon.admin_url}/queue-stats\n"
            f"  In a terminal        {_program()} status --config {folder / 'bot.toml'}\n\n"
            f"  The queue is in {config.store.path}: it survives a restart. Ctrl-C stops.\n"
        )
        yield emulator


def _program() -> str:
    """Return how this program is called from here: `bot` where that is what a terminal finds by this name."""
    here = Path(sys.argv[0])
    return "bot" if shutil.which("bot") or not here.is_file() else str(here)


def _configure(emulator: Emulator, real_model: bool, folder: Path, ports: Mapping[str, int]) -> Config:
    """Write the demo's bot.toml and read it as the daemon would; nothing of a real account gets in."""
    settings = emulator.settings
    text = CONFIG if real_model else CONFIG + SCRIPTED
    filled = text.format(
        **ports,
        number=settings.phone_number_id,
        account=settings.waba_id,
        graph=emulator.graph_url,
        model=emulator.model_url,
    )
    with _writing(folder):
        (folder / "bot.toml").write_text(filled)
    environ = {
        "BOT_WHATSAPP__ACCESS_TOKEN": settings.access_token,
        "BOT_WHATSAPP__APP_SECRET": settings.app_secret,
        "BOT_WHATSAPP__VERIFY_TOKEN": VERIFY_TOKEN,
        "OPENAI_API_KEY": settings.api_key,
    }
    if real_model:
        environ |= {
            name: os.environ[name] for name in os.environ if name.startswith(("BOT_OPENAI__", "OPENAI_API_KEY"))
        }
    return load(folder / "bot.toml", environ)


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Hold the demo's folder: a second demo would write its own bot.toml over that of the first. Raises StartError."""
    folder = data_folder()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    page = f"http://127.0.0.1:{_known_ports(folder).get('chat', PORTS['chat'])}/"
    taken = f"the demo is running already: its page is {page}, or stop it first"
    with only_instance(folder / "demo.lock", taken, ELSEWHERE):
        yield folder


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(f"can't write in {folder}: {error.strerror}; {ELSEWHERE}") from error


def _choose_ports(folder: Path) -> dict[str, int]:
    """Take the usual ports, where one isn't free that of the last time, else any; remember them: pages stay open."""
    known = _known_ports(folder)
    ports: dict[str, int] = {}
    for name, usual in PORTS.items():
        ports[name] = _free_port(usual, known.get(name, 0), taken=ports.values())
    with _writing(folder):
        (folder / "ports.json").write_text(json.dumps(ports) + "\n")
    return ports


def _known_ports(folder: Path) -> dict[str, int]:
    try:
        known = json.loads((folder / "ports.json").read_text())
        return {name: known[name] for name in PORTS if 0 < int(known[name]) < 65_536}
    except (OSError, ValueError, TypeError, KeyError):  # none yet, or edited by hand
        return {}


def _free_port(*wanted: int, taken: Collection[int]) -> int:
    """Return the first port that is free, another one where none is."""
    for port in (*wanted, 0, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                if (free := int(probe.getsockname()[1])) not in taken:
                    return free
    raise StartError("no port is free on 127.0.0.1")


async def _remember(emulator: Emulator, customer: Customer, insights: Insights) -> None:
    """Show on a customer's phone what was said before a restart: the emulator forgot, the file did not."""
    try:
        found = await insights.user(customer.key)
    except NotFound:
        return
    begun = {message["id"] for message in found["queue"] if message["begun_at"]}
    bubbles, read = [], False
    for line in reversed(found["conversation"]):
        if line["wamid"] is None or (line["direction"] == "out" and line["state"] != "sent"):
            continue
        bubble = Bubble(line["wamid"], customer.key, line["direction"], line["body"], line["type"])
        bubble.at = parse_stamp(line["at"]).timestamp()
        bubble.tick = line["delivery"] or "sent"
        if line["direction"] == "in":
            # Who reads a message has read the earlier ones, too.
            read = read or line["message_id"] in begun or line["state"] not in {"pending", "cancelled"}
            bubble.tick = "read" if read else "delivered"
            bubble.payload = _webhook(emulator, customer, line)
        bubbles.append(bubble)
    emulator.chats.restore(reversed(bubbles))


async def _catch_up(emulator: Emulator) -> None:
    """Deliver the statuses that a stop kept from arriving, as WhatsApp does later."""
    for customer in CUSTOMERS:
        for bubble in emulator.chats.bubbles[customer.key].values():
            if bubble.direction == "out" and bubble.tick in {"sent", "delivered"}:
                await emulator.deliveries.statuses(customer, bubble.id, "")


def _webhook(emulator: Emulator, customer: Customer, line: Mapping[str, Any]) -> payloads.Json:
    """Build the webhook of an earlier text once more, to deliver it again; nothing for what is no text."""
    if line["type"] != "text":
        return {}
    message = payloads.text_message(
        body=line["body"],
        wa_id=customer.wa_id,
        user_id=customer.user_id,
        wamid=line["wamid"],
        timestamp=int(parse_stamp(line["at"]).timestamp()),
    )
    return emulator.deliveries.wrap(messages=[message], contacts=[card(customer)])
