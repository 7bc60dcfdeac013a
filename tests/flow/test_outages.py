"""Services that stumble instead of refusing: three users in a row make an outage, which costs nobody anything."""

import pytest

from bot.emulator import Fault
from tests.flow.conftest import ERROR_REPLY, World

MODEL_OUTAGES = [
    Fault("error", "model", times=0, status=500),
    Fault("http", "model", times=0, status=503),
    Fault("cut", "model", times=0),
    Fault("hang", "model", times=0),
    Fault("html", "model", times=0),
]
GRAPH_OUTAGES = [
    Fault("error", times=0, code=2),
    Fault("http", times=0, status=502),
    Fault("cut", times=0),
    Fault("error", times=0, code=131000),
]
SHORT = {"openai": {"timeout_seconds": 0.3}, "queue": {"max_attempts": 3, "backoff_base_seconds": 0.5}}


async def outage(world: World, service: str, fault: Fault) -> None:
    """Let everybody write into an outage; when it is over, everybody has their answer, once, and spent nothing."""
    emu, everybody = world.emu, (world.ana, world.bea, world.cora)
    number = emu.faults.add(fault)
    for who in everybody:
        await emu.say(who, f"hello from {who.name}")
    await world.eventually(lambda: world.opened(service))
    await world.eventually(lambda: world.opened(service)[0][1] >= 1, 10)  # and a probe failed
    status, ready = await world.get("/readyz")
    assert (status, len(ready["reasons"])) == (503, 1)
    assert world.rows("SELECT state, attempts FROM outbox WHERE state = 'failed' OR attempts > 0") == []
    emu.faults.remove(number)
    await world.settled("done", "done", "done", timeout_seconds=20)
    assert sorted(emu.sends()) == sorted(f"answer to: hello from {who.name}" for who in everybody)
    assert await world.get("/readyz") == (200, {"ready": True})
    assert world.rows("SELECT DISTINCT attempts FROM outbox") == [(0,)]


@pytest.mark.parametrize("fault", MODEL_OUTAGES, ids=lambda fault: f"{fault.kind}-{fault.status}")
async def test_an_outage_of_the_model_fails_nobody(world: World, fault: Fault) -> None:
    """No apology, no attempt spent; it closes by itself within seconds of the model's return."""
    async with world.running(**SHORT):
        await outage(world, "model", fault)


@pytest.mark.parametrize("fault", GRAPH_OUTAGES, ids=lambda fault: f"{fault.kind}-{fault.code or fault.status}")
async def test_an_outage_of_the_graph_api_fails_nobody(world: World, fault: Fault) -> None:
    """The same, and the model was asked once for each."""
    async with world.running(**SHORT):
        await outage(world, "graph", fault)
    assert len(world.emu.log.of("model")) == 3


async def test_a_message_that_always_fails_beside_good_ones_fails_alone(world: World) -> None:
    """The model answers the others between its tries: that is no outage, and the apology goes to one person."""
    emu = world.emu
    emu.faults.add("error", service="model", times=0, status=500, contains="poison")
    async with world.running(queue={"max_attempts": 3, "backoff_base_seconds": 0.1}):
        await emu.say(world.ana, "poison")
        for n in range(8):
            await emu.say(world.bea, f"good {n}")
        await world.settled("failed", *["done"] * 8, timeout_seconds=10)
        assert emu.sends(world.ana) == [ERROR_REPLY]
        assert world.opened("model") == []


async def test_a_flood_of_429_slows_everybody_down_and_fails_nobody(world: World) -> None:
    """Every second call is turned away: all are answered in the end, no attempt is spent."""
    emu = world.emu
    emu.faults.add("error", service="model", times=0, status=429, code="rate_limit_exceeded", probability=0.5)
    people = [emu.customer(f"Customer {n}", wa_id=f"3460020000{n}") for n in range(4)]
    async with world.running(queue={"max_attempts": 2}):
        for who in people:
            await emu.batch([(who, f"{who.name} one"), (who, f"{who.name} two")])
        await world.settled(*["done"] * 8, timeout_seconds=40)
    assert len(emu.sends()) == 8
    assert world.rows("SELECT DISTINCT attempts FROM outbox") == [(0,)]
    turns = world.rows("SELECT DISTINCT outcome, code FROM attempts WHERE stage = 'turn'")
    assert turns == [("refused", "rate_limit_exceeded")]
