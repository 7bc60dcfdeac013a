"""Hours of work wait: a newcomer waits one round, whatever becomes of the turns before."""

from datetime import timedelta
from random import Random

import pytest

from bot.domain import Done, Lease, Outcome, Released, Retry
from tests.store.desk import Desk, message

CROWD = [f"52155510{n:02}" for n in range(100)]
EACH, SLOTS, TURN_SECONDS = 150, 4, 10.0  # ten hours for all of it


async def fill(desk: Desk) -> None:
    """Let a hundred people write a hundred and fifty messages each."""
    for who in CROWD:
        await desk.arrive(*(message(who, f"{who} {n}", n) for n in range(EACH)))


def outcome(desk: Desk, random: Random) -> Outcome:
    """End as turns do: answered, to be tried again, or held back by WhatsApp's limit for one user."""
    until = desk.clock.now() + timedelta(seconds=6)
    return random.choices([Done(), Retry(random.uniform(1, 300), "busy"), Released(until), Released()], [7, 1, 1, 1])[0]


async def work(desk: Desk, leases: list[Lease], random: Random) -> Lease | None:
    """End the turn that began first and begin the next; return that."""
    lease = leases.pop(0)
    desk.tick(TURN_SECONDS / SLOTS)
    following = await desk.store.settle(lease, outcome(desk, random), claim=True)
    leases += [following] if following else []
    return following


@pytest.mark.parametrize("hours", [0.1, 1.0])
async def test_a_newcomer_waits_one_round_not_hours(desk: Desk, hours: float) -> None:
    """At most one turn of each person goes before, early on and after hours of it."""
    random = Random(1)
    await fill(desk)
    leases = await desk.claim(SLOTS)
    for _ in range(int(hours * 3600 / TURN_SECONDS * SLOTS)):
        await work(desk, leases, random)
    assert await desk.depth() > 10_000, "hours of work are left"
    await desk.arrive(message("5215559999", "newcomer", 0))
    turns = 1
    while (lease := await work(desk, leases, random)) is None or lease.messages[0].body != "newcomer":
        turns += 1
    assert turns <= len(CROWD)


async def test_everybody_of_a_crowd_gets_their_share(desk: Desk) -> None:
    """Whoever fails or is held back loses their own time, nobody else's: all others are within two turns."""
    await fill(desk)
    leases, served = await desk.claim(SLOTS), dict.fromkeys(CROWD, 0)
    for _ in range(1000):
        lease = leases.pop(0)
        who = lease.messages[0].body.split()[0]
        served[who] += 1
        desk.tick(TURN_SECONDS / SLOTS)
        bad = who in CROWD[:10]
        ended = Retry(200, "busy") if bad else Done()
        following = await desk.store.settle(lease, ended, claim=True)
        leases += [following] if following else []
    good = [count for who, count in served.items() if who not in CROWD[:10]]
    assert max(good) - min(good) <= 2
