"""Every message is answered once, each user in order and users side by side, however webhooks arrive."""

import asyncio
import itertools
import random
import time
from datetime import datetime
from typing import Any

import pytest

from bot.emulator import Answer, Customer, Emulator, payloads
from bot.emulator.delivery import card
from tests.flow.conftest import World

START = int(time.time()) - 3600
UNLIMITED = {"answers_per_user_per_hour": 0, "answers_per_user_per_day": 0}


def crowd(emu: Emulator, count: int) -> list[Customer]:
    """Make customers known by phone and BSUID, by phone alone, and by BSUID alone, in turns."""
    return [
        emu.customer(
            f"Customer {n:02}",
            wa_id=f"346001000{n:02}" if n % 3 != 2 else "",
            user_id=f"ES.9000000000{n:02}" if n % 3 != 1 else "",
        )
        for n in range(count)
    ]


def messages_of(emu: Emulator, customers: list[Customer], counts: list[int]) -> list[tuple[Customer, Any]]:
    """Let everybody write so many texts, a second apart by their timestamps."""
    written = []
    for customer, count in zip(customers, counts, strict=True):
        for n in range(count):
            text = f"{customer.name} says {n:03}"
            payload = emu.compose([(customer, payloads.text_message, {"body": text, "timestamp": START + n})])
            written.append((customer, payload["entry"][0]["changes"][0]["value"]["messages"][0]))
    return written


def shuffled_batches(emu: Emulator, written: list[tuple[Customer, Any]], rng: random.Random) -> list[Any]:
    """Put messages into webhooks of 1 to 40, a third of them a second time in another mix, with statuses between."""
    twice = rng.sample(written, len(written) // 3)
    batches = []
    for deck in (rng.sample(written, len(written)), twice):
        position = 0
        while position < len(deck):
            size = rng.choice((1, 1, 2, 5, 40))
            some = deck[position : position + size]
            statuses = [
                payloads.status(wamid=payloads.new_wamid(), status="read", wa_id="34600999999")
                for _ in range(rng.choice((0, 0, 2)))
            ]
            contacts = [card(who) for who in {who.key: who for who, _ in some}.values()]
            batches.append(
                emu.deliveries.wrap(messages=[message for _, message in some], contacts=contacts, statuses=statuses)
            )
            position += size
    rng.shuffle(batches)
    return batches


def spans(emu: Emulator, who: Customer) -> list[tuple[float, float]]:
    """List when somebody's turns were at work outside: at the model, and at the Graph API."""
    entries = [*emu.log.of("model", who.ids), *emu.log.of("graph.send", who.ids)]
    return sorted((entry.began_at, entry.ended_at or entry.began_at) for entry in entries)


def assert_one_at_a_time(emu: Emulator, customers: list[Customer]) -> None:
    """No two requests about one customer overlap."""
    for who in customers:
        times = spans(emu, who)
        assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(times)), who.name


def assert_nothing_was_overtaken(world: World) -> None:
    """When a turn began, nothing older of that person had been acknowledged and still waited."""
    since_boot = time.time() - time.monotonic()
    acknowledged: dict[str, float] = {}
    for entry in world.emu.log.of("webhook"):
        if entry.accepted:
            for wamid in entry.wamid.split():
                acknowledged.setdefault(wamid, entry.ended_at or 0.0)
    turns = world.rows(
        "SELECT user_id, wamid, sent_at, begun_at FROM outbox WHERE begun_at IS NOT NULL ORDER BY begun_at"
    )
    for n, (user, _, sent_at, begun_at) in enumerate(turns):
        began = datetime.fromisoformat(begun_at).timestamp() - since_boot
        later = [turn for turn in turns[n + 1 :] if turn[0] == user and turn[2] < sent_at]
        assert [turn for turn in later if acknowledged[turn[1]] < began - 0.01] == []


