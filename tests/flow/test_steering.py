"""What operators do while the daemon works: pause, resume, skip, clear, retry, by program, by page and by hand."""

import asyncio
import time
from typing import Any

import pytest

from bot.emulator import Emulator
from tests.flow.conftest import ERROR_REPLY, World


class Model:
    """A model that answers when the test lets it."""

    def __init__(self, emu: Emulator) -> None:
        self.gate = asyncio.Event()
        emu.model.responder = self.answer

    async def answer(self, asked: Any) -> str:
        await self.gate.wait()
        return f"answer to: {asked.text}"


async def test_a_paused_user_waits_and_others_do_not(world: World) -> None:
    """The one being answered is answered; what waits goes out after resume, in order."""
    model = Model(world.emu)
    async with world.running():
        await world.emu.batch([(world.ana, f"message {n}") for n in range(3)])
        await world.asked(1)
        assert await world.post("/api/users/u1/pause") == (200, {"users": 1})
        model.gate.set()
        await world.emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
        await world.settled("done", "pending", "pending", "done")
        _, found = await world.get("/api/users/u1")
        assert (found["user"]["state"], found["user"]["depth"], found["user"]["paused"]) == ("paused", 2, True)
        assert (await world.post(f"/api/users/{world.ana.wa_id}/resume"))[0] == 200
        assert await world.sent(3, world.ana) == [f"answer to: message {n}" for n in range(3)]


async def test_while_all_is_paused_nobody_is_answered_and_it_shows(world: World) -> None:
    """Webhooks are stored all the same; /readyz says why; resume lifts it."""
    async with world.running():
        await world.post("/api/pause")
        await world.emu.batch([(world.ana, "one"), (world.bea, "two")])
        status, ready = await world.get("/readyz")
        assert (status, ready["ready"]) == (503, False)
        assert "paused" in ready["reasons"][0]
        _, stats = await world.get("/queue-stats")
        assert (stats["totalMessages"], stats["activeUsers"], stats["paused"]) == (2, 2, True)
        assert world.emu.log.of("model") == []
        await world.post("/api/resume", {"waiting": "answer"})
        await world.sent(2)
        await world.settled("done", "done")
        assert await world.get("/readyz") == (200, {"ready": True})


async def test_resume_with_skip_answers_only_what_comes_after(world: World) -> None:
    """What waited is cancelled, and stays to be seen."""
    async with world.running():
        await world.post("/api/pause")
        await world.emu.batch([(world.ana, "one"), (world.ana, "two")])
        _, resumed = await world.post("/api/resume", {"waiting": "skip"})
        assert resumed["messages"] == 2
        await world.emu.say(world.ana, "three")
        assert await world.sent(1) == ["answer to: three"]
        await world.settled("cancelled", "cancelled", "done")


@pytest.mark.parametrize("path", ["/api/users/u1/clear", "/api/clear"])
async def test_clear_cancels_what_waits_and_leaves_the_one_being_answered(world: World, path: str) -> None:
    """It says how many; the rows stay; nobody gets an apology."""
    model = Model(world.emu)
    async with world.running():
        await world.emu.batch([(world.ana, f"message {n}") for n in range(4)])
        await world.asked(1)
        assert await world.post(path) == (200, {"users": 1, "messages": 3})
        model.gate.set()
        assert await world.sent(1) == ["answer to: message 0"]
        await world.settled("done", "cancelled", "cancelled", "cancelled")


async def test_a_failed_message_is_retried_and_its_reply_quotes_it(world: World) -> None:
    """Asked anew, as its user may have written much since; a second retry is refused."""
    emu = world.emu
    emu.faults.add("error", service="model", status=400)
    async with world.running():
        wamid = await emu.say(world.ana, "hi")
        assert await world.sent(1) == [ERROR_REPLY]
        await emu.say(world.ana, "are you there?")
        await world.sent(2)
        await world.settled("failed", "done")
        assert await world.post("/api/messages/1/retry") == (200, {"retried": 1})
        await world.sent(3)
        await world.settled("done", "done")
        assert (await world.post("/api/messages/1/retry"))[0] == 409
        assert (await world.post("/api/messages/99/retry"))[0] == 404
    retried = emu.log.of("graph.send")[-1]
    assert retried.request["context"] == {"message_id": wamid}
    assert "context" not in emu.log.of("graph.send")[1].request
    assert world.rows("SELECT kind, state FROM replies WHERE outbox_id = 1") == [
        ("apology", "sent"),
        ("answer", "sent"),
    ]


async def test_a_retry_sends_the_parts_that_were_not_sent_and_asks_nobody(world: World) -> None:
    """The first part went out before it failed: only the second goes, quoting the question."""
    emu = world.emu
    emu.model.script.append("first " * 600 + "\n\n" + "second " * 500)
    emu.faults.add("error", code=131009, contains="second")
    async with world.running():
        wamid = await emu.say(world.ana, "hi")
        await world.settled("failed")
        await world.post("/api/messages/1/retry")
        await world.sent(2)
        await world.settled("done")
    assert [text.split()[0] for text in emu.sends()] == ["first", "second"]
    assert len(emu.log.of("model")) == 1
    assert emu.log.of("graph.send")[-1].request["context"] == {"message_id": wamid}


