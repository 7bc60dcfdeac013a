"""Every statement that the verbs run finds its rows by an index: asked of SQLite's own planner."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from bot.config import OpenAI
from bot.domain import Batch, Done, Failed, Identity, IdentityChange, InDoubt, Operator, Released, Retry, Status
from bot.errors import NotFound
from bot.store.failures import Failing
from bot.store.replies import PairLimit
from bot.store.turns import Budget
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, edit, message, revoke

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
# A scan of an index that holds only what is looked for is none to fear, nor one that is left at its page's end.
HARMLESS = re.compile(
    r"SCAN \w+ USING (COVERING )?INDEX (outbox_one_lease|outbox_failed|outbox_failed_at|outbox_failed_user"
    r"|outbox_causes|users_merging|replies_undecided|replies_causes|replies_human|replies_letters|users_depth)\b"
)
COMMENT = re.compile(r"\A(?:--.*\n)+(?=DELETE|UPDATE)")
TABLES = re.compile(r"SCAN (outbox|users|replies|attempts|user_ids|[a-z])\b")
WHOLE_LINE = (
    "UPDATE outbox SET state = 'cancelled'",  # clear, and skip: everybody's, which is what was asked for
    "SELECT count(DISTINCT user_id) FROM outbox",
    "DELETE FROM attempts WHERE id IN",  # the oldest few
    "SELECT signs.*",  # the last attempts and the last message; test_scale counts their steps
)


async def everything(desk: Desk) -> None:
    """Use every verb, with whatever makes it run another statement."""
    await desk.say(ANA, "a1", "a2", "a3")
    await desk.say(BEN, "b1", "b2")
    await desk.arrive(edit(ANA, "a3", "a3!", 9), revoke(BEN, "b2", 9), message(CARL, "👍", answerable=False))
    await desk.arrive(message(Identity(CARL, "MX.carl"), "c1", payload='{"context":{"id":"wamid.a1"}}'))
    await desk.change(Identity(CARL, "MX.carl"), Identity("5215550004", "MX.carl"))
    await desk.store.append(Batch(identity_changes=(IdentityChange(Identity(BEN), Identity("5215550005")),)))
    await desk.echo(ANA, "owner")
    first, second, third = await desk.claim()
    one, two = await desk.plan(first, "one", "two")
    callback = await desk.begin(first, one)
    await desk.store.begin_send(first, two, desk.receipt(one, "out.1"))
    await desk.store.refuse_part(two, "busy", final=False)
    await desk.store.append(Batch(statuses=(Status("out.1", "read", None, callback), Status("out.9", "failed", None))))
    await desk.settle(first, InDoubt(at(60)))
    await desk.plan(second, "sorry", kind="apology", error="bad")
    await desk.settle(second, Failed("bad"))
    await desk.settle(third, Released(refused_by="model", error="no"))
    await desk.store.try_circuit("model", who=Operator("test"))
    (probe,) = await desk.claim(1)
    await desk.settle(probe, Retry(1, "busy"))
    desk.tick(120)
    for _ in range(6):
        for lease in await desk.claim():
            await desk.plan(lease, "answer")
            await desk.settle(lease, Done())
    await desk.say(ANA, "a4", sent=99)
    for _ in range(3):
        await desk.claim()
        desk.tick()
        await desk.store.adopt()
        desk.tick()
    ana = await desk.id_of(ANA)
    await desk.store.standing(ana, 20, 24_000)
    await desk.write(ANA, "letter one", "letter two")
    await desk.write(ANA, "letter three")
    await desk.write(ANA, "letter four")
    letter = await desk.letter()
    await desk.post(letter)
    await desk.end(await desk.letter(), Failed("bad"))
    await desk.end(await desk.letter(), Released(desk.clock.now(), "graph", error="no"))
    await desk.letters()
    await desk.store.try_circuit("graph", who=Operator("test"))
    await desk.post(await desk.letter())
    await desk.store.listening()
    await desk.store.retry(Failing(), who=Operator("test"))
    await desk.store.pause(ana, who=Operator("test"))
    await desk.store.resume(ana, skip=True, who=Operator("test"))
    await desk.store.pause(None, who=Operator("test"))
    await desk.store.resume(None, skip=True, who=Operator("test"))
    await desk.store.clear(None, who=Operator("test"))
    try:
        await desk.store.retry([99], who=Operator("test"))
    except NotFound:
        pass
    insights = desk.store.insights
    await insights.queue_stats()
    await insights.users()
    await insights.users(10, "1-1")
    await insights.users(sort="failed")
    await insights.failures()
    await insights.failures(10, "5", cause="bad")
    await insights.failures(user=f"u{ana}")
    await insights.causes()
    await insights.audit()
    await insights.audit(10, "5")
    await insights.asked(ana, OpenAI())
    await insights.user(f"u{ana}")
    await insights.find_user("u1")
    await insights.named_reasons()
    await insights.signs(ANA)
    await insights.alerts()
    await insights.circuits()
    await insights.trends()
    await insights.today()
    await desk.store.headline()
    for _ in range(2):
        await desk.store.note_minute()
        desk.tick(60)
    await insights.figures()
    desk.tick(40 * 86_400)
    await desk.prune(30)


async def statements(desk: Desk) -> list[str]:
    """Return every statement that they ran, with its values in place; what triggers run is told as a comment."""
    seen: dict[str, None] = {}
    for connection in (desk.store._db._writer, desk.store._db._reader, desk.store._db._looker):
        await connection.set_trace_callback(lambda text: seen.setdefault(COMMENT.sub("", text.strip())))
    await everything(desk)
    return [text for text in seen if re.match("SELECT|UPDATE|DELETE|INSERT|WITH", text)]


async def test_no_statement_looks_through_a_table(open_desk: OpenDesk, path: Path) -> None:
    """Each finds its rows by an index, without statistics to help."""
    ran = await statements(await open_desk(pair_limit=PairLimit(6.0, 45), budget=Budget(100.0, 1.0, 1.0)))
    assert len(ran) > 150
    feared = {}
    with closing(sqlite3.connect(path)) as connection:
        for statement in ran:
            if statement.startswith(WHOLE_LINE):
                continue
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans = [step for step in plan if TABLES.match(step) and not HARMLESS.match(step)]
            if scans:
                feared[statement] = scans
    assert feared == {}


async def test_the_head_of_line_is_found_without_sorting(desk: Desk, path: Path) -> None:
    """The order of the line is the order of its index; who is next is the order of another."""
    ran = await statements(desk)
    claims = [text for text in ran if "h.crashes < 2" in text]
    assert claims
    with closing(sqlite3.connect(path)) as connection:
        for statement in claims:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert "SEARCH u USING COVERING INDEX users_ready (ready_at<?)" in plan
            assert "SEARCH o USING INDEX outbox_line (user_id=?)" in plan
            assert not any("TEMP B-TREE" in step for step in plan)
