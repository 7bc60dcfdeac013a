"""What `bot tail` follows: everything that happens, once, in order, whatever is deleted meanwhile."""

from bot.domain import Failed, Operator
from bot.store import events
from tests.store.desk import Desk
from tests.store.sqlite.terminal import by_hand

ANA, BEN = "5215550001", "5215550002"


def told(found: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Return what of each event is looked at here."""
    return [(event["event"], event["what"], event["user_id"]) for event in found]


async def test_what_happens_is_told_once_in_order(desk: Desk) -> None:
    """Arrivals, tries and actions; from a position only what is new."""
    await desk.say(ANA, "a1")
    desk.tick()
    lease = await desk.lease()
    await desk.settle(lease, Failed("bad"))
    found, position = await desk.store.insights.events({}, 100)
    assert told(found) == [("arrival", "text", "u1"), ("attempt", "failed", "u1")]
    assert await desk.store.insights.events(position) == ([], position)
    desk.tick()
    await desk.store.pause(None, who=Operator("api", "192.0.2.1"))
    desk.tick()
    await desk.echo(ANA, "the owner, by phone")
    desk.tick()
    await desk.say(BEN, "b1")
    found, position = await desk.store.insights.events(position)
    assert told(found) == [("operator", "pause", None), ("letter", "sent", "u1"), ("arrival", "text", "u2")]
    assert found[0]["address"] == "192.0.2.1"


async def test_the_last_of_each_kind_come_first(desk: Desk) -> None:
    """Also where there is less than was asked for."""
    await desk.say(ANA, *(f"a{n}" for n in range(5)))
    found, _ = await desk.store.insights.events({}, 2)
    assert [event["text"] for event in found] == ["a3", "a4"]
    assert len((await desk.store.insights.events({}, 100))[0]) == 5
    assert (await desk.store.insights.events({}, 0))[0] == []


async def test_an_id_that_is_given_again_is_not_overlooked(desk: Desk, path) -> None:
    """SQLite numbers on from the largest row that is left."""
    await desk.say(ANA, "a1")
    await desk.say(BEN, "b1")
    _, position = await desk.store.insights.events({}, 0)
    by_hand(path, "DELETE FROM outbox WHERE id = 2")
    _, position = await desk.store.insights.events(position)
    await desk.say(BEN, "b2")
    found, _ = await desk.store.insights.events(position)
    assert [event["text"] for event in found] == ["b2"]


async def test_a_long_absence_is_made_up_for_in_steps(desk: Desk, monkeypatch) -> None:
    """So that nobody reads a hundred thousand rows at once: each event comes, none twice."""
    monkeypatch.setattr(events, "MOST", 2)
    await desk.say(ANA, *(f"a{n}" for n in range(5)))
    position = dict.fromkeys(events.SOURCES, 0)
    texts = []
    for _ in range(4):
        found, position = await desk.store.insights.events(position)
        texts.append([event["text"] for event in found])
    assert texts == [["a0", "a1"], ["a2", "a3"], ["a4"], []]


async def test_warnings_are_told(desk: Desk, path) -> None:
    """What WhatsApp says of the account."""
    times = "'2026-11-24T10:00:00.000Z'"
    by_hand(path, f"INSERT INTO warnings VALUES (1, {times}, 'account_update', 'hm', 0, {times})")
    found, _ = await desk.store.insights.events({}, 1)
    assert (found[0]["event"], found[0]["what"], found[0]["text"]) == ("warning", "account_update", "hm")
