"""A service that refuses us: nothing is claimed but one probe at a time, until one succeeds. And the day's budget."""

from bot.domain import Answer, Done, Failed, Lease, Operator, Released, Service
from bot.store.replies import Plan
from bot.store.turns import Budget
from tests.store.conftest import OpenDesk
from tests.store.desk import PEOPLE, Desk, words


def refused(service: Service, *, after: float = 0.0) -> Released:
    """Say that a service refused us."""
    return Released(refused_by=service, error="token expired", code="190", probe_after_seconds=after)


async def planned(desk: Desk, who: str, body: str) -> None:
    """Leave a message with a planned answer waiting."""
    await desk.say(who, body)
    (lease,) = [lease for lease in await desk.claim() if lease.messages[0].body == body]
    await desk.plan(lease, f"re {body}")
    await desk.settle(lease, Released())


async def test_a_refusal_opens_the_circuit_and_nobody_fails(desk: Desk) -> None:
    """Nothing is spent, nothing else is claimed, and it says why and since when."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    desk.tick()
    assert await desk.store.settle(lease, refused("model"), claim=True) is None
    opened_at = desk.clock.now()
    assert await desk.claim() == []
    (circuit,) = await desk.store.insights.circuits()
    assert (circuit["service"], circuit["reason"], circuit["code"]) == ("model", "token expired", "190")
    assert circuit["opened_at"] == opened_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{opened_at.microsecond // 1000:03}Z"
    (reason,) = await desk.store.reasons()
    assert "model" in reason
    assert "token expired" in reason
    assert (await desk.look(PEOPLE[0]))["queue"][0]["attempts"] == 0


async def test_one_probe_at_a_time_each_with_another_users_head(desk: Desk) -> None:
    """While one is under way nobody else is claimed; the next is somebody else's."""
    await desk.crowd(4)
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    probed = [words([lease])[0]]
    for _ in range(4):
        desk.tick(30)
        (probe,) = await desk.claim(64)
        assert probe.probes
        probed.append(words([probe])[0])
        desk.tick(300)
        assert await desk.claim(64) == []
        await desk.settle(probe, refused("model"))
    assert probed == ["m0", "m1", "m2", "m3", "m0"]


async def test_probes_are_at_most_thirty_seconds_apart(desk: Desk) -> None:
    """1, 2, 4, 8, 16 and then 30 seconds."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("graph"))
    waits = []
    for _ in range(8):
        waited = 0.0
        while not (leases := await desk.claim()):
            desk.tick(0.5)
            waited += 0.5
        waits.append(waited)
        await desk.settle(leases[0], refused("graph"))
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_many_turns_that_are_refused_together_are_one_refusal(desk: Desk) -> None:
    """What was under way when the circuit opened is no failed probe: the first probe comes after a second."""
    await desk.crowd(10)
    leases = await desk.claim()
    assert len(leases) == 10
    for lease in leases:
        await desk.settle(lease, refused("model"))
    desk.tick(1)
    assert len(await desk.claim()) == 1


async def test_a_refusal_that_says_when_is_heeded(desk: Desk) -> None:
    """The service's own Retry-After is a floor."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model", after=20))
    desk.tick(19)
    assert await desk.claim() == []
    desk.tick(1)
    assert len(await desk.claim()) == 1


async def test_a_probe_that_is_answered_closes_the_circuit(desk: Desk) -> None:
    """The model's answer is what counts; everybody goes on at once."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.plan(probe, "an answer")
    assert await desk.open_services() == []
    assert await desk.store.reasons() == []
    assert len(await desk.claim()) == 4


async def test_a_probe_says_what_it_probes(desk: Desk) -> None:
    """Whoever isn't a probe says nothing."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    assert lease.probes == ()
    await desk.settle(lease, refused("model"))
    desk.tick(1)
    (probe,) = await desk.claim()
    assert probe.probes == ("model",)


async def test_a_service_that_rejects_a_message_works(desk: Desk) -> None:
    """The model answered, with a no to this message: that closes its circuit as well."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.store.plan(Plan(probe, "apology", ["sorry"], error="content filter", works="model"))
    assert await desk.open_services() == []


async def test_a_send_closes_the_circuit_of_the_graph_api(desk: Desk) -> None:
    """A wamid says that we are let in again, also one of a send that was under way when it opened."""
    await desk.crowd(3)
    first, second, _ = await desk.claim()
    parts = await desk.plan(first, "answer")
    await desk.begin(first, parts[0])
    await desk.settle(second, refused("graph"))
    assert await desk.open_services() == ["graph"]
    await desk.settle(first, Done(desk.receipt(parts[0])))
    assert await desk.open_services() == []


async def test_planned_answers_go_out_while_only_the_model_is_shut(desk: Desk) -> None:
    """They don't need it; who needs it waits."""
    for who in PEOPLE[:3]:
        await planned(desk, who, f"{who} planned")
    await desk.say(PEOPLE[3], "refused")
    leases = {words([lease])[0]: lease for lease in await desk.claim()}
    await desk.settle(leases.pop("refused"), refused("model"))
    for lease in leases.values():
        await desk.settle(lease, Released())
    await desk.say(PEOPLE[4], "new")
    assert sorted(words(await desk.claim())) == sorted(leases)


