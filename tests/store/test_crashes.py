"""After a crash: leases are taken over, crashes are counted, suspects share one slot."""

import pytest

from bot.domain import Done, Failed, Operator
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, edit, revoke, words

ANA, BEN, CARL, DORA = "5215550001", "5215550002", "5215550003", "5215550004"


async def crash(desk: Desk, open_desk: OpenDesk, *bodies: str) -> Desk:
    """Die while exactly these are being answered, and start again."""
    assert sorted(words(await desk.claim())) == sorted(bodies)
    again = await open_desk()
    again.tick()
    assert await again.store.adopt() == len(bodies)
    return again


async def test_what_a_dead_process_left_leased_goes_on_first(desk: Desk, open_desk: OpenDesk) -> None:
    """No attempt is spent, the crash is counted, nothing of the user's overtakes it."""
    await desk.say(ANA, "a1", "a2", sent=10)
    desk = await crash(desk, open_desk, "a1")
    await desk.say(ANA, "earlier", sent=0)
    lease = await desk.lease()
    assert (words([lease]), lease.attempts, lease.crashes) == (["a1"], 0, 1)


async def test_a_start_with_nothing_leased_takes_nothing_over(desk: Desk) -> None:
    """A clean stop leaves no leases."""
    await desk.say(ANA, "a")
    assert await desk.store.adopt() == 0
    assert (await desk.lease()).crashes == 0


async def test_a_row_with_planned_parts_is_not_blamed(desk: Desk, open_desk: OpenDesk) -> None:
    """It got past what could have killed us; its parts are there."""
    await desk.say(ANA, "a")
    for _ in range(3):
        lease = await desk.lease()
        if not lease.parts:
            await desk.plan(lease, "one", "two")
        desk = await open_desk()
        await desk.store.adopt()
    lease = await desk.lease()
    assert (lease.crashes, [part.body for part in lease.parts]) == (0, ["one", "two"])


async def test_a_row_with_an_apology_of_an_earlier_life_is_blamed(desk: Desk, open_desk: OpenDesk) -> None:
    """Retried by hand after its apology, it kills us again: that has to be counted, or we die for ever."""
    await desk.say(ANA, "killer")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.begin(lease, part)
    await desk.settle(lease, Failed("bad", desk.receipt(part)))
    await desk.store.retry([await desk.message_id(ANA, "killer")], who=Operator("test"))
    desk = await crash(desk, open_desk, "killer")
    desk = await crash(desk, open_desk, "killer")
    assert (await desk.lease()).crashes == 2


async def test_suspects_share_one_slot_and_nobody_waits_for_them(desk: Desk, open_desk: OpenDesk) -> None:
    """Found leased twice: from then on one at a time, so that blame is certain; others run beside it."""
    for who in (ANA, BEN, CARL):
        await desk.say(who, f"{who} suspect", f"{who} next")
    suspects = [f"{who} suspect" for who in (ANA, BEN, CARL)]
    desk = await crash(desk, open_desk, *suspects)
    desk = await crash(desk, open_desk, *suspects)
    await desk.say(DORA, "innocent")
    first, innocent = await desk.claim()
    assert words([first, innocent]) == [suspects[0], "innocent"]
    await desk.say(DORA, "innocent too", sent=5)
    assert await desk.claim() == []
    await desk.serve(innocent, "fine")
    assert words(await desk.claim()) == ["innocent too"]
    await desk.serve(first, "fine")
    assert words(await desk.claim()) == [suspects[1], f"{ANA} next"]


async def test_a_suspect_gets_its_turn_among_many(desk: Desk, open_desk: OpenDesk) -> None:
    """Every slot is always taken by somebody who is ready: it comes when it is its turn all the same."""
    await desk.say(ANA, "suspect")
    desk = await crash(desk, open_desk, "suspect")
    desk = await crash(desk, open_desk, "suspect")
    for n in range(4):
        await desk.say(f"52155512{n:02}", *(f"{n}.{k}" for k in range(50)))
    (lease,) = await desk.claim(1)
    served = []
    while len(served) < 10:
        served.append(lease.messages[0].body)
        desk.tick()
        following = await desk.store.settle(lease, Done(), claim=True)
        assert following is not None
        lease = following
    assert "suspect" in served


@pytest.mark.parametrize("slots", [1, 64])
async def test_a_killer_is_found_and_the_others_are_answered(desk: Desk, open_desk: OpenDesk, slots: int) -> None:
    """It kills whoever asks about it; at the fifth time the turn can set it aside, and all others had their answer."""
    people = [f"52155513{n:02}" for n in range(6)]
    for who in people:
        await desk.say(who, f"{who}")
    killer, starts = people[3], 0
    while leases := await desk.claim(slots):
        dead = False
        for lease in sorted(leases, key=lambda lease: lease.messages[0].body != killer):
            if lease.messages[0].body != killer:
                await desk.serve(lease, "answer")
            elif lease.crashes >= 5:
                await desk.settle(lease, Failed("died 5 times"))
            else:
                dead = True
                break
        if dead:
            desk, starts = await open_desk(), starts + 1
            desk.tick()
            await desk.store.adopt()
    assert starts == 5
    states = {who: (await desk.states(who))[who] for who in people}
    assert states == {who: "failed" if who == killer else "done" for who in people}


async def test_a_change_that_came_while_we_died_counts(desk: Desk, open_desk: OpenDesk) -> None:
    """The message waits again after the start: edited, or cancelled."""
    await desk.say(ANA, "v1")
    await desk.say(BEN, "oops")
    leases = await desk.claim()
    assert len(leases) == 2
    await desk.arrive(edit(ANA, "v1", "v2", 60), revoke(BEN, "oops", 60))
    again = await open_desk()
    await again.store.adopt()
    assert words(await again.claim()) == ["v2"]
    assert (await again.states(BEN))["oops"] == "cancelled"
