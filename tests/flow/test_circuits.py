"""A service that refuses us, or doesn't answer at all, costs no message anything: its circuit opens until it's back."""

import asyncio
import itertools
import socket

import pytest

from bot.emulator import Emulator, Fault
from tests.flow.conftest import World

MODEL_FAULTS = [
    Fault("error", "model", times=0, status=401, code="invalid_api_key", message="Incorrect API key"),
    Fault("error", "model", times=0, status=403, message="Country not supported"),
    Fault("error", "model", times=0, status=404, code="model_not_found", message="No such model"),
    Fault("error", "model", times=0, status=429, code="insufficient_quota", message="You exceeded your quota"),
]
GRAPH_FAULTS = [Fault("error", times=0, code=code) for code in (190, 10, 131005, 368, 131031, 133010)]
GRAPH_FAULTS.append(Fault("http", times=0, status=401, body="{}"))


async def assert_nothing_is_lost(world: World, service: str, fault: int) -> None:
    """Let three users meet the fault, look at what became of them, repair it and see them answered."""
    emu = world.emu
    for who in (world.ana, world.bea, world.cora):
        await emu.say(who, f"hello from {who.name}")
    await world.eventually(lambda: world.opened(service))
    await world.eventually(lambda: world.opened(service)[0][1] >= 1)  # and a probe failed
    assert emu.sends() == []
    refused = world.logged("turn", outcome="released")
    assert {line["log_level"] for line in refused if line["error"]} == {"warning"}
    assert world.rows("SELECT state, attempts FROM outbox WHERE state = 'failed' OR attempts > 0") == []
    status, ready = await world.get("/readyz")
    assert status == 503
    assert ("the model" if service == "model" else "WhatsApp") in ready["reasons"][0]
    ((reason,), what) = ready["reasons"], "not answering"
    assert await world.eventually(lambda: world.logged(what, reason=reason, log_level="error"))
    emu.faults.remove(fault)
    assert (await world.post(f"/api/circuits/{service}/try"))[0] == 200
    assert sorted(await world.sent(3)) == sorted(
        f"answer to: hello from {who.name}" for who in (world.ana, world.bea, world.cora)
    )
    await world.settled("done", "done", "done")
    assert await world.get("/readyz") == (200, {"ready": True})
    await world.eventually(lambda: world.logged("answering again"))
    assert len(world.logged(what)) == 1
    assert (await world.post(f"/api/circuits/{service}/try"))[0] == 409


@pytest.mark.parametrize("fault", MODEL_FAULTS, ids=lambda fault: f"{fault.status}-{fault.code}")
async def test_a_model_that_refuses_us_fails_no_message(world: World, fault: Fault) -> None:
    """Nothing fails, nobody gets an apology, no attempt is spent; what waited is answered once it is repaired."""
    number = world.emu.faults.add(fault)
    async with world.running():
        await assert_nothing_is_lost(world, "model", number)


@pytest.mark.parametrize("fault", GRAPH_FAULTS, ids=lambda fault: str(fault.code or fault.kind))
async def test_a_graph_api_that_refuses_us_fails_no_message(world: World, fault: Fault) -> None:
    """The same, and each answer was asked for once: it is planned and waits."""
    number = world.emu.faults.add(fault)
    async with world.running():
        await assert_nothing_is_lost(world, "graph", number)
    texts = [entry.text for entry in world.emu.log.of("model")]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("service", ["model", "graph"])
async def test_while_a_circuit_is_open_one_message_at_a_time_tries_the_service(world: World, service: str) -> None:
    """Probes never overlap and come from other users in turns; everybody else is left alone."""
    emu = world.emu
    fault = MODEL_FAULTS[0] if service == "model" else GRAPH_FAULTS[0]
    number = emu.faults.add(fault)
    people = [emu.customer(f"Customer {n}", wa_id=f"3460020000{n}") for n in range(6)]
    async with world.running():
        await emu.say(people[0], "first")
        await world.eventually(lambda: world.opened(service))
        since = emu.log.entries[-1].number
        for who in people[1:]:
            await emu.say(who, f"from {who.name}")
        for probes in range(1, 4):
            await world.post(f"/api/circuits/{service}/try")
            await world.eventually(lambda probes=probes: world.opened(service)[0][1] >= probes)
        tried = emu.log.of("model" if service == "model" else "graph.send", since=since)
        emu.faults.remove(number)
        await world.post(f"/api/circuits/{service}/try")
        await world.sent(6)
    assert 3 <= len(tried) <= 5
    assert len({entry.user for entry in tried[:3]}) == 3
    assert all((one.ended_at or 0) <= two.began_at for one, two in itertools.pairwise(tried))


async def test_a_circuit_closes_by_itself(world: World) -> None:
    """The next probe is due within seconds; nobody has to do anything."""
    world.emu.faults.add("error", service="model", status=401)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1, timeout_seconds=10) == ["answer to: hi"]
        await world.settled("done")
        assert world.opened("model") == []
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]


