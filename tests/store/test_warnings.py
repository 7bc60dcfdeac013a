"""WhatsApp's warnings and the owner's alerts: what is kept, and what alerts are made of."""

import pytest

from bot.clock import stamp
from bot.domain import AccountWarning, Batch, Failed, Operator, Released, Retry
from bot.errors import StoreFull
from bot.store.inbox import Door
from bot.store.turns import Budget
from tests.clock import START
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message

ANA, BEN = "5215550001", "5215550002"
WHO = Operator("test")
HOUR, DAY = 3600, 86_400


def warning(text: str, seconds: float | None, *, grave: bool = True, kind: str = "account_update") -> AccountWarning:
    """Make what WhatsApp told so many seconds after the start."""
    return AccountWarning(kind, text, grave, at(seconds))


async def tell(desk: Desk, *warnings: AccountWarning) -> None:
    """Let a webhook bring them."""
    await desk.store.append(Batch(warnings=warnings))


async def kept(desk: Desk) -> list[str]:
    """Return the words that are kept, newest first."""
    return [row["text"] for row in (await desk.store.insights.trends())["warnings"]]


async def test_warnings_are_kept_newest_first(desk: Desk) -> None:
    """With WhatsApp's own time, the field and whether they are grave."""
    await tell(desk, warning("restricted", -60), warning("approved", -30, grave=False, kind="account_review_update"))
    assert (await desk.store.insights.trends())["warnings"] == [
        {
            "id": 2,
            "at": "2026-11-24T09:59:30.000Z",
            "kind": "account_review_update",
            "text": "approved",
            "grave": False,
        },
        {"id": 1, "at": "2026-11-24T09:59:00.000Z", "kind": "account_update", "text": "restricted", "grave": True},
    ]


async def test_a_redelivered_warning_is_kept_once(desk: Desk) -> None:
    """Whenever it comes again, and twice in a batch; the same words an hour later are news."""
    await tell(desk, warning("flagged", 0), warning("flagged", 0), warning("flagged", 0, kind="other"))
    desk.tick(3 * DAY)
    await tell(desk, warning("flagged", 0), warning("flagged", HOUR + 1))
    assert len(await kept(desk)) == 3


async def test_without_a_time_the_same_words_within_a_week_are_the_same_warning(desk: Desk) -> None:
    """Meta delivers again for seven days."""
    await tell(desk, warning("flagged", None))
    desk.tick(6 * DAY)
    await tell(desk, warning("flagged", None))
    assert await kept(desk) == ["flagged"]
    desk.tick(2 * DAY)
    await tell(desk, warning("flagged", None))
    assert await kept(desk) == ["flagged", "flagged"]


async def test_a_warning_comes_along_with_what_else_the_webhook_held(open_desk: OpenDesk) -> None:
    """In one transaction with the messages; a full queue keeps it all the same."""
    desk = await open_desk(door=Door(max_depth_total=1))
    await desk.store.append(Batch(messages=(message(ANA, "a"),), warnings=(warning("one", 0),)))
    assert await desk.queue(ANA) == ["a"]
    with pytest.raises(StoreFull):
        await desk.store.append(Batch(messages=(message(ANA, "b"),), warnings=(warning("two", 0),)))
    assert await kept(desk) == ["two", "one"]


async def test_old_warnings_are_pruned(desk: Desk) -> None:
    """With the messages of their time."""
    await tell(desk, warning("long ago", -400 * DAY))
    desk.tick(31 * DAY)
    await tell(desk, warning("lately", 0))
    await desk.prune(30)
    assert await kept(desk) == ["lately"]


async def test_alerts_are_kept_as_they_are_now(desk: Desk, open_desk: OpenDesk) -> None:
    """Over a restart; what isn't among them is over."""
    await desk.store.keep_alerts([("depth", "Many.", "2026-11-24T10:00:00.000Z", None), ("disk", "Full.", "x", "y")])
    await desk.store.keep_alerts([("depth", "Many.", "2026-11-24T10:00:00.000Z", "2026-11-24T10:01:00.000Z")])
    desk = await open_desk()
    assert await desk.store.insights.alerts() == [
        {
            "name": "depth",
            "text": "Many.",
            "raised_at": "2026-11-24T10:00:00.000Z",
            "told_at": "2026-11-24T10:01:00.000Z",
        }
    ]
    await desk.store.keep_alerts([])
    assert await desk.store.insights.alerts() == []


