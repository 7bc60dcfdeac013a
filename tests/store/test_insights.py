"""What people look at: the shapes of the contract, pages, states, ages."""

import pytest

from bot.domain import Done, Failed, Identity, InDoubt, Operator, Released, Retry
from bot.errors import NotFound
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"


async def test_the_figures_of_an_empty_queue(desk: Desk) -> None:
    """All of them, and times as text."""
    assert await desk.store.insights.queue_stats() == {
        "totalMessages": 0,
        "activeUsers": 0,
        "timestamp": "2026-11-24T10:00:00.000Z",
        "pending": 0,
        "leased": 0,
        "failed": 0,
        "paused": False,
        "oldestAgeSeconds": None,
    }


async def test_the_figures_of_a_queue(desk: Desk) -> None:
    """Pending and leased make the total; who has such a message is active; the oldest is the one that came first."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b1")
    await desk.say(CARL, "c1")
    leases = await desk.claim(2)
    await desk.settle(leases[0], Failed("bad"))
    await desk.settle(leases[1], Done())
    await desk.claim(1)
    desk.tick(60)
    stats = await desk.store.insights.queue_stats()
    assert (stats["totalMessages"], stats["pending"], stats["leased"]) == (2, 1, 1)
    assert (stats["activeUsers"], stats["failed"]) == (2, 1)
    assert stats["oldestAgeSeconds"] == pytest.approx(60, abs=0.1)
    await desk.store.pause(None, who=Operator("test"))
    assert (await desk.store.insights.queue_stats())["paused"] is True


async def test_a_user_is_shown_with_all_that_is_known(desk: Desk) -> None:
    """Ids, name, depth, age, state; people are u17 outside."""
    await desk.arrive(message(Identity(ANA, "MX.ana", "Ana"), "a1", -30), message(ANA, "a2", 5))
    desk.tick(10)
    (user,) = (await desk.store.insights.users())["users"]
    assert user["oldest_age_seconds"] == pytest.approx(10, abs=0.1)
    del user["oldest_age_seconds"]
    assert user == {
        "user_id": "u1",
        "phone": ANA,
        "bsuid": "MX.ana",
        "name": "Ana",
        "depth": 2,
        "state": "waiting",
        "paused": False,
        "paused_by": None,
        "failed": 0,
        "ready_at": "2026-11-24T10:00:00.001Z",
        "last_message_at": "2026-11-24T10:00:05.000Z",
        "reachable": True,
    }


async def test_a_users_state_is_one_of_five(desk: Desk) -> None:
    """idle, waiting, leased, retrying, paused: what matters most is shown."""

    async def state() -> str:
        found: str = (await desk.look(ANA))["user"]["state"]
        return found

    await desk.arrive(message(ANA, "👍", answerable=False))
    assert await state() == "idle"
    await desk.say(ANA, "a")
    assert await state() == "waiting"
    lease = await desk.lease()
    assert await state() == "leased"
    await desk.settle(lease, Retry(60, "busy"))
    assert await state() == "retrying"
    desk.tick(60)
    assert await state() == "waiting"
    await desk.store.pause(await desk.id_of(ANA), who=Operator("test"))
    assert await state() == "paused"
    await desk.store.clear(None, who=Operator("test"))
    assert await state() == "paused"
    await desk.store.resume(await desk.id_of(ANA), skip=False, who=Operator("test"))
    assert await state() == "idle"


async def test_users_come_deepest_first_in_pages(desk: Desk) -> None:
    """Everybody once, those with nothing waiting last; the last page has no next."""
    depths = [3, 0, 5, 1, 0, 2, 2, 4, 0]
    for n, depth in enumerate(depths):
        who = f"52155700{n:02}"
        await desk.arrive(message(who, "👍", wamid=f"w{n}", answerable=False))
        await desk.say(who, *(f"{n}.{k}" for k in range(depth)))
    for limit in (1, 2, 4, 9, 50):
        seen: list[tuple[int, str]] = []
        after = None
        while True:
            page = await desk.store.insights.users(limit, after)
            assert len(page["users"]) <= limit
            seen += [(user["depth"], user["user_id"]) for user in page["users"]]
            if (after := page["next"]) is None:
                break
        assert [depth for depth, _ in seen] == sorted(depths, reverse=True)
        assert len({user for _, user in seen}) == len(depths)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-x", "1-2-3", "-", "2026-11-24T10:00:00.000Z-1", "9" * 30])
async def test_a_cursor_that_isnt_ours_does_no_harm(desk: Desk, cursor: str) -> None:
    """The API refuses most of them; the empty one is the first page."""
    await desk.say(ANA, "a")
    for sort in ("depth", "recent", "failed", "oldest"):
        page = await desk.store.insights.users(10, cursor, sort=sort)
        assert page["next"] is None
        assert cursor or len(page["users"]) == (sort != "failed")


async def test_a_person_is_found_by_whatever_they_are_known_by(desk: Desk) -> None:
    """u17, a phone with or without plus, a business-scoped id, former ones too."""
    await desk.arrive(message(Identity(ANA, "MX.ana"), "a"))
    await desk.change(Identity(None, "MX.ana"), Identity(None, "MX.new"))
    for known in ("u1", ANA, f"+{ANA}", "MX.ana", "MX.new"):
        assert await desk.store.insights.find_user(known) == 1
    odd = [
        "",
        "u",
        "u2",
        "u-1",
        "u1 ",
        "U1",
        "u१",
        "1",
        "+",
        "++5215550001",
        "mx.ana",
        "u" + "9" * 50,
        "\x00",
        "x" * 500,
    ]
    for unknown in odd:
        with pytest.raises(NotFound):
            await desk.store.insights.find_user(unknown)


async def test_a_person_is_shown_with_queue_conversation_and_failures(desk: Desk) -> None:
    """The line in its order; what was said, oldest first, both ways; what failed."""
    await desk.say(ANA, "bad", "good", "waits")
    await desk.settle(await desk.lease(), Failed("content filter"))
    lease = await desk.lease()
    one, two = await desk.plan(lease, "one", "two")
    callback = await desk.begin(lease, one)
    await desk.begin(lease, two, desk.receipt(one))
    await desk.tell("read", callback=callback)
    await desk.settle(lease, Done(desk.receipt(two)))
    look = await desk.look(ANA)
    assert set(look) == {"user", "queue", "conversation", "failures", "retryable"}
    (waiting,) = look["queue"]
    expected = {"id", "state", "type", "body", "attempts", "crashes", "error", "sent_at", "not_before_at", "leased_at"}
    assert set(waiting) >= expected
    assert (waiting["body"], waiting["state"], waiting["sent_at"]) == ("waits", "pending", "2026-11-24T10:00:02.000Z")
    said = [
        (row["direction"], row["kind"], row["body"], row["state"], row["delivery"], row["error"])
        for row in look["conversation"]
    ]
    assert said == [
        ("in", "text", "bad", "failed", None, "content filter"),
        ("out", "answer", "one", "sent", "read", None),
        ("out", "answer", "two", "sent", None, None),
        ("in", "text", "good", "done", None, None),
        ("in", "text", "waits", "pending", None, None),
    ]
    assert {row["message_id"] for row in look["conversation"]} == {1, 2, 3}
    (failure,) = look["failures"]
    assert (failure["id"], failure["body"], failure["error"], failure["retryable"]) == (
        1,
        "bad",
        "content filter",
        True,
    )
    with pytest.raises(NotFound):
        await desk.store.insights.user("u99")


async def test_only_the_newest_of_a_long_conversation_are_shown(desk: Desk) -> None:
    """A hundred, oldest first."""
    await desk.arrive(*(message(ANA, f"m{n}", n, answerable=False) for n in range(150)))
    shown = [row["body"] for row in (await desk.look(ANA))["conversation"]]
    assert shown == [f"m{n}" for n in range(50, 150)]


async def test_a_failure_is_shown_with_all_that_helps(desk: Desk) -> None:
    """Who, what, why, how often, when, and whether it can be retried."""
    await desk.arrive(message(Identity(ANA, "MX.ana", "Ana"), "a"))
    await desk.settle(await desk.lease(), Retry(1, "busy"))
    desk.tick(1)
    await desk.settle(await desk.lease(), Failed("busy, twice"))
    (failure,) = (await desk.store.insights.failures())["failures"]
    assert failure.items() >= {
        "id": 1, "user_id": "u1", "name": "Ana", "phone": ANA, "type": "text", "body": "a", "error": "busy, twice",
        "retryable": True,
    }.items()  # fmt: skip
    assert failure["attempts"] >= 1
    assert failure["failed_at"].startswith("2026-11-24T10:00:01.")


async def test_failures_come_newest_first_in_pages(desk: Desk) -> None:
    """Messages that failed, and replies that weren't delivered, each once."""
    for n in range(7):
        who = f"52155800{n:02}"
        await desk.say(who, f"m{n}")
        lease = await desk.lease()
        if n % 3 == 0:
            await desk.settle(lease, Failed("bad"))
            continue
        parts = await desk.plan(lease, "one", "two")
        callbacks = [await desk.begin(lease, part) for part in parts]
        await desk.store.record_sent(desk.receipt(parts[0]))
        await desk.settle(lease, Done(desk.receipt(parts[1])))
        for callback in callbacks:
            await desk.tell("failed", callback=callback, error="131026 undeliverable")
    for limit in (1, 2, 3, 7, 50):
        seen: list[tuple[str, bool]] = []
        after = None
        while True:
            page = await desk.store.insights.failures(limit, after)
            seen += [(row["body"], row["retryable"]) for row in page["failures"]]
            if (after := page["next"]) is None:
                break
        assert seen == [(f"m{n}", n % 3 == 0) for n in range(6, -1, -1)]


