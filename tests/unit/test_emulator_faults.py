"""Faults hit the requests they are meant for, do what they say, and leave a true log."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, ClientTimeout

from bot.emulator import Emulator, Fault, Settings, StatusPlan
from bot.emulator.faults import Faults
from tests.unit.emulator_hook import post, read, text


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run an emulator that sends no statuses."""
    async with Emulator(Settings(statuses=StatusPlan(names=()))) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client that doesn't wait long."""
    async with ClientSession(timeout=ClientTimeout(total=0.5)) as session:
        yield session


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "error"), [("cut", aiohttp.ServerDisconnectedError), ("hang", TimeoutError)])
async def test_a_send_that_is_never_answered_went_out_or_not(
    emu: Emulator, client: ClientSession, kind: str, error: type[Exception], after: bool
) -> None:
    """The caller can't tell; the log can: `after` means that the message was accepted."""
    emu.faults.add(kind, after=after)
    with pytest.raises(error):
        await post(client, emu, text("in doubt"))
    assert emu.sends() == (["in doubt"] if after else [])
    [entry] = emu.log.of("graph.send")
    assert (entry.fault, entry.accepted, entry.status) == (kind, after, 0)
    assert (await post(client, emu, text("next"))).status == 200


async def test_a_body_that_is_cut_off_was_accepted(emu: Emulator, client: ClientSession) -> None:
    """Headers say 200, the body ends in the middle, the message goes out."""
    emu.faults.add("cut_body")
    response = await post(client, emu, text())
    assert response.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()
    assert emu.sends() == ["hello"]


@pytest.mark.parametrize("after", [False, True])
async def test_an_answer_that_is_no_json(emu: Emulator, client: ClientSession, after: bool) -> None:
    """Garbage with a 200, accepted or not."""
    emu.faults.add("broken", after=after)
    response = await post(client, emu, text())
    assert response.status == 200
    with pytest.raises(ValueError, match="Unterminated"):
        await response.json()
    assert emu.sends() == (["hello"] if after else [])


async def test_a_gateway_answers_with_a_page(emu: Emulator, client: ClientSession) -> None:
    """5xx with HTML, and 429 with Retry-After: no error code in either."""
    emu.faults.add("http", status=502)
    emu.faults.add("http", status=429, headers={"Retry-After": "3"}, body='{"wait": true}')
    page = await post(client, emu, text())
    assert (page.status, page.content_type) == (502, "text/html")
    throttled = await post(client, emu, text())
    assert (throttled.status, throttled.headers["Retry-After"]) == (429, "3")
    assert await throttled.json() == {"wait": True}
    assert emu.sends() == []


async def test_an_error_after_processing_was_accepted_all_the_same(emu: Emulator, client: ClientSession) -> None:
    """131000: an error that says nothing about the message's fate."""
    emu.faults.add("error", code=131000, after=True)
    assert (await post(client, emu, text())).status == 500
    assert emu.sends() == ["hello"]


async def test_a_slow_call_takes_effect_late_or_is_answered_late(emu: Emulator, client: ClientSession) -> None:
    """Before: a caller that gave up still sees its message go out later. After: it is out while the caller waits."""
    emu.faults.add("slow", seconds=0.6)
    with pytest.raises(TimeoutError):
        await post(client, emu, text("late"))
    assert emu.sends() == []
    await emu.wait_for(lambda: emu.sends() == ["late"])
    emu.faults.add("slow", seconds=60.0, after=True)
    waiting = asyncio.create_task(post(client, emu, text("out")))
    await emu.wait_for(lambda: emu.sends() == ["late", "out"])
    assert not waiting.done()
    waiting.cancel()


async def test_a_fault_hits_one_service_and_one_user(emu: Emulator, client: ClientSession) -> None:
    """Others aren't touched; a phone may be given with a plus, a person with two ids under either."""
    emu.customer("Ana", wa_id="5215512345678", user_id="MX.1")
    emu.faults.add("http", service="graph.read", times=0)
    emu.faults.add("error", code=131056, user="MX.1")
    assert (await post(client, emu, text(to="+16505551234"))).status == 200
    assert (await post(client, emu, read("wamid.1"))).status == 503
    assert (await post(client, emu, text(to="+525512345678"))).status == 400
    assert (await post(client, emu, text())).status == 200
    emu.faults.clear()
    assert (await post(client, emu, read("wamid.1"))).status == 200


def hits(faults: Faults, n: int, service: str = "graph.send", text: str = "") -> list[bool]:
    """Say for each of n requests whether a fault hit it."""
    return [faults.take(service, ["1"], text) is not None for _ in range(n)]


def test_a_fault_counts_what_it_hits() -> None:
    """`times` requests, then nothing; 0 goes on until it is removed."""
    faults = Faults()
    faults.add("cut", times=2)
    assert hits(faults, 4) == [True, True, False, False]
    number = faults.add("cut", times=0)
    assert all(hits(faults, 50))
    faults.remove(number)
    faults.remove(number)
    assert not any(hits(faults, 2))


def test_a_fault_can_be_a_matter_of_luck() -> None:
    """The same luck for the same seed."""
    runs = []
    for seed in (1, 1, 2):
        faults = Faults(seed)
        faults.add("cut", times=0, probability=0.3)
        runs.append(hits(faults, 200))
    assert runs[0] == runs[1] != runs[2]
    assert 30 < sum(runs[0]) < 90


def test_a_fault_can_look_at_the_text_and_take_all_of_graph() -> None:
    """`contains`, and the group name `graph`, which leaves the model alone."""
    faults = Faults()
    faults.add("cut", service="graph", contains="please", times=0)
    assert hits(faults, 1, "graph.send", "yes please") == [True]
    assert hits(faults, 1, "graph.send", "no") == [False]
    assert hits(faults, 1, "model", "yes please") == [False]
    assert hits(faults, 1, "graph.read", "yes please") == [True]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "explode"}, "no fault of kind"),
        ({"kind": "cut", "service": "mars"}, "no service"),
        ({"kind": "refusal"}, "a fault of the model"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    """A typing mistake in a test must not pass as a fault that never strikes."""
    with pytest.raises(ValueError, match=says):
        Fault(**fields)
