"""What the model is asked, and what becomes of whatever it says: both APIs, through the official package."""

import pytest

from bot.emulator import Answer, Entry, Fault, payloads
from tests.flow.conftest import ERROR_REPLY, World

BOTH = pytest.mark.parametrize("api", ["responses", "chat_completions"])


def said(entry: Entry) -> list[tuple[str, str]]:
    """List who said what in a request to the model, without the instructions."""
    items = entry.request.get("input") or entry.request["messages"]
    spoken = []
    for item in items:
        text = item["content"]
        if not isinstance(text, str):
            text = "".join(part["text"] for part in text)
        if item["role"] in ("user", "assistant"):
            spoken.append((item["role"], text))
    return spoken


def told(entry: Entry) -> str:
    """Give the instructions of a request to the model."""
    if "instructions" in entry.request:
        return str(entry.request["instructions"])
    return "".join(i["content"] for i in entry.request["messages"] if i["role"] in ("system", "developer"))


@BOTH
async def test_the_model_is_asked_with_the_conversation_so_far(world: World, api: str) -> None:
    """The user's words and our answers, oldest first, and the question last."""
    emu = world.emu
    emu.model.script.extend(["Hello Ana", "We have pots"])
    async with world.running(openai={"api": api}):
        for n, text in enumerate(("hi", "what do you sell?", "how much are they?"), 1):
            await emu.say(world.ana, text)
            await world.sent(n)
    assert said(emu.log.of("model")[-1]) == [
        ("user", "hi"),
        ("assistant", "Hello Ana"),
        ("user", "what do you sell?"),
        ("assistant", "We have pots"),
        ("user", "how much are they?"),
    ]


async def test_people_do_not_see_each_others_words(world: World) -> None:
    """Each conversation is its user's own."""
    async with world.running():
        await world.emu.say(world.ana, "a secret of Ana's")
        await world.sent(1)
        await world.emu.say(world.bea, "hello")
        await world.sent(2)
    assert said(world.emu.log.of("model")[-1]) == [("user", "hello")]


@BOTH
async def test_instructions_carry_the_time_and_the_name(world: World, api: str) -> None:
    """$now and $name are filled in; the model is the one of bot.toml."""
    instructions = "You serve $name. It is $now. It costs $5."
    async with world.running(openai={"api": api, "instructions": instructions}):
        await world.emu.say(world.ana, "hi")
        (entry,) = await world.asked(1)
    year = world.rows("SELECT substr(received_at, 1, 10) FROM outbox")[0][0]
    assert told(entry).startswith("You serve Ana Torres. It is ")
    assert year in told(entry)
    assert told(entry).endswith("It costs $5.")
    assert entry.request["model"] == "gpt-5.4-mini"


async def test_openai_is_told_not_to_store(world: World) -> None:
    """The default would keep every conversation for 30 days."""
    async with world.running():
        await world.emu.say(world.ana, "hi")
        (entry,) = await world.asked(1)
    assert entry.request["store"] is False


async def test_history_is_bounded_by_messages_and_by_characters(world: World) -> None:
    """Whichever is reached first."""
    emu = world.emu
    async with world.running(openai={"history_messages": 4, "history_characters": 60}):
        for n in range(1, 5):
            await emu.say(world.ana, f"question {n}")
            await world.sent(n)
        await emu.say(world.ana, "x" * 70)
        await world.sent(5)
        await emu.say(world.ana, "after a long one")
        await world.sent(6)
    entries = emu.log.of("model")
    assert [text for _, text in said(entries[4])[:-1]] == [
        "answer to: question 3",
        "question 4",
        "answer to: question 4",
    ]
    assert said(entries[5]) == [("user", "after a long one")]


@BOTH
async def test_a_history_that_is_too_long_is_halved_and_asked_again(world: World, api: str) -> None:
    """Half of the messages each time, the newest stay; no attempt is spent and nobody gets an apology."""
    emu = world.emu
    async with world.running(openai={"api": api, "instructions": "Be brief."}):
        for n in range(1, 5):
            await emu.say(world.ana, f"question {n}")
            await world.sent(n)
        emu.settings.context_characters = 75
        await emu.say(world.ana, "question 5")
        await world.sent(5)
        await world.settled(*["done"] * 5)
    lengths = [len(said(entry)) for entry in emu.log.of("model")[4:]]
    assert lengths == [9, 5, 3]
    assert said(emu.log.of("model")[-1])[0] == ("user", "question 4")
    assert world.rows("SELECT attempts FROM outbox WHERE id = 5") == [(0,)]


async def test_a_message_that_is_too_long_by_itself_fails_with_an_apology(world: World) -> None:
    """Without history there is nothing to halve."""
    world.emu.settings.context_characters = 10
    async with world.running():
        await world.emu.say(world.ana, "a question that does not fit")
        assert await world.sent(1) == [ERROR_REPLY]
        await world.settled("failed")
    assert len(world.emu.log.of("model")) == 1


