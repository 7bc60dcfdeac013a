"""The owner answers a person as the number: through the front door, by the same sender, whatever befalls the send."""

import asyncio

import pytest

from bot.emulator import Fault, StatusPlan, payloads
from tests.flow.conftest import World
from tests.flow.test_asking import said

LETTERS = "SELECT state, tries, doubts, delivery FROM replies WHERE outbox_id IS NULL ORDER BY id"
CUT = Fault("cut", after=True)  # the message goes out, and nobody hears of it


async def greet(world: World) -> None:
    """Let Ana write and be answered: from now on the owner can write to her."""
    await world.emu.say(world.ana, "hi")
    await world.sent(1)
    await world.settled("done")


async def reply(world: World, text: str, user: str = "u1") -> None:
    """Write as the owner."""
    assert await world.post(f"/api/users/{user}/reply", {"text": text}) == (200, {"replies": 1})


async def letters(world: World, *expected: tuple[str, int, int, str | None], seconds: float = 5.0) -> None:
    """Wait until the letters are so: state, tries, doubts, delivery."""
    await world.eventually(lambda: world.rows(LETTERS) == list(expected), seconds)


async def test_what_the_owner_writes_goes_out_and_its_ticks_rise(world: World) -> None:
    """At once, from the number, to the person; the audit knows of it, the log knows no words."""
    world.emu.settings.statuses = StatusPlan(("sent", "delivered", "read"), (0.0, 0.01, 0.02))
    async with world.running():
        await greet(world)
        await reply(world, "This is Rosa, I'll see to it myself")
        assert (await world.sent(2, world.ana))[1] == "This is Rosa, I'll see to it myself"
        await letters(world, ("sent", 1, 0, "read"))
        _, user = await world.get("/api/users/u1")
    shown = user["conversation"][-1]
    assert (shown["direction"], shown["kind"], shown["state"], shown["delivery"]) == ("out", "human", "sent", "read")
    assert world.rows("SELECT who, action, user_id, messages FROM audit") == [("api", "reply", 1, 1)]
    assert world.rows("SELECT count(*) FROM attempts WHERE outbox_id IS NULL") == [(0,)]
    assert [line["outcome"] for line in world.logged("send", kind="human")] == ["sent"]


async def test_the_model_reads_what_the_owner_wrote(world: World) -> None:
    """As words of the assistant's, at their place: the next answer follows from them."""
    async with world.running():
        await greet(world)
        await reply(world, "Rosa here: we open at nine")
        await letters(world, ("sent", 1, 0, "delivered"))
        await world.emu.say(world.ana, "and on Sundays?")
        await world.settled("done", "done")
    assert said(world.emu.log.of("model")[-1]) == [
        ("user", "hi"),
        ("assistant", "answer to: hi\n\nRosa here: we open at nine"),
        ("user", "and on Sundays?"),
    ]


async def test_a_form_of_the_page_does_it_too(world: World) -> None:
    """As the page's buttons do: back to the page, and the audit says that it was the page."""
    async with world.running():
        await greet(world)
        assert await world.press("/api/users/u1/reply", text="from the page") == 303
        assert (await world.sent(2))[1] == "from the page"
    assert world.rows("SELECT who, action FROM audit") == [("page", "reply")]


async def test_people_are_found_by_whatever_they_are_known_by(world: World) -> None:
    """u1, the phone with or without plus, the business-scoped id."""
    async with world.running():
        await greet(world)
        for n, known_as in enumerate((world.ana.wa_id, f"+{world.ana.wa_id}", world.ana.user_id), 2):
            await reply(world, f"to {n}", known_as)
            await world.sent(n, world.ana)


@pytest.mark.parametrize("fields", [{}, {"text": ""}, {"text": " \n"}, {"text": 7}, {"words": "a"}])
async def test_what_is_no_text_is_refused(world: World, fields: dict[str, object]) -> None:
    """400, and nothing is planned."""
    async with world.running():
        await greet(world)
        assert (await world.post("/api/users/u1/reply", fields))[0] == 400
        assert (await world.post("/api/users/u1/reply", {"text": "x" * 20_000}))[0] == 400
        assert (await world.post("/api/users/u9/reply", {"text": "hello"}))[0] == 404
    assert world.rows(LETTERS) == []


