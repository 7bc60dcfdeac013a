"""Who is next: one lease per person, people in parallel, slots going round."""

from bot.domain import Cancelled, Done, Failed, InDoubt, Outcome, Released, Retry
from bot.store.replies import Plan
from tests.clock import START
from tests.store.conftest import OpenDesk
from tests.store.desk import Desk, at, message, words

ANA, BEN = "5215550001", "5215550002"
CROWD = [f"52155511{n:02}" for n in range(100)]


async def test_a_person_has_one_lease_and_people_run_in_parallel(desk: Desk) -> None:
    """However often and with whatever appetite one claims."""
    await desk.say(ANA, "a1", "a2")
    await desk.say(BEN, "b1", "b2")
    assert sorted(words(await desk.claim())) == ["a1", "b1"]
    assert await desk.claim() == []
    stats = await desk.store.insights.queue_stats()
    assert (stats["leased"], stats["pending"], stats["activeUsers"]) == (2, 2, 2)


async def test_no_more_are_leased_than_slots_are_free(desk: Desk) -> None:
    """Whoever is ready longest comes first; none for none."""
    for n, who in enumerate(CROWD[:5]):
        await desk.say(who, f"m{n}")
    assert await desk.claim(0) == []
    assert words(await desk.claim(2)) == ["m0", "m1"]
    assert words(await desk.claim(9)) == ["m2", "m3", "m4"]


async def test_a_lease_says_all_that_a_turn_needs(desk: Desk) -> None:
    """The message, its person, and how often it was tried."""
    payload = '{"context":{"id":"wamid.first"}}'
    await desk.say(ANA, "first")
    await desk.serve(await desk.lease(), "re first")
    await desk.arrive(message(ANA, "second", 7, payload=payload))
    await desk.settle(await desk.lease(), Retry(1, "busy", "500"))
    desk.tick(1)
    lease = await desk.lease()
    (leading,) = lease.messages
    assert (leading.body, leading.type, leading.wamid, leading.quotes) == ("second", "text", "wamid.second", "first")
    assert (leading.sent_at, lease.last_message_at) == (at(7), at(7))
    assert (lease.attempts, lease.crashes, lease.manual, lease.error, bool(lease.probes)) == (
        1,
        0,
        False,
        "busy",
        False,
    )
    assert (lease.user_id, lease.parts) == (await desk.id_of(ANA), ())


async def test_a_quote_of_an_answer_is_its_words(desk: Desk) -> None:
    """People reply to what the bot said."""
    await desk.say(ANA, "first")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "the answer")
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part, "out.quoted")))
    await desk.arrive(message(ANA, "why?", 5, payload='{"context":{"id":"out.quoted"}}'))
    assert (await desk.lease()).messages[0].quotes == "the answer"


async def test_a_quote_of_somebody_elses_message_is_nothing(desk: Desk) -> None:
    """A wamid that belongs to another conversation brings no words of it here."""
    await desk.say(ANA, "secret")
    await desk.serve(await desk.lease(), "re secret")
    await desk.arrive(message(BEN, "what?", 5, payload='{"context":{"id":"wamid.secret"}}'))
    assert (await desk.lease()).messages[0].quotes is None


async def test_odd_payloads_hurt_nobody(desk: Desk) -> None:
    """What isn't the JSON that one expects has no quote."""
    odd = ["", "not json", "[]", '{"context":7}', '{"context":{"id":{"a":1}}}', '{"context":{"id":12}}', "null"]
    for n, payload in enumerate(odd):
        await desk.arrive(message(CROWD[n], f"m{n}", payload=payload))
    leases = await desk.claim()
    assert [lease.messages[0].quotes for lease in leases] == [None] * len(odd)


async def test_slots_go_round_so_that_a_newcomer_waits_one_round(desk: Desk) -> None:
    """A hundred people with long queues: who comes now is served after at most one message of each."""
    for who in CROWD:
        await desk.say(who, *(f"{who} {n}" for n in range(5)))
    slots = 10
    leases = await desk.claim(slots)
    served = []
    while len(served) < 20:
        lease = leases.pop(0)
        served.append(lease.messages[0].body)
        desk.tick()
        following = await desk.store.settle(lease, Done(), claim=True)
        assert following is not None
        leases.append(following)
    await desk.say(ANA, "newcomer")
    rounds = 0
    while not any(lease.messages[0].body == "newcomer" for lease in leases):
        lease = leases.pop(0)
        desk.tick()
        following = await desk.store.settle(lease, Done(), claim=True)
        assert following is not None
        leases.append(following)
        rounds += 1
    assert rounds <= 100


async def test_everybody_is_served_before_anybody_twice(desk: Desk) -> None:
    """One slot, three people with three messages each."""
    for who in CROWD[:3]:
        await desk.say(who, *(f"{who[-1]}{n}" for n in range(3)))
    assert await desk.serve_all(free=1) == ["00", "10", "20", "01", "11", "21", "02", "12", "22"]


async def test_settling_claims_the_next_head_in_the_same_breath(desk: Desk) -> None:
    """The next of the same person, or of another; None when nobody is ready."""
    await desk.say(ANA, "a1", "a2")
    (lease,) = await desk.claim()
    desk.tick()
    second = await desk.store.settle(lease, Done(), claim=True)
    assert second is not None
    assert words([second]) == ["a2"]
    desk.tick()
    assert await desk.store.settle(second, Done(), claim=True) is None


