"""The machine's clock is put right, or wrong, while the daemon is down: nobody waits for it, nothing is early."""

from datetime import timedelta
from typing import Literal

import pytest

from bot.domain import Done, InDoubt, Operator, Released, Retry
from bot.store.replies import PairLimit, Permit, Plan, Wait
from tests.clock import FakeClock
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message, words

ANA, BEN = "5215550001", "5215550002"
HOUR = 3600.0


async def restart(desk: Desk, open_desk: OpenDesk, step: float, **limits: object) -> tuple[Desk, bool]:
    """Stop, let somebody set the clock, and start; also say whether webhooks may have been missed meanwhile."""
    await desk.store.listening()
    desk.clock.advance(step)
    again = await open_desk(**limits)
    await again.store.adopt()
    return again, await again.store.listening()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_what_waits_is_answered_at_once_after_the_step(desk: Desk, open_desk: OpenDesk, step: float) -> None:
    """Whoever was served just before, and whoever was being answered, too."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b1", "b2")
    ana, ben = await desk.claim()
    await desk.settle(ana, Done())
    again, _ = await restart(desk, open_desk, step)
    assert sorted(words(await again.claim())) == ["a2", "b1"]
    assert ben.messages[0].body == "b1"


async def test_a_wait_keeps_what_was_left_of_it_when_the_clock_is_put_back(desk: Desk, open_desk: OpenDesk) -> None:
    """A minute of backoff is a minute, not an hour and a minute, and not nothing."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Retry(60, "busy"))
    again, _ = await restart(desk, open_desk, -HOUR)
    again.tick(58)
    assert await again.claim() == []
    again.tick(2)
    assert words(await again.claim()) == ["a"]


async def test_a_send_in_doubt_counts_from_the_past_and_as_missed(desk: Desk, open_desk: OpenDesk) -> None:
    """The part was sent before the start, whatever the clock said then; its status may have come meanwhile."""
    await desk.say(ANA, "a")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(desk.clock.now() + timedelta(seconds=15)))
    again, deaf = await restart(desk, open_desk, -HOUR)
    assert deaf
    again.tick(16)
    (found,) = (await again.lease()).parts
    assert found.sending_at is not None
    assert found.sending_at < again.clock.now() - timedelta(seconds=15)


async def test_the_pair_limit_lasts_no_longer_for_a_clock_that_was_put_back(open_desk: OpenDesk) -> None:
    """One message in six seconds: what was used up is free again in time."""
    limit = PairLimit(6.0, 1)
    desk = await open_desk(pair_limit=limit)
    await desk.say(ANA, "a", "b")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "one")
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part)))
    desk, _ = await restart(desk, open_desk, -HOUR, pair_limit=limit)
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "two")
    wait = await desk.store.begin_send(lease, part)
    assert isinstance(wait, Wait)
    assert wait.until - desk.clock.now() < timedelta(seconds=6)
    desk.tick(6)
    assert isinstance(await desk.store.begin_send(lease, part), Permit)


async def test_an_open_circuit_is_tried_as_soon_as_it_would_have_been(desk: Desk, open_desk: OpenDesk) -> None:
    """Everybody waits for it: an hour more would be an outage of our own."""
    await desk.say(ANA, "a")
    refusal = Released(refused_by="graph", error="no", probe_after_seconds=20)
    await desk.settle(await desk.lease(), refusal)
    again, _ = await restart(desk, open_desk, -HOUR)
    again.tick(19)
    assert await again.claim() == []
    again.tick(1)
    assert words(await again.claim()) == ["a"]


