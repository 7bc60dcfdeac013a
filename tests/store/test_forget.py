"""A person who is forgotten: nothing is left, what comes again is no news, who writes anew is new. And the export."""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.domain import Batch, Failed, Identity, IdentityChange, Operator
from bot.errors import NotFound, WrongState
from bot.store.replies import Settled
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, edit, message, revoke
from tests.store.sqlite.terminal import by_hand, check_sums, rows

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
WHO = Operator("cli", "192.0.2.7")
DAY = 86_400
TABLES = ("outbox", "replies", "attempts", "users", "user_ids", "stumbles", "identity_changes")


async def forget(desk: Desk, who: str = ANA) -> int:
    """Forget somebody, wholly."""
    desk.tick()
    messages, gone = await desk.store.forget(await desk.id_of(who), who=WHO)
    assert gone
    return messages


async def exported(desk: Desk, who: str = ANA) -> dict[str, Any]:
    """Read what is told of a person."""
    lines: list[str] = []
    await desk.store.insights.export(await desk.id_of(who), lines.append, str.isprintable)
    found: dict[str, Any] = json.loads("\n".join(lines))
    return found


async def talk(desk: Desk, who: str = ANA, tag: str = "SECRET") -> None:
    """Let somebody do all that leaves something: texts, edits, answers, echoes, letters, failures, other ids."""
    known = Identity(who, f"MX.{tag}", f"{tag} name")
    words = [f"{tag} one", f"{tag} two", f"{tag} three"]
    payload = json.dumps({"from": who, "text": {"body": tag}})
    await desk.arrive(*(message(known, body, n, payload=payload) for n, body in enumerate(words)))
    await desk.arrive(edit(known, words[1], f"{tag} edited"), revoke(known, words[2]))
    lease = await desk.lease()
    await desk.serve(lease, f"answer to {tag}", "more")
    await desk.settle(await desk.lease(), Failed(f"can't answer {tag}"))
    await desk.echo(who, f"{tag} echo")
    await desk.write(who, f"{tag} letter")
    moved = IdentityChange(known, Identity(f"{who}9", f"MX.{tag}2"), at(30))
    await desk.store.append(Batch(identity_changes=(moved,)))


# -- gone


