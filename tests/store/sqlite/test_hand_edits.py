"""Corrections by hand, with the sqlite3 command line: ordinary writes that count at once, or are refused."""

from pathlib import Path

import pytest

from bot.clock import Clock
from bot.domain import Done, Failed, InDoubt, Operator, Released, Retry
from bot.store.failures import Failing
from tests.store.desk import Desk, at, message, words
from tests.store.sqlite.terminal import Refused, by_hand, check_sums, rows

ANA, BEN = "5215550001", "5215550002"


@pytest.fixture
async def answered(desk: Desk, path: Path) -> Desk:
    """Return a store with a message in every state that is not under way."""
    await desk.say(ANA, "done", "failed", "cancelled", "pending")
    await desk.serve(await desk.lease(), "answer")
    await desk.settle(await desk.lease(), Failed("bad"))
    by_hand(path, "UPDATE outbox SET state = 'cancelled', error = 'by hand' WHERE body = 'cancelled'")
    await desk.arrive(message(ANA, "ignored", 9, answerable=False))
    return desk


@pytest.mark.parametrize("state", ["failed", "cancelled", "ignored", "done"])
async def test_a_message_set_to_pending_is_answered_at_its_place(answered: Desk, path: Path, state: str) -> None:
    """The trigger tidies the row: tries, crashes, reason and times are gone."""
    by_hand(path, f"UPDATE outbox SET attempts = 4, crashes = 3 WHERE body = '{state}'")
    by_hand(path, f"UPDATE outbox SET state = 'pending' WHERE body = '{state}'")
    check_sums(path)
    assert await answered.depth() == 2
    row = rows(
        path, "SELECT attempts, crashes, error, begun_at, finished_at, not_before_at FROM outbox WHERE body = ?", state
    )
    assert row == [(0, 0, None, None, None, None)]
    lease = (await answered.claim())[0]
    expected = "pending" if state == "ignored" else state
    assert (words([lease]), lease.manual) == ([expected], expected == state)


async def test_a_done_message_set_to_pending_is_not_answered_twice(answered: Desk, path: Path) -> None:
    """What was sent is never sent again; without its replies it is a question like any other."""
    by_hand(path, "UPDATE outbox SET state = 'pending' WHERE body = 'done'")
    lease = await answered.lease()
    assert [(part.body, part.state) for part in lease.parts] == [("answer", "sent")]
    await answered.settle(lease, Done())
    by_hand(path, "DELETE FROM replies WHERE outbox_id = 1; UPDATE outbox SET state = 'pending' WHERE id = 1")
    assert (await answered.lease()).parts == ()


async def test_a_message_cancelled_by_hand_lets_the_next_go_on(desk: Desk, path: Path) -> None:
    """Its unsent parts go nowhere, and it has a time of ending."""
    await desk.say(ANA, "a1", "a2")
    lease = await desk.lease()
    await desk.plan(lease, "answer")
    await desk.settle(lease, Released(at(3600)))
    assert await desk.claim() == []
    by_hand(path, "UPDATE outbox SET state = 'cancelled' WHERE id = 1")
    check_sums(path)
    assert await desk.told(ANA) == [("answer", "cancelled", None)]
    assert rows(path, "SELECT finished_at IS NOT NULL FROM outbox WHERE id = 1") == [(1,)]
    assert words(await desk.claim()) == ["a2"]


@pytest.mark.parametrize("state", ["done", "failed", "ignored"])
async def test_any_decision_can_be_made_by_hand(desk: Desk, path: Path, state: str) -> None:
    """The depth follows."""
    await desk.say(ANA, "a")
    by_hand(path, f"UPDATE outbox SET state = '{state}', error = 'by hand' WHERE id = 1")
    check_sums(path)
    assert (await desk.depth(), await desk.claim()) == (0, [])


