"""WhatsApp's limits of sends, and the limits of bot.toml: who waits, who doesn't, and what is said about it."""

import asyncio
import time
from typing import Any

import pytest

from bot.emulator import payloads
from tests.flow.conftest import LIMIT_REPLY, UNSUPPORTED_REPLY, World


async def test_a_pair_limit_of_whatsapp_delays_this_user_alone(world: World) -> None:
    """131056: no sooner than 4, then 16 seconds; others with a single slot go on, no attempt is spent."""
    emu, waits = world.emu, []
    emu.faults.add("error", code=131056, user=world.ana.wa_id, times=2)
    waiting = """SELECT (julianday(o.not_before_at) - julianday(sending_at)) * 86400 FROM outbox o
                   JOIN replies ON outbox_id = o.id WHERE o.not_before_at IS NOT NULL"""
    async with world.running(queue={"concurrency": 1}):
        await emu.say(world.ana, "one")
        for n in (1, 2):
            ((seconds,),) = await world.eventually(lambda: world.rows(waiting))
            waits.append(round(seconds))
            await emu.say(world.bea, f"hello {n}")
            await world.sent(n)
            assert emu.sends(world.ana) == []
            world.write("UPDATE outbox SET not_before_at = NULL WHERE state = 'pending' AND user_id = 1")
        assert await world.sent(1, world.ana) == ["answer to: one"]
        await world.settled("done", "done", "done")
    assert waits == [4, 16]
    assert world.rows("SELECT DISTINCT attempts FROM outbox") == [(0,)]


@pytest.mark.parametrize("per_second", [0, 80])
@pytest.mark.parametrize("code", [130429, 80007])
async def test_a_limit_of_the_number_makes_everybody_wait(world: World, code: int, per_second: int) -> None:
    """Nobody sends before the time is up; who waits holds no slot, and no attempt is spent."""
    emu = world.emu
    emu.faults.add("error", code=code, headers={"Retry-After": "1"})
    async with world.running(queue={"concurrency": 1}, whatsapp={"sends_per_second": per_second}):
        await emu.say(world.ana, "one")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        await emu.say(world.bea, "two")
        await world.asked(2)
        await world.sent(2)
        await world.settled("done", "done")
    limited, *later = emu.log.of("graph.send")
    assert len(later) == 2
    assert all(entry.began_at - (limited.ended_at or 0) >= 0.95 for entry in later)
    assert world.rows("SELECT attempts FROM outbox") == [(0,), (0,)]


async def test_sends_keep_the_numbers_limit(world: World) -> None:
    """In no second are there more (but for what jitter brings together), and all of it goes out."""
    emu = world.emu
    people = [emu.customer(f"Customer {n}", wa_id=f"3460020000{n:02}") for n in range(50)]
    async with world.running(whatsapp={"sends_per_second": 20}):
        await emu.batch([(who, f"hello from {who.name}") for who in people])
        await world.sent(50, timeout_seconds=10)
    sends = [entry.began_at for entry in emu.log.of("graph.send")]
    assert len(sends) == 50
    for start in sends:
        for seconds in (0.5, 1.0):
            assert sum(start <= began < start + seconds for began in sends) <= 20 * seconds + 10
    assert sends[-1] - sends[0] >= 49 / 20 - 0.2


async def test_sends_to_one_user_keep_the_pair_limit_and_hold_no_slot(world: World) -> None:
    """A burst, then one per interval; with a single slot another user is answered between."""
    emu = world.emu
    async with world.running(queue={"concurrency": 1}, whatsapp={"pair_interval_seconds": 0.2, "pair_burst": 3}):
        await emu.batch([(world.ana, f"message {n}") for n in range(6)])
        await world.sent(3, world.ana)
        await emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
        assert len(emu.sends(world.ana)) < 6
        assert await world.sent(6, world.ana) == [f"answer to: message {n}" for n in range(6)]
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    stamps = world.rows("SELECT julianday(sending_at) * 86400 FROM replies WHERE user_id = 1 ORDER BY sending_at")
    assert [stamps[n][0] - stamps[0][0] >= 0.2 * (n - 2) - 0.002 for n in range(3, 6)] == [True] * 3
    assert world.rows("SELECT sum(attempts) FROM outbox") == [(0,)]


