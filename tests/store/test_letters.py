"""What the owner writes to a person oneself: planned, due in its order, marked around its send, never twice."""

import asyncio
from datetime import timedelta

import pytest

from bot.domain import Done, Failed, Identity, InDoubt, Letter, Operator, Released
from bot.errors import NotFound, WrongState
from bot.store.replies import PairLimit, Permit, Plan, Settled, Wait
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message

ANA, BEN, CARL = "5215550001", "5215550002", "5215550003"
HOUR, DAY = 3600, 86_400


async def written(desk: Desk, *bodies: str) -> Letter:
    """Let a person write and the owner write back; return the first letter."""
    await desk.say(ANA, "question")
    await desk.write(ANA, *(bodies or ("hello",)))
    return await desk.letter()


def bodies(letters: list[Letter]) -> list[str]:
    """Return the words of letters."""
    return [letter.part.body for letter in letters]


# -- planned


async def test_a_letter_is_planned_part_by_part_and_noted_in_the_audit(desk: Desk) -> None:
    """It answers no message, whatever waits; who wrote it, from where, to whom and in how many parts stays known."""
    await desk.say(ANA, "question")
    assert await desk.write(ANA, "one", "two") == 2
    assert await desk.told(ANA) == [("one", "planned", None), ("two", "planned", None)]
    assert await desk.states(ANA) == {"question": "pending"}
    rows = await desk.store._db.read(
        lambda db: db.execute("SELECT who, address, action, user_id, messages FROM audit").fetchall()
    )
    assert rows == [("page", "192.0.2.7", "reply", await desk.id_of(ANA), 2)]


async def test_outside_of_whatsapps_24_hours_nothing_is_planned(desk: Desk) -> None:
    """The owner is told why at once; nothing is left behind that would go out when the person writes again."""
    await desk.say(ANA, "question")
    desk.tick(DAY - 1)
    await desk.write(ANA, "just in time")
    desk.tick(2)
    with pytest.raises(WrongState, match="24 hours"):
        await desk.write(ANA, "too late")
    assert bodies([await desk.letter()]) == ["just in time"]
    await desk.say(ANA, "again", sent=DAY + 10)
    await desk.write(ANA, "now it can")


async def test_to_somebody_who_never_wrote_nothing_can_be_sent(desk: Desk) -> None:
    """The owner wrote to them from the phone; WhatsApp's window opens with the person's own words."""
    await desk.echo(ANA, "from the phone")
    with pytest.raises(WrongState, match="24 hours"):
        await desk.write(ANA, "hello")


async def test_nobody_is_nobody(desk: Desk) -> None:
    """A user that there isn't."""
    with pytest.raises(NotFound):
        await desk.store.say(99, ["hello"], Operator("api"))


async def test_it_can_be_written_to_whoever_is_paused(desk: Desk) -> None:
    """A person takes over: the bot keeps quiet, the owner speaks."""
    await desk.say(ANA, "question")
    await desk.store.pause(await desk.id_of(ANA), who=Operator("page"))
    await desk.store.pause(None, who=Operator("page"))
    await desk.write(ANA, "it's me")
    assert bodies([await desk.letter()]) == ["it's me"]


async def test_the_store_rings_when_the_owner_wrote(desk: Desk) -> None:
    """Whoever sends letters need not look for them every moment."""
    await desk.say(ANA, "question")
    assert not await desk.store.said.wait(0.001)
    await desk.write(ANA, "hello")
    assert await desk.store.said.wait(5.0)


async def test_the_same_key_plans_nothing_twice(desk: Desk) -> None:
    """A double click, a POST whose answer got lost: answered as the first time, also when it was sent long ago."""
    await desk.say(ANA, "question")
    for _ in range(2):
        assert await desk.write(ANA, "one", "two", key="k1") == 2
    assert await desk.write(ANA, "one", "two", key="k2") == 2
    await desk.post(await desk.letter())
    desk.tick(DAY)
    assert await desk.write(ANA, "one", "two", key="k1") == 2
    told = [("one", "sent", None), ("two", "planned", None), ("one", "planned", None), ("two", "planned", None)]
    assert await desk.told(ANA) == told
    assert [act["messages"] for act in (await desk.store.insights.audit())["audit"]] == [2, 2]


