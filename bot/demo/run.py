"""Put the demo together: emulator, daemon and chat page in one process, its data in a folder of its own."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import click
from aiohttp import web

from bot import logs
from bot.clock import parse_stamp
from bot.config import Config, load
from bot.daemon import Daemon
from bot.demo.chat import CUSTOMERS, chat_app
from bot.emulator import Bubble, Customer, Emulator, Settings
from bot.errors import StartError
from bot.store.insights import Insights

PORTS = {"public": 8080, "admin": 8081, "chat": 8082}
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
    async with Emulator(settings) as emulator, contextlib.AsyncExitStack() as stack:
        config = _configure(emulator, real_model)
        logs.configure(secrets=config.secrets)
        daemon = await stack.enter_async_context(Daemon(config).running())
        for customer in CUSTOMERS:
            emulator.chats.add(customer)
            await _remember(emulator, customer, daemon.insights)
        settings.webhook_url = f"{daemon.public_url}/webhook"
        runner = web.AppRunner(
            chat_app(emulator, f"{daemon.admin_url}/", real_model=real_model),
            access_log=None,
            shutdown_timeout=1,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = _free_port(PORTS["chat"])
        await web.TCPSite(runner, "127.0.0.1", port).start()
        click.echo(
            f"\n  Chat as a customer   http://127.0.0.1:{port}/\n"
            f"  Status page          {daemon.admin_url}/\n"
            f"  Queue as JSON        {daemon.admin_url}/queue-stats\n\n"
            f"  The queue is in {config.store.path}: it survives a restart. Ctrl-C stops.\n"
        )
        yield emulator


def _configure(emulator: Emulator, real_model: bool) -> Config:
    """Write the demo's bot.toml and read it as the daemon would; nothing of a real account gets in."""
    folder, settings = data_folder(), emulator.settings
    text = CONFIG if real_model else CONFIG + SCRIPTED
    ports = {name: _free_port(PORTS[name]) for name in ("public", "admin")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bot.toml").write_text(
            text.format(
                **ports,
                number=settings.phone_number_id,
                account=settings.waba_id,
                graph=emulator.graph_url,
                model=emulator.model_url,
            )
        )
    except OSError as error:
        raise StartError(f"can't write in {folder}: {error.strerror}; set XDG_DATA_HOME to another folder") from error
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


def _free_port(wanted: int) -> int:
    """Return the port where it is free, another one where it isn't."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise StartError("no port is free on 127.0.0.1")


async def _remember(emulator: Emulator, customer: Customer, insights: Insights) -> None:
    """Show on a customer's phone what was said before a restart: the emulator forgot, the file did not."""
    user_id = await insights.find_user(customer.key)
    found = await insights.user(user_id) if user_id is not None else None
    bubbles = []
    for line in found["conversation"] if found else ():
        if line["wamid"] is None or (line["direction"] == "out" and line["state"] != "sent"):
            continue
        bubble = Bubble(line["wamid"], customer.key, line["direction"], line["body"], line["type"])
        bubble.at = parse_stamp(line["at"]).timestamp()
        bubble.tick = "delivered" if line["direction"] == "in" else line["delivery"] or "sent"
        bubbles.append(bubble)
    emulator.chats.restore(bubbles)
