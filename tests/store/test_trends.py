"""Minutes: each thing counts once, in the minute in which it was seen; none is made up for a daemon that was down."""

from typing import Any

import pytest

from bot.domain import AccountWarning, Batch, Cancelled, Done, Failed, InDoubt, Lease, Operator, Receipt, Released
from bot.store.failures import Failing
from bot.store.turns import Budget
from tests.store.conftest import OpenDesk
from tests.store.desk import PEOPLE, Desk, message

ANA, BEN, CARL = PEOPLE[:3]


async def minute(desk: Desk, seconds: float = 55) -> dict[str, Any]:
    """Let the rest of a minute pass, note it, and return its row."""
    desk.tick(seconds)
    await desk.store.note_minute()
    row: dict[str, Any] = (await desk.store.insights.trends())["minutes"][-1]
    return row


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return depth, arrived, answered and failed."""
    return row["depth"], row["arrived"], row["answered"], row["failed"]


def spans(row: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return p50 and p95 of waiting, then of answering, in whole seconds."""
    values = [row[f"{what}_p{share}_ms"] for what in ("wait", "answer") for share in (50, 95)]
    return tuple(value if value is None else round(value / 1000) for value in values)


async def fail(desk: Desk, lease: Lease) -> None:
    """Let a message fail."""
    await desk.settle(lease, Failed("bad"))


async def test_a_minute_in_which_nothing_happened_is_a_row_of_noughts(desk: Desk) -> None:
    """The daemon was up: that is something else than a gap. No times, as nothing was answered."""
    row = await minute(desk)
    assert counts(row) == (0, 0, 0, 0)
    assert spans(row) == (None, None, None, None)


async def test_a_minute_counts_what_came_in_and_what_ended(desk: Desk) -> None:
    """What was cancelled, and what is kept but never answered, is neither."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b1")
    await desk.say(CARL, "c1")
    await desk.arrive(message(ANA, "👍", answerable=False))
    first, second, third = await desk.claim()
    await desk.serve(first, "one", "two", "three")
    await fail(desk, second)
    await desk.settle(third, Cancelled("limit_per_day"))
    assert counts(await minute(desk)) == (1, 4, 1, 1)


async def test_each_minute_has_what_happened_since_the_last(desk: Desk) -> None:
    """Arrived in one, answered in the next, nothing in the third."""
    await desk.say(ANA, "a1")
    assert counts(await minute(desk)) == (1, 1, 0, 0)
    await desk.serve_all()
    assert counts(await minute(desk)) == (0, 0, 1, 0)
    assert counts(await minute(desk)) == (0, 0, 0, 0)


async def test_waiting_and_answering_are_told_apart(desk: Desk) -> None:
    """From received to begun, from begun to finished; the median and what 95 of 100 stay within."""
    for n, person in enumerate(PEOPLE):
        await desk.say(person, f"m{n}")
    desk.tick(10)
    leases = await desk.claim()
    for lease in leases:
        desk.tick(2)
        await desk.serve(lease, "hi")
    assert spans(await minute(desk, 10)) == (10, 10, 10, 20)


async def test_what_a_status_settled_counts_though_no_try_did(desk: Desk) -> None:
    """Its last try lies in the minute before; it counts once."""
    await desk.say(ANA, "a1")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "hi")
    callback = await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(None))
    assert counts(await minute(desk)) == (1, 1, 0, 0)
    await desk.tell("delivered", callback=callback)
    await desk.settle(await desk.lease(), Done())
    assert counts(await minute(desk)) == (0, 0, 1, 0)
    assert counts(await minute(desk)) == (0, 0, 0, 0)


async def test_what_failed_and_was_put_back_counts_again(desk: Desk) -> None:
    """As a failure in its minute, as an answer in another."""
    await desk.say(ANA, "a1")
    await fail(desk, await desk.lease())
    assert counts(await minute(desk)) == (0, 1, 0, 1)
    await desk.store.retry(Failing(), who=Operator("test"))
    await desk.serve_all()
    assert counts(await minute(desk)) == (0, 0, 1, 0)


async def test_a_send_that_is_told_of_late_counts_nothing_twice(desk: Desk) -> None:
    """A part that a dead turn had sent is recorded when the message is long done."""
    await desk.say(ANA, "a1")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "hi")
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part, "out.1")))
    assert counts(await minute(desk)) == (0, 1, 1, 0)
    await desk.store.record_sent(Receipt(part.id, "out.1", 5))
    assert counts(await minute(desk)) == (0, 0, 0, 0)


async def test_downtime_is_a_gap(open_desk: OpenDesk) -> None:
    """The first minute after it counts itself alone, and not what was begun before the stop."""
    desk = await open_desk()
    await minute(desk)
    await desk.say(ANA, "a1", "a2")
    await desk.serve_all()
    desk.tick(10)
    desk = await open_desk()
    desk.tick(600)
    await desk.say(BEN, "b1")
    row = await minute(desk, 59)
    assert counts(row) == (1, 1, 0, 0)
    assert [kept["ago"] for kept in (await desk.store.insights.trends())["minutes"]] == [12, 0]


async def test_a_restart_within_a_minute_loses_nothing(open_desk: OpenDesk) -> None:
    """Its row counts both sides of it."""
    desk = await open_desk()
    await minute(desk)
    await desk.say(ANA, "a1")
    desk = await open_desk()
    await desk.say(BEN, "b1")
    await desk.serve_all()
    assert counts(await minute(desk, 50)) == (0, 2, 2, 0)


async def test_old_minutes_go_and_so_do_those_of_a_clock_that_was_ahead(desk: Desk) -> None:
    """Eight days are kept; a row of tomorrow would stand in the way of today's."""
    await minute(desk)
    desk.tick(8 * 86_400 + 60)
    await minute(desk)
    assert await kept_minutes(desk) == ["2026-12-02T10:02:50.000Z"]
    desk.tick(-3600)
    await desk.say(ANA, "a1")
    assert counts(await minute(desk)) == (1, 1, 0, 0)
    assert await kept_minutes(desk) == ["2026-12-02T09:03:45.001Z"]