async def test_the_key_of_a_letter_that_failed_says_so(desk: Desk) -> None:
    """Whoever asks again must not believe that it is on its way."""
    await desk.say(ANA, "question")
    await desk.write(ANA, "hello", key="k")
    await desk.end(await desk.letter(), Failed("131026: Message undeliverable"))
    with pytest.raises(WrongState, match=r"131026.*another key"):
        await desk.write(ANA, "hello", key="k")
    assert await desk.write(ANA, "hello", key="k2") == 1


async def test_together_they_are_one_too(desk: Desk) -> None:
    """Both stood in one transaction."""
    await desk.say(ANA, "question")
    assert await asyncio.gather(*(desk.write(ANA, "hello", key="k") for _ in range(5))) == [1] * 5
    assert len(await desk.told(ANA)) == 1


async def test_without_a_key_the_same_words_may_be_said_again(desk: Desk) -> None:
    """As people do."""
    await desk.say(ANA, "question")
    for _ in range(2):
        assert await desk.write(ANA, "hello?") == 1
    assert len(await desk.told(ANA)) == 2


async def test_a_key_is_one_letter_s_alone(desk: Desk) -> None:
    """Other words or another person under it are a mistake of whoever sends them: told, neither sent nor forgotten."""
    await desk.say(ANA, "question")
    await desk.say(BEN, "Ben's")
    await desk.write(ANA, "one", "two", key="k")
    for who, words in (ANA, ["one"]), (ANA, ["one", "two", "three"]), (ANA, ["two", "one"]), (BEN, ["one", "two"]):
        with pytest.raises(WrongState, match="key"):
            await desk.write(who, *words, key="k")
    assert (len(await desk.told(ANA)), await desk.told(BEN)) == (2, [])


async def test_a_key_that_was_refused_is_free(desk: Desk) -> None:
    """Nothing was planned under it: it can be tried again once the person wrote."""
    await desk.say(ANA, "question")
    desk.tick(DAY + 1)
    with pytest.raises(WrongState, match="24 hours"):
        await desk.write(ANA, "hello", key="k")
    await desk.say(ANA, "again", sent=DAY + 2)
    assert await desk.write(ANA, "hello", key="k") == 1


async def test_a_key_follows_the_person_when_two_become_one(desk: Desk) -> None:
    """The repeated POST names the phone, which leads to another user by then."""
    await desk.say("MX.ana", "by id")
    await desk.say(ANA, "by phone")
    before = await desk.id_of(ANA)
    await desk.write(ANA, "hello", key="k")
    await desk.arrive(message(Identity(ANA, "MX.ana"), "both", 9))
    assert await desk.id_of(ANA) != before
    assert await desk.write(ANA, "hello", key="k") == 1
    assert len(await desk.told(ANA)) == 1


# -- due


async def test_one_letter_of_a_person_is_due_at_a_time_in_their_order(desk: Desk) -> None:
    """The next once the one before it is decided, sent or not; other people's are not held up."""
    await written(desk, "a1", "a2")
    await desk.write(ANA, "a3")
    await desk.say(BEN, "Ben's")
    await desk.write(BEN, "b1")
    letter, other = await desk.letters()
    assert bodies([letter, other]) == ["a1", "b1"]
    await desk.post(other)
    await desk.begin(letter, letter.part)
    assert bodies(await desk.letters()) == ["a1"]
    await desk.end(letter, Done(desk.receipt(letter.part)))
    letter = await desk.letter()
    assert letter.part.body == "a2"
    await desk.end(letter, Failed("bad"))
    assert bodies([await desk.letter()]) == ["a3"]


async def test_a_letter_whose_last_try_is_nonsense_takes_nobodys_place(desk: Desk) -> None:
    """It stays where it is, to be mended by hand; others go out, and the person's limit counts from now."""
    await written(desk, "a")
    await desk.say(BEN, "Ben's")
    await desk.write(BEN, "b")
    nonsense = "UPDATE replies SET state = 'sending', sending_at = 'nonsense' WHERE body = 'a'"
    await desk.store._db.write(lambda db: db.execute(nonsense))
    await desk.store._db.write(lambda db: db.execute("UPDATE users SET pair_full_at = 'nonsense'"))
    (letter,) = await desk.letters(1)
    assert letter.part.body == "b"
    assert isinstance(await desk.store.begin_send(letter, letter.part), Permit)


