"""Sends that may or may not have gone out: their statuses tell; where none does, they go again, a few times."""

import pytest

from bot.emulator import Fault, StatusPlan, payloads
from tests.flow.conftest import ERROR_REPLY, World

SILENT = StatusPlan(names=())
CUT = Fault("cut", after=True)  # the message goes out, and nobody hears of it
REPLIES = "SELECT state, tries, doubts, delivery FROM replies ORDER BY id"


@pytest.mark.parametrize(
    "plan",
    [
        StatusPlan(("sent", "delivered", "read"), (0.03, 0.05, 0.07)),
        StatusPlan(("delivered",), (0.03,)),
        StatusPlan(("sent", "delivered", "read"), (0.02,), copies=3, shuffled=True),
        StatusPlan(("sent",), early=True),
    ],
    ids=["in order", "no sent", "shuffled copies", "before the answer"],
)
@pytest.mark.parametrize(
    "fault", [CUT, Fault("cut_body"), Fault("html", after=True), Fault("error", after=True, code=131000)]
)
async def test_a_send_whose_answer_was_lost_is_settled_by_its_status(
    world: World, plan: StatusPlan, fault: Fault
) -> None:
    """It went out, once; nothing is sent again, no attempt is spent, the next message goes on."""
    emu = world.emu
    emu.settings.statuses = plan
    emu.faults.add(fault)
    async with world.running(whatsapp={"confirm_seconds": 5}):
        await emu.batch([(world.ana, "one"), (world.ana, "two")])
        assert await world.sent(2) == ["answer to: one", "answer to: two"]
        await world.settled("done", "done")
    assert len(emu.log.of("graph.send")) == 2
    assert world.rows("SELECT attempts FROM outbox") == [(0,), (0,)]
    assert world.rows("SELECT state, tries, wamid IS NOT NULL FROM replies") == [("sent", 1, 1)] * 2


async def test_a_send_without_any_status_goes_again_after_confirm_seconds(world: World) -> None:
    """Not sooner; the callback data names the try, so that a late status still finds its message."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add(CUT)
    async with world.running(whatsapp={"confirm_seconds": 0.6}):
        await emu.say(world.ana, "hi")
        await world.sent(2)
        await world.settled("done")
        first, second = emu.log.of("graph.send")
        assert second.began_at - first.began_at >= 0.3
        base, _, number = first.callback_data.rpartition(".")
        assert (number, second.callback_data) == ("1", f"{base}.2")
        assert world.rows(REPLIES) == [("sent", 2, 1, None)]
        status = payloads.status(wamid=first.wamid, status="delivered", callback_data=first.callback_data)
        await emu.deliveries.deliver(emu.deliveries.wrap(statuses=[status]))
        ((wamid, duplicates, delivery),) = world.rows("SELECT wamid, duplicates, delivery FROM replies")
    assert (wamid, delivery) == (second.wamid, "delivered")
    assert first.wamid in duplicates  # both are kept: the person got it twice, and it shows
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]


async def test_a_send_that_is_never_confirmed_fails_after_three_repeats_without_apology(world: World) -> None:
    """An apology might be the fifth message; the row fails, the user's line goes on."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add("cut", after=True, times=0, contains="answer to: hi")
    async with world.running(whatsapp={"confirm_seconds": 0.05}):
        await emu.say(world.ana, "hi")
        await world.settled("failed")
        emu.faults.clear()
        await emu.say(world.ana, "again")
        await world.settled("failed", "done")
        _, failures = await world.get("/api/failures")
    assert len(emu.sends()) == 4 + 1
    assert ERROR_REPLY not in emu.sends()
    assert world.rows(REPLIES)[0] == ("failed", 4, 3, None)
    assert "never confirmed" in failures["failures"][0]["error"]
    assert world.rows("SELECT attempts FROM outbox WHERE id = 1") == [(0,)]


async def test_what_did_not_go_out_goes_out_once_its_time_is_up(world: World) -> None:
    """131000 may mean either; this time it had not."""
    world.emu.faults.add("error", code=131000)
    async with world.running(whatsapp={"confirm_seconds": 0.1}):
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert world.rows("SELECT tries, doubts FROM replies") == [(2, 1)]
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]
    assert len(world.emu.log.of("model")) == 1


async def test_a_doubt_closes_its_users_line_and_holds_no_slot(world: World) -> None:
    """With a single slot, others are answered meanwhile; the user's next message waits for the end of it."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add(CUT)
    async with world.running(queue={"concurrency": 1}, whatsapp={"confirm_seconds": 30}):
        await emu.say(world.ana, "one")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        await emu.say(world.ana, "two")
        await emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
        assert [entry.text for entry in emu.log.of("model")] == ["one", "hello"]
        (lost,) = emu.log.of("graph.send", world.ana.ids)
        status = payloads.status(wamid=lost.wamid, status="sent", callback_data=lost.callback_data)
        await emu.deliveries.deliver(emu.deliveries.wrap(statuses=[status]))
        assert await world.sent(2, world.ana) == ["answer to: one", "answer to: two"]


async def test_a_doubt_about_one_part_keeps_the_next_ones_back(world: World) -> None:
    """Order over speed: the second goes when the first is known to be out."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(("sent",), (0.1,))
    emu.model.script.append("first " * 600 + "\n\n" + "second " * 500)
    emu.faults.add(CUT)
    async with world.running(whatsapp={"confirm_seconds": 5}):
        await emu.say(world.ana, "hi")
        await world.sent(2)
        await world.settled("done")
    one, two = emu.log.of("graph.send")
    assert (one.text[:5], two.text[:6]) == ("first", "second")
    assert two.began_at - one.began_at >= 0.1


