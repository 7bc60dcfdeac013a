"""Somebody else holds the file's write lock, a person in the sqlite3 command line for instance: work waits."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain import Done, Operator
from bot.errors import StoreUnavailable
from tests.store.desk import Desk, words
from tests.store.sqlite.terminal import rows

ANA, BEN = "5215550001", "5215550002"


class Terminal:
    """A person who has typed BEGIN IMMEDIATE and went for a coffee."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def lock(self) -> None:
        """Hold the write lock."""
        self._connection.execute("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        """Come back."""
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@pytest.fixture
def terminal(desk: Desk, path: Path) -> Iterator[Terminal]:
    """Return a terminal on the open store's file."""
    with closing(Terminal(path)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short, so that the tests are."""
    monkeypatch.setattr("bot.store.store.WEBHOOK_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("bot.store.db.BUSY_MS", 20)


async def until_in_trouble(desk: Desk) -> None:
    """Wait until the store has met the lock."""
    async with asyncio.timeout(5):
        while desk.store.trouble is None:
            await asyncio.sleep(0.005)


async def test_a_webhook_gives_up_and_nothing_of_it_is_stored(desk: Desk, terminal: Terminal) -> None:
    """Meta delivers again: then it is new."""
    terminal.lock()
    with pytest.raises(StoreUnavailable, match="lock"):
        await desk.say(ANA, "a")
    assert desk.store.trouble is not None
    terminal.unlock()
    assert (await desk.say(ANA, "a")).new == 1
    assert desk.store.trouble is None


async def test_an_operator_gives_up_too(desk: Desk, terminal: Terminal) -> None:
    """A page must not hang."""
    await desk.say(ANA, "a")
    terminal.lock()
    with pytest.raises(StoreUnavailable, match="lock"):
        await desk.store.pause(await desk.id_of(ANA), who=Operator("test"))
    terminal.unlock()
    assert words(await desk.claim()) == ["a"]


async def test_the_daemons_own_work_waits_and_is_done(desk: Desk, terminal: Terminal) -> None:
    """What happened outside is stored when the lock is gone; nothing new is claimed before."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    (lease,) = await desk.claim(1)
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    terminal.lock()
    settling = asyncio.create_task(desk.store.settle(lease, Done(desk.receipt(part)), claim=True))
    claiming = asyncio.create_task(desk.claim())
    await until_in_trouble(desk)
    with pytest.raises(StoreUnavailable):
        await desk.say(BEN, "c")
    assert not settling.done()
    assert not claiming.done()
    terminal.unlock()
    following, claimed = await settling, await claiming
    assert words([following] if following else []) + words(claimed) == ["b"]
    assert await desk.told(ANA) == [("answer", "sent", None)]


async def test_readers_go_on(desk: Desk, terminal: Terminal) -> None:
    """The page shows what is there."""
    await desk.say(ANA, "a")
    terminal.lock()
    assert await desk.queue(ANA) == ["a"]
    await desk.store.insights.named_reasons()
    terminal.unlock()


async def test_a_look_sees_one_moment(desk: Desk, path: Path) -> None:
    """Figures of one answer fit together, whatever is written between two of its queries."""
    await desk.say(ANA, "a1", "a2")

    def look(db: sqlite3.Connection, _: object) -> tuple[int, int]:
        depth = db.execute("SELECT depth FROM control").fetchone()[0]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE outbox SET state = 'cancelled'")
        return depth, db.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone()[0]

    assert await desk.store.insights._query(look) == (2, 2)
    assert await desk.depth() == 0


async def test_a_look_that_is_held_up_holds_up_no_turn(desk: Desk) -> None:
    """However much is asked for by people who look: a message is answered from claim to end meanwhile."""
    entered, leave = threading.Event(), threading.Event()

    def look(*_: object) -> bool:
        entered.set()
        return leave.wait(5)

    await desk.say(ANA, "a")
    looking = asyncio.create_task(desk.store.insights._query(look))
    await asyncio.to_thread(entered.wait, 5)
    async with asyncio.timeout(4):
        lease = await desk.lease()
        assert [said.text for said in (await desk.store.standing(lease.messages[0].id, 20, 24_000)).history] == []
        assert await desk.store.letters(10) == ([], None)
        await desk.store.settle(lease, Done(), claim=False)
    assert not looking.done()
    leave.set()
    assert await looking


async def test_changes_are_told_of_whoever_wrote(desk: Desk, path: Path) -> None:
    """The daemon or a hand, seen from the connection that looks; a read of ours is none."""
    seen = [await desk.store.insights.changes()]
    await desk.store.insights.queue_stats()
    assert await desk.store.insights.changes() == seen[-1]
    await desk.say(ANA, "a")
    seen.append(await desk.store.insights.changes())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE users SET name = 'Ana'")
    seen.append(await desk.store.insights.changes())
    assert len(set(seen)) == 3


async def test_who_reads_long_delays_no_writer(desk: Desk, path: Path) -> None:
    """A report in the terminal holds a snapshot only."""
    await desk.say(ANA, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM outbox").fetchone()
        assert await desk.serve_all() == ["a"]
        assert reading.execute("SELECT state FROM outbox").fetchone() == ("pending",)


async def test_a_short_lock_loses_nothing_at_the_end(desk: Desk, terminal: Terminal, path: Path) -> None:
    """The daemon stops while somebody types: what was handed over is stored, if the lock goes in time."""
    await desk.say(ANA, "a")
    lease = await desk.lease()
    terminal.lock()
    settling = asyncio.create_task(desk.store.settle(lease, Done(), claim=False))
    await until_in_trouble(desk)
    closing_store = asyncio.create_task(desk.store.close())
    await asyncio.sleep(0.05)
    terminal.unlock()
    await asyncio.gather(settling, closing_store)
    assert rows(path, "SELECT state FROM outbox") == [("done",)]


async def test_a_long_lock_does_not_keep_the_daemon(
    desk: Desk, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end comes; the message is taken over at the next start."""
    monkeypatch.setattr("bot.store.db.CLOSING_PATIENCE_SECONDS", 0.05)
    await desk.say(ANA, "a")
    lease = await desk.lease()
    terminal.lock()
    settling = asyncio.create_task(desk.store.settle(lease, Done(), claim=False))
    await until_in_trouble(desk)
    async with asyncio.timeout(5):
        await desk.store.close()
    with pytest.raises(StoreUnavailable, match="lock"):
        await settling
    terminal.unlock()
