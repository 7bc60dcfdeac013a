"""Looking for people and failures: filters, search, orders, pages; causes, audit, tries, what the model was sent."""

from typing import Any

import pytest

from bot.config import OpenAI
from bot.domain import Done, Failed, Identity, Operator, Retry
from bot.errors import BadValue, NotFound
from bot.store.people import STATES
from tests.store.desk import PEOPLE, Desk, message

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
WHO = Operator("test")


async def listed(desk: Desk, limit: int = 50, **which: str) -> list[str]:
    """Return who is listed, over all pages."""
    seen: list[str] = []
    after = None
    while True:
        page = await desk.store.insights.users(limit, after, **which)
        assert len(page["users"]) <= limit
        seen += [user["user_id"] for user in page["users"]]
        if (after := page["next"]) is None:
            return seen


async def failing(desk: Desk, limit: int = 50, **which: str) -> list[str]:
    """Return the words of the failures that are listed, over all pages; each says how many there are."""
    seen: list[str] = []
    totals, after = set(), None
    while True:
        page = await desk.store.insights.failures(limit, after, **which)
        totals.add(page["total"])
        seen += [failure["body"] for failure in page["failures"]]
        if (after := page["next"]) is None:
            assert totals == {len(seen)}
            return seen


async def fail(desk: Desk, who: str, body: str, error: str = "bad", sent: float = 0) -> None:
    """Let a message fail."""
    await desk.say(who, body, sent=sent)
    (lease,) = [lease for lease in await desk.claim() if lease.messages[0].body == body]
    await desk.settle(lease, Failed(error))


# -- people


async def test_people_are_sorted_by_what_one_asks_for(desk: Desk) -> None:
    """Depth, who wrote last, most failures, longest wait; who has nothing of the last two is left out."""
    await fail(desk, ANA, "a1", sent=1)
    await fail(desk, BEN, "b1", sent=5)
    await fail(desk, BEN, "b2", sent=6)
    await desk.say(CARL, "c1", "c2", sent=3)
    await desk.say(ANA, "a2", sent=2)
    for limit in (1, 2, 50):
        assert await listed(desk, limit) == ["u3", "u1", "u2"]
        assert await listed(desk, limit, sort="depth") == ["u3", "u1", "u2"]
        assert await listed(desk, limit, sort="recent") == ["u2", "u3", "u1"]
        assert await listed(desk, limit, sort="failed") == ["u2", "u1"]
        assert await listed(desk, limit, sort="oldest") == ["u3", "u1"]