async def test_reasons_not_to_be_ready_are_words(open_desk: OpenDesk) -> None:
    """None while messages can be answered."""
    desk = await open_desk()
    await desk.say(ANA, "a")
    assert await desk.store.reasons() == []
    await desk.settle(await desk.lease(), Released(refused_by="graph", error="token expired"))
    await desk.store.pause(None, who=Operator("test"))
    shut, paused = await desk.store.reasons()
    assert "WhatsApp" in shut
    assert "token expired" in shut
    assert "paused" in paused


async def test_ages_are_never_negative(desk: Desk) -> None:
    """A wall clock that was set back."""
    await desk.say(ANA, "a")
    desk.tick(-3600)
    assert (await desk.look(ANA))["user"]["oldest_age_seconds"] == 0.0
    assert (await desk.store.insights.queue_stats())["oldestAgeSeconds"] == 0.0


async def test_a_wait_for_a_status_shows_as_retrying(desk: Desk) -> None:
    """The line stands still until it is known how a send ended."""
    await desk.say(ANA, "a")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(at(60)))
    look = await desk.look(ANA)
    assert look["user"]["state"] == "retrying"
    assert look["queue"][0]["not_before_at"] == "2026-11-24T10:01:00.000Z"


async def test_what_failed_last_stands_first_however_old_the_message_is(desk: Desk) -> None:
    """One that waited for a day and expired just now is the news."""
    for who in ("5215560001", "5215560002", "5215560003"):
        await desk.say(who, who[-1])
    leases = {lease.messages[0].body: lease for lease in await desk.claim()}
    for body in ("2", "3", "1"):
        desk.tick()
        await desk.settle(leases[body], Failed("bad"))
    page = await desk.store.insights.failures(2)
    again = await desk.store.insights.failures(2, page["next"])
    assert [row["body"] for row in (*page["failures"], *again["failures"])] == ["1", "3", "2"]
    assert again["next"] is None