async def test_a_long_text_is_split_as_answers_are_and_odd_characters_do_no_harm(world: World) -> None:
    """In order, each part once; a lone surrogate or a NUL would spoil the row."""
    async with world.running():
        await greet(world)
        text = "first " * 600 + "\n\n" + "second\ud800 \x00" * 400
        assert await world.post("/api/users/u1/reply", {"text": text}) == (200, {"replies": 2})
        _, one, two = await world.sent(3)
    assert (one, two) == (("first " * 600).strip(), "second\ufffd \ufffd" * 400)


async def test_outside_of_the_24_hours_it_is_refused_with_the_reason(world: World) -> None:
    """Nothing is planned, nothing is sent, now or when the person writes again."""
    async with world.running():
        await greet(world)
        world.write("UPDATE users SET last_message_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-24 hours')")
        status, answer = await world.post("/api/users/u1/reply", {"text": "too late"})
        assert (status, "24 hours" in str(answer)) == (409, True)
        await world.emu.say(world.ana, "hi again")
        await world.sent(2)
        await reply(world, "in time")
        assert (await world.sent(3))[2] == "in time"
    assert "too late" not in world.emu.sends()


async def test_a_letter_that_waited_beyond_the_24_hours_fails_with_the_reason(world: World) -> None:
    """WhatsApp was down for so long; nothing is sent to whom nothing may be sent."""
    async with world.running():
        await greet(world)
        world.emu.faults.add("error", code=131016, times=0)
        await reply(world, "waits")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE not_before_at IS NOT NULL"))
        world.write("UPDATE users SET last_message_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-25 hours')")
        world.write("UPDATE replies SET not_before_at = NULL")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE state = 'failed'"))
    assert "24 hours" in world.rows("SELECT error FROM replies WHERE kind = 'human'")[0][0]
    assert "waits" not in world.emu.sends()


async def test_a_letter_does_not_wait_for_an_answer_under_way(world: World) -> None:
    """The model thinks; the owner is quicker, and the answer follows."""
    async with world.running():
        await greet(world)
        world.emu.faults.add("slow", service="model", seconds=0.6)
        await world.emu.say(world.ana, "something hard")
        await world.asked(2)
        await reply(world, "one moment")
        assert await world.sent(3) == ["answer to: hi", "one moment", "answer to: something hard"]
        await world.settled("done", "done")


async def test_whoever_is_paused_hears_the_owner_alone(world: World) -> None:
    """A person takes over: their messages wait, the owner's words go out."""
    async with world.running():
        await greet(world)
        await world.post("/api/users/u1/pause")
        await world.post("/api/pause")
        await world.emu.say(world.ana, "is somebody there?")
        await reply(world, "I am")
        assert await world.sent(2) == ["answer to: hi", "I am"]
        await world.settled("done", "pending")


# -- what may befall a send

PASSING = [  # and how long WhatsApp wants to be left alone
    (Fault("error", code=131016, times=2), 0.0),
    (Fault("http", status=500, times=2), 0.0),
    (Fault("http", status=429, headers={"Retry-After": "1"}), 1.0),
    (Fault("error", code=130429), 5.0),
    (Fault("error", code=131056), 4.0),
    (Fault("cut"), 0.3),
    (Fault("error", code=131000), 0.3),
]


@pytest.mark.parametrize(("fault", "seconds"), PASSING, ids=lambda it: str(getattr(it, "code", it)))
async def test_what_passes_costs_a_letter_time_alone(world: World, fault: Fault, seconds: float) -> None:
    """It goes out once, and before the next one, however often it has to be tried; no sooner than it may."""
    async with world.running():
        await greet(world)
        world.emu.faults.add(fault)
        await reply(world, "one")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE not_before_at IS NOT NULL"))
        await reply(world, "two")
        assert await world.sent(3, timeout_seconds=12) == ["answer to: hi", "one", "two"]
        await world.eventually(lambda: [row[0] for row in world.rows(LETTERS)] == ["sent", "sent"])
    sends = world.emu.log.of("graph.send")
    assert [entry.text for entry in sends] == ["answer to: hi", *["one"] * (fault.times + 1), "two"]
    assert sends[2].began_at - sends[1].began_at >= seconds * 0.95