async def test_who_writes_too_much_in_an_hour_is_paused_and_it_is_logged(world: World) -> None:
    """Two bots in a loop: the rest waits until somebody resumes the user, and then goes on."""
    async with world.running(limits={"answers_per_user_per_hour": 3}):
        await world.emu.batch([(world.ana, f"message {n}") for n in range(5)])
        await world.sent(3)
        await world.eventually(lambda: world.rows("SELECT 1 FROM users WHERE paused_at IS NOT NULL"))
        (line,) = await world.eventually(lambda: world.logged("turn", error="limit_per_hour"))
        _, found = await world.get("/api/users/u1")
        assert (line["log_level"], line["user"]) == ("warning", "u1")
        (told,) = world.logged("user paused")
        assert (told["log_level"], told["user"], told["limit"]) == ("error", "u1", "answers_per_user_per_hour")
        assert (found["user"]["state"], found["user"]["depth"]) == ("paused", 2)
        await world.emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
        await world.post("/api/users/u1/resume")
        await world.sent(5, world.ana)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    assert world.emu.log.of("model")[-1].text == "message 4"


async def test_beyond_the_days_limit_a_user_is_told_once_and_then_nothing(world: World) -> None:
    """The messages end as cancelled, with the limit as their error; others are answered."""
    async with world.running(limits={"answers_per_user_per_day": 2}):
        await world.emu.batch([(world.ana, f"message {n}") for n in range(5)])
        await world.settled("done", "done", "cancelled", "cancelled", "cancelled")
        await world.emu.say(world.bea, "hello")
        await world.sent(1, world.bea)
    assert world.emu.sends(world.ana) == ["answer to: message 0", "answer to: message 1", LIMIT_REPLY]
    assert world.rows("SELECT DISTINCT error FROM outbox WHERE state = 'cancelled'") == [("limit_per_day",)]
    assert len(world.emu.log.of("model")) == 3


async def test_a_spent_budget_stops_asking_and_shows(world: World) -> None:
    """Nobody is asked about until tomorrow, nothing fails; answers that are planned already still go out."""
    emu = world.emu
    prices = {"price_input_per_million": 1000.0, "price_output_per_million": 1000.0}
    emu.faults.add("error", code=131056)
    async with world.running(openai=prices, limits={"cost_per_day": 0.0001}):
        await emu.say(world.ana, "one")
        await world.eventually(lambda: world.rows("SELECT 1 FROM outbox WHERE not_before_at IS NOT NULL"))
        await emu.say(world.bea, "two")
        status, ready = await world.get("/readyz")
        assert status == 503
        assert "budget" in ready["reasons"][0]
        world.write("UPDATE outbox SET not_before_at = NULL WHERE id = 1")
        assert await world.sent(1) == ["answer to: one"]
        await world.settled("done", "pending")
        assert len(emu.log.of("model")) == 1
        world.write("UPDATE usage SET day = '2020-01-01'")  # tomorrow has come
        assert await world.sent(2) == ["answer to: one", "answer to: two"]


async def test_numbers_outside_allow_and_inside_deny_are_kept_and_never_answered(world: World) -> None:
    """They are ignored, as rows that one can look at."""
    emu = world.emu
    stranger = emu.customer("A stranger", wa_id="15550001111")
    async with world.running(limits={"allow": ("34",), "deny": (world.bea.wa_id,)}):
        for who in (stranger, world.bea, world.ana):
            await emu.say(who, f"hello from {who.name}")
        await world.settled("ignored", "ignored", "done")
    assert emu.sends() == [f"answer to: hello from {world.ana.name}"]
    assert [entry.user for entry in emu.log.of("graph.read")] == [world.ana.wa_id]