async def test_a_wait_can_be_cut_short_or_made_longer(desk: Desk, path: Path) -> None:
    """not_before_at is a column like any other."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Retry(3600, "busy"))
    by_hand(path, "UPDATE outbox SET not_before_at = NULL WHERE id = 1")
    check_sums(path)
    lease = await desk.lease()
    await desk.settle(lease, Released())
    by_hand(path, "UPDATE outbox SET not_before_at = '2026-11-24T12:00:00.000Z' WHERE id = 1")
    check_sums(path)
    assert await desk.claim() == []
    desk.tick(7200)
    assert words(await desk.claim()) == ["a"]


async def test_a_person_is_paused_and_resumed_by_hand(desk: Desk, path: Path) -> None:
    """At once; and the limits count anew after it."""
    await desk.say(ANA, "a")
    by_hand(path, f"UPDATE users SET paused_at = datetime('now') WHERE phone = '{ANA}'")
    check_sums(path)
    assert await desk.claim() == []
    assert (await desk.look(ANA))["user"]["state"] == "paused"
    by_hand(path, f"UPDATE users SET paused_at = NULL WHERE phone = '{ANA}'")
    check_sums(path)
    assert rows(path, "SELECT resumed_at IS NOT NULL FROM users") == [(1,)]
    assert words(await desk.claim()) == ["a"]


async def test_everything_is_paused_and_resumed_by_hand(desk: Desk, path: Path) -> None:
    """The switch is a row of its own."""
    await desk.say(ANA, "a")
    by_hand(path, "UPDATE control SET paused_at = datetime('now')")
    assert await desk.claim() == []
    assert await desk.store.reasons()
    by_hand(path, "UPDATE control SET paused_at = NULL")
    assert words(await desk.claim()) == ["a"]


async def test_a_message_can_be_written_by_hand(desk: Desk, path: Path) -> None:
    """An insert counts like an arrival; its payload may be empty."""
    await desk.say(ANA, "a")
    by_hand(
        path,
        """INSERT INTO outbox
             (phone_number_id, wamid, user_id, type, body, payload, state, sent_at, received_at)
           VALUES ('1', 'by hand', 1, 'text', 'b', '', 'pending', '2026-11-24T09:59:59.000Z',
             strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))""",
    )
    check_sums(path)
    assert await desk.queue(ANA) == ["b", "a"]
    desk.clock.advance((Clock().now() - desk.clock.now()).total_seconds() + 1)
    assert await desk.serve_all() == ["b", "a"]


async def test_deleting_a_message_takes_along_what_hangs_on_it(desk: Desk, path: Path) -> None:
    """Another message may get its id: it must not find the replies of the one that is gone."""
    await desk.say(ANA, "a1", "a2")
    lease = await desk.lease()
    await desk.plan(lease, "answer")
    await desk.settle(lease, Retry(9, "busy"))
    by_hand(path, "DELETE FROM outbox")
    check_sums(path)
    assert rows(path, "SELECT (SELECT count(*) FROM replies), (SELECT count(*) FROM attempts)") == [(0, 0)]
    assert (await desk.depth(), await desk.claim()) == (0, [])
    await desk.say(ANA, "new", sent=9)
    assert (await desk.lease()).parts == ()


async def test_a_time_of_a_person_that_is_none_stops_only_them(desk: Desk, path: Path) -> None:
    """Their message fails and says why; everybody else is answered."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    by_hand(path, f"UPDATE users SET last_message_at = 'yesterday' WHERE phone = '{ANA}'")
    assert words(await desk.claim()) == ["b"]
    assert "can't be read" in str((await desk.errors(ANA))["a"])
    check_sums(path)
    by_hand(path, f"UPDATE users SET last_message_at = datetime('now') WHERE phone = '{ANA}'")
    await desk.store.retry(Failing(), who=Operator("test"))
    assert words(await desk.claim()) == ["a"]


