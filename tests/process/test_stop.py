"""SIGTERM and SIGINT: turns under way get `drain_seconds`, what isn't finished goes back unspent; exit code 0."""

import asyncio
import contextlib
import signal
import socket
import time

import pytest

from bot.emulator import Emulator, StatusPlan
from tests.process.harness import Bot, until, write_lock

ANA, LUIS = "34600111222", "34600333444"
GRACE_SECONDS = 5.0  # that a stop may take beyond queue.drain_seconds


async def test_an_idle_daemon_ends_at_once_with_exit_code_0(bot: Bot) -> None:
    """Ctrl-C counts as SIGTERM does; nothing is waited for, idle connections of clients included."""
    process = await bot.start()
    async with bot.client.get(bot.public_url + "/healthz") as response:  # leaves a kept-alive connection
        assert response.status == 200
    assert await process.stop(signal.SIGINT, seconds=3) == 0
    assert [event["event"] for event in process.events][-2:] == ["draining", "stopped"]


async def test_turns_under_way_end_and_webhooks_are_stored_while_it_drains(bot: Bot, emu: Emulator) -> None:
    """The answer in the making goes out, whatever signals follow; what arrives meanwhile is for the next start."""
    emu.settings.model_delay_seconds = 0.5
    process = await bot.start()
    await emu.say(ANA, "first")
    await emu.wait_for(lambda: emu.log.of("model"))
    process.send(signal.SIGTERM)
    await process.logged("draining")
    process.send(signal.SIGTERM)
    process.send(signal.SIGINT)
    await emu.say(ANA, "second")
    await emu.say(LUIS, "late")
    assert await bot.get("/readyz") == (503, {"ready": False, "reasons": ["stopping"]})
    assert await process.ended() == 0
    assert emu.sends() == ["answer to: first"]
    assert bot.states() == {"first": "done", "second": "pending", "late": "pending"}
    await bot.start()
    await until(lambda: not bot.waiting())
    assert sorted(emu.sends()) == ["answer to: first", "answer to: late", "answer to: second"]


async def test_a_turn_that_outlasts_the_drain_goes_back_unspent(bot: Bot, emu: Emulator) -> None:
    """A model that thinks for too long is left; neither an attempt nor a crash is counted, and the next start asks."""
    bot.configure(queue={"drain_seconds": 0.5})
    emu.faults.add("hang", service="model")
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: emu.log.of("model"))
    assert await process.stop(seconds=0.5 + GRACE_SECONDS) == 0
    assert bot.sql("SELECT state, attempts, crashes, error FROM outbox") == [("pending", 0, 0, None)]
    await bot.start()
    await emu.wait_for(lambda: emu.sends() == ["answer to: hola"])


@pytest.mark.parametrize("went_out", [True, False])
async def test_a_send_that_outlasts_the_drain_goes_out_once(bot: Bot, emu: Emulator, went_out: bool) -> None:
    """Its answer is never seen: a status tells the next process that it went out, or silence that it did not."""
    bot.configure(queue={"drain_seconds": 0.5}, whatsapp={"confirm_seconds": 3.0 if went_out else 1.0})
    emu.settings.statuses = StatusPlan(("sent",), (0.8,))  # later than the end
    emu.faults.add("hang", after=went_out)
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: emu.log.of("graph.send"))
    assert await process.stop(seconds=0.5 + GRACE_SECONDS) == 0
    assert bot.sql("SELECT state, attempts, crashes FROM outbox") == [("pending", 0, 0)]
    assert bot.sql("SELECT state FROM replies") == [("sending",)]
    await bot.start_in_doubt()
    await until(lambda: not bot.waiting())
    assert emu.sends() == ["answer to: hola"]
    assert len(emu.log.of("graph.send")) == (1 if went_out else 2)
    assert bot.sql("SELECT state, attempts FROM outbox") == [("done", 0)]


async def test_clients_that_never_finish_their_request_do_not_hold_up_the_end(bot: Bot, emu: Emulator) -> None:
    """A body that stops half way, on either listener, beside a turn that hangs: the end still comes in time."""
    bot.configure(queue={"drain_seconds": 0.5})
    emu.faults.add("hang", service="model")
    process = await bot.start()
    with contextlib.ExitStack() as clients:
        for port, path in ((bot.public_port, "/webhook"), (bot.admin_port, "/api/resume")):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode())
        await emu.say(ANA, "hola")
        await emu.wait_for(lambda: emu.log.of("model"))
        assert await process.stop(seconds=0.5 + GRACE_SECONDS) == 0


async def test_it_ends_in_time_although_another_program_holds_the_write_lock(bot: Bot, emu: Emulator) -> None:
    """Outcomes can't be stored then; nothing is lost by that: the next start takes over what is left leased."""
    bot.configure(queue={"drain_seconds": 0.5})
    emu.settings.model_delay_seconds = 0.3
    process = await bot.start()
    await emu.say(ANA, "hola")
    await emu.wait_for(lambda: emu.log.of("model"))
    with write_lock(bot):
        assert await process.stop(seconds=0.5 + GRACE_SECONDS) == 0
    assert bot.states() == {"hola": "leased"}
    await bot.start()
    await until(lambda: not bot.waiting())
    assert emu.sends() == ["answer to: hola"]
    assert bot.sql("SELECT state, attempts FROM outbox") == [("done", 0)]


async def test_a_start_that_waits_for_the_file_can_be_ended(bot: Bot) -> None:
    """Somebody holds the write lock: the daemon waits for it, with its ports taken, but not beyond SIGTERM."""
    await (await bot.start()).stop()
    with write_lock(bot):
        process = await bot.launch()
        await process.logged("store can't write")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", bot.public_port))
        assert await process.stop(seconds=GRACE_SECONDS) == 0
        assert "Traceback" not in process.output
    assert await (await bot.start()).stop() == 0


async def test_sigterm_at_any_moment_of_a_start_leaves_a_file_that_the_next_start_takes(bot: Bot) -> None:
    """Before the process listens to signals, one kills it as it does any other; from then on the exit code is 0."""
    began = time.monotonic()
    process = await bot.start()
    length = time.monotonic() - began
    assert await process.stop() == 0
    for part in (0.9, 0.6):
        process = await bot.launch()
        await asyncio.sleep(part * length)
        assert await process.stop(seconds=GRACE_SECONDS) in (0, -signal.SIGTERM)
        assert "Traceback" not in process.output
    assert await (await bot.start()).stop() == 0
