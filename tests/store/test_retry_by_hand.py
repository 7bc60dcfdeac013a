"""Retry by hand: of a list or a filter what failed; unsent parts go out without the model, sent ones never again."""

from datetime import timedelta

import pytest

from bot.domain import Done, Failed, Identity, InDoubt, Lease, Operator, Released, Retry
from bot.errors import BadValue, NotFound, WrongState
from bot.store.failures import Failing
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message, words

ANA, BEN = "5215550001", "5215550002"
WHO = Operator("test")


async def fail(desk: Desk, body: str, error: str = "bad", who: str = ANA) -> int:
    """Let a message fail; return its id."""
    await desk.say(who, body)
    (lease,) = [lease for lease in await desk.claim() if lease.messages[0].body == body]
    await desk.settle(lease, Failed(error))
    return await desk.message_id(who, body)


async def test_a_failed_message_is_pending_again_as_if_it_were_new(desk: Desk) -> None:
    """Attempts, error and waits are gone; its reply will quote it."""
    await desk.say(ANA, "m")
    await desk.settle(await desk.lease(), Retry(5, "busy"))
    desk.tick(5)
    await desk.settle(await desk.lease(), Failed("busy, 5 times"))
    assert await desk.depth() == 0
    assert (await desk.store.retry([await desk.message_id(ANA, "m")], who=WHO)).retried == 1
    assert await desk.depth() == 1
    lease = await desk.lease()
    assert (lease.attempts, lease.crashes, lease.error, lease.manual) == (0, 0, None, True)
    await desk.serve(lease, "an answer")
    assert await desk.states(ANA) == {"m": "done"}


async def test_it_stands_at_its_timestamps_place_behind_one_that_has_begun(desk: Desk) -> None:
    """It had begun once; that counts no more."""
    first = await fail(desk, "first")
    await desk.say(ANA, "begun", "later", sent=10)
    await desk.settle(await desk.lease(), Retry(5, "busy"))
    await desk.store.retry([first], who=WHO)
    assert await desk.queue(ANA) == ["begun", "first", "later"]
    desk.tick(5)
    assert await desk.serve_all() == ["begun", "first", "later"]


async def planned_and_failed(desk: Desk) -> tuple[int, Lease]:
    """Send the first of three parts, have the second refused for good; return the message's id."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    one, two, _ = await desk.plan(lease, "one", "two", "three")
    await desk.begin(lease, one)
    await desk.begin(lease, two, desk.receipt(one))
    await desk.store.refuse_part(two, "bad", final=True)
    await desk.settle(lease, Failed("bad"))
    return await desk.message_id(ANA, "question"), lease


async def test_unsent_parts_go_out_without_the_model_and_sent_ones_never_again(desk: Desk) -> None:
    """The plan is taken up where it stopped."""
    id_, _ = await planned_and_failed(desk)
    assert [state for _, state, _ in await desk.told(ANA)] == ["sent", "failed", "cancelled"]
    await desk.store.retry([id_], who=WHO)
    lease = await desk.lease()
    assert [(part.body, part.state, part.doubts, part.error) for part in lease.parts] == [
        ("one", "sent", 0, None),
        ("two", "planned", 0, None),
        ("three", "planned", 0, None),
    ]
    await desk.serve(lease)
    assert [state for _, state, _ in await desk.told(ANA)] == ["sent", "sent", "sent"]


async def test_a_part_that_is_known_to_have_failed_goes_out_again(desk: Desk) -> None:
    """A status said that it never arrived: that is what the retry is for. The old try's news no longer counts."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    first = await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(at(60)))
    await desk.tell("failed", callback=first, wamid="out.1", error="131026")
    await desk.settle(await desk.lease(), Failed("131026"))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    lease = await desk.lease()
    assert [(part.state, part.error) for part in lease.parts] == [("planned", None)]
    await desk.begin(lease, lease.parts[0])
    await desk.tell("failed", callback=first, wamid="out.1", error="131026")
    await desk.settle(lease, Done(desk.receipt(part, "out.2")))
    assert await desk.told(ANA) == [("answer", "sent", None)]


async def test_a_part_in_doubt_stays_in_doubt(desk: Desk) -> None:
    """Whether it went out is to be found out first."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    await desk.settle(lease, Failed("an error inside the bot"))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    assert [part.state for part in (await desk.lease()).parts] == ["sending"]


async def test_without_a_plan_the_model_is_asked(desk: Desk) -> None:
    """An apology of the first life is no part of the second; the new answer comes behind it."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    (apology,) = await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.begin(lease, apology)
    await desk.settle(lease, Failed("bad", desk.receipt(apology)))
    await desk.store.retry([await desk.message_id(ANA, "question")], who=WHO)
    lease = await desk.lease()
    assert lease.parts == ()
    await desk.serve(lease, "better")
    assert await desk.told(ANA) == [("sorry", "sent", None), ("better", "sent", None)]
    assert await desk.history(ANA) == [("user", "question"), ("assistant", "better")]