async def test_the_signs_of_an_empty_queue(desk: Desk) -> None:
    """Nothing waits, nothing failed, nobody wrote."""
    assert await desk.store.insights.signs(ANA) == {
        "depth": 0,
        "waiting_since": None,
        "failed_in_a_row": 0,
        "limited": 0,
        "heard_at": None,
        "graph_open": 0,
        "owner_wrote_at": None,
        "warnings": [],
    }


async def test_the_oldest_that_waits_is_not_one_of_a_paused_user(desk: Desk) -> None:
    """Who is paused by hand may wait as long as the owner likes; others may not."""
    await desk.say(ANA, "a")
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    desk.tick(60)
    assert (await desk.store.insights.signs())["waiting_since"] is None
    await desk.say(BEN, "b")
    signs, now = await desk.store.insights.signs(BEN), stamp(desk.clock.now())
    assert (signs["depth"], signs["waiting_since"], signs["heard_at"]) == (2, now, now)
    assert signs["owner_wrote_at"] == stamp(START)  # by WhatsApp's own time


async def test_a_thousand_messages_of_the_paused_hide_nobody_who_waits(desk: Desk) -> None:
    """The figure costs the same with a million of them: who could be answered next is told then."""
    await desk.arrive(*(message(ANA, f"a{n}", n) for n in range(1000)))
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    desk.tick(60)
    assert (await desk.store.insights.signs())["waiting_since"] is None
    await desk.say(BEN, "b", sent=60)
    assert (await desk.store.insights.signs())["waiting_since"] == stamp(desk.clock.now())


async def test_failures_in_a_row_count_messages_not_tries(desk: Desk) -> None:
    """Since the last one that was answered; tries and apologies don't count, a retry by hand takes its message out."""
    await desk.say(ANA, *(f"m{n}" for n in range(6)))

    async def in_a_row() -> int:
        count: int = (await desk.store.insights.signs())["failed_in_a_row"]
        return count

    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.settle(await desk.lease(), Retry(1, "busy"))
    assert await in_a_row() == 1
    desk.tick(2)
    await desk.settle(await desk.lease(), Failed("bad"))
    lease = await desk.lease()
    await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.settle(lease, Failed("bad"))
    assert await in_a_row() == 3
    await desk.store.retry([await desk.message_id(ANA, "m0")], who=WHO)
    assert await in_a_row() == 2
    await desk.serve(await desk.lease(), "hi")
    assert await in_a_row() == 0
    await desk.settle(await desk.lease(), Failed("bad"))
    assert await in_a_row() == 1


async def test_who_was_paused_by_a_limit_is_counted(desk: Desk) -> None:
    """Not who was paused by hand."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    await desk.store.pause(await desk.id_of(BEN), who=WHO)
    await desk.settle(await desk.lease(), Released(pause=True, error="limit_per_hour"))
    assert (await desk.store.insights.signs())["limited"] == 1


async def test_grave_warnings_of_a_day_are_signs(desk: Desk) -> None:
    """By when they came in: one that was delivered late is as new to the owner."""
    await tell(desk, warning("late", -6 * DAY), warning("fine", 0, grave=False))
    assert (await desk.store.insights.signs())["warnings"] == [{"id": 1, "text": "late"}]
    desk.tick(DAY + 1)
    assert (await desk.store.insights.signs())["warnings"] == []


async def test_reasons_have_names(open_desk: OpenDesk) -> None:
    """By which an alert is known again, while the words tell since when."""
    desk = await open_desk(budget=Budget(0.000001, 1.0, 1.0))
    assert await desk.store.named_reasons() == {}
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    first, second = await desk.claim()
    await desk.serve(first, "hi")
    await desk.settle(second, Released(refused_by="graph", error="no"))
    await desk.store.pause(None, who=WHO)
    reasons = await desk.store.named_reasons()
    assert list(reasons) == ["circuit_graph", "paused", "budget"]
    assert list(reasons.values()) == await desk.store.reasons()
    assert (await desk.store.insights.signs())["graph_open"] == 1
