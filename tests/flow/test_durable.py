"""No 200 leaves before its commit, an answer takes three commits, and one line each tells what happened."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

import pytest

from bot.emulator import StatusPlan
from bot.store import batch, db, turns
from tests.flow.conftest import ERROR_REPLY, World


class Gate:
    """A connection whose COMMIT waits until the test opens the gate."""

    def __init__(self) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.open.set()
        self.connection: Any = None

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            self.reached.set()
            assert self.open.wait(10)
        return self.connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate in front of every COMMIT of a write, open at first."""
    gate, together = Gate(), batch.run_together

    def gated(connection: sqlite3.Connection, jobs: Any, begin: str) -> Any:
        if begin == "BEGIN":
            return together(connection, jobs, begin)
        gate.connection = connection
        return together(gate, jobs, begin)

    monkeypatch.setattr(batch, "run_together", gated)
    return gate


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each commit changed; one that changed nothing costs no fsync and isn't listed."""
    counted, together = [], batch.run_together

    def counting(connection: sqlite3.Connection, jobs: Any, begin: str) -> Any:
        before = connection.total_changes
        error = together(connection, jobs, begin)
        if error is None and connection.total_changes > before:
            counted.append(connection.total_changes - before)
        return error

    monkeypatch.setattr(batch, "run_together", counting)
    return counted


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Hold the file's write lock, as a person in the middle of a transaction does."""
    with closing(sqlite3.connect(world.file, isolation_level=None, timeout=5.0)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


async def test_no_200_leaves_before_its_commit(world: World, gate: Gate) -> None:
    """A webhook whose COMMIT has not returned is not answered, nor are the statuses behind it."""
    async with world.running():
        gate.reached.clear()
        gate.open.clear()
        said = asyncio.create_task(world.emu.say(world.ana, "hi"))
        await asyncio.to_thread(gate.reached.wait, 5)
        async with world.http.get(f"{world.bot.public_url}/healthz") as alive:  # the loop turns, it doesn't hang
            assert alive.status == 200
        assert not said.done()
        assert world.emu.log.of("webhook")[0].status == 0
        assert world.rows("SELECT count(*) FROM outbox") == [(0,)]
        gate.open.set()
        await said
        assert world.rows("SELECT count(*) FROM outbox") == [(1,)]
        await world.sent(1)


async def test_no_part_leaves_before_the_commit_that_marks_it(world: World, gate: Gate) -> None:
    """Whichever COMMIT has not returned: a start after a crash would take for unsent what is not marked on disk."""
    emu = world.emu
    emu.settings.statuses = StatusPlan(names=())
    emu.model.script.append("word " * 1000)
    async with world.running() as bot:
        gate.reached.clear()
        gate.open.clear()
        said = asyncio.create_task(emu.say(world.ana, "hi"))
        while not world.rows("SELECT 1 FROM outbox WHERE state = 'done'"):
            assert await asyncio.to_thread(gate.reached.wait, 5)
            for _ in range(30):  # the loop turns meanwhile, often enough for a send to leave
                async with world.http.get(f"{bot.public_url}/healthz") as alive:
                    assert alive.status == 200
            ((marked,),) = world.rows("SELECT coalesce(sum(tries), 0) FROM replies")
            assert len(emu.log.of("graph.send")) <= marked
            gate.reached.clear()
            gate.open.set()  # for the one that waits
            gate.open.clear()
        gate.open.set()
        await said
    assert [len(words.split()) for words in emu.sends()] == [800, 200]


async def test_no_200_leaves_while_somebody_holds_the_write_lock(world: World) -> None:
    """It waits, is stored, and answered."""
    async with world.running():
        with locked(world):
            said = asyncio.create_task(world.emu.say(world.ana, "hi"))
            await world.eventually(lambda: world.logged("store can't write"))
            assert not said.done()
            status, ready = await world.get("/readyz")
            assert status == 503
            assert "lock" in ready["reasons"][0]
        await said
        assert [entry.status for entry in world.emu.log.of("webhook")][:1] == [200]
        await world.sent(1)
        await world.settled("done")
        assert await world.get("/readyz") == (200, {"ready": True})


async def test_a_lock_in_the_middle_of_a_turn_delays_it_and_loses_nothing(world: World) -> None:
    """The model's answer is kept until it can be stored; it isn't asked twice, no attempt is spent."""
    emu, answering = world.emu, asyncio.Event()

    async def hold(_: Any) -> str:
        await answering.wait()
        return "the answer"

    emu.model.responder = hold
    async with world.running(queue={"lease_seconds": 0.5}):
        await emu.say(world.ana, "hi")
        await world.asked(1)
        with locked(world):
            answering.set()
            await world.eventually(lambda: world.logged("store can't write"))
            await asyncio.sleep(0.6)  # longer than a lease
            assert emu.log.of("graph.send") == []
        await world.sent(1)
        await world.settled("done")
    assert len(emu.log.of("model")) == 1
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]