async def kept_minutes(desk: Desk) -> list[str]:
    """Return the times of all rows."""
    rows = await desk.store._db.read(lambda db: db.execute("SELECT at FROM minutes ORDER BY at").fetchall())
    return [at for (at,) in rows]


async def test_ids_that_begin_anew_are_counted_from_there(desk: Desk) -> None:
    """Where everything was pruned, SQLite gives small ids again."""
    await desk.say(ANA, "a1", "a2", "a3")
    await desk.serve_all()
    await minute(desk)
    desk.tick(40 * 86_400)
    assert await desk.prune(30) == 3
    await minute(desk)
    await desk.say(ANA, "a4")
    await desk.serve_all()
    assert counts(await minute(desk, 30)) == (0, 1, 1, 0)


async def test_warnings_come_newest_first(desk: Desk) -> None:
    """The last five, as they came in."""
    for n in range(7):
        desk.tick()
        warning = AccountWarning("account_update", f"warning {n}", grave=False, at=None)
        await desk.store.append(Batch(warnings=(warning,)))
    told = (await desk.store.insights.trends())["warnings"]
    assert [warning["text"] for warning in told] == [f"warning {n}" for n in (6, 5, 4, 3, 2)]


async def test_the_days_use_is_told_with_its_price(open_desk: OpenDesk) -> None:
    """By bot.toml's prices against its limit; without prices nobody knows what it cost."""
    desk = await open_desk()
    nothing = {"answers": 0, "input_tokens": 0, "output_tokens": 0}
    assert await desk.store.insights.today() == nothing | {"cost": None, "cost_per_day": 0.0}
    await desk.say(ANA, "a1")
    await desk.say(BEN, "b1")
    await desk.serve_all()
    used = {"answers": 2, "input_tokens": 200, "output_tokens": 20}
    assert await desk.store.insights.today() == used | {"cost": None, "cost_per_day": 0.0}
    desk = await open_desk(budget=Budget(5.0, 1000.0, 10_000.0))
    assert await desk.store.insights.today() == used | {"cost": pytest.approx(0.4), "cost_per_day": 5.0}
    desk.tick(86_400)
    assert (await desk.store.insights.today())["answers"] == 0


# -- the headline, as the file has it


async def said(desk: Desk, *known: str) -> str:
    """Return the sentence."""
    return (await desk.store.headline(known)).text


async def test_the_headline_of_a_queue_that_is_worked_off(desk: Desk) -> None:
    """A minute of waiting is none to speak of; then there is no estimate before a rate was measured."""
    await desk.crowd()
    desk.tick(59)
    assert await said(desk) == "Answering normally"
    desk.tick(62)
    assert await said(desk) == "Backlog: 10 waiting, oldest 2 min"
    leases = await desk.claim(2)
    for lease in leases:
        await desk.serve(lease, "hi")
    assert await said(desk) == "Backlog: 8 waiting, oldest 2 min"
    await minute(desk, 1)
    assert await said(desk) == "Backlog: 8 waiting, oldest 2 min, about 4 min to go"


async def test_who_is_paused_or_put_off_is_no_backlog(desk: Desk) -> None:
    """The owner wanted the one, a backoff the other."""
    await desk.say(ANA, "a1")
    await desk.say(BEN, "b1")
    await desk.store.pause(await desk.id_of(ANA), who=Operator("test"))
    desk.tick(120)
    assert await said(desk) == "Backlog: 1 waiting, oldest 2 min"
    await desk.settle(await desk.lease(), Released(until=desk.clock.now().replace(hour=11)))
    assert await said(desk) == "Answering normally"


async def test_the_headline_of_a_pause_an_outage_and_a_spent_budget(open_desk: OpenDesk) -> None:
    """What the process knows comes first, then the owner's own doing."""
    desk = await open_desk(budget=Budget(0.001, 1000.0, 10_000.0))
    await desk.say(ANA, "a1", "a2")
    await desk.serve_all(1, 1)
    assert (await said(desk)).startswith("The day's budget for the model is spent")
    desk = await open_desk()
    await desk.settle(await desk.lease(), Released(refused_by="model", error="HTTP 401: Incorrect API key", code="401"))
    assert await said(desk) == "The model refuses our key since 10:00 UTC"
    await desk.store.pause(None, who=Operator("test"))
    assert await said(desk) == "Paused since 10:00 UTC"
    assert await said(desk, "stopping") == "Stopping"


async def test_a_file_that_cannot_be_read_is_the_headline(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else there may be to say stands in it."""
    await desk.store.close()
    headline = await desk.store.headline()
    assert headline.text.startswith("The file can't be read: ")
    assert headline.mood == "bad"


async def test_changes_are_seen_whoever_makes_them(desk: Desk) -> None:
    """One number, another after each commit, the same while nothing happens."""
    before = await desk.store.insights.changes()
    assert await desk.store.insights.changes() == before
    await desk.say(ANA, "a1")
    assert await desk.store.insights.changes() != before