async def test_letters_of_two_users_who_are_about_to_become_one_keep_their_order(desk: Desk) -> None:
    """While both are being answered the join waits, and the phone leads to the other user already."""
    await desk.say(ANA, "p")
    await desk.say("MX.ana", "i")
    turn, _ = await desk.claim()
    await desk.write(ANA, "first")
    await desk.arrive(message(Identity(ANA, "MX.ana"), "both", 20))
    await desk.write(ANA, "second")
    assert await desk.letters() == []
    await desk.serve(turn, "answer")
    assert bodies([await desk.letter()]) == ["first"]


async def test_so_many_are_due_as_can_be_sent_the_longest_waiting_first(desk: Desk) -> None:
    """Who was put off joins behind those that wait for longer."""
    for who in (ANA, BEN, CARL):
        await desk.say(who, f"from {who}")
        await desk.write(who, f"to {who}")
    assert bodies(await desk.letters(2)) == [f"to {ANA}", f"to {BEN}"]
    await desk.end((await desk.letters(1))[0], Released(desk.clock.now()))
    assert bodies(await desk.letters(2)) == [f"to {BEN}", f"to {CARL}"]


async def test_a_letter_that_is_put_off_keeps_the_persons_next_ones_back(desk: Desk) -> None:
    """Two letters never swap; nor does a restart forget how long one waits."""
    letter = await written(desk, "one", "two")
    await desk.end(letter, Released(at(60)))
    assert await desk.letters() == []
    desk.tick(61)
    assert bodies([await desk.letter()]) == ["one"]


async def test_a_letter_waits_for_no_turn(desk: Desk) -> None:
    """A lease is the right to answer; the owner needs none, and leaves the answer's alone."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.write(ANA, "one moment")
    await desk.post(await desk.letter())
    assert await desk.told(ANA) == [("answer", "planned", None), ("one moment", "sent", None)]
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part)))
    assert await desk.states(ANA) == {"question": "done"}


async def test_a_letter_says_when_its_time_is_over(desk: Desk) -> None:
    """It waited for WhatsApp beyond the 24 hours."""
    assert not (await written(desk)).late
    desk.tick(DAY)
    assert (await desk.letter()).late


async def test_a_date_edited_into_nonsense_holds_up_nobody_else(desk: Desk) -> None:
    """The row waits until somebody mends it."""
    letter = await written(desk)
    await desk.begin(letter, letter.part)
    await desk.say(BEN, "Ben's")
    await desk.write(BEN, "hello Ben")
    for nonsense in ("noon", "now", "9999-12-31T00:00:00.000Z"):
        await desk.store._db.write(
            lambda db, at=nonsense: db.execute("UPDATE replies SET sending_at = ? WHERE id = 1", (at,))
        )
        assert bodies(await desk.letters())[-1:] == ["hello Ben"]


@pytest.mark.parametrize("nonsense", ["now", "9999-12-31T00:00:00.000Z"])
async def test_nonsense_takes_no_probes_place(desk: Desk, nonsense: str) -> None:
    """While WhatsApp is down one letter is tried at a time: one that can't be."""
    letter = await written(desk)
    await desk.begin(letter, letter.part)
    await desk.end(letter, Released(desk.clock.now(), "graph", error="down"))
    await desk.say(BEN, "Ben's")
    await desk.write(BEN, "hello Ben")
    await desk.store._db.write(lambda db: db.execute("UPDATE replies SET sending_at = ? WHERE id = 1", (nonsense,)))
    desk.tick(HOUR)
    await desk.store._db.write(lambda db: db.execute("UPDATE replies SET not_before_at = '9999' WHERE id = 1"))
    assert bodies(await desk.letters()) == ["hello Ben"]


# -- whole