async def test_an_apology_can_be_planned_again(desk: Desk) -> None:
    """It failed a second time."""
    id_ = await fail(desk, "question")
    await desk.store.retry([id_], who=WHO)
    lease = await desk.lease()
    assert len(await desk.plan(lease, "sorry", kind="apology", error="bad again")) == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("pending", "was pending already"),
        ("leased", "was being answered"),
        ("done", "was answered meanwhile"),
        ("cancelled", "was cancelled"),
        ("ignored", "was ignored"),
    ],
)
async def test_only_a_failed_message_can_be_retried(desk: Desk, state: str, words: str) -> None:
    """Alone it is refused with what it is; beside a failed one it is left, and told."""
    failed = await fail(desk, "failed", who=BEN)
    await desk.arrive(message(ANA, "m", answerable=state != "ignored"))
    if state in ("leased", "done"):
        lease = await desk.lease()
        if state == "done":
            await desk.settle(lease, Done())
    if state == "cancelled":
        await desk.store.clear(None, who=WHO)
    id_ = await desk.message_id(ANA, "m")
    with pytest.raises(WrongState, match=f"message {id_} {words}"):
        await desk.store.retry([id_], who=WHO)
    retried = await desk.store.retry([failed, id_], who=WHO)
    assert (retried.retried, sum(retried.why.values())) == (1, 1)
    assert str(retried).startswith(f"1 of 2 put back; 1 {words}")
    assert await desk.states(BEN) == {"failed": "pending"}
    assert await desk.states(ANA) == {"m": state}


async def test_an_unknown_message_is_not_found(desk: Desk) -> None:
    """Beside a failed one it is told."""
    failed = await fail(desk, "failed")
    for unknown in (0, 999, 10**17):
        with pytest.raises(NotFound, match=f"message {unknown} was not found"):
            await desk.store.retry([unknown], who=WHO)
    with pytest.raises(NotFound, match="0 of 2 put back; 2 were not found"):
        await desk.store.retry([998, 999], who=WHO)
    assert str(await desk.store.retry([failed, 998, 999], who=WHO)) == "1 of 3 put back; 2 were not found"


async def test_a_list_of_which_nothing_can_be_retried_is_refused(desk: Desk) -> None:
    """With all the reasons; an unknown one among them doesn't make it unknown."""
    await desk.say(ANA, "one", "two")
    await desk.settle(await desk.lease(), Done())
    with pytest.raises(WrongState, match="0 of 3 put back; 1 was answered meanwhile; 1 was pending already; 1 was not"):
        await desk.store.retry([1, 2, 99], who=WHO)


async def test_what_a_filter_means_is_put_back_and_the_rest_told(desk: Desk) -> None:
    """By cause, person and words, each alone and together; what expired too long ago is left."""
    await fail(desk, "old", "expired", BEN)
    desk.tick(24 * 3600)
    for n, (cause, who) in enumerate([("bad", ANA), ("worse", ANA), ("bad", BEN), ("bad", ANA)]):
        await fail(desk, f"m{n}", cause, who)
    assert str(await desk.store.retry(Failing(cause="bad", user=BEN), who=WHO)) == "1 of 1 put back"
    assert str(await desk.store.retry(Failing(search="M3"), who=WHO)) == "1 of 1 put back"
    assert str(await desk.store.retry(Failing(cause="unheard of"), who=WHO)) == "0 of 0 put back"
    assert await desk.states(ANA) == {"m0": "failed", "m1": "failed", "m3": "pending"}
    told = "2 of 3 put back; 1 was too old: WhatsApp lets nothing be sent after 24 hours"
    assert str(await desk.store.retry(Failing(), who=WHO)) == told
    for wrong, refusal in ((Failing(user="u99"), NotFound), (Failing(search="x" * 201), BadValue)):
        with pytest.raises(refusal):
            await desk.store.retry(wrong, who=WHO)


async def test_where_numbers_and_texts_are_hidden_a_retry_finds_no_more_than_the_list(open_desk: OpenDesk) -> None:
    """What the button says is what it takes; how many a guess puts back would tell whose number or words they are."""
    desk = await open_desk(discreet=True)
    await desk.arrive(message(Identity(ANA, name="Ana"), "apples"))
    await desk.arrive(message(Identity(BEN, name="apples & co"), "pears", wamid="wamid.b"))
    for lease in await desk.claim():
        await desk.settle(lease, Failed(f"bad: {lease.messages[0].body}"))
    assert (await desk.store.insights.failures(search="apples"))["retryable"] == 1
    assert (await desk.store.retry(Failing(search="apples"), who=WHO)).retried == 1
    for guess, refusal in ((Failing(user=ANA), NotFound), (Failing(search=ANA[-4:]), BadValue)):
        with pytest.raises(refusal, match="hidden"):
            await desk.store.retry(guess, who=WHO)
    assert (await desk.store.insights.queue_stats())["failed"] == 1
    assert (await desk.store.retry(Failing(user="u1", search="Ana"), who=WHO)).retried == 1