async def test_what_is_turned_away_at_a_full_queue_is_delivered_again_and_answered(world: World) -> None:
    """503 until there is room; statuses are taken all the same, so that it empties."""
    emu = world.emu
    emu.settings.redelivery_tries = 100
    people = [emu.customer(f"Customer {n}", wa_id=f"3460020000{n:02}") for n in range(12)]
    async with world.running(queue={"max_depth_total": 3, "concurrency": 2}):
        await world.post("/api/pause")
        async with asyncio.TaskGroup() as deliveries:
            for who in people:
                deliveries.create_task(emu.say(who, f"hello from {who.name}"))
            await emu.wait_for(lambda: any(entry.status == 503 for entry in emu.log.of("webhook")))
            await world.post("/api/resume")
        await world.sent(12)
        await world.settled(*["done"] * 12)
    assert sorted(emu.sends()) == sorted(f"answer to: hello from {who.name}" for who in people)


async def test_who_floods_the_queue_is_stored_and_answered_up_to_the_limit(world: World) -> None:
    """The rest is cancelled, acknowledged all the same; others are not affected."""
    async with world.running(queue={"max_depth_per_user": 2}):
        await world.post("/api/pause")
        await world.emu.batch([(world.ana, f"message {n}") for n in range(4)] + [(world.bea, "hello")])
        await world.post("/api/resume")
        await world.settled("done", "done", "cancelled", "cancelled", "done")
    assert world.rows("SELECT DISTINCT error FROM outbox WHERE state = 'cancelled'") == [("over_limit",)]


# -- what this version can't read


async def test_an_unreadable_message_takes_its_place_in_line_and_is_answered_by_a_notice(world: World) -> None:
    """Between its neighbours, without asking the model, and it is done."""
    start = int(time.time()) - 60
    async with world.running():
        await world.post("/api/pause")
        await world.emu.say(world.ana, "one", timestamp=start)
        await world.emu.send(world.ana, payloads.audio_message, timestamp=start + 1)
        await world.emu.say(world.ana, "two", timestamp=start + 2)
        await world.post("/api/resume")
        assert await world.sent(3) == ["answer to: one", UNSUPPORTED_REPLY, "answer to: two"]
        await world.settled("done", "done", "done")
    assert world.rows("SELECT kind FROM replies ORDER BY id") == [("answer",), ("notice",), ("answer",)]


@pytest.mark.parametrize("build", [payloads.audio_message, payloads.image_message, payloads.unsupported_message])
async def test_the_notice_goes_to_a_user_once_in_ten_minutes(world: World, build: Any) -> None:
    """Another business number may be writing: two bots must not talk to each other for ever."""
    async with world.running():
        for _ in range(3):
            await world.emu.send(world.ana, build)
        await world.emu.send(world.bea, build)
        await world.settled("done", "done", "done", "done")
        assert world.emu.sends(world.ana) == [UNSUPPORTED_REPLY]
        assert world.emu.sends(world.bea) == [UNSUPPORTED_REPLY]
        world.write("UPDATE users SET noticed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-11 minutes')")
        await world.emu.send(world.ana, build)
        assert await world.sent(2, world.ana) == [UNSUPPORTED_REPLY] * 2
    assert world.emu.log.of("model") == []


async def test_what_is_no_question_is_never_answered(world: World) -> None:
    """Reactions, and messages in groups."""
    emu = world.emu
    async with world.running():
        wamid = await emu.say(world.ana, "hi")
        await world.sent(1)
        await emu.send(world.ana, payloads.reaction_message, message_id=wamid)
        payload = emu.compose([(world.ana, payloads.text_message, {"body": "to the group"})])
        payload["entry"][0]["changes"][0]["value"]["messages"][0]["group_id"] = "g1"
        await emu.deliveries.deliver(payload)
        await emu.say(world.ana, "bye")
        await world.settled("done", "ignored", "ignored", "done")
    assert emu.sends() == ["answer to: hi", "answer to: bye"]