async def test_a_rate_limit_of_the_number_holds_everybody_up(world: World) -> None:
    """The letter found out; an answer in the making waits as well, and nothing is spent."""
    world.emu.settings.statuses = StatusPlan(names=())
    async with world.running():
        await greet(world)
        world.emu.faults.add("http", status=429, headers={"Retry-After": "2"})
        await reply(world, "hello")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE not_before_at IS NOT NULL"))
        await world.emu.say(world.bea, "hello")
        await world.sent(3)
        _, refused, *others = world.emu.log.of("graph.send")
    assert min(entry.began_at for entry in others) - refused.began_at >= 1.8
    assert world.rows("SELECT attempts FROM outbox") == [(0,), (0,)]


async def test_letters_follow_one_another_at_once(world: World) -> None:
    """The next one doesn't wait for anybody to look by chance."""
    async with world.running():
        await greet(world)
        assert await world.post("/api/users/u1/reply", {"text": "x" * 16_000}) == (200, {"replies": 4})
        await world.sent(5)
    _, first, *_, last = world.emu.log.of("graph.send")
    assert last.began_at - first.began_at < 2.0  # three looks would take three seconds


@pytest.mark.parametrize("code", [131047, 131026, 131009])
async def test_what_does_not_pass_fails_the_letter_with_the_reason(world: World, code: int) -> None:
    """Tried once; nobody is apologised to, the next letter is tried, and the owner sees why."""
    async with world.running():
        await greet(world)
        world.emu.faults.add("error", code=code)
        await reply(world, "one")
        await reply(world, "two")
        assert await world.sent(2) == ["answer to: hi", "two"]
        await letters(world, ("failed", 1, 0, None), ("sent", 1, 0, "delivered"))
    assert str(code) in world.rows("SELECT error FROM replies WHERE state = 'failed'")[0][0]
    assert [line["outcome"] for line in world.logged("letter")] == ["failed", "done"]
    assert len(world.emu.log.of("graph.send")) == 3


async def test_a_letter_that_could_not_be_delivered_says_so(world: World) -> None:
    """WhatsApp took it, and told later: it stays sent, and shows as undelivered."""
    async with world.running():
        await greet(world)
        world.emu.settings.statuses = StatusPlan(("failed",), (0.02,), failed_code=131047)
        await reply(world, "one")
        await letters(world, ("sent", 1, 0, "failed"))
    assert "131047" in world.rows("SELECT error FROM replies WHERE delivery = 'failed'")[0][0]


@pytest.mark.parametrize("early", [True, False])
async def test_a_send_whose_answer_was_lost_is_settled_by_its_status(world: World, early: bool) -> None:
    """It went out: nothing is sent again, and the next letter goes as soon as that is known."""
    async with world.running(whatsapp={"confirm_seconds": 30}):
        await greet(world)
        world.emu.settings.statuses = StatusPlan(("sent",), (0.1,), early=early)
        world.emu.faults.add(CUT)
        await reply(world, "one")
        await reply(world, "two")
        assert await world.sent(3) == ["answer to: hi", "one", "two"]
        await letters(world, ("sent", 1, 0, "sent"), ("sent", 1, 0, "sent"))
    assert len(world.emu.log.of("graph.send")) == 3


async def test_a_send_without_any_status_goes_again_and_a_late_status_counts_the_duplicate(world: World) -> None:
    """After confirm_seconds, under the same callback id; what came of it shows."""
    async with world.running(whatsapp={"confirm_seconds": 0.6}):
        await greet(world)
        world.emu.settings.statuses = StatusPlan(names=())
        world.emu.faults.add(CUT)
        await reply(world, "one")
        await world.sent(3)
        await letters(world, ("sent", 2, 1, None))
        _, first, second = world.emu.log.of("graph.send")
        assert second.began_at - first.began_at >= 0.5
        assert second.callback_data == first.callback_data.replace(".1", ".2")
        status = payloads.status(wamid=first.wamid, status="delivered", callback_data=first.callback_data)
        await world.emu.deliveries.deliver(world.emu.deliveries.wrap(statuses=[status]))
        await letters(world, ("sent", 2, 1, "delivered"))
    assert first.wamid in world.rows("SELECT duplicates FROM replies WHERE kind = 'human'")[0][0]