async def test_the_audit_says_how_many_and_whose(desk: Desk) -> None:
    """Nobody's where they are several people's; a retry that changes nothing is no act."""
    one, two = await fail(desk, "one"), await fail(desk, "two", who=BEN)
    three, four, five = [await fail(desk, text, who=BEN) for text in ("three", "four", "five")]
    await desk.store.retry([two], who=Operator("api", "192.0.2.7"))
    await desk.store.retry([three, four], who=WHO)
    await desk.store.retry([one, five], who=WHO)
    await desk.store.retry(Failing(), who=WHO)
    await desk.store.retry(Failing(), who=WHO)
    acts = (await desk.store.insights.audit())["audit"]
    assert [(act["action"], act["who"], act["address"], act["user_id"], act["messages"]) for act in acts] == [
        ("retry", "test", None, None, 2),
        ("retry", "test", None, "u2", 2),
        ("retry", "api", "192.0.2.7", "u2", 1),
    ]
    assert await desk.states(ANA) == {"one": "pending"}


async def test_an_expired_message_can_be_retried_while_the_24_hours_last(desk: Desk) -> None:
    """They count from the person's newest message, by its own timestamp."""
    id_ = await fail(desk, "old", "expired")
    await desk.say(ANA, "newer", sent=3600)
    await desk.serve_all()
    desk.clock.advance((at(25 * 3600) - desk.clock.now() - timedelta(seconds=1)).total_seconds())  # type: ignore[operator]
    (failure,) = (await desk.store.insights.failures())["failures"]
    assert failure["retryable"] is True
    assert (await desk.store.retry([id_], who=WHO)).retried == 1


async def test_an_expired_message_can_not_be_retried_after_them(desk: Desk) -> None:
    """WhatsApp would refuse it: the sentence says so, and it doesn't show as retryable."""
    expired = await fail(desk, "old", "expired")
    failed = await fail(desk, "bad", "bad", BEN)
    desk.tick(24 * 3600)
    with pytest.raises(WrongState, match="24 hours"):
        await desk.store.retry([expired], who=WHO)
    shown = {row["body"]: row["retryable"] for row in (await desk.store.insights.failures())["failures"]}
    assert shown == {"old": False, "bad": True}
    assert (await desk.store.retry([failed, expired], who=WHO)).retried == 1


async def test_all_that_can_be_retried_are_retried_at_once(desk: Desk) -> None:
    """And it says how many; a second time there is nothing left."""
    for n in range(3):
        await fail(desk, f"m{n}")
    await fail(desk, "old", "expired", BEN)
    desk.tick(24 * 3600)
    assert (await desk.store.retry(Failing(), who=WHO)).retried == 3
    assert (await desk.store.retry(Failing(), who=WHO)).retried == 0
    assert await desk.depth() == 3
    assert await desk.serve_all() == ["m0", "m1", "m2"]


async def test_naming_a_message_twice_retries_it_once(desk: Desk) -> None:
    """A double click."""
    id_ = await fail(desk, "m")
    assert (await desk.store.retry([id_, id_], who=WHO)).retried == 1
    with pytest.raises(WrongState):
        await desk.store.retry([id_], who=WHO)


async def test_naming_none_retries_none(desk: Desk) -> None:
    """An empty list is not everything."""
    await fail(desk, "m")
    assert (await desk.store.retry([], who=WHO)).retried == 0
    assert await desk.states(ANA) == {"m": "failed"}


async def test_a_paused_persons_message_waits_after_its_retry(desk: Desk) -> None:
    """The retry is no resume."""
    id_ = await fail(desk, "m")
    await desk.store.pause(await desk.id_of(ANA), who=WHO)
    await desk.store.retry([id_], who=WHO)
    assert await desk.claim() == []
    await desk.store.resume(await desk.id_of(ANA), skip=False, who=WHO)
    assert words(await desk.claim()) == ["m"]


async def test_a_retry_waits_for_the_turn_under_way(desk: Desk) -> None:
    """One at a time, by hand too."""
    id_ = await fail(desk, "m")
    await desk.say(ANA, "now", sent=60)
    lease = await desk.lease()
    await desk.store.retry([id_], who=WHO)
    assert await desk.claim() == []
    await desk.settle(lease, Released())
    assert await desk.serve_all() == ["now", "m"]
