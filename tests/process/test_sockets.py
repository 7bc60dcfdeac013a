"""The ports are the service manager's: what comes while no daemon runs waits, and the next one takes it."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.emulator import Emulator
from tests.process.harness import Bot, Process, until
from tests.process.knocking import knock
from tests.process.rig import assert_answered_once_in_order

RESTARTS = 20
CUSTOMERS = 4
ANA = "34600111222"
# What systemd does: descriptors from 3 on, for the process with this id.
HAND_OVER = """
import os, sys
for wanted, descriptor in enumerate(map(int, sys.argv[1:]), 3):
    os.dup2(descriptor, wanted)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "bot", "run"])
"""


@pytest.fixture
def held(bot: Bot) -> Iterator[dict[str, socket.socket]]:
    """Hold both ports, and nobody accepts yet."""
    with contextlib.ExitStack() as stack:
        ports = {"public": bot.public_port, "admin": bot.admin_port}
        yield {
            name: stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=1024))
            for name, port in ports.items()
        }


async def launch(bot: Bot, sockets: Mapping[str, Any], **env: str) -> Process:
    """Start `bot run` with sockets, as systemd does."""
    descriptors = [one.fileno() for one in sockets.values()]
    command = (sys.executable, "-c", HAND_OVER, *map(str, descriptors))
    told = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    return await bot.launch(*command, env=told | env, pass_fds=descriptors)


async def test_twenty_restarts_refuse_reset_and_lose_no_webhook(
    bot: Bot, emu: Emulator, held: dict[str, socket.socket]
) -> None:
    """Clients open new connections all the time; what comes meanwhile is answered, once and in order."""
    users = [f"3460011122{n}" for n in range(CUSTOMERS)]
    said: dict[str, list[str]] = {user: [] for user in users}
    failures: list[str] = []
    stop, webhook = asyncio.Event(), f"{bot.public_url}/webhook"
    process = await launch(bot, held)
    writing = [asyncio.create_task(knock(emu, webhook, user, said[user], failures, stop)) for user in users]
    for _ in range(RESTARTS):
        await process.logged("ready")
        stored = sum(map(len, said.values()))
        await until(lambda wanted=stored + 2 * CUSTOMERS: sum(map(len, said.values())) > wanted)
        assert await process.stop() == 0
        process = await launch(bot, held)
    stop.set()
    await asyncio.gather(*writing)
    assert failures == []
    await until(lambda: not bot.waiting(), 20)
    assert_answered_once_in_order(emu, said)


async def test_who_has_come_in_is_answered_though_the_request_comes_a_little_later(
    bot: Bot, held: dict[str, socket.socket]
) -> None:
    """The connection was accepted by the daemon that ends: no other can answer on it."""
    process = await launch(bot, held)
    await process.logged("ready")
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.public_port)
    async with bot.client.get(bot.public_url + "/healthz") as response:  # came later, so that one was accepted, too
        assert response.status == 200
    process.terminate()
    await process.logged("draining")
    await asyncio.sleep(0.05)  # as a request may take on its way
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    assert await process.ended() == 0
    writer.close()


@pytest.mark.parametrize("name", ["public", "admin"])
async def test_the_port_that_nobody_holds_is_bound_by_the_daemon(
    bot: Bot, held: dict[str, socket.socket], name: str
) -> None:
    """One socket unit alone is enough."""
    for other in held.keys() - {name}:
        held.pop(other).close()
    process = await launch(bot, held)
    ready = await process.logged("ready")
    assert (ready["public"], ready["admin"]) == (bot.public_url, bot.admin_url)
    async with bot.client.get(bot.public_url + "/healthz") as response:
        assert response.status == 200
    assert (await bot.get("/readyz"))[0] == 200


async def test_a_socket_that_others_can_reach_wants_the_token(bot: Bot, held: dict[str, socket.socket]) -> None:
    """The unit says where the page is, not bot.toml: the same rule holds for it."""
    held.pop("admin").close()
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        process = await launch(bot, {"admin": everywhere})
        assert await process.ended() == 2
    assert "admin.token is missing, and others than this machine can reach the status page" in process.output


@pytest.mark.parametrize("name", ["bot.socket", "", "public"])
async def test_a_socket_that_is_not_what_was_meant_is_refused_in_words(
    bot: Bot, held: dict[str, socket.socket], tmp_path: Path, name: str
) -> None:
    """Without a name it can't be guessed which of the two it is to be; and one that is no listener serves nobody."""
    with (tmp_path / "file").open("w") as file:
        process = await launch(bot, {name: file if name == "public" else held["public"]})
        assert await process.ended() == 1
    assert "FileDescriptorName=public" in process.output
    assert "Traceback" not in process.output


async def test_a_socket_that_belongs_to_another_process_is_left_alone(bot: Bot, held: dict[str, socket.socket]) -> None:
    """LISTEN_PID names who is meant; children inherit the variables."""
    for one in held.values():
        one.close()
    process = await bot.start(env={"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"})
    assert process.running