async def test_a_letter_that_is_never_confirmed_fails_after_three_repeats(world: World) -> None:
    """As an answer does; the next letter goes on."""
    async with world.running(whatsapp={"confirm_seconds": 0.05}):
        await greet(world)
        world.emu.settings.statuses = StatusPlan(names=())
        world.emu.faults.add("cut", after=True, times=0, contains="one")
        await reply(world, "one")
        await reply(world, "two")
        assert await world.sent(6, timeout_seconds=10) == ["answer to: hi", "one", "one", "one", "one", "two"]
        await letters(world, ("failed", 4, 3, None), ("sent", 1, 0, None))
    assert "never confirmed" in world.rows("SELECT error FROM replies WHERE state = 'failed'")[0][0]


async def test_one_persons_doubt_holds_up_nobody_else(world: World) -> None:
    """Letters to others go out meanwhile."""
    async with world.running(whatsapp={"confirm_seconds": 30}):
        await greet(world)
        await world.emu.say(world.bea, "hi")
        await world.sent(2)
        world.emu.settings.statuses = StatusPlan(names=())
        world.emu.faults.add(CUT)
        await reply(world, "to Ana")
        await world.eventually(lambda: world.rows("SELECT 1 FROM replies WHERE not_before_at IS NOT NULL"))
        await reply(world, "to Ana again")
        await reply(world, "to Bea", "u2")
        assert (await world.sent(2, world.bea))[1] == "to Bea"
    assert "to Ana again" not in world.emu.sends()


async def test_letters_keep_to_the_limit_of_the_number(world: World) -> None:
    """So many sends a second, whoever they go to."""
    async with world.running(whatsapp={"sends_per_second": 2}):
        await greet(world)
        await world.emu.say(world.bea, "hi")
        await world.sent(2)
        await reply(world, "to Ana")
        await reply(world, "to Bea", "u2")
        await world.sent(4)
    *_, answer, one, two = world.emu.log.of("graph.send")
    assert one.began_at - answer.began_at >= 0.45
    assert two.began_at - one.began_at >= 0.45


async def test_letters_to_many_people_wait_no_longer_than_that_limit_asks(world: World) -> None:
    """The limit puts all but one off for milliseconds; a look each second sent one a second."""
    people = [world.emu.customer(f"N {n}", wa_id=f"346002003{n:02}") for n in range(20)]
    async with world.running(whatsapp={"sends_per_second": 80}):
        await world.emu.batch([(who, "hi") for who in people])
        await world.sent(20)
        await asyncio.gather(*(reply(world, f"to {n}", f"u{n + 1}") for n in range(20)))
        await world.sent(40)


async def test_letters_keep_to_the_limit_of_a_person(world: World) -> None:
    """One message to a person at a time, whoever it is from."""
    async with world.running(whatsapp={"pair_interval_seconds": 0.5, "pair_burst": 1}):
        await greet(world)
        await reply(world, "one")
        await reply(world, "two")
        await world.sent(3)
    answer, one, two = world.emu.log.of("graph.send")
    assert one.began_at - answer.began_at >= 0.45
    assert two.began_at - one.began_at >= 0.45


# -- an outage


async def test_a_letter_that_finds_whatsapp_refusing_us_waits_and_tells(world: World) -> None:
    """The circuit opens, with nobody else's message needed to close it: once it is mended the letter goes out."""
    async with world.running():
        await greet(world)
        number = world.emu.faults.add("error", code=190, times=0)
        await reply(world, "hello")
        await world.eventually(lambda: world.opened("graph"))
        assert (await world.get("/readyz"))[0] == 503
        await world.emu.wait_for(lambda: len(world.emu.log.of("graph.send")) == 3)  # the one probe that is due
        world.emu.faults.remove(number)
        assert (await world.post("/api/circuits/graph/try"))[0] == 200
        world.write("UPDATE replies SET not_before_at = NULL WHERE state = 'planned'")
        assert (await world.sent(2))[1] == "hello"
        await world.eventually(lambda: not world.opened("graph"))
        await letters(world, ("sent", 3, 0, "delivered"))


