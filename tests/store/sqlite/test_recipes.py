"""docs/sqlite.md: every recipe runs beside an open store, and does what the page says."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain import Failed, InDoubt, Released, Retry
from tests.store.desk import Desk, at, message, words
from tests.store.sqlite.recipes import recipes
from tests.store.sqlite.terminal import by_hand, check_sums, rows

ANA = "5215550001"  # u17, whose message 7 is the one on the page


def the_one(*parts: str) -> str:
    """Return the recipe that holds all these words; the shortest, where several do."""
    found = [recipe for recipe in recipes() if all(part in recipe for part in parts)]
    assert found, f"docs/sqlite.md has no recipe with {parts}"
    return min(found, key=len)


RETRY = the_one("UPDATE outbox SET state = 'pending' WHERE id = 7")
AFRESH = the_one("DELETE FROM replies WHERE outbox_id = 7", "SET state = 'pending'")
PAUSE = the_one("UPDATE users SET paused_at = strftime")
RESUME = the_one("UPDATE users SET paused_at = NULL")


@pytest.fixture
async def ana(desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a store in which u17 wrote the messages 7, 8 and 9, and somebody else six before."""
    monkeypatch.chdir(path.parent)
    by_hand(path, "INSERT INTO users (id, phone, name, created_at) VALUES (17, '5215550001', 'Ana', 'then')")
    by_hand(path, "INSERT INTO user_ids (id, user_id, linked_at) VALUES ('5215550001', 17, 'then')")
    await desk.arrive(*(message("4900", f"m{n}", answerable=False) for n in range(6)))
    await desk.say(ANA, "seventh", "eighth", "ninth")
    return desk


async def failed(desk: Desk, error: str = "model timeout") -> None:
    """Let message 7 fail."""
    await desk.settle(await desk.lease(), Failed(error))


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: " ".join(recipe.split())[:60])
async def test_the_recipe_runs(ana: Desk, path: Path, recipe: str) -> None:
    """In a store where something waits, something was answered and something failed; sums are right after it."""
    lease = await ana.lease()
    (part,) = await ana.plan(lease, "answer")
    await ana.begin(lease, part)
    await ana.settle(lease, Failed("bad"))
    by_hand(path, recipe)
    check_sums(path)


def test_there_are_recipes() -> None:
    """The page is found and read."""
    assert len(recipes()) >= 25


async def test_looks_show_what_they_promise(ana: Desk, path: Path) -> None:
    """Each query of the page's looks, by the words beside it."""
    await failed(ana)
    lease = await ana.lease()
    parts = await ana.plan(lease, "one", "two")
    await ana.begin(lease, parts[0])
    await ana.settle(lease, InDoubt(at(600)))

    def look(*parts: str) -> list[tuple[object, ...]]:
        return [row for query in the_one(*parts).split(";") if query.strip() for row in rows(path, query)]

    depth, control = look("queue_depth")
    assert depth[:4] == (17, "Ana", ANA, 2)
    assert control == (2, None)
    ready_at = "2026-11-24T10:10:00.000Z"
    assert look("FROM users", "ready_at IS NOT NULL") == [(17, "Ana", ANA, 2, ready_at)]
    ((id_, user_id, error, attempts, _, retryable, body),) = look("FROM failures ORDER BY")
    assert (id_, user_id, error, attempts, retryable, body) == (7, 17, "model timeout", 0, 1, "seventh")
    assert look("FROM failures GROUP BY") == [("model timeout", 1)]
    user, *said = look("FROM conversation")
    assert user == (17,)
    assert sorted((row[1], row[3], row[4]) for row in said) == [
        ("in", "eighth", "pending"),
        ("in", "ninth", "pending"),
        ("in", "seventh", "failed"),
        ("out", "one", "sending"),
        ("out", "two", "planned"),
    ]
    assert [row[0] for row in said] == sorted(row[0] for row in said)
    assert [row[0] for row in look("begun_at IS NULL, sent_at")] == [8, 9]
    assert look("FROM replies WHERE state = 'sending'")[0][:4] == (parts[0].id, 17, 8, 1)
    assert [row[1:3] for row in look("FROM attempts WHERE outbox_id = 7")] == [("turn", "failed")]
    assert look("WHERE state = 'leased'") == []


async def test_retry(ana: Desk, path: Path) -> None:
    """A failed message, a cancelled one; unsent parts go out without the model."""
    lease = await ana.lease()
    await ana.plan(lease, "planned before")
    await ana.settle(lease, Failed("bad"))
    by_hand(path, RETRY)
    lease = await ana.lease()
    assert (words([lease]), [part.body for part in lease.parts]) == (["seventh"], ["planned before"])


