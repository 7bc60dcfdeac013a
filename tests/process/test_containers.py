"""docker/Caddyfile, word for word, in a real Caddy before a real daemon."""

import asyncio
import contextlib
import socket
import subprocess
from functools import partial
from pathlib import Path

from bot.emulator import Emulator
from tests.process.harness import START_SECONDS, Bot, reserved_port, until
from tests.process.knocking import knock
from tests.process.rig import assert_answered_once_in_order
from tests.process.test_proxies import running
from tests.wanted import program

CADDYFILE = (Path(__file__).parents[2] / "docker" / "Caddyfile").read_text("utf-8")
CUSTOMERS, RESTARTS = 4, 2


def listening(port: int) -> bool:
    """Say whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


async def test_caddy_passes_on_webhooks_alone_and_lets_them_wait_while_the_daemon_restarts(
    bot: Bot, emu: Emulator, tmp_path: Path
) -> None:
    """None is refused, cut off or lost, on new connections all the time: no socket unit holds the port here."""
    caddy, restarts = program("caddy", "proxy-deps"), RESTARTS
    text = CADDYFILE.replace("bot:8080", f"127.0.0.1:{bot.public_port}")
    if subprocess.run([caddy, "version"], capture_output=True, text=True, check=True).stdout.lstrip("v")[:4] == "2.6.":
        # Debian's: it calls this otherwise, and a body that it read once is gone. The image's caddy:2 knows better.
        text, restarts = text.replace("request_buffers 3MiB", "buffer_requests"), 0
    file = tmp_path / "Caddyfile"
    file.write_text(f"{{\nadmin off\nauto_https off\nlog {{\nlevel ERROR\n}}\n}}\n{text}")
    users = [f"3460011122{n}" for n in range(CUSTOMERS)]
    said: dict[str, list[str]] = {user: [] for user in users}
    failures: list[str] = []
    stop = asyncio.Event()

    def more_than(count: int) -> bool:
        return sum(map(len, said.values())) > count

    process = await bot.start()
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        env = {"DOMAIN": url, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        async with running(caddy, "run", "--config", str(file), "--adapter", "caddyfile", env=env):
            await until(partial(listening, port), START_SECONDS)
            for path in ("/", "/healthz", "/webhook/x"):
                async with bot.client.get(url + path) as hidden:
                    assert hidden.status == 404
            webhook = url + "/webhook"
            writing = [asyncio.create_task(knock(emu, webhook, user, said[user], failures, stop)) for user in users]
            for _ in range(restarts):
                await until(partial(more_than, sum(map(len, said.values())) + CUSTOMERS))
                assert await process.stop() == 0
                process = await bot.start()
            await until(partial(more_than, sum(map(len, said.values())) + CUSTOMERS))
            stop.set()
            await asyncio.gather(*writing)
    assert failures == []
    await until(lambda: not bot.waiting(), START_SECONDS)
    assert_answered_once_in_order(emu, said)