async def test_all_failures_are_retried_at_once(world: World) -> None:
    """Everybody whose message failed is answered."""
    emu = world.emu
    emu.faults.add("error", service="model", status=400, times=3)
    async with world.running():
        for who in (world.ana, world.bea, world.cora):
            await emu.say(who, f"hello from {who.name}")
        await world.settled("failed", "failed", "failed")
        assert await world.post("/api/failures/retry") == (200, {"retried": 3})
        await world.sent(6)
        await world.settled("done", "done", "done")
        assert (await world.get("/api/failures"))[1]["failures"] == []


async def test_a_retried_message_goes_before_later_ones_that_wait(world: World) -> None:
    """It stands at its timestamp's place."""
    emu = world.emu
    emu.faults.add("error", service="model", status=400)
    start = int(time.time()) - 60
    async with world.running():
        await emu.say(world.ana, "old", timestamp=start)
        await world.settled("failed")
        await world.post("/api/users/u1/pause")
        await emu.say(world.ana, "new", timestamp=start + 10)
        await world.post("/api/messages/1/retry")
        await world.post("/api/users/u1/resume")
        await world.sent(3)
    assert [entry.text for entry in emu.log.of("model")][-2] == "old"


async def test_an_expired_message_can_be_retried_while_the_24_hours_last(world: World) -> None:
    """Older than max_age_seconds, yet the person wrote within a day."""
    async with world.running(queue={"max_age_seconds": 3600}):
        await world.emu.say(world.ana, "hi", timestamp=int(time.time()) - 2 * 3600)
        await world.settled("failed")
        assert await world.post("/api/messages/1/retry") == (200, {"retried": 1})
        assert await world.sent(1) == ["answer to: hi"]


async def test_an_expired_message_of_somebody_silent_for_a_day_is_not(world: World) -> None:
    """WhatsApp would refuse it; the answer says why."""
    async with world.running():
        await world.emu.say(world.ana, "hi", timestamp=int(time.time()) - 25 * 3600)
        await world.settled("failed")
        status, said = await world.post("/api/messages/1/retry")
    assert status == 409
    assert "24 hours" in said["error"]


async def test_the_pages_buttons_do_the_same(world: World) -> None:
    """Each form is answered by 303, and done."""
    emu = world.emu
    emu.faults.add("error", service="model", status=400)
    async with world.running():
        await emu.say(world.ana, "hi")
        await world.settled("failed")
        assert await world.press("/api/messages/1/retry") == 303
        await world.settled("done")
        assert await world.press("/api/users/u1/pause") == 303
        await emu.say(world.ana, "two")
        assert await world.press("/api/users/u1/clear") == 303
        await world.settled("done", "cancelled")
        await emu.say(world.ana, "three")
        assert await world.press("/api/users/u1/resume", waiting="skip") == 303
        await world.settled("done", "cancelled", "cancelled")
        assert await world.press("/api/pause") == 303
        await emu.say(world.ana, "four")
        assert await world.press("/api/resume", waiting="answer") == 303
        await world.settled("done", "cancelled", "cancelled", "done")
        assert await world.press("/api/failures/retry") == 303
    assert world.rows("SELECT DISTINCT who FROM audit") == [("page",)]


async def test_hand_edits_count_within_a_second(world: World) -> None:
    """Pause, resume and answer it again by UPDATE, as docs/sqlite.md says."""
    async with world.running():
        await world.emu.say(world.ana, "one")
        await world.settled("done")
        world.write("UPDATE users SET paused_at = '2026-01-01T00:00:00.000Z' WHERE id = 1")
        await world.emu.say(world.ana, "two")
        assert (await world.get("/api/users/u1"))[1]["user"]["state"] == "paused"
        world.write("UPDATE users SET paused_at = NULL WHERE id = 1")
        assert await world.sent(2) == ["answer to: one", "answer to: two"]
        await world.settled("done", "done")
        world.write("UPDATE outbox SET state = 'failed', error = 'by hand' WHERE id = 2")
        world.write("DELETE FROM replies WHERE outbox_id = 2")
        world.write("UPDATE outbox SET state = 'pending' WHERE id = 2")
        assert len(await world.sent(3)) == 3


async def test_numbers_tell_what_the_queue_holds(world: World) -> None:
    """totalMessages is pending and leased; ages and states of users fit."""
    model = Model(world.emu)
    async with world.running():
        await world.emu.batch([(world.ana, "one"), (world.ana, "two"), (world.bea, "three")])
        await world.asked(2)
        _, stats = await world.get("/queue-stats")
        _, users = await world.get("/api/users")
        model.gate.set()
        await world.sent(3)
        await world.settled("done", "done", "done")
        _, after = await world.get("/queue-stats")
    assert (stats["totalMessages"], stats["activeUsers"], stats["leased"], stats["pending"]) == (3, 2, 2, 1)
    assert [(user["user_id"], user["depth"], user["state"]) for user in users["users"]] == [
        ("u1", 2, "leased"),
        ("u2", 1, "leased"),
    ]
    assert (after["totalMessages"], after["activeUsers"]) == (0, 0)
