"""What fails is tried again, then set aside with an apology; it blocks its own user for a while, and nobody else."""

import asyncio
import itertools
import time

import pytest

from bot.domain import Answer, Question
from bot.emulator import Fault
from tests.flow.conftest import ERROR_REPLY, World


def gaps(world: World, service: str) -> list[float]:
    """Give the seconds between one request's end and the next one's beginning."""
    entries = world.emu.log.of(service)
    return [after.began_at - (before.ended_at or before.began_at) for before, after in itertools.pairwise(entries)]


async def test_a_failing_model_is_asked_again_with_backoff(world: World) -> None:
    """Never sooner than the floor, half of the base; then the answer comes."""
    world.emu.faults.add("error", service="model", status=500, times=3)
    async with world.running(queue={"backoff_base_seconds": 0.1, "backoff_max_seconds": 0.3}):
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert len(gaps(world, "model")) == 3
    assert min(gaps(world, "model")) >= 0.05
    assert world.rows("SELECT outcome FROM attempts WHERE stage = 'turn'") == [("retry",)] * 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_of_the_model_is_honoured(world: World, status: int) -> None:
    """Never sooner than the service asked."""
    fault = Fault("error", "model", status=status, code="rate_limit_exceeded", headers={"Retry-After": "1"})
    world.emu.faults.add(fault)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
    assert gaps(world, "model")[0] >= 1.0


async def test_a_message_fails_after_max_attempts_with_one_apology(world: World) -> None:
    """The row says why; the user's later messages go on, and are asked about only then."""
    emu = world.emu
    emu.faults.add("error", service="model", status=500, contains="this breaks", times=3)
    async with world.running(queue={"max_attempts": 3}):
        await emu.batch([(world.ana, "this breaks"), (world.ana, "this works")])
        assert await world.sent(2) == [ERROR_REPLY, "answer to: this breaks\n\nthis works"]
        await world.settled("failed", "done")
        _, failures = await world.get("/api/failures")
    assert [entry.text for entry in emu.log.of("model")] == ["this breaks"] * 3 + ["this breaks\n\nthis works"]
    (failure,) = failures["failures"]
    assert (failure["user_id"], failure["body"], failure["retryable"]) == ("u1", "this breaks", True)
    assert "500" in failure["error"]
    assert world.rows("SELECT kind, state FROM replies ORDER BY id") == [("apology", "sent"), ("answer", "sent")]


async def test_one_users_failing_message_delays_nobody_else(world: World) -> None:
    """With a single slot, everybody else is answered while it waits for its next try."""
    emu = world.emu
    emu.faults.add("error", service="model", status=500, contains="this breaks", times=0)
    async with world.running(queue={"concurrency": 1, "backoff_base_seconds": 20, "backoff_max_seconds": 20}):
        await emu.say(world.ana, "this breaks")
        await world.asked(1)
        for n in range(1, 6):
            await emu.say(world.bea, f"hello {n}")
        await world.sent(5)
        assert emu.sends(world.ana) == []
        _, found = await world.get("/api/users/u1")
    assert found["user"]["state"] == "retrying"
    assert found["queue"][0]["attempts"] == 1


async def test_the_model_is_not_asked_again_when_a_send_fails(world: World) -> None:
    """The answer is stored before it goes out; its parts are what is tried again."""
    emu = world.emu
    emu.faults.add("error", code=131016, times=2)
    async with world.running():
        await emu.say(world.ana, "hi")
        await world.sent(1)
        await world.settled("done")
    assert len(emu.log.of("model")) == 1
    assert [entry.code for entry in emu.log.of("graph.send")] == [131016, 131016, 0]
    assert world.rows("SELECT attempts FROM outbox") == [(2,)]


async def test_an_answer_that_whatsapp_never_takes_fails_after_max_attempts(world: World) -> None:
    """Then an apology is tried, once; its own failure is not apologised for."""
    emu = world.emu
    emu.faults.add("error", code=131016, times=0)
    async with world.running(queue={"max_attempts": 3}):
        await emu.say(world.ana, "hi")
        await world.settled("failed")
        emu.faults.clear()
        await emu.say(world.ana, "hello?")
        assert await world.sent(1) == ["answer to: hi\n\nhello?"]
    texts = [entry.text for entry in emu.log.of("graph.send")]
    assert texts == ["answer to: hi"] * 3 + [ERROR_REPLY, "answer to: hi\n\nhello?"]


async def test_a_text_that_whatsapp_refuses_fails_at_once_with_an_apology(world: World) -> None:
    """131009 and its like won't get better by trying."""
    world.emu.faults.add("error", code=131009)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == [ERROR_REPLY]
        await world.settled("failed")
    assert world.rows("SELECT kind, state FROM replies") == [("answer", "failed"), ("apology", "sent")]