async def test_letters_ask_no_more_of_a_whatsapp_that_refuses_us_than_they_must(world: World) -> None:
    """However many wait: one when a probe is due, then one every 30 seconds."""
    async with world.running():
        await greet(world)
        await world.emu.say(world.bea, "hi")
        await world.sent(2)
        world.emu.faults.add("error", code=190, times=0)
        await reply(world, "first")
        await world.eventually(lambda: world.opened("graph"))
        for n in range(5):
            await reply(world, f"to Ana {n}")
            await reply(world, f"to Bea {n}", "u2")
        await world.emu.wait_for(lambda: len(world.emu.log.of("graph.send")) >= 4)
        for n in range(20):  # each lets it look again
            await reply(world, f"to Ana once more {n}")
            world.write("UPDATE replies SET not_before_at = NULL WHERE state = 'planned'")
        assert len(world.emu.log.of("graph.send")) == 4
        await world.post("/api/circuits/graph/try")
        await world.emu.wait_for(lambda: len(world.emu.log.of("graph.send")) == 5)


async def test_an_answer_that_goes_out_lets_letters_go_on(world: World) -> None:
    """It closed the circuit: none of them waits for a probe of its own."""
    async with world.running():
        await greet(world)
        number = world.emu.faults.add("error", code=190, times=0)
        await world.emu.say(world.bea, "hello")
        await world.eventually(lambda: world.opened("graph"))
        await reply(world, "one")
        await reply(world, "two")
        world.emu.faults.remove(number)
        assert (await world.post("/api/circuits/graph/try"))[0] == 200
        assert sorted(await world.sent(4)) == ["answer to: hello", "answer to: hi", "one", "two"]
        await letters(world, ("sent", 1, 0, "delivered"), ("sent", 1, 0, "delivered"))


# -- stop and start


@pytest.mark.parametrize("turn", [True, False])
async def test_a_letter_that_is_being_sent_gets_its_end_and_nothing_new_begins(world: World, turn: bool) -> None:
    """A drain gives it its time, whether a turn takes longer or not; what waits goes out at the next start."""
    world.emu.settings.statuses = StatusPlan(names=())
    async with world.running(queue={"drain_seconds": 5.0}):
        await greet(world)
        world.emu.faults.add("slow", seconds=0.5, after=True)
        if turn:
            world.emu.faults.add("slow", service="model", seconds=1.5)
            await world.emu.say(world.bea, "something hard")
            await world.asked(2)
        await reply(world, "one")
        await reply(world, "two")
        await world.sent(2)
    assert world.emu.sends() == ["answer to: hi", "one", *["answer to: something hard"] * turn]
    assert [row[0] for row in world.rows(LETTERS)] == ["sent", "planned"]
    async with world.running():
        assert (await world.sent(3 + turn))[-1] == "two"


@pytest.mark.parametrize("went_out", [True, False])
async def test_a_send_that_outlasts_the_drain_goes_out_once(world: World, went_out: bool) -> None:
    """Its answer is never seen: a status tells the next start that it went out, or silence that it did not."""
    emu = world.emu
    async with world.running(queue={"drain_seconds": 0.1}):
        await greet(world)
        emu.settings.statuses = StatusPlan(("sent",), (0.3,))
        emu.faults.add("hang", after=went_out)
        await reply(world, "one")
        await emu.wait_for(lambda: len(emu.log.of("graph.send")) == 2)
    assert world.rows(LETTERS)[0][0] == "sending"
    async with world.running(whatsapp={"confirm_seconds": 5 if went_out else 0.5}):
        assert await world.sent(2) == ["answer to: hi", "one"]
        await letters(world, ("sent", 1, 0, "sent") if went_out else ("sent", 2, 1, "sent"))
    assert len(emu.log.of("graph.send")) == (2 if went_out else 3)