async def test_the_file_is_synced_at_every_commit(world: World) -> None:
    """WAL with synchronous=FULL: COMMIT returns after fsync."""
    async with world.running():
        connection = await db._connect(world.file)
        try:
            for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)):
                assert await connection.execute_fetchall(f"PRAGMA {pragma}") == [(value,)]
        finally:
            await connection.close()


async def test_a_one_part_answer_takes_three_commits(world: World, commits: list[int]) -> None:
    """Append and claim; plan and mark as sending; sent, done and claim. Four where its webhook meets another claim."""
    world.emu.settings.statuses = StatusPlan(names=())
    taken = []
    async with world.running():
        for n in range(1, 6):
            commits.clear()
            await world.emu.say(world.ana, f"hi {n}")
            await world.sent(n)
            await world.settled(*["done"] * n)
            taken.append(len(commits))
    assert min(taken) == 3
    assert median(taken) <= 4


async def test_an_idle_daemon_commits_nothing(world: World, commits: list[int]) -> None:
    """It looks at the queue every second without writing; a start prunes once, a minute is noted at its end."""
    async with world.running():
        looks, seconds = len(world.lines), list[list[int]]()
        while len(seconds) < 3 and [] not in seconds:
            before = len(commits)
            await asyncio.sleep(1.1)
            seconds.append(commits[before:])
    assert [] in seconds
    assert world.lines[looks:] == world.logged("draining")


async def test_one_line_each_tells_of_a_webhook_a_send_and_a_turn(world: World) -> None:
    """With user, message, milliseconds and outcome; nothing else at info or above."""
    async with world.running():
        before = len(world.lines)
        await world.emu.say(world.ana, "hi")
        await world.settled("done")
        await world.eventually(lambda: len(world.logged("webhook")) == 3)  # the message, two statuses
        told = [line for line in world.lines[before:] if line["log_level"] != "debug"]
    webhook, send, turn = (world.logged(event)[0] for event in ("webhook", "send", "turn"))
    assert [line["event"] for line in told if line["event"] != "webhook"] == ["send", "turn"]
    assert (webhook["users"], webhook["new"], webhook["outcome"]) == (["u1"], 1, "stored")
    assert (send["user"], send["message"], send["part"], send["outcome"]) == ("u1", 1, 1, "sent")
    assert (turn["user"], turn["message"], turn["outcome"]) == ("u1", 1, "done")
    assert all(line["ms"] >= 0 for line in (webhook, send, turn))
    assert [line["statuses"] for line in world.logged("webhook")] == [0, 1, 1]


async def test_failures_are_logged_with_their_reason_at_warning(world: World) -> None:
    """Tries and the end, with the model's status and no word of the user's."""
    world.emu.faults.add("error", service="model", status=500, times=2, message="about: something private")
    async with world.running(queue={"max_attempts": 2}):
        await world.emu.say(world.ana, "something private")
        assert await world.sent(1) == [ERROR_REPLY]
        await world.settled("failed")
    lines = world.logged("turn")
    assert [(line["log_level"], line["outcome"]) for line in lines] == [
        ("warning", "retry"),
        ("warning", "retry"),
        ("warning", "failed"),
    ]
    assert all("500" in line["error"] for line in lines)


async def test_a_file_that_cannot_be_read_costs_no_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is our trouble, not the message's: it waits, without an apology at the end."""
    standings, failures = turns.standings, [sqlite3.OperationalError("disk I/O error")] * 2

    def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return standings(*arguments)

    monkeypatch.setattr(turns, "standings", failing)
    async with world.running():
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert failures == []
    assert world.rows("SELECT attempts FROM outbox") == [(0,)]