async def test_planned_answers_wait_for_the_graph_api_and_are_its_probes(desk: Desk) -> None:
    """A probe of the Graph API needs no model where an answer waits to be sent."""
    await desk.say(PEOPLE[1], "new")
    (lease,) = await desk.claim()
    await desk.settle(lease, Released())
    await planned(desk, PEOPLE[0], "planned")
    (lease,) = [lease for lease in await desk.claim() if lease.parts]
    (part,) = lease.parts
    await desk.begin(lease, part)
    await desk.store.refuse_part(part, "token expired", final=False)
    await desk.settle(lease, refused("graph"))
    desk.tick(1)
    (probe,) = await desk.claim()
    assert (words([probe]), bool(probe.probes)) == (["planned"], True)
    await desk.serve(probe)
    assert await desk.open_services() == []
    assert await desk.told(PEOPLE[0]) == [("re planned", "sent", None)]


async def test_a_probe_that_says_nothing_of_the_service_is_followed_by_another(desk: Desk) -> None:
    """An expired head is decided without asking anybody."""
    await desk.crowd(2)
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.settle(probe, Failed("expired"))
    (probe,) = await desk.claim()
    assert probe.probes
    assert await desk.open_services() == ["model"]


async def test_a_restart_forgets_the_probe_and_keeps_the_circuit(desk: Desk, open_desk: OpenDesk) -> None:
    """The probe under way died with the process: the next one may go."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    desk.tick(1)
    assert len(await desk.claim()) == 1
    again = await open_desk()
    assert await again.claim() == []
    await again.store.adopt()
    (probe,) = await again.claim()
    assert probe.probes
    assert await again.open_services() == ["model"]


async def test_an_operator_can_have_the_next_probe_at_once(desk: Desk) -> None:
    """False where nothing is wrong with the service."""
    await desk.crowd()
    assert await desk.store.try_circuit("model", who=Operator("test")) is False
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model", after=3600))
    assert await desk.claim() == []
    assert await desk.store.try_circuit("graph", who=Operator("test")) is False
    assert await desk.store.try_circuit("model", who=Operator("test")) is True
    assert len(await desk.claim()) == 1


async def test_both_services_can_be_shut(desk: Desk) -> None:
    """One probe for both; each closes by its own success."""
    await desk.crowd()
    first, second = await desk.claim(2)
    await desk.settle(first, refused("model"))
    await desk.settle(second, refused("graph"))
    assert len(await desk.store.reasons()) == 2
    desk.tick(1)
    (probe,) = await desk.claim()
    (part,) = await desk.plan(probe, "answer")
    assert await desk.open_services() == ["graph"]
    await desk.begin(probe, part)
    await desk.settle(probe, Done(desk.receipt(part)))
    assert await desk.open_services() == []


async def test_a_paused_daemon_probes_nothing(desk: Desk) -> None:
    """Paused is paused."""
    await desk.crowd()
    (lease,) = await desk.claim(1)
    await desk.settle(lease, refused("model"))
    await desk.store.pause(None, who=Operator("test"))
    desk.tick(60)
    assert await desk.claim() == []


# -- the day's budget


async def spend(desk: Desk, lease: Lease, tokens: int) -> None:
    """Answer at the price of so many input tokens."""
    desk.tick()
    await desk.store.plan(Plan(lease, "answer", ["costly"], answer=Answer(("costly",), tokens, 0, "req")))
    await desk.settle(lease, Released())


async def test_a_spent_budget_stops_the_model_and_not_the_planned_answers(open_desk: OpenDesk) -> None:
    """It shows, and who has an answer gets it."""
    desk = await open_desk(budget=Budget(1.0, input_price=10.0))
    await desk.crowd(3)
    first, *others = await desk.claim()
    await spend(desk, first, 99_999)
    for lease in others:
        await desk.settle(lease, Released())
    assert await desk.store.reasons() == []
    again = await desk.claim()
    assert len(again) == 3
    await spend(desk, again[1], 1)
    for lease in (again[0], again[2]):
        await desk.settle(lease, Released())
    assert "budget" in (await desk.store.reasons())[0]
    leases = await desk.claim()
    assert [len(lease.parts) for lease in leases] == [1, 1]
    for lease in leases:
        await desk.serve(lease)
    assert await desk.claim() == []


async def test_the_next_day_has_a_budget_of_its_own(open_desk: OpenDesk) -> None:
    """By UTC; also after a restart."""
    desk = await open_desk(budget=Budget(1.0, output_price=1.0))
    await desk.crowd(2)
    (lease,) = await desk.claim(1)
    await desk.store.plan(Plan(lease, "answer", ["costly"], answer=Answer(("costly",), 0, 1_000_000, "req")))
    await desk.serve((await desk.claim(0) or [lease])[0])
    desk = await open_desk(budget=Budget(1.0, output_price=1.0))
    assert await desk.claim() == []
    desk.tick(14 * 3600 - 60)
    assert await desk.claim() == []
    desk.tick(60)
    assert len(await desk.claim()) == 2


async def test_a_probe_asks_no_model_either_once_the_budget_is_spent(open_desk: OpenDesk) -> None:
    """A circuit that is open is no way around it."""
    desk = await open_desk(budget=Budget(1.0, input_price=1.0))
    await desk.crowd(3)
    first, second, _ = await desk.claim()
    await spend(desk, first, 1_000_000)
    await desk.settle(second, refused("graph"))
    desk.tick(60)
    (probe,) = await desk.claim()
    assert (bool(probe.probes), len(probe.parts)) == (True, 1)
    await desk.settle(probe, Failed("bad"))
    assert await desk.claim() == []