async def test_an_apology_planned_after_the_step_belongs_to_its_turn(desk: Desk, open_desk: OpenDesk) -> None:
    """The message began by a clock that was ahead: its apology is what is sent next, and the model is not asked."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Retry(1, "busy"))
    again, _ = await restart(desk, open_desk, -HOUR)
    again.tick(1)
    lease = await again.lease()
    await again.plan(lease, "sorry", kind="apology", error="bad")
    await again.settle(lease, Released())
    lease = await again.lease()
    assert ([part.kind for part in lease.parts], lease.error) == (["apology"], "bad")


async def test_the_limits_count_an_hour_once(desk: Desk, open_desk: OpenDesk) -> None:
    """An answer counts for an hour, not for two; notices stay ten minutes away."""
    await desk.say(ANA, "a")
    await desk.serve(await desk.lease(), "answer")
    again, _ = await restart(desk, open_desk, -HOUR)
    assert (await again.standing(ANA)).answers_hour == 1
    again.tick(HOUR)
    assert (await again.standing(ANA)).answers_hour == 0


async def test_who_was_served_just_before_the_step_goes_on_with_what_waits_for_longer(
    desk: Desk, open_desk: OpenDesk
) -> None:
    """Nothing of the message itself lies in the future: it came hours before, its person's last turn ended just now."""
    await desk.say(ANA, "a1", "a2")
    desk.tick(2 * HOUR)
    await desk.settle(await desk.lease(), Done())
    again, _ = await restart(desk, open_desk, -HOUR)
    assert words(await again.claim()) == ["a2"]


@pytest.mark.parametrize("notice", ["noticed_at", "limited_at"])
async def test_a_notice_is_no_further_away_than_it_was(
    desk: Desk, open_desk: OpenDesk, notice: Literal["noticed_at", "limited_at"]
) -> None:
    """Ten minutes are ten minutes, not an hour and ten."""
    await desk.say(ANA, "a")
    await desk.store.plan(Plan(await desk.lease(), "notice", ["can't read"], notice=notice))
    again, _ = await restart(desk, open_desk, -HOUR)
    assert getattr(await again.standing(ANA), notice) == again.clock.now()


async def test_the_limits_count_from_a_resume_that_a_faster_clock_noted(desk: Desk, open_desk: OpenDesk) -> None:
    """Or two bots in a loop would go on for an hour without any limit."""
    await desk.say(ANA, "a")
    user = await desk.id_of(ANA)
    await desk.store.pause(user, who=Operator("test"))
    await desk.store.resume(user, skip=False, who=Operator("test"))
    again, _ = await restart(desk, open_desk, -HOUR)
    again.tick()
    await again.serve_all()
    assert (await again.standing(ANA)).answers_hour == 1


async def test_the_conversation_keeps_its_order(desk: Desk, open_desk: OpenDesk) -> None:
    """What is answered after the step comes last in what the model reads."""
    await desk.say(ANA, "one", "two")
    await desk.serve_all()
    again, _ = await restart(desk, open_desk, -HOUR)
    await again.say(ANA, "three", sent=3)
    again.tick()
    await again.serve_all()
    assert [text for _, text in await again.history(ANA)] == ["one", "re one", "two", "re two", "three", "re three"]


async def test_after_a_step_forwards_a_send_in_doubt_waits_for_what_meta_redelivers(
    desk: Desk, open_desk: OpenDesk
) -> None:
    """It looks like an hour of downtime, and is treated as one."""
    _, deaf = await restart(desk, open_desk, HOUR)
    assert deaf


@pytest.mark.parametrize("off", [-HOUR, HOUR])
async def test_a_clock_that_is_off_by_an_hour_changes_neither_order_nor_readiness(
    desk: Desk, clock: FakeClock, off: float
) -> None:
    """WhatsApp's own timestamps order a line; only our own clock says when a head is due."""
    await desk.arrive(*(message(ANA, f"m{n}", n - off) for n in (2, 0, 1)))
    assert await desk.serve_all() == ["m0", "m1", "m2"]
    await desk.say(ANA, "next", sent=10 - off)
    lease = await desk.lease()
    assert (words([lease]), lease.last_message_at) == (["next"], at(10 - off))