async def test_a_number_that_is_none_in_a_payload_holds_up_nobody_else(desk: Desk, path: Path) -> None:
    """SQLite takes 1e999 for JSON and for infinity, which it can't write as JSON again."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    by_hand(path, """UPDATE outbox SET payload = '{"context":{"id":1e999}}' WHERE body = 'a'""")
    assert words(await desk.claim()) == ["a", "b"]


async def test_a_body_can_be_corrected(desk: Desk, path: Path) -> None:
    """A plain write, also while the message waits for its next try."""
    await desk.say(ANA, "a")
    by_hand(path, "UPDATE outbox SET body = 'b'")
    assert words(await desk.claim()) == ["b"]


REFUSED = {
    "set to leased": ("UPDATE outbox SET state = 'leased' WHERE body = 'waits'", "only the daemon leases"),
    "set a done one to leased": (
        "UPDATE outbox SET state = 'leased', leased_at = '2026-11-24T10:00:00.000Z' WHERE body = 'done'",
        "only the daemon leases",
    ),
    "inserted as leased": (
        """INSERT INTO outbox (phone_number_id, wamid, user_id, type, body, payload, state, leased_at, sent_at,
             received_at) VALUES ('1', 'x', 2, 'text', 'x', '', 'leased', 'now', 'now', 'now')""",
        "only the daemon leases",
    ),
    "taken out of its lease": ("UPDATE outbox SET state = 'pending' WHERE body = 'leased'", "being answered right now"),
    "cancelled in its lease": (
        "UPDATE outbox SET state = 'cancelled' WHERE body = 'leased'",
        "being answered right now",
    ),
    "deleted in its lease": ("DELETE FROM outbox WHERE body = 'leased'", "being answered right now"),
    "everything cancelled": ("UPDATE outbox SET state = 'cancelled'", "being answered right now"),
    "a user with messages deleted": ("DELETE FROM users", "this user has messages: delete those first"),
    "another form of time": (
        "UPDATE outbox SET not_before_at = datetime('now', '+1 hour') WHERE body = 'waits'",
        "not_before_at is no time: write it like 2026-11-24T10:41:07.123Z",
    ),
    "a reply deleted in its send": ("DELETE FROM replies", "it is being sent, or nobody knows yet how its send ended"),
    "no such state": ("UPDATE outbox SET state = 'retry' WHERE body = 'done'", "outbox_state"),
    "no text": ("UPDATE outbox SET body = x'00ff' WHERE body = 'waits'", "TEXT"),
}


@pytest.mark.parametrize("which", REFUSED)
async def test_what_only_the_daemon_may_do_is_refused_in_a_sentence(desk: Desk, path: Path, which: str) -> None:
    """Nothing is changed then, and the turn under way ends as it would have."""
    await desk.say(BEN, "done")
    await desk.serve(await desk.lease(), "answer")
    await desk.say(ANA, "leased", "waits")
    lease = await desk.lease()
    await desk.write(BEN, "a letter")
    letter = await desk.letter()
    await desk.begin(letter, letter.part)
    by_hand(path, "UPDATE replies SET sending_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE state = 'sending'")
    before = rows(path, "SELECT * FROM outbox")
    statement, sentence = REFUSED[which]
    with pytest.raises(Refused, match=sentence):
        by_hand(path, statement)
    assert rows(path, "SELECT * FROM outbox") == before
    check_sums(path)
    await desk.serve(lease, "answer")
    assert await desk.serve_all() == ["waits"]


async def test_a_status_after_a_hand_edit_is_still_known(desk: Desk, path: Path) -> None:
    """The message was cancelled while its send was in doubt: what the status tells is recorded."""
    await desk.say(ANA, "a")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    callback = await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(at(600)))
    by_hand(path, "UPDATE outbox SET state = 'cancelled' WHERE id = 1")
    await desk.tell("read", callback=callback)
    assert await desk.told(ANA) == [("answer", "sent", "read")]
    check_sums(path)


@pytest.mark.parametrize(
    "nonsense", ["2026-11-31T10:00:00.000Z", "2026-13-01T10:00:00.000Z", "2026-11-30T25:00:00.000Z"]
)
async def test_a_wait_until_a_day_that_does_not_exist_is_refused(desk: Desk, path: Path, nonsense: str) -> None:
    """It has the form of a time, and nobody could read it."""
    await desk.say(ANA, "a")
    with pytest.raises(Refused, match="not_before_at is no time"):
        by_hand(path, f"UPDATE outbox SET not_before_at = '{nonsense}'")
    by_hand(path, "UPDATE outbox SET not_before_at = '2026-02-28T10:00:00.000Z'")


async def test_nonsense_about_who_is_next_holds_up_nobody_else(desk: Desk, path: Path) -> None:
    """What is leased gets its turn, whatever stands in a column that the triggers keep."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    by_hand(path, f"UPDATE users SET ready_at = '2999-11-31T10:00:00.000Z' WHERE phone = '{ANA}'")
    assert words(await desk.claim()) == ["b"]


async def test_nonsense_about_when_the_daemon_was_last_there_keeps_none_from_starting(desk: Desk, path: Path) -> None:
    """Then there is no step of the clock to follow."""
    for nonsense in ("9999-99-99T99:99:99.999Z", "zz", ""):
        by_hand(path, f"UPDATE control SET listening_at = '{nonsense}'")
        assert await desk.store.adopt() == 0


async def test_the_id_of_a_person_who_was_deleted_is_given_to_nobody(desk: Desk, path: Path) -> None:
    """A page or a script that still names them must not write to a stranger, or show their audit."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    assert await desk.serve_all() == ["a", "b"]
    ben = await desk.id_of(BEN)
    for table in ("outbox", "replies", "user_ids"):
        by_hand(path, f"DELETE FROM {table} WHERE user_id = {ben}")
    by_hand(path, f"DELETE FROM users WHERE id = {ben}")
    await desk.say("5215550003", "c")
    assert await desk.id_of("5215550003") > ben


async def test_what_ended_is_stored_though_nothing_can_be_claimed(desk: Desk, path: Path) -> None:
    """Without the row of `control` nobody can say who is next; a turn under way must not stay leased for it."""
    await desk.say(ANA, "a", "b")
    lease = await desk.lease()
    by_hand(path, "DELETE FROM control")
    with pytest.raises(TypeError):
        await desk.store.settle(lease, Done(), claim=True)
    await desk.settle(lease, Done())
    assert rows(path, "SELECT state FROM outbox WHERE body = 'a'") == [("done",)]