@BOTH
@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", "model", status=400, code="invalid_prompt", message="This prompt is not allowed."),
        Fault("content_filter", "model"),
    ],
    ids=lambda fault: fault.kind,
)
async def test_what_is_the_messages_own_fault_fails_at_once_with_an_apology(
    world: World, api: str, fault: Fault
) -> None:
    """One try, one apology; the user's next message is answered."""
    emu = world.emu
    emu.faults.add(fault)
    async with world.running(openai={"api": api}):
        await emu.say(world.ana, "something bad")
        assert await world.sent(1) == [ERROR_REPLY]
        await emu.say(world.ana, "something good")
        await world.sent(2)
        await world.settled("failed", "done")
    assert len(emu.log.of("model")) == 2
    assert said(emu.log.of("model")[-1]) == [("user", "something bad\n\nsomething good")]


@BOTH
async def test_a_refusal_is_the_answer(world: World, api: str) -> None:
    """What the model says instead of an answer goes to the user."""
    world.emu.faults.add("refusal", service="model", body="I can't help with that.")
    async with world.running(openai={"api": api}):
        await world.emu.say(world.ana, "do something nasty")
        assert await world.sent(1) == ["I can't help with that."]
        await world.settled("done")


@BOTH
async def test_an_answer_that_was_cut_off_still_goes_out(world: World, api: str) -> None:
    """Its words are worth more than an apology."""
    world.emu.faults.add("incomplete", service="model", body="This was going to be longer, but")
    async with world.running(openai={"api": api}):
        await world.emu.say(world.ana, "tell me all")
        (text,) = await world.sent(1)
        await world.settled("done")
    assert text.startswith("This was going to be longer, but")


@BOTH
@pytest.mark.parametrize("kind", ["empty", "html", "null", "object", "broken", "nothing", "cut", "cut_body", "http"])
async def test_an_answer_that_is_none_is_asked_for_again(world: World, api: str, kind: str) -> None:
    """Whatever comes with status 200 or doesn't come whole: an attempt is spent, the next one answers."""
    world.emu.faults.add(kind, service="model")
    async with world.running(openai={"api": api}):
        await world.emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert len(world.emu.log.of("model")) == 2
    assert world.rows("SELECT attempts FROM outbox") == [(1,)]


async def test_an_answer_that_drips_or_hangs_is_given_up_after_timeout_seconds(world: World) -> None:
    """Bytes that keep coming are no answer."""
    emu = world.emu
    emu.faults.add("drip", service="model", seconds=30.0)
    emu.faults.add("hang", service="model")
    async with world.running(openai={"timeout_seconds": 0.2}):
        await emu.say(world.ana, "hi")
        assert await world.sent(1) == ["answer to: hi"]
        await world.settled("done")
    assert world.rows("SELECT attempts FROM outbox") == [(2,)]


async def test_what_quotes_our_answer_is_asked_with_the_words_it_quotes(world: World) -> None:
    """Meta sends the id of the quoted message only."""
    emu = world.emu
    emu.model.script.append(Answer("We open at nine"))
    async with world.running():
        await emu.say(world.ana, "when do you open?")
        await world.sent(1)
        for n in range(2, 14):  # long enough ago to be out of the history
            await emu.say(world.ana, f"and {n}?")
            await world.sent(n)
        (wamid,) = world.rows("SELECT wamid FROM replies WHERE body = 'We open at nine'")[0]
        await emu.say(world.ana, "really?", context={"from": emu.settings.display_phone_number, "id": wamid})
        await world.sent(14)
    assert "We open at nine" in said(emu.log.of("model")[-1])[-1][1]


async def test_the_caption_of_a_picture_is_a_question(world: World) -> None:
    """What can be read of a message is asked."""
    async with world.running():
        await world.emu.send(world.ana, payloads.image_message, caption="do you have this in blue?")
        await world.sent(1)
    assert said(world.emu.log.of("model")[-1]) == [("user", "do you have this in blue?")]


async def test_apologies_and_what_was_cancelled_are_no_history(world: World) -> None:
    """The words of a failed message are, our apology for it is not."""
    emu = world.emu
    emu.faults.add("error", service="model", status=400)
    async with world.running():
        await emu.say(world.ana, "this fails")
        await world.sent(1)
        await world.post("/api/users/u1/pause")
        await emu.say(world.ana, "never mind this")
        await world.post("/api/users/u1/resume", {"waiting": "skip"})
        await emu.say(world.ana, "hello?")
        await world.sent(2)
    assert said(emu.log.of("model")[-1]) == [("user", "this fails\n\nhello?")]


async def test_tokens_and_time_of_an_answer_are_recorded(world: World) -> None:
    """In attempts, and by day in usage."""
    async with world.running():
        await world.emu.say(world.ana, "hi")
        await world.sent(1)
        await world.settled("done")
    ((outcome, milliseconds, tokens_in, tokens_out),) = world.rows(
        "SELECT outcome, duration_ms, input_tokens, output_tokens FROM attempts WHERE stage = 'model'"
    )
    assert outcome == "answered"
    assert milliseconds >= 0
    assert min(tokens_in, tokens_out) > 0
    assert world.rows("SELECT answers, input_tokens, output_tokens FROM usage") == [(1, tokens_in, tokens_out)]