async def test_retry_what_failed_today_for_one_reason(ana: Desk, path: Path) -> None:
    """By the machine's own day; other errors stay."""
    await failed(ana, "the model gave no answer in time")
    await ana.settle(await ana.lease(), Failed("content filter"))
    by_hand(path, "UPDATE outbox SET finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE state = 'failed'")
    by_hand(path, the_one("LIKE '%in time%'"))
    assert await ana.states(ANA) == {"seventh": "pending", "eighth": "failed", "ninth": "pending"}


async def test_have_it_answered_afresh(ana: Desk, path: Path) -> None:
    """The model is asked again for a message that was answered."""
    await ana.serve(await ana.lease(), "a poor answer")
    by_hand(path, AFRESH)
    lease = await ana.lease()
    assert (words([lease]), lease.parts) == (["seventh"], ())


async def test_try_it_now(ana: Desk, path: Path) -> None:
    """Without waiting for the next try."""
    await ana.settle(await ana.lease(), Retry(3600, "busy"))
    assert await ana.claim() == []
    by_hand(path, the_one("SET not_before_at = NULL"))
    assert words(await ana.claim()) == ["seventh"]


async def test_pause_and_resume_somebody(ana: Desk, path: Path) -> None:
    """They wait, and go on."""
    by_hand(path, PAUSE)
    assert (await ana.claim(), (await ana.look(ANA))["user"]["state"]) == ([], "paused")
    by_hand(path, RESUME)
    assert words(await ana.claim()) == ["seventh"]


async def test_pause_and_resume_everybody(ana: Desk, path: Path) -> None:
    """By the switch."""
    by_hand(path, the_one("UPDATE control SET paused_at = strftime"))
    assert await ana.claim() == []
    assert await ana.store.reasons()
    by_hand(path, the_one("UPDATE control SET paused_at = NULL"))
    assert words(await ana.claim()) == ["seventh"]


async def test_cancel_one(ana: Desk, path: Path) -> None:
    """The next goes on."""
    by_hand(path, the_one("SET state = 'cancelled'", "WHERE id = 7"))
    assert (await ana.errors(ANA))["seventh"] == "by hand"
    assert words(await ana.claim()) == ["eighth"]


async def test_cancel_all_of_one(ana: Desk, path: Path) -> None:
    """The one that is being answered goes on."""
    lease = await ana.lease()
    by_hand(path, the_one("SET state = 'cancelled'", "user_id = 17"))
    await ana.serve(lease, "answer")
    assert await ana.states(ANA) == {"seventh": "done", "eighth": "cancelled", "ninth": "cancelled"}
    assert await ana.depth() == 0


async def test_let_it_wait(ana: Desk, path: Path) -> None:
    """An hour by the machine's clock; the later ones behind it."""
    await ana.settle(await ana.lease(), Released())
    by_hand(path, the_one("'+1 hour'"))
    assert await ana.claim() == []


async def test_forget_somebody(ana: Desk, path: Path) -> None:
    """Nothing of them is left, nobody else is touched, and when they come back they are new."""
    await ana.serve(await ana.lease(), "answer")
    await ana.echo(ANA, "owner")
    by_hand(path, the_one("DELETE FROM users WHERE id = 17"))
    check_sums(path)
    text = rows(path, "SELECT group_concat(body) FROM (SELECT body FROM outbox UNION ALL SELECT body FROM replies)")
    assert text == [("m0,m1,m2,m3,m4,m5",)]
    assert await ana.depth() == 0
    await ana.say(ANA, "hello again", sent=99)
    assert await ana.history(ANA) == []
    assert words(await ana.claim()) == ["hello again"]


async def test_forgetting_somebody_who_is_being_answered_is_refused_whole(ana: Desk, path: Path) -> None:
    """Half a person is not forgotten."""
    await ana.serve(await ana.lease(), "answer")
    lease = await ana.lease()
    with pytest.raises(Exception, match="being answered right now"):
        by_hand(path, the_one("DELETE FROM users WHERE id = 17"))
    assert len(await ana.states(ANA)) == 3
    await ana.serve(lease, "answer")


async def test_copy(ana: Desk, path: Path) -> None:
    """The copy is a whole database."""
    by_hand(path, the_one("VACUUM INTO"))
    with closing(sqlite3.connect(path.with_name("copy-of-bot.db"))) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM outbox").fetchone() == (9,)