@pytest.mark.parametrize("code", [131026, 131030, 131049])
async def test_nobody_is_apologised_to_who_cannot_be_reached(world: World, code: int) -> None:
    """The message fails; the next one is tried."""
    world.emu.faults.add("error", code=code)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.settled("failed")
        await world.emu.say(world.ana, "hi again")
        assert await world.sent(1) == ["answer to: hi\n\nhi again"]
    assert len(world.emu.log.of("graph.send")) == 2


async def test_a_closed_window_is_expired(world: World) -> None:
    """131047: nothing may be sent any more, an apology neither."""
    world.emu.faults.add("error", code=131047)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.settled("failed")
    assert world.rows("SELECT error FROM outbox") == [("expired",)]
    assert len(world.emu.log.of("graph.send")) == 1


async def test_when_a_later_part_fails_there_is_no_apology(world: World) -> None:
    """The user has half of an answer; the failure is shown to the operator."""
    emu = world.emu
    emu.model.script.append("first " * 600 + "\n\n" + "second " * 500)
    async with world.running():
        emu.faults.add("error", code=131009, contains="second")
        await emu.say(world.ana, "hi")
        await world.settled("failed")
    assert [text.split()[0] for text in emu.sends()] == ["first"]
    assert world.rows("SELECT state FROM replies ORDER BY part") == [("sent",), ("failed",)]


@pytest.mark.parametrize(("age", "max_age"), [(3700, 3600), (25 * 3600, 604800)])
async def test_a_question_that_is_too_old_expires_unanswered(world: World, age: int, max_age: int) -> None:
    """Older than max_age_seconds, or than WhatsApp's 24 hours: no model, no apology, nothing sent."""
    async with world.running(queue={"max_age_seconds": max_age}):
        await world.emu.say(world.ana, "hi", timestamp=int(time.time()) - age)
        await world.settled("failed")
    assert world.rows("SELECT error FROM outbox") == [("expired",)]
    assert world.emu.log.of("model") == []
    assert [entry.service for entry in world.emu.log.of("graph")] == ["graph.number"]  # whose clock is right


class Broken:
    """A handler of an owner's own that raises what it likes, and later works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)

    async def answer(self, question: Question) -> Answer:
        if self.errors:
            raise self.errors.pop(0)
        return Answer((f"own answer to {question.messages[0].body}",))

    async def close(self) -> None:
        pass


async def test_an_owners_handler_may_raise_anything(world: World) -> None:
    """It counts as "try later"."""
    broken = Broken(ValueError("odd"), TimeoutError(), KeyError("x"))
    async with world.running(handler=broken):
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["own answer to hi"]
        await world.settled("done")
    assert world.rows("SELECT attempts FROM outbox") == [(3,)]


async def test_what_an_owners_handler_raises_is_logged_without_its_words(world: World) -> None:
    """They may quote the message; where it happened is told all the same."""
    async with world.running(handler=Broken(ValueError("can't answer: a private thing"))):
        await world.emu.say(world.ana, "a private thing")
        await world.sent(1)
        await world.settled("done")
    (line,) = world.logged("handler failed")
    assert (line["log_level"], line["user"], line["message"], line["error"]) == ("error", "u1", 1, "ValueError")
    assert "in answer" in "".join(line["trace"])
    assert "exc_info" not in line


async def test_an_answer_without_parts_says_nothing(world: World) -> None:
    """The message is done, the next one goes on."""

    class Silent(Broken):
        async def answer(self, question: Question) -> Answer:
            return Answer(())

    async with world.running(handler=Silent()):
        await world.emu.say(world.ana, "hi")
        await world.settled("done")
    assert world.emu.log.of("graph.send") == []


async def test_a_handler_that_hangs_is_given_up_after_lease_seconds(world: World) -> None:
    """Then it is a retry like any other."""

    class Hanging(Broken):
        asked = 0

        async def answer(self, question: Question) -> Answer:
            self.asked += 1
            if self.asked == 1:
                await asyncio.Event().wait()
            return Answer(("at last",))

    async with world.running(handler=Hanging(), queue={"lease_seconds": 0.2}):
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["at last"]
        await world.settled("done")
    assert world.rows("SELECT attempts FROM outbox") == [(1,)]


async def test_a_send_that_takes_longer_than_the_lease_costs_no_attempt(world: World) -> None:
    """The bytes left: it is in doubt, whatever clock ran out; its status settles it."""
    world.emu.faults.add("slow", after=True, seconds=0.6)
    async with world.running(queue={"lease_seconds": 0.2}):
        await world.emu.say(world.ana, "hi")
        await world.settled("done")
    assert world.emu.sends() == ["answer to: hi"]
    assert world.rows("SELECT attempts, error FROM outbox") == [(0, None)]