@pytest.mark.parametrize("sort", ["depth", "recent", "failed", "oldest"])
async def test_pages_of_any_order_show_everybody_once(desk: Desk, sort: str) -> None:
    """Also where many share a figure."""
    for n, who in enumerate(PEOPLE):
        await desk.say(who, f"m{n}", sent=n // 3)
    leases = await desk.claim()
    for lease in leases:
        await desk.settle(lease, Failed("bad"))
    for n, who in enumerate(PEOPLE):
        await desk.say(who, f"n{n}", sent=n // 3)
    whole = await listed(desk, 50, sort=sort)
    assert len(set(whole)) == len(whole) == len(PEOPLE)
    for limit in (1, 2, 3, 9):
        assert await listed(desk, limit, sort=sort) == whole


async def test_people_are_filtered_by_their_state(desk: Desk) -> None:
    """By the same word that each of them shows."""
    await desk.crowd(5)
    leases = await desk.claim(2)
    await desk.settle(leases[0], Retry(600, "busy"))
    await desk.store.pause(await desk.id_of(PEOPLE[2]), who=WHO)
    await desk.store.clear(await desk.id_of(PEOPLE[3]), who=WHO)
    everybody = (await desk.store.insights.users())["users"]
    assert {user["state"] for user in everybody} == set(STATES)
    for state in STATES:
        expected = [user["user_id"] for user in everybody if user["state"] == state]
        assert await listed(desk, 1, state=state) == expected
        assert sorted(await listed(desk, state=state, sort="recent")) == sorted(expected)


async def test_people_are_found_by_name_number_id_and_words(desk: Desk) -> None:
    """By parts, whatever the case; by whole numbers that they had before; by what they wrote and were told."""
    await desk.arrive(message(Identity(ANA, "MX.ana77", "Ana García"), "¿Precio del 100%?"))
    await desk.arrive(message(Identity("4915150000000", "MX.old", "Ben_O'Neil"), "hola"))
    await desk.serve_all()
    await desk.change(Identity(bsuid="MX.old"), Identity(bsuid="MX.new"))
    hers = ["ana g", "GARC", "MX.ana77", "+52 1 555 0001", ANA[:9], "precio DEL", "re ¿precio", "u1", "0%?"]
    for search in hers:
        assert await listed(desk, search=search) == ["u1"], search
    for search in ("n_o", "O'Neil", "(49) 151-5", "MX.old", "MX.new", "HOLA", "u2"):
        assert await listed(desk, search=search) == ["u2"], search
    for search in ("%", "_a", "nobody", "u3", "u" + "9" * 18, "💬", "' OR 1=1 --", "a\nb", "x\ud800"):
        assert await listed(desk, search=search) == (["u1"] if search == "%" else []), search
    assert await listed(desk, 1, search="a", sort="recent") == ["u2", "u1"]
    assert await listed(desk, search="a", state="waiting") == []


@pytest.mark.parametrize(
    ("field", "which"),
    [
        ("sort", {"sort": "name"}),
        ("sort", {"sort": ""}),
        ("state", {"state": "asleep"}),
        ("search", {"search": "x" * 201}),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_by_its_name(
    desk: Desk, field: str, which: dict[str, Any]
) -> None:
    """The text says what it may be."""
    with pytest.raises(BadValue, match=field) as refused:
        await desk.store.insights.users(**which)
    assert refused.value.field == field


# -- failures


async def test_failures_are_filtered_by_cause_person_and_words(desk: Desk) -> None:
    """Each alone, and together; pages and counts follow."""
    await desk.arrive(message(Identity(ANA, "MX.ana", "Ana"), "hello", answerable=False))
    for n, (who, error) in enumerate([(ANA, "bad"), (ANA, "worse"), (BEN, "bad"), (BEN, "bad")]):
        await fail(desk, who, f"m{n}", error)
    for limit in (1, 3, 50):
        assert await failing(desk, limit) == ["m3", "m2", "m1", "m0"]
        assert await failing(desk, limit, cause="bad") == ["m3", "m2", "m0"]
        assert await failing(desk, limit, user=f"+{ANA}") == ["m1", "m0"]
        assert await failing(desk, limit, cause="bad", user="MX.ana") == ["m0"]
        assert await failing(desk, limit, search="ana") == ["m1", "m0"]
    found = {"WORSE": ["m1"], "M2": ["m2"], "5550002": ["m3", "m2"], "u1": ["m1", "m0"], "zzz": []}
    for search, words in found.items():
        assert await failing(desk, search=search) == words
    assert await failing(desk, cause="nothing") == []
    with pytest.raises(NotFound):
        await failing(desk, user="u99")


async def test_causes_are_counted_with_how_many_can_be_retried(desk: Desk) -> None:
    """The commonest first; what WhatsApp couldn't deliver is among them, and once, whatever its parts."""
    for n in range(3):
        await fail(desk, ANA, f"m{n}", "expired")
    await fail(desk, BEN, "n", "bad")
    desk.tick(24 * 3600)
    await fail(desk, BEN, "late", "expired", sent=24 * 3600)
    await desk.say(CARL, "hola", sent=24 * 3600)
    lease = await desk.lease()
    callbacks = [await desk.begin(lease, part) for part in await desk.plan(lease, "one", "two")]
    await desk.settle(lease, Done())
    for callback in callbacks:
        await desk.tell("failed", callback=callback, error="131026 undeliverable")
    assert await desk.store.insights.causes() == [
        {"error": "expired", "count": 4, "retryable": 1},
        {"error": "131026 undeliverable", "count": 1, "retryable": 0},
        {"error": "bad", "count": 1, "retryable": 1},
    ]
    page = await desk.store.insights.failures(2)
    assert (page["total"], page["retryable"]) == (6, 2)
    assert (await desk.look(CARL))["failures"][0]["error"] == "131026 undeliverable"


# -- one person


async def test_a_conversation_shows_each_try(desk: Desk) -> None:
    """With code and milliseconds; lines name their message and their reply, and nothing of the database's inside."""
    await desk.say(ANA, "hola")
    await desk.settle(await desk.lease(), Retry(1, "busy", "503", "req_1", "model"))
    desk.tick(1)
    await desk.serve(await desk.lease(), "¡Hola!")
    await desk.echo(ANA, "owner")
    heard, told, echoed = (await desk.look(ANA))["conversation"]
    busy, answered, sent = heard.pop("attempts")
    assert busy.items() >= {"stage": "turn", "outcome": "retry", "code": "503", "error": "busy"}.items()
    assert (busy["request_id"], busy["duration_ms"]) == ("req_1", 1)
    assert answered.items() >= {"stage": "model", "outcome": "answered", "input_tokens": 100}.items()
    assert (sent["stage"], sent["duration_ms"]) == ("send", 5)
    assert (heard["message_id"], heard["reply_id"]) == (1, None)
    assert (told["message_id"], told["reply_id"], told["attempts"]) == (1, 1, [])
    assert (echoed["message_id"], echoed["kind"]) == (None, "human")
    assert set(heard) == {
        "at", "direction", "kind", "type", "body", "state", "delivery", "error", "message_id", "reply_id", "wamid",
    }  # fmt: skip


# -- audit


async def test_the_audit_is_paged_newest_first(desk: Desk) -> None:
    """What changed nothing isn't in it."""
    await desk.say(ANA, "a", "b")
    ana, page = await desk.id_of(ANA), Operator("page", "192.0.2.7")
    for _ in range(2):
        await desk.store.pause(ana, who=page)
    for _ in range(2):
        await desk.store.resume(ana, skip=True, who=WHO)
    await desk.store.pause(None, who=WHO)
    await desk.store.resume(None, skip=False, who=WHO)
    first = await desk.store.insights.audit(3)
    rest = await desk.store.insights.audit(3, first["next"])
    assert rest["next"] is None
    acts = first["audit"] + rest["audit"]
    assert [(act["action"], act["user_id"], act["who"], act["address"], act["messages"]) for act in acts] == [
        ("resume", None, "test", None, 0),
        ("pause", None, "test", None, None),
        ("resume", "u1", "test", None, 2),
        ("pause", "u1", "page", "192.0.2.7", None),
    ]
    assert acts[0]["id"] > acts[-1]["id"]
    assert acts[0]["at"] == "2026-11-24T10:00:00.001Z"


# -- what the model was sent


async def asked(desk: Desk, message_id: int, messages: int = 20, characters: int = 24_000) -> dict[str, Any]:
    """Return it, with the time and the name as instructions."""
    openai = OpenAI(instructions="$now, $name", history_messages=messages, history_characters=characters)
    return await desk.store.insights.asked(message_id, openai)


async def test_what_the_model_was_sent_is_what_stood_there_then(desk: Desk) -> None:
    """The history up to when it was asked, whatever was said since; the same that its turn read."""
    await desk.arrive(message(Identity(ANA, None, "Ana"), "one"))
    await desk.serve(await desk.lease(), "re one")
    await desk.echo(ANA, "owner")
    desk.tick(60)
    await desk.say(ANA, "two", sent=60)
    two = await desk.message_id(ANA, "two")
    before = await asked(desk, two)
    lease = await desk.lease()
    standing = await desk.store.standing(two, 20, 24_000)
    await desk.serve(lease, "re two")
    desk.tick(60)
    await desk.echo(ANA, "later")
    await desk.say(ANA, "three", sent=120)
    await desk.serve_all()
    expected = [("user", "one"), ("assistant", "re one"), ("assistant", "owner")]
    assert [(each.role, each.text) for each in standing.history] == expected
    for sent in (before, await asked(desk, two)):
        assert [(each["role"], each["text"]) for each in sent["history"]] == expected
        assert (sent["text"], sent["quotes"], sent["instructions"]) == ("two", None, "Tue 2026-11-24 10:01 UTC, Ana")
    assert [each["text"] for each in (await asked(desk, 1))["history"]] == []
    three = await asked(desk, await desk.message_id(ANA, "three"), 2)
    assert [each["text"] for each in three["history"]] == ["re two", "later"]
    assert [each["text"] for each in (await asked(desk, two, 20, 8))["history"]] == ["owner"]


async def test_a_message_that_was_tried_again_shows_what_its_last_try_was_sent(desk: Desk) -> None:
    """What the owner wrote between two tries was in the second."""
    await desk.say(ANA, "hola")
    await desk.settle(await desk.lease(), Retry(60, "busy"))
    await desk.echo(ANA, "a moment")
    desk.tick(60)
    await desk.serve(await desk.lease(), "¡Hola!")
    await desk.echo(ANA, "after")
    assert [each["text"] for each in (await asked(desk, 1))["history"]] == ["a moment"]


async def test_what_a_message_replies_to_is_told(desk: Desk) -> None:
    """As its turn is told."""
    await desk.say(ANA, "one")
    await desk.serve_all()
    await desk.arrive(message(ANA, "why?", 5, payload='{"context":{"id":"wamid.one"}}'))
    assert (await asked(desk, 2))["quotes"] == "one"
    await desk.arrive(message(BEN, "broken", payload="{"))
    assert (await asked(desk, 3))["quotes"] is None
    with pytest.raises(NotFound, match="no message 99"):
        await asked(desk, 99)


async def test_a_message_that_was_never_tried_shows_what_it_would_be_sent(desk: Desk) -> None:
    """Cancelled ones too."""
    await desk.say(ANA, "one")
    await desk.serve_all()
    await desk.say(ANA, "two", sent=5)
    await desk.store.clear(None, who=WHO)
    assert [each["text"] for each in (await asked(desk, 2))["history"]] == ["one", "re one"]
