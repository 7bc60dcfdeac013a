"""An outage: a service that fails three users in a row, none between with success, is asked one probe at a time."""

import pytest

from bot.domain import Answer, Done, InDoubt, Lease, Operator, Outcome, Released, Retry, Service
from bot.store.replies import Plan
from tests.store.desk import PEOPLE, Desk, at


def stumbled(service: Service = "model") -> Retry:
    """End a turn by a failure that may be the message's own or the service's."""
    return Retry(5, "the model gave no answer in time", "timeout", service=service)


async def attempts(desk: Desk, users: int = 5) -> list[int]:
    """Return the attempts of everybody's head of line."""
    return [(await desk.look(who))["queue"][0]["attempts"] for who in PEOPLE[:users]]


async def stumble(desk: Desk, *leases: Lease, outcome: Outcome | None = None) -> None:
    """Let turns end so."""
    for lease in leases:
        await desk.settle(lease, outcome or stumbled())


async def test_the_third_user_in_a_row_opens_the_circuit_and_all_get_back_what_they_spent(desk: Desk) -> None:
    """Two may be bad luck: they wait for their next try. With the third nobody has spent anything."""
    await desk.crowd(5)
    leases = await desk.claim(3)
    await stumble(desk, *leases[:2])
    assert (await attempts(desk), await desk.open_services()) == ([1, 1, 0, 0, 0], [])
    await stumble(desk, leases[2])
    assert (await attempts(desk), await desk.open_services()) == ([0] * 5, ["model"])
    (circuit,) = await desk.store.insights.circuits()
    assert (circuit["reason"], circuit["code"]) == ("the model gave no answer in time", "timeout")


async def test_who_stumbled_waits_for_the_circuit_alone(desk: Desk) -> None:
    """Their backoff is taken back as well: they are answered as soon as the service is."""
    await desk.crowd(3)
    await stumble(desk, *await desk.claim(3))
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.serve(probe, "back again")
    assert len(await desk.claim()) == 3


async def test_two_users_are_no_outage(desk: Desk) -> None:
    """However often their messages fail, the others' answers are not held up for it."""
    await desk.crowd(2)
    for _ in range(4):
        await stumble(desk, *await desk.claim(2))
        desk.tick(5)
    assert await desk.open_services() == []
    assert await attempts(desk, 2) == [4, 4]


@pytest.mark.parametrize("service", ["model", "graph"])
async def test_a_success_between_starts_the_count_again(desk: Desk, service: Service) -> None:
    """A service that answers somebody has no outage."""
    await desk.crowd(4)
    first, second, good, third = await desk.claim(4)
    await stumble(desk, first, second, outcome=stumbled(service))
    await desk.serve(good, "an answer")
    await stumble(desk, third, outcome=stumbled(service))
    assert await desk.open_services() == []


async def test_a_turn_that_stumbles_while_the_circuit_is_open_spends_nothing(desk: Desk) -> None:
    """It was under way already as the others stumbled."""
    await desk.crowd(4)
    leases = await desk.claim(4)
    await stumble(desk, *leases)
    for who in PEOPLE[:4]:
        assert (await desk.look(who))["queue"][0]["attempts"] == 0


async def test_who_is_being_tried_again_as_it_opens_gets_back_all_that_was_spent(desk: Desk) -> None:
    """The first try's attempt, although its row is leased at that moment, and the second's."""
    await desk.crowd(3)
    first, second, third = await desk.claim(3)
    await stumble(desk, first, second)
    desk.tick(10)
    (again, _) = await desk.claim()
    await stumble(desk, third)
    assert await desk.open_services() == ["model"]
    await stumble(desk, again)
    assert await attempts(desk, 3) == [0, 0, 0]


async def test_sends_in_doubt_count_too_and_keep_waiting_for_their_status(desk: Desk) -> None:
    """Three sends that the Graph API left in doubt are an outage of it; what may have gone out isn't sent again."""
    await desk.crowd(3)
    for lease in await desk.claim(3):
        (part,) = await desk.plan(lease, "an answer")
        await desk.begin(lease, part)
        await desk.settle(lease, InDoubt(at(60), "gave no whole answer", None, "graph"))
    assert await desk.open_services() == ["graph"]
    waits = [(await desk.look(who))["queue"][0]["not_before_at"] for who in PEOPLE[:3]]
    assert None not in waits


async def test_only_the_probes_answer_closes_the_models_circuit(desk: Desk) -> None:
    """A turn that was under way when it opened got its answer: that says nothing of now."""
    await desk.crowd(4)
    slow, *leases = await desk.claim(4)
    await stumble(desk, *leases)
    await desk.plan(slow, "asked for long ago")
    assert await desk.open_services() == ["model"]
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.store.plan(Plan(probe, "answer", ["now"], answer=Answer(("now",))))
    assert await desk.open_services() == []
    await desk.settle(probe, Done())


async def test_a_probe_that_is_put_off_is_followed_by_another_a_second_later(desk: Desk) -> None:
    """It asked nobody (a limit, a pause): without the second all that wait would be put off at commit speed."""
    await desk.crowd(5)
    await stumble(desk, *await desk.claim(3))
    desk.tick(1)
    (probe,) = await desk.claim()
    await desk.settle(probe, Released(at(600)))
    assert await desk.claim() == []
    desk.tick(1)
    assert len(await desk.claim()) == 1


async def test_what_was_cancelled_meanwhile_stays_so(desk: Desk) -> None:
    """Its failure counts, it was the service's; nothing is given back to it."""
    await desk.crowd(3)
    leases = await desk.claim(3)
    await stumble(desk, leases[0])
    await desk.store.clear(await desk.id_of(PEOPLE[0]), who=Operator("test"))
    await stumble(desk, *leases[1:])
    assert await desk.open_services() == ["model"]
    assert set((await desk.states(PEOPLE[0])).values()) == {"cancelled"}