async def test_a_letter_waits_until_an_answer_that_has_begun_is_whole(desk: Desk) -> None:
    """Nothing lands between the parts of an answer."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    one, two = await desk.plan(lease, "one", "two")
    await desk.write(ANA, "one moment")
    letter = await desk.letter()
    await desk.begin(lease, one)
    wait = await desk.cant_begin(letter, letter.part)
    assert isinstance(wait, Wait)
    await desk.end(letter, Released(wait.until))
    await desk.begin(lease, two, desk.receipt(one))
    await desk.settle(lease, Done(desk.receipt(two)))
    desk.tick(1)
    await desk.post(await desk.letter())
    assert [body for body, *_ in await desk.told(ANA)] == ["one", "two", "one moment"]


async def test_an_answer_waits_until_a_letter_that_has_begun_is_whole(desk: Desk) -> None:
    """Whichever way it asks for its first part; the rest of the letter waits for nobody."""
    letter = await written(desk, "letter one", "letter two")
    lease = await desk.lease()
    await desk.begin(letter, letter.part)
    planned, begun = await desk.store.plan(Plan(lease, "answer", ["answer one", "answer two"], begin=True))
    assert isinstance(begun, Wait)
    assert isinstance(await desk.cant_begin(lease, planned[0]), Wait)
    await desk.end(letter, Done(desk.receipt(letter.part)))
    assert isinstance(await desk.cant_begin(lease, planned[0]), Wait)
    await desk.post(await desk.letter())
    await desk.begin(lease, planned[0])


async def test_an_answer_waits_a_minute_at_most_for_the_rest_of_a_letter(desk: Desk) -> None:
    """WhatsApp may refuse it for hours; what was edited into nonsense waits for ever."""
    letter = await written(desk, "letter one", "letter two")
    await desk.post(letter)
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    assert isinstance(await desk.cant_begin(lease, part), Wait)
    desk.tick(61)
    await desk.begin(lease, part)


async def test_the_answer_of_a_retry_waits_for_a_letter_though_an_apology_went_before(desk: Desk) -> None:
    """Its parts are numbered behind the apology's, and none of them has begun."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (sorry,) = await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.begin(lease, sorry)
    await desk.settle(lease, Failed("bad", desk.receipt(sorry)))
    await desk.write(ANA, "letter one", "letter two")
    await desk.post(await desk.letter())
    desk.tick()
    await desk.store.retry([1], who=Operator("test"))
    again = await desk.lease()
    parts = await desk.plan(again, "answer")
    assert isinstance(await desk.cant_begin(again, parts[-1]), Wait)
    await desk.post(await desk.letter())
    await desk.begin(again, parts[-1])


async def test_of_a_letter_that_failed_in_the_middle_nothing_more_goes_out(desk: Desk) -> None:
    """As of an answer; another letter does."""
    letter = await written(desk, "one", "two", "three")
    await desk.write(ANA, "another")
    await desk.post(letter)
    second = await desk.letter()
    await desk.begin(second, second.part)
    await desk.store.refuse_part(second.part, "131026 undeliverable", final=True)
    await desk.end(second, Failed("131026 undeliverable"))
    states = [(body, state) for body, state, _ in await desk.told(ANA)]
    assert states == [("one", "sent"), ("two", "failed"), ("three", "cancelled"), ("another", "planned")]
    assert bodies([await desk.letter()]) == ["another"]


# -- sent


async def test_it_is_marked_before_and_after_its_send(desk: Desk) -> None:
    """With a callback id of its own and the try behind it; statuses raise its ticks."""
    letter = await written(desk)
    permit = await desk.store.begin_send(letter, letter.part)
    assert isinstance(permit, Permit)
    assert (permit.to, permit.callback[-2:]) == (Identity(ANA), ".1")
    assert await desk.told(ANA) == [("hello", "sending", None)]
    await desk.end(letter, Done(desk.receipt(letter.part, "out.1")))
    assert await desk.told(ANA) == [("hello", "sent", None)]
    assert await desk.tell("read", wamid="out.1") == 1
    assert await desk.told(ANA) == [("hello", "sent", "read")]
    assert await desk.letters() == []


async def test_whoever_looked_before_the_last_try_can_not_begin_another(desk: Desk) -> None:
    """No lease guards a letter: what was read of it must still be so, or a slow look would send it twice."""
    letter = await written(desk)
    await desk.begin(letter, letter.part)
    await desk.end(letter, InDoubt(at(15)))
    assert await desk.cant_begin(letter, letter.part) == Settled("cancelled")
    assert await desk.told(ANA) == [("hello", "sending", None)]
    desk.tick(16)
    again = await desk.letter()
    assert (await desk.begin(again, again.part))[-2:] == ".2"


