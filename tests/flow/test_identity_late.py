"""Notices and messages that come late, again or shuffled: whoever has a number by now keeps it, and their history."""

import time

from bot.emulator import payloads
from tests.flow.conftest import World
from tests.flow.test_identity import addresses

OLD, NEW, NEWEST = "34600111000", "34600222000", "34600333000"


async def test_a_notice_told_again_takes_nothing_from_who_has_the_old_number_now(world: World) -> None:
    """Known by phone alone: the stranger stays a stranger, and is answered at their own phone."""
    emu = world.emu
    old, new = emu.customer("P", wa_id=OLD), emu.customer("P", wa_id=NEW)
    async with world.running():
        await emu.say(old, "my secret")
        notice = emu.compose([(old, payloads.changed_number_message, {"new_wa_id": NEW})])  # no second before that
        await world.sent(1)
        await emu.deliveries.deliver(notice)
        await emu.say(new, "still me")
        await world.sent(2)
        await emu.say(emu.customer("Q", wa_id=OLD), "hello, I am new here")
        await world.sent(3)
        await emu.deliveries.deliver(notice)  # its 200 was lost on the way
        assert world.rows("SELECT phone FROM users ORDER BY id") == [(NEW,), (OLD,)]
        await emu.say(OLD, "what do you know of me?")
        await world.sent(4)
        assert addresses(world)[-1] == (f"+{OLD}", None)
    assert "my secret" not in str(emu.log.of("model")[-1].request)


async def test_a_notice_told_again_moves_nobody_with_ids_of_their_own(world: World) -> None:
    """It names no id, so the phone alone would lead to the wrong person."""
    emu = world.emu
    old, new = (emu.customer("P", wa_id=phone, user_id="ES.1") for phone in (OLD, NEW))
    async with world.running():
        await emu.say(old, "my secret")
        notice = emu.compose([(old, payloads.changed_number_message, {"new_wa_id": NEW})])
        await emu.deliveries.deliver(notice)
        await emu.say(new, "still me")
        await emu.say(emu.customer("Q", wa_id=OLD, user_id="ES.2"), "hello, I am new here")
        await emu.deliveries.deliver(notice)
        await world.settled("done", "done", "done")
    assert world.rows("SELECT bsuid, phone FROM users ORDER BY bsuid") == [("ES.1", NEW), ("ES.2", OLD)]


async def test_an_older_notice_told_again_undoes_no_newer_one(world: World) -> None:
    """From A to B, from B to C, and the first once more; the same for ids."""
    emu = world.emu
    ids = {"new_user_id": "ES.1", "previous_user_id": "ES.1"}
    a, b = (emu.customer("P", wa_id=phone, user_id="ES.1") for phone in (OLD, NEW))
    kwame = emu.customer("K", user_id="ES.5")
    async with world.running():
        await emu.say(a, "one")
        await emu.say(kwame, "two")
        first = emu.compose([(a, payloads.changed_number_message, {"new_wa_id": NEW, **ids})])
        second = emu.compose([(b, payloads.changed_number_message, {"new_wa_id": NEWEST, **ids})])
        moves = [{"previous_user_id": f"ES.{n}", "new_user_id": f"ES.{n + 1}"} for n in (5, 6)]
        third, fourth = (emu.compose([(kwame, payloads.changed_user_id_message, move)]) for move in moves)
        for notice in (first, second, first, third, fourth, third):
            await emu.deliveries.deliver(notice)
        assert world.rows("SELECT phone, bsuid FROM users ORDER BY id") == [(NEWEST, "ES.1"), (None, "ES.7")]


async def test_an_older_message_that_comes_late_does_not_take_the_phone_back(world: World) -> None:
    """It was written from the number that they had then; their answers go to the one of now."""
    emu, now = world.emu, int(time.time())
    old, new = (emu.customer("P", wa_id=phone, user_id="ES.1") for phone in (OLD, NEW))
    late = emu.compose([(old, payloads.text_message, {"body": "from the old number", "timestamp": now - 100})])
    async with world.running():
        await world.post("/api/pause")
        await emu.say(new, "from the new number", timestamp=now - 10)
        await emu.deliveries.deliver(late)
        await world.post("/api/resume")
        await world.settled("done", "done")
    assert {address for address, _ in addresses(world)} == {f"+{NEW}"}
    assert world.rows("SELECT phone FROM users") == [(NEW,)]


async def test_a_notice_between_two_messages_of_one_webhook_counts_from_its_own_time(world: World) -> None:
    """One person, one queue: what was written before it is theirs as what was written after."""
    emu, now = world.emu, int(time.time())
    async with world.running():
        await emu.say(OLD, "zero", timestamp=now - 50)
        await emu.deliveries.deliver(
            emu.compose(
                [
                    (OLD, payloads.text_message, {"body": "one", "timestamp": now - 40}),
                    (OLD, payloads.changed_number_message, {"new_wa_id": NEW, "timestamp": now - 30}),
                    (NEW, payloads.text_message, {"body": "two", "timestamp": now - 20}),
                ]
            )
        )
        await world.settled("done", "done", "done")
    assert world.rows("SELECT phone FROM users") == [(NEW,)]