async def test_nothing_of_a_person_is_left_in_the_file(desk: Desk, path: Path) -> None:
    """No row, and no byte: not of their words, ids and name, nor in what SQLite leaves unused, nor in the WAL."""
    await talk(desk)
    await talk(desk, BEN, "other")
    before = {table: len(rows(path, f"SELECT 1 FROM {table} LIMIT 100")) for table in TABLES}
    assert await forget(desk, f"{ANA}9") == 5
    left = b"".join(file.read_bytes() for file in path.parent.glob("bot.db*"))
    assert b"other" in left
    assert [known for known in ("SECRET", ANA) if known.encode() in left] == []
    counts = {table: len(rows(path, f"SELECT 1 FROM {table} LIMIT 100")) for table in TABLES}
    assert counts == {table: count // 2 for table, count in before.items()}
    check_sums(path)
    with pytest.raises(NotFound):
        await desk.id_of(f"{ANA}9")


async def test_no_byte_is_left_after_a_long_time_of_many_people(open_desk: OpenDesk, path: Path) -> None:
    """Rows that moved from page to page leave pieces in unused bytes, which deleting doesn't reach.

    Debian's SQLite overwrites most of them by itself, others none.
    """
    desk = await open_desk()
    await desk.store._db._writer.execute_fetchall("PRAGMA secure_delete = OFF")
    for n in range(120):
        who = f"521555000{n % 4}"
        tag = "SECRET" if n % 4 == 1 else "other"
        await desk.arrive(message(who, f"{tag} {n} " + "x" * (n * 37 % 900), n, payload=json.dumps({"from": who})))
        if n % 3:
            (lease,) = await desk.claim(1)
            await desk.serve(lease, f"answer to {lease.messages[0].body[:9]} " + "y" * (n * 53 % 700))
        if n % 40 == 39:
            await desk.prune(0)
    await forget(desk)
    left = b"".join(file.read_bytes() for file in path.parent.glob("bot.db*"))
    assert (b"other" in left, b"SECRET" in left, ANA.encode() in left) == (True, False, False)


async def test_counts_stay_and_the_audit_says_who_did_it_and_not_to_whom(desk: Desk, path: Path) -> None:
    """Tokens and answers of the day; what operators did stays, without whose."""
    await talk(desk)
    ana, used = await desk.id_of(ANA + "9"), await desk.store.insights.today()
    await desk.store.pause(ana, who=WHO)
    await forget(desk, ANA + "9")
    assert (await desk.store.insights.today()) == used != {}
    acts = [
        (act["action"], act["user_id"], act["who"], act["messages"])
        for act in (await desk.store.insights.audit())["audit"]
    ]
    assert acts == [("forget", "u0", "cli", 5), ("pause", "u0", "cli", None), ("reply", "u0", "page", 1)]
    assert len(rows(path, "SELECT told FROM forgotten WHERE told NOT GLOB '*[^0-9a-f]*' AND length(told) = 64")) == 6


async def test_a_former_number_goes_along(desk: Desk, path: Path) -> None:
    """Every id that somebody is known by, whichever names them; also where another of theirs still has to be joined."""
    await desk.arrive(message(Identity(ANA, "MX.a"), "a1"), message(Identity(CARL, "MX.a"), "a2", 1))
    await desk.say(BEN, "b")
    await forget(desk, ANA)
    assert rows(path, "SELECT id FROM user_ids") == [(BEN,)]
    by_hand(path, "INSERT INTO users (id, created_at, merging_into) VALUES (70, '2026', 2), (71, '2026', 70)")
    await desk.store.forget(70, who=WHO)
    assert rows(path, "SELECT id FROM users") == []


# -- not now


async def test_who_is_being_answered_is_not_forgotten_yet(desk: Desk, path: Path) -> None:
    """What a turn is about to say would have nobody to go to: nothing is changed, the sentence says what to do."""
    await desk.say(ANA, "a1", "a2")
    lease = await desk.lease()
    with pytest.raises(WrongState, match=r"u1 is being answered.*pause"):
        await forget(desk)
    assert await desk.states(ANA) == {"a1": "leased", "a2": "pending"}
    assert rows(path, "SELECT count(*) FROM audit, forgotten") == [(0,)]
    await desk.serve(lease, "answer")
    assert await forget(desk) == 2
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_who_is_sent_something_is_not_forgotten_yet(desk: Desk) -> None:
    """Nor while nobody knows how a send ended; one that waits for nothing any more is no obstacle."""
    await desk.say(ANA, "a")
    await desk.write(ANA, "letter")
    letter = await desk.letter()
    await desk.begin(letter, letter.part)
    with pytest.raises(WrongState, match="written to"):
        await forget(desk)
    desk.tick(3601)
    assert await forget(desk) == 1


async def test_an_end_that_comes_later_changes_nothing(desk: Desk) -> None:
    """A letter that was looked up before goes to nobody, also where its id was given again to another's."""
    await desk.say(ANA, "a")
    await desk.write(ANA, "for Ana")
    letter = await desk.letter()
    await forget(desk)
    assert isinstance(await desk.cant_begin(letter, letter.part), Settled)
    await desk.say(BEN, "b")
    await desk.write(BEN, "for Ben")
    assert (await desk.letter()).part.id == letter.part.id
    assert isinstance(await desk.cant_begin(letter, letter.part), Settled)


async def test_nobody_is_not_found(desk: Desk) -> None:
    """As for the other verbs."""
    with pytest.raises(NotFound, match="no user u99"):
        await desk.store.forget(99, who=WHO)


# -- what comes again


async def test_what_whatsapp_delivers_again_is_no_news(desk: Desk, path: Path) -> None:
    """Neither a message nor what the owner wrote from the phone nor a status brings anybody back."""
    await talk(desk)
    lines = rows(path, "SELECT wamid, callback_id FROM replies WHERE callback_id IS NOT NULL AND wamid IS NOT NULL")
    await forget(desk, ANA + "9")
    appended = await desk.say(ANA, "SECRET one", "SECRET two")
    assert (appended.new, appended.known, appended.users) == (0, 2, ())
    await desk.arrive(edit(ANA, "SECRET two", "SECRET edited"))
    await desk.echo(ANA, "SECRET echo")
    for wamid, callback in lines:
        assert await desk.tell("read", wamid=wamid, callback=f"{callback}.1") == 0
        assert await desk.tell("failed", wamid=wamid) == 0
    assert {table: rows(path, f"SELECT * FROM {table}") for table in TABLES} == {table: [] for table in TABLES}
    assert await desk.depth() == 0


async def test_an_old_notice_moves_nobody_who_has_the_number_now(desk: Desk, path: Path) -> None:
    """With who moved, its hash was forgotten; who writes from their former number since is a stranger."""
    moved = Batch(identity_changes=(IdentityChange(Identity(ANA), Identity(BEN), at(5)),))
    await desk.say(ANA, "a")
    await desk.store.append(moved)
    await forget(desk, BEN)
    desk.tick(60)
    await desk.say(ANA, "b", sent=60)
    await desk.store.append(moved)
    assert rows(path, "SELECT id, user_id FROM user_ids") == [(ANA, 2)]


async def test_an_edit_of_what_was_forgotten_brings_nobody_back(desk: Desk, path: Path) -> None:
    """Nor does a revoke, heard of for the first time: who asks to be forgotten may delete it over there, too."""
    await desk.say(ANA, "SECRET one")
    await desk.serve_all()
    await forget(desk)
    appended = await desk.arrive(edit(ANA, "SECRET one", "SECRET edited", 5), revoke(ANA, "SECRET one", 6))
    assert (appended.new, appended.known) == (0, 2)
    assert {table: rows(path, f"SELECT * FROM {table}") for table in TABLES} == {table: [] for table in TABLES}


async def test_who_writes_anew_is_somebody_new(desk: Desk) -> None:
    """Another number of ours, no history, no pause; beside a message that comes again in the same webhook."""
    await desk.say(ANA, "before")
    await desk.serve_all()
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    await forget(desk)
    appended = await desk.arrive(message(ANA, "before"), message(ANA, "new", 5))
    assert (appended.new, appended.known) == (1, 1)
    assert await desk.id_of(ANA) == 2
    assert await desk.history(ANA) == []
    assert await desk.serve_all() == ["new"]


async def test_hashes_go_when_whatsapp_delivers_no_more(desk: Desk, path: Path) -> None:
    """With store.keep_days, as the messages would have; those of notices too, whoever they told of."""
    await talk(desk)
    await forget(desk, ANA + "9")
    stranger = IdentityChange(Identity("1"), Identity("2"), at(0))
    await desk.store.append(Batch(identity_changes=(stranger,)))
    desk.tick(7.9 * DAY)
    await desk.prune(8)
    assert rows(path, "SELECT (SELECT count(*) FROM forgotten), (SELECT count(*) FROM identity_changes)") == [(6, 1)]
    desk.tick(0.2 * DAY)
    await desk.prune(8)
    assert rows(path, "SELECT (SELECT count(*) FROM forgotten), (SELECT count(*) FROM identity_changes)") == [(0, 0)]


async def test_a_notice_of_two_who_became_one_goes_with_them(desk: Desk, path: Path) -> None:
    """The hash of two phones and a time could be found by trying."""
    await desk.say(ANA, "a")
    await desk.store.append(Batch(identity_changes=(IdentityChange(Identity(ANA), Identity(BEN), at(1)),)))
    await desk.arrive(message(BEN, "b", 2), message("MX.b", "c", 3), message(Identity(BEN, "MX.b"), "d", 4))
    assert rows(path, "SELECT id FROM users") == rows(path, "SELECT user_id FROM identity_changes")
    await forget(desk, "MX.b")
    assert rows(path, "SELECT * FROM identity_changes") == []


# -- in use


async def test_a_file_in_use_says_that_pieces_may_be_left(desk: Desk, path: Path) -> None:
    """The person is gone all the same; somebody reads for long, a backup perhaps."""
    await talk(desk)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.executescript("BEGIN; SELECT * FROM users;")
        assert await desk.store.forget(await desk.id_of(ANA + "9"), who=WHO) == (5, False)
    assert rows(path, "SELECT count(*) FROM users") == [(0,)]


async def test_a_checkpoint_of_anothers_is_waited_for(desk: Desk, path: Path) -> None:
    """A daemon's first commit after the VACUUM begins one: SQLite itself gives up at once, whatever its patience."""
    await talk(desk)
    hold = f"""
import fcntl, sys, time
shm = open({f"{path}-shm"!r}, "r+b")
fcntl.lockf(shm, fcntl.LOCK_EX, 1, 121)  # WAL_CKPT_LOCK
print("held", flush=True)
time.sleep(1.5)
"""
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", hold, stdout=asyncio.subprocess.PIPE)
    assert other.stdout is not None
    assert await other.stdout.readline() == b"held\n"
    assert await forget(desk, f"{ANA}9") == 5
    assert await other.wait() == 0
    assert path.with_name("bot.db-wal").stat().st_size == 0


# -- the export


async def test_an_export_holds_every_column_of_every_row(desk: Desk, path: Path) -> None:
    """What they wrote and were told, what was tried, who they are and what operators did; of nobody else."""
    await talk(desk)
    await talk(desk, BEN, "other")
    await desk.store.pause(await desk.id_of(ANA + "9"), who=WHO)
    found = await exported(desk, ANA + "9")
    assert "other" not in json.dumps(found)
    for part, table in ("messages", "outbox"), ("replies", "replies"):
        columns = [name for (name,) in rows(path, "SELECT name FROM pragma_table_info(?)", table)]
        kept = rows(path, f"SELECT * FROM {table} WHERE user_id = 1 ORDER BY id")
        assert len(found[part]) == len(kept)
        for row, values in zip(found[part], kept, strict=True):
            wanted = dict(zip(columns, values, strict=True))
            del wanted["user_id"]
            wanted |= {"payload": json.loads(wanted["payload"])} if table == "outbox" else {}
            assert {name: value for name, value in row.items() if name != "tried"} == wanted
    assert [len(m["tried"]) for m in found["messages"]][:2] == [3, 1]
    names = {name for (name,) in rows(path, "SELECT name FROM pragma_table_info('users')")}
    assert names - set(found["user"]) == {"id"}
    assert {one["id"] for one in found["user"]["ids"]} == {f"{ANA}9", "MX.SECRET", "MX.SECRET2"}
    assert [act["action"] for act in found["audit"]] == ["reply", "pause"]


async def test_an_export_is_json_whatever_somebody_wrote(desk: Desk, path: Path) -> None:
    """What drives a terminal is in ASCII; letters and pictures are as written; more than a page of them."""
    await desk.say(ANA, *(f"línea 😀 {n}" for n in range(150)), "\x1b[2J \u009b1m \u202e \n\t end")
    by_hand(path, "UPDATE outbox SET payload = 'no JSON' WHERE id = 1")
    lines: list[str] = []
    await desk.store.insights.export(await desk.id_of(ANA), lines.append, str.isprintable)
    assert all(line.isprintable() for line in lines)
    assert any("línea 😀 7" in line for line in lines)
    bodies = [m["body"] for m in json.loads("".join(lines))["messages"]]
    assert (len(bodies), bodies[-1]) == (151, "\x1b[2J \u009b1m \u202e \n\t end")


async def test_a_person_of_whom_nothing_but_a_name_is_left_has_an_export(desk: Desk, path: Path) -> None:
    """Empty lists."""
    await desk.say(ANA, "a")
    await desk.serve_all()
    by_hand(path, "DELETE FROM outbox")
    found = await exported(desk)
    assert (found["messages"], found["replies"], found["audit"]) == ([], [], [])
    assert found["user"]["phone"] == ANA