async def test_the_answers_of_a_message_that_is_not_leased_are_no_letters(desk: Desk) -> None:
    """Without its lease no part of an answer begins."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.settle(lease, Released())
    assert await desk.letters() == []
    assert await desk.cant_begin(Letter(lease.user_id, part, late=False), part) == Settled("cancelled")


@pytest.mark.parametrize("delivery", ["sent", "read", "failed"])
async def test_a_status_settles_a_doubt(desk: Desk, delivery: str) -> None:
    """It is over, and the next letter is due at once; one that failed in the middle ends there."""
    letter = await written(desk, "one", "the rest of it")
    await desk.write(ANA, "two")
    callback = await desk.begin(letter, letter.part)
    await desk.end(letter, InDoubt(at(60)))
    assert await desk.letters() == []
    await desk.tell(delivery, callback=callback, error="131026 undeliverable")  # type: ignore[arg-type]
    failed = delivery == "failed"
    assert bodies([await desk.letter()]) == ["two" if failed else "the rest of it"]
    state, rest = ("failed", "cancelled") if failed else ("sent", "planned")
    assert (await desk.told(ANA))[:2] == [("one", state, delivery), ("the rest of it", rest, None)]


async def test_a_doubt_is_told_to_whoever_looks_next(desk: Desk) -> None:
    """A crash leaves no more than the mark; when it began and how often tells what to do."""
    letter = await written(desk)
    await desk.begin(letter, letter.part)
    found = (await desk.letter()).part
    assert (found.state, found.tries, found.doubts) == ("sending", 1, 0)
    assert found.sending_at == desk.clock.now() - timedelta(milliseconds=1)


@pytest.mark.parametrize("final", [True, False])
async def test_what_the_graph_api_did_not_take_is_planned_again_or_failed(desk: Desk, final: bool) -> None:
    """With the reason, for the owner to see."""
    letter = await written(desk)
    await desk.begin(letter, letter.part)
    await desk.store.refuse_part(letter.part, "131026 undeliverable", final=final)
    await desk.end(letter, Failed("131026 undeliverable") if final else Released(at(60)))
    (row,) = [row for row in (await desk.look(ANA))["conversation"] if row["direction"] == "out"]
    assert (row["state"], row["error"]) == ("failed" if final else "planned", "131026 undeliverable")
    desk.tick(61)
    assert len(await desk.letters()) == (0 if final else 1)


async def test_what_was_decided_meanwhile_stays_so(desk: Desk) -> None:
    """A status was quicker than the end of the try."""
    letter = await written(desk)
    callback = await desk.begin(letter, letter.part)
    await desk.tell("delivered", callback=callback)
    await desk.end(letter, Failed("never confirmed"))
    assert await desk.told(ANA) == [("hello", "sent", "delivered")]


async def test_letters_keep_to_the_limit_of_one_person(open_desk: OpenDesk) -> None:
    """Answers and letters share it: it is WhatsApp's."""
    desk = await open_desk(pair_limit=PairLimit(6.0, 1))
    letter = await written(desk)
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    assert isinstance(await desk.cant_begin(letter, letter.part), Wait)
    assert await desk.told(ANA) == [("hello", "planned", None), ("answer", "sending", None)]


# -- while WhatsApp can't be used


async def refused(desk: Desk) -> Letter:
    """Let WhatsApp refuse us at the first of two people's letters."""
    for who in (ANA, BEN):
        await desk.say(who, f"from {who}")
        await desk.write(who, f"to {who}")
    letter = (await desk.letters())[0]
    await desk.begin(letter, letter.part)
    await desk.store.refuse_part(letter.part, "190: token expired", final=False)
    await desk.end(letter, Released(at(30), "graph", error="190: token expired", code="190"))
    return letter


async def test_a_refusal_opens_the_circuit(desk: Desk) -> None:
    """Nothing else is asked of WhatsApp, and the page says why."""
    await refused(desk)
    assert await desk.open_services() == ["graph"]
    assert await desk.claim() == []


async def test_while_it_is_open_one_letter_is_tried_at_most_every_30_seconds(desk: Desk) -> None:
    """First when its probe is due, each time another person's; who is done with trying joins behind."""
    await refused(desk)
    assert await desk.letters() == []
    desk.tick(1)
    (letter,) = await desk.letters()
    assert letter.part.body == f"to {BEN}"
    await desk.begin(letter, letter.part)
    assert await desk.letters() == []
    await desk.store.refuse_part(letter.part, "190: token expired", final=False)
    await desk.end(letter, Released(at(31), "graph", error="190: token expired", code="190"))
    desk.tick(29.9)
    assert await desk.letters() == []
    desk.tick(0.2)
    assert bodies(await desk.letters()) == [f"to {ANA}"]


