"""What was decided long ago is taken out, in batches, with all that hangs on it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.config import OpenAI
from bot.config.settings import Store as Keep
from bot.domain import Batch, Failed, Identity, IdentityChange, Operator, Released
from bot.errors import NotFound
from bot.store.failures import Failing
from tests.store.desk import Desk, at, message, revoke, words
from tests.store.sqlite.terminal import by_hand, rows

ANA, BEN = "5215550001", "5215550002"
DAY = 86_400


async def test_only_what_was_decided_over_keep_days_ago_goes(desk: Desk) -> None:
    """Arrived and decided before then; what waits stays, however old it is."""
    await desk.say(ANA, "done", "failed", "waits")
    await desk.arrive(message(ANA, "ignored", 5, answerable=False))
    await desk.serve(await desk.lease(), "answer")
    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.settle(await desk.lease(), Released(at(31 * DAY)))
    desk.tick(29 * DAY)
    await desk.say(BEN, "young", sent=29 * DAY)
    await desk.serve(await desk.lease(), "answer")
    assert await desk.prune(30) == 0
    desk.tick(DAY + 60)
    assert await desk.prune(30) == 3
    assert await desk.prune(30) == 0
    assert (await desk.states(ANA), await desk.told(ANA)) == ({"waits": "pending"}, [])
    assert await desk.states(BEN) == {"young": "done"}
    desk.tick(2 * DAY)
    assert words(await desk.claim()) == ["waits"]


async def test_what_a_wrong_clock_stored_is_as_old_as_whatsapp_says(desk: Desk) -> None:
    """It came on a machine whose clock was years behind; Meta may deliver it again for a week."""
    await desk.say(ANA, "new", sent=60 * DAY)
    await desk.serve(await desk.lease(), "answer")
    desk.tick(61 * DAY)
    assert await desk.prune(30) == 0


async def test_what_was_decided_lately_stays_although_it_is_old(desk: Desk) -> None:
    """A failure of long ago that was retried yesterday."""
    await desk.say(ANA, "old")
    await desk.settle(await desk.lease(), Failed("bad"))
    desk.tick(40 * DAY)
    await desk.store.retry(Failing(), who=Operator("test"))
    await desk.serve(await desk.lease(), "answer")
    desk.tick(DAY)
    assert await desk.prune(30) == 0


async def test_steps_are_bounded_oldest_first(desk: Desk) -> None:
    """So that nobody waits for a large one: in messages and people, and in what the owner wrote."""
    await desk.arrive(*(message(ANA, f"m{n}", n, answerable=False) for n in range(25)))
    for n in range(12):
        await desk.echo(ANA, f"letter {n}", n)
    desk.tick(31 * DAY)
    told, after, taken = 12, 0, []
    while after is not None:
        messages, _, after = await desk.store.prune(Keep(), after, 10)
        taken.append(messages)
        told, before = len(await desk.told(ANA)), told
        assert before - told <= 10
    assert (sum(taken), max(taken), told) == (25, 10, 0)
    assert (await desk.look(ANA))["conversation"] == []


async def test_a_redelivery_of_what_was_taken_out_is_new(desk: Desk) -> None:
    """Which is why keep_days is never under 8: Meta redelivers for 7."""
    await desk.arrive(message(ANA, "m", answerable=False))
    desk.tick(9 * DAY)
    assert await desk.prune(8) == 1
    assert (await desk.arrive(message(ANA, "m", answerable=False))).new == 1


# -- dates that make no sense


NONSENSE = {
    "received": "UPDATE outbox SET received_at = 'zzzz-zz-zzTzz:zz:zz.zzzZ' WHERE body = 'odd'",
    "sent in years": "UPDATE outbox SET sent_at = '9999-12-31T23:59:59.999Z' WHERE body = 'odd'",
    "finished in years": "UPDATE outbox SET finished_at = '9999-12-31T23:59:59.999Z' WHERE body = 'odd'",
    "being sent in years": "UPDATE replies SET state = 'sending', sending_at = '9999' WHERE body = 're odd'",
    "put back in line": """UPDATE outbox SET state = 'pending' WHERE body = 'odd';
                           UPDATE outbox SET finished_at = '2020-01-01T00:00:00.000Z' WHERE body = 'odd'""",
}


@pytest.mark.parametrize("how", NONSENSE)
async def test_a_date_that_makes_no_sense_holds_up_no_other(desk: Desk, path: Path, how: str) -> None:
    """Set by hand: the row that has it may stay, and all behind it go; what waits is still answered."""
    await desk.say(ANA, "odd", "a")
    await desk.say(BEN, "b")
    await desk.serve_all()
    with closing(sqlite3.connect(path, isolation_level=None)) as terminal:
        terminal.executescript(NONSENSE[how])
    desk.tick(31 * DAY)
    goes = how in ("received", "sent in years")
    assert await desk.prune() == 2 + goes
    stays = [] if goes else [("odd", "pending" if how == "put back in line" else "done")]
    assert await desk.rows("SELECT body, state FROM outbox") == stays


# -- what has an age of its own


async def test_what_meta_sent_is_emptied_before_but_for_what_it_quotes(desk: Desk) -> None:
    """Whoever asks for it later, asks for nothing else; what waits or may be retried keeps all of it."""
    sent = '{"context":{"from":"52","id":"wamid.one"},"text":{"body":"%s"}}'
    await desk.say(ANA, "one")
    await desk.serve_all()
    await desk.arrive(message(ANA, "done", 1, payload=sent % "done"))
    await desk.arrive(message(ANA, "odd", 2, payload="no JSON", answerable=False))
    await desk.serve_all()
    await desk.arrive(message(BEN, "taken back", 3, payload=sent % "taken back"), revoke(BEN, "taken back", 4))
    await desk.arrive(message(BEN, "failed", 5, payload=sent % "failed"))
    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.arrive(message(BEN, "waits", 6, payload=sent % "waits"))
    quotes = '{"context":{"id":"wamid.one"}}'
    emptied = {"one": "{}", "done": quotes, "odd": "{}", "taken back": quotes, "": "{}"}
    for days, expected in ((6, {"one": "{}", "odd": "no JSON"}), (2, emptied)):
        desk.tick(days * DAY)
        for _ in range(2):  # emptied once is emptied
            assert await desk.prune(payloads_days=7) == 0
        asked = dict(await desk.rows("SELECT body, payload FROM outbox"))
        assert (
            asked == {body: sent % body for body in ("done", "taken back", "failed", "waits")} | {"": "{}"} | expected
        )
    await desk.store.retry(Failing(), who=Operator("test"))
    assert (await desk.lease()).messages[0].quotes is None  # Ana's: not for Ben
    assert (await desk.store.insights.asked(await desk.message_id(ANA, "done"), OpenAI()))["quotes"] == "one"


async def test_tries_and_the_audit_go_by_ages_of_their_own(desk: Desk) -> None:
    """And the use of each day with the audit; all that is old in one night, though a step takes a few."""
    await desk.say(ANA, *"abcdefgh")
    await desk.serve_all()
    await desk.store.pause(await desk.id_of(ANA), who=Operator("test"))
    counts = "SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM audit), (SELECT count(*) FROM usage)"
    for days, left in ((9, (16, 1, 1)), (1.1, (0, 1, 1)), (9, (0, 1, 1)), (2, (0, 0, 0))):
        desk.tick(days * DAY)
        await desk.prune(90, attempts_days=10, audit_days=20)
        assert await desk.rows(counts) == [left]


async def test_a_notice_of_another_number_is_remembered_for_as_long_as_it_may_come_again(desk: Desk) -> None:
    """By its own time; a hash of it, and no number."""
    notice = IdentityChange(Identity(ANA), Identity(BEN), at(0))
    await desk.say(ANA, "hello")
    for days, kept in ((0, 1), (7, 1), (1.1, 0)):
        desk.tick(days * DAY)
        await desk.store.append(Batch(identity_changes=(notice,) if kept else ()))
        await desk.prune(8)
        told = await desk.rows("SELECT told FROM identity_changes")
        assert len(told) == kept
        assert not any(number in row[0] for row in told for number in (ANA, BEN))


# -- people


async def test_a_person_of_whom_nothing_is_left_goes_too(desk: Desk) -> None:
    """Name and number are theirs; whoever writes again is a newcomer, under a number that nobody had."""
    await desk.arrive(message(Identity(ANA, "MX.ana"), "hello"))
    await desk.say(BEN, "hello, too")
    await desk.serve_all()
    desk.tick(20 * DAY)
    await desk.say(BEN, "again", sent=20 * DAY)
    await desk.serve_all()
    desk.tick(11 * DAY)
    assert await desk.prune() == 2
    await desk.prune()  # messages have larger ids than people: who wrote them goes the next time
    assert await desk.rows("SELECT id, user_id FROM user_ids") == [(BEN, 2)]
    with pytest.raises(NotFound):
        await desk.id_of(ANA)
    desk.tick(20 * DAY)
    await desk.prune()
    await desk.prune()
    assert await desk.rows("SELECT count(*) FROM users") == [(0,)]
    await desk.say(ANA, "hello again", sent=51 * DAY)
    assert await desk.id_of(ANA) == 3


STAYS = {
    "is paused": "UPDATE users SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = 1",
    "wrote lately, though it was deleted": "UPDATE users SET last_message_at = '2026-12-20T00:00:00.000Z' WHERE id = 1",
    "came lately, though it was deleted": "UPDATE users SET created_at = '2026-12-20T00:00:00.000Z' WHERE id = 1",
    "is about to become another": "UPDATE users SET merging_into = 2 WHERE id = 1",
    "is to be written to": "UPDATE replies SET state = 'planned' WHERE kind = 'human'",
}


@pytest.mark.parametrize("who", STAYS)
async def test_a_person_stays_who(desk: Desk, path: Path, who: str) -> None:
    """With every id they are known by; and so does whom they are about to become."""
    await desk.say(ANA, "hello")
    await desk.echo(ANA, "hello from the owner", 0)
    await desk.arrive(message(BEN, "hello", 1, wamid="b"))
    await desk.serve_all()
    with closing(sqlite3.connect(path, isolation_level=None)) as terminal:
        terminal.execute(STAYS[who])
    desk.tick(31 * DAY)
    for _ in range(2):
        await desk.prune()
    left = [(ANA,), (BEN,)] if "become" in who else [(ANA,)]
    assert await desk.rows("SELECT id FROM user_ids") == left


async def test_times_yet_to_come_hold_up_nothing_behind_them(desk: Desk, path: Path) -> None:
    """A clock that was ahead wrote the oldest rows of what is walked from its beginning: a step's worth, and more."""
    for day in ("2099-01-01", "2020-01-01"):
        for n in range(7):
            by_hand(path, f"INSERT INTO audit (at, who, action) VALUES ('{day}T00:00:00.000Z', 'cli', 'pause')")
            by_hand(
                path,
                f"INSERT INTO attempts (outbox_id, at, stage, outcome) VALUES (0, '{day}T00:00:00.000Z', 'turn', 'x')",
            )
            by_hand(
                path,
                f"""INSERT INTO warnings (at, kind, text, grave, received_at)
                    VALUES ('{day}T00:00:00.000Z', 'kind', '{n}', 0, '{day}T00:00:00.000Z')""",
            )
    await desk.prune(30, attempts_days=30, audit_days=30)
    for table, column in ("audit", "at"), ("attempts", "at"), ("warnings", "received_at"):
        assert rows(path, f"SELECT substr({column}, 1, 4), count(*) FROM {table} GROUP BY 1") == [("2099", 7)]