async def test_a_failed_status_settles_a_doubt_too(world: World) -> None:
    """WhatsApp could not deliver it: the row fails, nothing goes again, nobody is apologised to."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(("failed",), (0.05,), failed_code=131026)
    emu.faults.add(CUT)
    async with world.running(whatsapp={"confirm_seconds": 5}):
        await emu.say(world.ana, "hi")
        await world.settled("failed")
    assert len(emu.log.of("graph.send")) == 1
    assert "131026" in world.rows("SELECT error FROM outbox")[0][0]


async def test_a_later_failed_status_shows_among_the_failures(world: World) -> None:
    """It was accepted, and could not be delivered; there is nothing to retry."""
    world.emu.settings.statuses = StatusPlan(("sent", "failed"), (0.0, 0.02), failed_code=131047)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE delivery = 'failed'"))
        await world.settled("done")
        _, failures = await world.get("/api/failures")
        assert (await world.post("/api/messages/1/retry"))[0] == 409
    (failure,) = failures["failures"]
    assert (failure["id"], failure["retryable"]) == (1, False)
    assert "131047" in failure["error"]


@pytest.mark.parametrize("early", [True, False])
async def test_statuses_that_name_the_wamid_alone_are_matched_by_it(world: World, early: bool) -> None:
    """Also those that overtake the answer of the very send, and come twice."""
    world.emu.settings.statuses = StatusPlan(
        ("sent", "delivered"), (0.0, 0.02), copies=2, early=early, callback_data=False
    )
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows(REPLIES) == [("sent", 1, 0, "delivered")])
        await world.settled("done")


async def test_a_status_of_the_first_try_settles_the_second_that_is_in_doubt(world: World) -> None:
    """Any status that names the part does, whichever try it speaks of."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add("cut", after=True, times=2)
    async with world.running(whatsapp={"confirm_seconds": 0.4}):
        await emu.say(world.ana, "hi")
        await world.sent(2)
        first, _ = emu.log.of("graph.send")
        status = payloads.status(wamid=first.wamid, status="delivered", callback_data=first.callback_data)
        await emu.deliveries.deliver(emu.deliveries.wrap(statuses=[status]))
        await world.settled("done")
    assert len(emu.log.of("graph.send")) == 2


async def test_an_apology_in_doubt_is_settled_like_an_answer(world: World) -> None:
    """Once, and the row fails with the reason for which we apologised."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(("sent",), (0.05,))
    emu.faults.add("error", service="model", status=400)
    emu.faults.add(CUT)
    async with world.running(whatsapp={"confirm_seconds": 5}):
        await emu.say(world.ana, "hi")
        await world.settled("failed")
    assert emu.sends() == [ERROR_REPLY]
    assert "400" in world.rows("SELECT error FROM outbox")[0][0]
    assert world.rows("SELECT kind, state FROM replies") == [("apology", "sent")]


async def test_a_doubt_outlives_a_restart(world: World) -> None:
    """After a start it waits anew: Meta delivers what we missed."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add(CUT)
    async with world.running(whatsapp={"confirm_seconds": 30}):
        await emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
    world.write("UPDATE outbox SET not_before_at = NULL")
    async with world.running(whatsapp={"confirm_seconds": 0.3}):
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        assert len(emu.sends()) == 1
        await world.sent(2)
        await world.settled("done")
    assert world.rows("SELECT attempts, crashes FROM outbox") == [(0, 0)]


@pytest.mark.parametrize(("deaf_since", "seconds"), [("-10 seconds", 20), ("-2 minutes", 600)])
async def test_after_a_longer_downtime_a_doubt_waits_longer(world: World, deaf_since: str, seconds: int) -> None:
    """Counted from when webhooks can arrive again: Meta delivers what we missed only after a while."""
    emu = world.emu
    emu.settings.statuses = SILENT
    emu.faults.add(CUT)
    waits = {"confirm_seconds": 20, "confirm_after_downtime_seconds": 600}
    async with world.running(whatsapp=waits):
        await emu.say(world.ana, "hi")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
    world.write("UPDATE outbox SET not_before_at = NULL")
    world.write("UPDATE control SET listening_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)", deaf_since)
    async with world.running(whatsapp=waits):
        waiting = "SELECT (julianday(not_before_at) - julianday(listening_at)) * 86400 FROM outbox, control"
        ((wait,),) = await world.eventually(lambda: [row for row in world.rows(waiting) if row[0] is not None])
    assert seconds - 1 <= wait <= seconds + 1
    assert len(emu.sends()) == 1
