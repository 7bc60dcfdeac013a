"""What was decided long ago is taken out, in batches, with all that hangs on it."""

from bot.domain import Failed, Operator, Released
from bot.store.failures import Failing
from tests.store.desk import Desk, at, message, words

ANA, BEN = "5215550001", "5215550002"
DAY = 86_400


async def test_only_what_was_decided_over_keep_days_ago_goes(desk: Desk) -> None:
    """Arrived and decided before then; what waits stays, however old it is."""
    await desk.say(ANA, "done", "failed", "waits")
    await desk.arrive(message(ANA, "ignored", 5, answerable=False))
    await desk.serve(await desk.lease(), "answer")
    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.settle(await desk.lease(), Released(at(31 * DAY)))
    desk.tick(29 * DAY)
    await desk.say(BEN, "young", sent=29 * DAY)
    await desk.serve(await desk.lease(), "answer")
    assert await desk.store.prune(30, 100) == 0
    desk.tick(DAY + 60)
    assert await desk.store.prune(30, 100) == 3
    assert await desk.store.prune(30, 100) == 0
    assert (await desk.states(ANA), await desk.told(ANA)) == ({"waits": "pending"}, [])
    assert await desk.states(BEN) == {"young": "done"}
    desk.tick(2 * DAY)
    assert words(await desk.claim()) == ["waits"]


async def test_what_a_wrong_clock_stored_is_as_old_as_whatsapp_says(desk: Desk) -> None:
    """It came on a machine whose clock was years behind; Meta may deliver it again for a week."""
    await desk.say(ANA, "new", sent=60 * DAY)
    await desk.serve(await desk.lease(), "answer")
    desk.tick(61 * DAY)
    assert await desk.store.prune(30, 100) == 0


async def test_what_was_decided_lately_stays_although_it_is_old(desk: Desk) -> None:
    """A failure of long ago that was retried yesterday."""
    await desk.say(ANA, "old")
    await desk.settle(await desk.lease(), Failed("bad"))
    desk.tick(40 * DAY)
    await desk.store.retry(Failing(), who=Operator("test"))
    await desk.serve(await desk.lease(), "answer")
    desk.tick(DAY)
    assert await desk.store.prune(30, 100) == 0


async def test_batches_are_bounded_oldest_first(desk: Desk) -> None:
    """So that nobody waits for a large one."""
    await desk.arrive(*(message(ANA, f"m{n}", n, answerable=False) for n in range(25)))
    desk.tick(31 * DAY)
    assert [await desk.store.prune(30, 10) for _ in range(4)] == [10, 10, 5, 0]
    assert (await desk.look(ANA))["conversation"] == []


async def test_a_redelivery_of_what_was_taken_out_is_new(desk: Desk) -> None:
    """Which is why keep_days is never under 8: Meta redelivers for 7."""
    await desk.arrive(message(ANA, "m", answerable=False))
    desk.tick(9 * DAY)
    assert await desk.store.prune(8, 10) == 1
    assert (await desk.arrive(message(ANA, "m", answerable=False))).new == 1


async def test_what_the_owner_wrote_goes_too(desk: Desk) -> None:
    """It belongs to no message, and is no older than the rest."""
    await desk.echo(ANA, "old", 0)
    desk.tick(20 * DAY)
    await desk.echo(ANA, "young")
    desk.tick(11 * DAY)
    await desk.store.prune(30, 10)
    assert await desk.told(ANA) == [("young", "sent", None)]