async def test_a_claim_says_when_the_next_gets_ready(desk: Desk) -> None:
    """So that nobody has to look all the time."""
    await desk.say(ANA, "a")
    await desk.say(BEN, "b")
    first, second = await desk.claim()
    await desk.settle(first, Retry(60, "busy"))
    due = desk.clock.now()
    await desk.settle(second, Retry(90, "busy"))
    leases, following = await desk.store.claim(9)
    assert (leases, following) == ([], at((due - START).total_seconds() + 60))


async def test_a_retry_comes_back_when_its_time_is_due(desk: Desk) -> None:
    """Not before; the user's later messages wait behind it, other people don't; one attempt is spent."""
    await desk.say(ANA, "a1", "a2")
    await desk.settle(await desk.lease(), Retry(30, "model 503", "503"))
    await desk.say(BEN, "b")
    assert words(await desk.claim()) == ["b"]
    desk.tick(29)
    assert await desk.claim() == []
    look = await desk.look(ANA)
    assert (look["user"]["state"], look["queue"][0]["error"], look["queue"][0]["attempts"]) == (
        "retrying",
        "model 503",
        1,
    )
    desk.tick(1)
    lease = await desk.lease()
    assert (words([lease]), lease.attempts) == (["a1"], 1)
    await desk.serve(lease, "at last")
    assert (await desk.errors(ANA))["a1"] is None


async def test_nothing_is_spent_when_a_message_is_given_back(desk: Desk) -> None:
    """A drain, a limit that has to be waited for, a send in doubt."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Released())
    lease = await desk.lease()
    await desk.settle(lease, Released(at(60)))
    assert await desk.claim() == []
    desk.tick(60)
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "answer")
    await desk.begin(lease, part)
    await desk.settle(lease, InDoubt(at(90)))
    assert await desk.claim() == []
    desk.tick(30)
    lease = await desk.lease()
    assert (lease.attempts, lease.crashes, lease.error) == (0, 0, None)
    assert lease.parts[0].state == "sending"


async def test_a_failure_lets_the_next_go_on(desk: Desk) -> None:
    """One bad message blocks nobody; it is set aside with its reason."""
    await desk.say(ANA, "bad", "good")
    await desk.settle(await desk.lease(), Failed("content filter"))
    assert await desk.serve_all() == ["good"]
    assert await desk.states(ANA) == {"bad": "failed", "good": "done"}
    assert (await desk.errors(ANA))["bad"] == "content filter"


async def test_the_try_that_sets_a_message_aside_is_counted(desk: Desk) -> None:
    """Where it was a try that ended so; the apology's own tries are none."""
    await desk.say(ANA, "a", "b")
    await desk.settle(await desk.lease(), Retry(1, "busy"))
    desk.tick(1)
    await desk.settle(await desk.lease(), Failed("busy", attempts=1, code="503"))
    lease = await desk.lease()
    await desk.store.plan(Plan(lease, "apology", ["sorry"], error="bad", attempts=1))
    await desk.settle(lease, Failed("bad"))
    shown = (await desk.store.insights.failures())["failures"]
    assert {failure["body"]: failure["attempts"] for failure in shown} == {"a": 2, "b": 1}


async def test_a_rule_can_end_a_message(desk: Desk) -> None:
    """Cancelled says which."""
    await desk.say(ANA, "much", "more")
    await desk.settle(await desk.lease(), Cancelled("limit_per_day"))
    assert (await desk.states(ANA))["much"] == "cancelled"
    assert (await desk.errors(ANA))["much"] == "limit_per_day"


async def test_a_limit_pauses_its_person(desk: Desk) -> None:
    """Two bots in a loop: nothing is spent, nobody else is concerned, and it says who paused."""
    await desk.say(ANA, "a")
    await desk.settle(await desk.lease(), Released(pause=True, error="limit_per_hour"))
    await desk.say(BEN, "b")
    assert words(await desk.claim()) == ["b"]
    user = (await desk.look(ANA))["user"]
    assert (user["state"], user["paused"], user["paused_by"]) == ("paused", True, "limit_per_hour")


async def test_a_stale_lease_changes_nothing(desk: Desk, open_desk: OpenDesk) -> None:
    """After a restart the old turn's outcome counts no more, whichever it is."""
    await desk.say(ANA, "a")
    stale = await desk.lease()
    again = await open_desk()
    await again.store.adopt()
    fresh = await again.lease()
    outcomes: list[Outcome] = [
        Done(), Failed("x"), Cancelled("x"), Retry(9, "x"), InDoubt(at(99)), Released(at(99)),
        Released(pause=True, error="x"), Released(refused_by="model", error="x"),
    ]  # fmt: skip
    for outcome in outcomes:
        await again.settle(stale, outcome)
        assert await again.states(ANA) == {"a": "leased"}
        assert not (await again.look(ANA))["user"]["paused"]
    assert await again.store.insights.circuits() == []
    await again.serve(fresh, "answer")
    assert await again.states(ANA) == {"a": "done"}
    await again.settle(fresh, Failed("again"))
    assert await again.states(ANA) == {"a": "done"}