async def test_a_probe_that_fails_in_another_way_spends_nothing(world: World) -> None:
    """The service refused us, now it stumbles: its circuit stays open, the message keeps its attempts."""
    world.emu.faults.add("error", service="model", status=401)
    world.emu.faults.add("error", service="model", status=500, times=2)
    async with world.running(queue={"max_attempts": 2}):
        await world.emu.say(world.ana, "hi")
        for probes in (0, 1):
            await world.eventually(lambda n=probes: world.opened("model") and world.opened("model")[0][1] >= n)
            await world.post("/api/circuits/model/try")
        await world.eventually(lambda: not world.opened("model") or world.opened("model")[0][1] >= 2)
        await world.post("/api/circuits/model/try")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]


async def test_planned_answers_still_go_out_while_only_the_model_refuses(world: World) -> None:
    """What was answered before is sent, though nothing more can be asked."""
    emu = world.emu
    emu.faults.add("error", code=131056, user=world.ana.wa_id)
    async with world.running():
        await emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT not_before_at FROM outbox WHERE not_before_at > ''"))
        emu.faults.add(MODEL_FAULTS[0])
        await emu.say(world.bea, "hello")
        await world.eventually(lambda: world.opened("model"))
        world.write("UPDATE outbox SET not_before_at = NULL WHERE id = 1")
        assert await world.sent(1, world.ana) == ["answer to: hi"]
        assert world.opened("model")


@pytest.mark.parametrize("planned", [0, 2])
async def test_when_both_services_refuse_neither_is_hammered(world: World, planned: int) -> None:
    """A probe of one must not become a storm on the other, whether answers are planned or not."""
    emu = world.emu
    emu.faults.add(GRAPH_FAULTS[0])
    async with world.running():
        emu.settings.model_delay_seconds = 0.1  # so that all of them are at the model as the first one is refused
        people = [emu.customer(f"Planned {n}", wa_id=f"3460030000{n}") for n in range(planned)]
        await asyncio.gather(*(emu.say(who, f"from {who.name}") for who in people))
        await world.eventually(lambda: len(emu.log.of("graph.send")) >= planned)
        emu.settings.model_delay_seconds = 0.0
        emu.faults.add(MODEL_FAULTS[0])
        for n in range(4):
            await emu.say(emu.customer(f"Customer {n}", wa_id=f"3460020000{n}"), f"from {n}")
        await world.eventually(lambda: world.rows("SELECT count(*) FROM outbox") == [(planned + 4,)])
        for service in ("model", "graph"):
            world.write("UPDATE circuits SET state='open', opened_at='', probe_at='' WHERE service=?", service)
        before = len(emu.log.of("model")), len(emu.log.of("graph.send"))
        await asyncio.sleep(1.2)  # a storm would bring hundreds
        assert 1 <= len(emu.log.of("model")) - before[0] + len(emu.log.of("graph.send")) - before[1] <= 4


async def test_a_service_that_nobody_answers_for_opens_its_circuit(world: World) -> None:
    """Connections refused: nothing was sent, so nothing is in doubt and nothing is spent."""
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with world.running(whatsapp={"base_url": nowhere}):
            await world.emu.say(world.ana, "hi")
            await world.eventually(lambda: world.opened("graph"))
            status, ready = await world.get("/readyz")
        assert status == 503
        assert "can't be reached" in ready["reasons"][0]
        assert world.rows("SELECT state, attempts FROM outbox") == [("pending", 0)]
    async with world.running():
        assert await world.sent(1) == ["answer to: hi"]


async def test_a_model_that_nobody_answers_for_opens_its_circuit(world: World) -> None:
    """The same on the other side; the emulator comes back on its port and everything goes on."""
    async with Emulator() as model:
        port = model._port
    async with world.running(openai={"base_url": f"http://127.0.0.1:{port}/v1"}):
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.opened("model"))
        model.settings.port, model.settings.api_key = port, world.emu.settings.api_key
        back = Emulator(model.settings)
        async with back:
            await world.post("/api/circuits/model/try")
            assert await world.sent(1) == ["answer to: hi"]


async def test_an_open_circuit_outlives_a_restart(world: World) -> None:
    """Its state is in the file, so that the terminal knows it; the restart probes when that is due."""
    world.emu.faults.add("error", service="model", status=401, times=1)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.opened("model"))
    assert "401" in world.opened("model")[0][0]
    async with world.running():
        assert await world.sent(1) == ["answer to: hi"]
        assert world.opened("model") == []


async def test_a_retry_after_of_a_refusal_delays_the_probe(world: World) -> None:
    """The service said when to come back."""
    fault = Fault("error", "model", status=429, code="insufficient_quota", headers={"Retry-After": "25"})
    world.emu.faults.add(fault)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        ((_, _, probe_at),) = await world.eventually(lambda: world.opened("model"))
    ((now,),) = world.rows("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+20 seconds')")
    assert probe_at > now


async def test_a_probe_that_cannot_even_be_read_frees_the_next_one(world: World) -> None:
    """A date that a hand spoilt: the message fails, and somebody else's tries the service."""
    async with world.running():
        world.emu.faults.add(MODEL_FAULTS[0])
        await world.emu.say(world.ana, "one")
        await world.eventually(lambda: world.opened("model"))
        world.write("UPDATE circuits SET probe_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 second')")
        await world.emu.say(world.bea, "two")
        world.write("UPDATE outbox SET sent_at = '2026-02-30T10:00:00.000Z' WHERE body = 'one'")
        world.emu.faults.clear()
        assert await world.sent(1, world.bea) == ["answer to: two"]