def overlap(emu: Emulator) -> int:
    """Count the most requests that were at the model at one moment."""
    changes = [(entry.began_at, 1) for entry in emu.log.of("model")]
    changes += [(entry.ended_at or entry.began_at, -1) for entry in emu.log.of("model")]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


def expected(customer: Customer, count: int) -> list[str]:
    """List the answers that somebody must get, in order."""
    return [f"answer to: {customer.name} says {n:03}" for n in range(count)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_1000_messages_of_50_users_are_answered_once_each_in_the_order_of_their_timestamps(
    world: World, seed: int
) -> None:
    """Delivered concurrently, shuffled, in mixed batches with redeliveries and statuses; seed 2 has bursty users."""
    emu, rng = world.emu, random.Random(seed)
    customers = crowd(emu, 50)
    counts = [20] * 50 if seed == 1 else [200, 150, 100] + [50, 30, 20] * 4 + [5] * 30 + [0] * 5
    written = messages_of(emu, customers, counts)
    emu.settings.model_delay_seconds = 0.005
    async with world.running(queue={"concurrency": 16, "max_depth_per_user": 0}, limits=UNLIMITED):
        # Paused meanwhile: what has begun keeps its place, so only what waits is put in order.
        await world.post("/api/pause")
        await asyncio.gather(*(emu.deliveries.deliver(b) for b in shuffled_batches(emu, written, rng)))
        await world.post("/api/resume")
        await world.sent(len(written), timeout_seconds=60)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    for customer, count in zip(customers, counts, strict=True):
        assert emu.sends(customer) == expected(customer, count)
    assert_one_at_a_time(emu, customers)
    assert 4 <= overlap(emu) <= 16  # a busy machine may not get to use all slots
    assert world.rows("SELECT count(*), count(DISTINCT wamid) FROM outbox WHERE state = 'done'") == [
        (len(written), len(written))
    ]


async def test_messages_that_arrive_while_others_are_answered_take_their_timestamps_place(world: World) -> None:
    """Whatever was acknowledged before a later message's turn began goes before it."""
    emu, rng = world.emu, random.Random(3)
    customers = crowd(emu, 8)
    written = messages_of(emu, customers, [40, 40, 10, 10, 10, 10, 10, 10])
    emu.settings.model_delay_seconds = 0.005
    async with world.running(queue={"concurrency": 4}, limits=UNLIMITED):
        await asyncio.gather(*(emu.deliveries.deliver(b) for b in shuffled_batches(emu, written, rng)))
        await world.sent(len(written), timeout_seconds=30)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    assert_one_at_a_time(emu, customers)
    assert_nothing_was_overtaken(world)
    for customer, count in zip(customers, [40, 40, 10, 10, 10, 10, 10, 10], strict=True):
        assert sorted(emu.sends(customer)) == expected(customer, count)


async def test_a_late_message_goes_before_those_that_wait_and_behind_the_one_that_has_begun(world: World) -> None:
    """The middle one is being answered when an older one arrives: middle, oldest, newest."""
    emu, ana, answering = world.emu, world.ana, asyncio.Event()

    async def hold(_: Any) -> str:
        await answering.wait()
        return "well"

    emu.model.responder = hold
    async with world.running():
        await emu.say(ana, "middle", timestamp=START + 20)
        await world.asked(1)
        await emu.say(ana, "newest", timestamp=START + 30)
        await emu.say(ana, "oldest", timestamp=START + 10)
        answering.set()
        await world.settled("done", "done", "done")
    assert [entry.text for entry in emu.log.of("model")] == ["middle", "oldest", "newest"]


async def test_a_message_that_has_begun_stays_first_while_it_is_retried(world: World) -> None:
    """An older one that arrives during its backoff goes behind it."""
    emu, ana = world.emu, world.ana
    emu.faults.add("error", service="model", status=500)
    async with world.running(queue={"backoff_base_seconds": 0.4, "backoff_max_seconds": 0.4}):
        await emu.say(ana, "newer", timestamp=START + 20)
        await world.eventually(lambda: world.rows("SELECT attempts FROM outbox") == [(1,)])
        await emu.say(ana, "older", timestamp=START + 10)
        await world.sent(2)
    assert [entry.text for entry in emu.log.of("model")] == ["newer", "newer", "older"]


async def test_messages_of_one_second_are_answered_in_the_order_of_their_arrival(world: World) -> None:
    """WhatsApp's timestamps are whole seconds."""
    async with world.running():
        await world.post("/api/pause")
        texts = [f"message {n}" for n in range(12)]
        for text in texts:
            await world.emu.say(world.ana, text, timestamp=START)
        await world.post("/api/resume")
        assert await world.sent(12) == [f"answer to: {text}" for text in texts]


async def test_redelivered_webhooks_change_nothing(world: World) -> None:
    """The same wamid five times over, before, while and after it is answered, in other batches too: one answer."""
    emu = world.emu
    async with world.running():
        wamid = await emu.say(world.ana, "hola")
        assert [await emu.redeliver(wamid) for _ in range(2)] == [200, 200]
        await world.sent(1)
        await world.settled("done")
        assert [await emu.redeliver(wamid) for _ in range(2)] == [200, 200]
        await emu.say(world.ana, "adiós")
        await world.sent(2)
        await world.settled("done", "done")
    assert emu.sends() == ["answer to: hola", "answer to: adiós"]


async def test_a_hundred_messages_of_one_user_delay_a_newcomer_by_one_round(world: World) -> None:
    """Slots go round the ready users: who was served joins the end."""
    emu = world.emu
    async with world.running(queue={"concurrency": 1}, limits=UNLIMITED):
        await world.post("/api/pause")
        for n in range(30):
            await emu.say(world.ana, f"ana {n}", timestamp=START + n)
        await emu.say(world.bea, "bea 0", timestamp=START + 100)
        await emu.say(world.cora, "cora 0", timestamp=START + 101)
        await world.post("/api/resume")
        await world.sent(32, timeout_seconds=10)
    asked = [entry.text for entry in emu.log.of("model")]
    assert asked[:3] == ["ana 0", "bea 0", "cora 0"]


async def test_the_parts_of_a_long_answer_go_in_order_each_after_the_one_before_was_accepted(world: World) -> None:
    """Nothing is lost at the seams, no part is over 4,000 characters, and the user's next answer comes behind."""
    emu = world.emu
    paragraphs = [f"Paragraph {n}: " + "words and more words, " * 40 for n in range(14)]
    emu.model.script.extend([Answer("\n\n".join(paragraphs)), "short"])
    async with world.running():
        await emu.batch([(world.ana, "tell me everything"), (world.ana, "and then?")])
        await emu.wait_for(lambda: "short" in emu.sends())
    *parts, last = emu.log.of("graph.send")
    assert last.text == "short"
    assert len(parts) >= 3
    assert all(len(part.text) <= 4000 for part in parts)
    assert all(
        (part.ended_at or 0) <= following.began_at for part, following in zip(parts, [*parts[1:], last], strict=True)
    )
    assert "".join("".join(part.text for part in parts).split()) == "".join("".join(paragraphs).split())


async def test_a_code_block_over_two_parts_is_closed_and_opened_again(world: World) -> None:
    """Each part has its own pair of fences."""
    emu = world.emu
    code = "\n".join(f"print({n:04}, 'line of a long program')" for n in range(200))
    emu.model.script.append(f"Here it is:\n\n```python\n{code}\n```\n\nThat's **all**.")
    async with world.running():
        await emu.say(world.ana, "write me a program")
        await emu.wait_for(lambda: any("all" in text for text in emu.sends()))
    parts = emu.sends()
    assert len(parts) >= 2
    assert all(part.count("```") % 2 == 0 for part in parts)
    assert "*all*" in parts[-1]