async def test_an_operator_can_have_it_tried_now(desk: Desk) -> None:
    """The button of the page means letters, too."""
    await refused(desk)
    desk.tick(1)
    letter = await desk.letter()
    await desk.begin(letter, letter.part)
    await desk.store.refuse_part(letter.part, "190: token expired", final=False)
    await desk.end(letter, Released(at(2), "graph", error="190: token expired"))
    desk.tick(5)
    assert await desk.letters() == []
    await desk.store.try_circuit("graph", who=Operator("page"))
    assert len(await desk.letters()) == 1


async def test_a_letter_that_goes_out_closes_the_circuit(desk: Desk) -> None:
    """WhatsApp takes what it is given: everybody goes on."""
    await refused(desk)
    desk.tick(1)
    await desk.post(await desk.letter())
    assert await desk.open_services() == []
    assert len(await desk.claim()) == 2
    desk.tick(30)
    assert bodies(await desk.letters()) == [f"to {ANA}"]


async def test_a_refused_letter_hurries_no_probe_of_the_turns(desk: Desk) -> None:
    """It is the letter, perhaps, that is refused: whoever waits for an answer is tried as if it weren't there."""
    await refused(desk)
    desk.tick(1)
    letter = await desk.letter()
    await desk.begin(letter, letter.part)
    await desk.store.refuse_part(letter.part, "190: token expired", final=False)
    await desk.end(letter, Released(at(31), "graph", error="190: token expired", code="190"))
    assert len(await desk.claim()) == 1


# -- whoever they are by now, and what is kept


async def test_letters_follow_the_person_when_two_become_one(desk: Desk) -> None:
    """One line, in the order in which the owner wrote."""
    await desk.say(ANA, "by phone")
    await desk.say("MX.ana", "by id")
    await desk.write("MX.ana", "one")
    await desk.write(ANA, "two")
    await desk.write("MX.ana", "three")
    await desk.arrive(message(Identity(ANA, "MX.ana"), "both", 9))
    for words in ("one", "two", "three"):
        letter = await desk.letter()
        assert (letter.user_id, letter.part.body) == (await desk.id_of(ANA), words)
        await desk.post(letter)


async def test_the_model_reads_letters_in_their_order(desk: Desk) -> None:
    """Only those that went out; the parts of a long one, which were planned in one moment, one after the other."""
    await desk.say(ANA, "question")
    await desk.serve(await desk.lease(), "answer")
    await desk.write(ANA, *(f"part {n}" for n in range(12)), "fails")
    while letters := await desk.letters():
        (letter,) = letters
        await (desk.post(letter) if letter.part.body != "fails" else desk.end(letter, Failed("bad")))
    await desk.write(ANA, "not yet sent")
    assert await desk.history(ANA) == [
        ("user", "question"), ("assistant", "answer"), *(("assistant", f"part {n}") for n in range(12)),
    ]  # fmt: skip
    assert await desk.history(ANA, 3) == [("assistant", f"part {n}") for n in (9, 10, 11)]


async def test_old_letters_are_taken_out_but_for_those_that_still_wait(desk: Desk) -> None:
    """Nothing is lost, not even what a clock years behind planned."""
    await written(desk)
    await desk.write(ANA, "two")
    await desk.post(await desk.letter())
    desk.tick(31 * DAY)
    await desk.prune(30)
    assert await desk.told(ANA) == [("two", "planned", None)]


async def test_a_letter_counts_as_no_answer(desk: Desk) -> None:
    """The limits are for the model; the owner may write as much as WhatsApp lets anybody."""
    await desk.post(await written(desk))
    assert (await desk.standing(ANA)).answers_hour == 0


async def test_a_clock_that_is_put_back_keeps_no_letter_waiting_for_longer(desk: Desk, open_desk: OpenDesk) -> None:
    """A minute of backoff is a minute, not an hour and a minute."""
    letter = await written(desk)
    await desk.end(letter, Released(desk.clock.now() + timedelta(seconds=60)))
    await desk.store.listening()
    desk.clock.advance(-HOUR)
    again = await open_desk()
    await again.store.adopt()
    again.tick(58)
    assert await again.letters() == []
    again.tick(2)
    assert bodies([await again.letter()]) == ["hello"]
