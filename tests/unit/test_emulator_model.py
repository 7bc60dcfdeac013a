"""The emulated model speaks both of OpenAI's APIs so that the official package understands it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, DefaultAioHttpClient

from bot.emulator import Answer, Emulator, Fault, ModelRequest, Settings
from bot.emulator.payloads import text_message

MODEL = "gpt-5.4-mini"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run an emulator in echo mode."""
    async with Emulator(Settings()) as emulator:
        yield emulator


@pytest.fixture
async def sdk(emu: Emulator) -> AsyncIterator[AsyncOpenAI]:
    """Give the official client on the transport that the daemon uses."""
    async with AsyncOpenAI(
        api_key=emu.settings.api_key, base_url=emu.model_url, http_client=DefaultAioHttpClient(), max_retries=0
    ) as client:
        yield client


async def ask(sdk: AsyncOpenAI, text: str = "hello", **more: Any) -> Any:
    """Ask by the Responses API, as the daemon does."""
    history = [{"role": "assistant", "content": "earlier"}, {"role": "user", "content": text}]
    return await sdk.responses.create(
        **{"model": MODEL, "input": history, "instructions": "be kind", "store": False, **more}
    )


async def chat(sdk: AsyncOpenAI, text: str = "hello", **more: Any) -> Any:
    """Ask by Chat Completions."""
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": text}]
    return await sdk.chat.completions.create(**{"model": MODEL, "messages": messages, **more})


async def test_the_responses_api_echoes(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """An answer names its question, has a status, usage and a request id; the log holds what was asked."""
    answer = await ask(sdk, "¿qué tal?")
    assert answer.output_text == "answer to: ¿qué tal?"
    assert answer.status == "completed"
    assert answer.usage.input_tokens + answer.usage.output_tokens == answer.usage.total_tokens > 0
    assert answer._request_id.startswith("req_")
    [entry] = emu.log.of("model")
    assert (entry.text, entry.accepted, entry.status) == ("¿qué tal?", True, 200)
    assert entry.request["instructions"] == "be kind"


async def test_chat_completions_echo(sdk: AsyncOpenAI) -> None:
    """The older API says the same."""
    answer = await chat(sdk)
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("answer to: hello", "stop")
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == answer.usage.total_tokens


async def test_both_apis_stream_word_by_word(sdk: AsyncOpenAI) -> None:
    """The package puts the pieces of either stream together to the whole answer."""
    async with sdk.responses.stream(model=MODEL, input="one two three") as stream:
        words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        whole = await stream.get_final_response()
    assert len(words) > 3
    assert "".join(words) == whole.output_text == "answer to: one two three"
    chunks = [chunk async for chunk in await chat(sdk, stream=True, stream_options={"include_usage": True})]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == "answer to: hello"
    assert chunks[-1].usage.total_tokens > 0


async def test_a_wrong_key_and_an_unknown_model_are_refused(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """401 and 404 with OpenAI's error bodies, for questions and for the look-up alike."""
    assert (await sdk.models.retrieve(MODEL)).id == MODEL
    assert [model.id async for model in sdk.models.list()] == [MODEL]
    for refused in (ask(sdk, model="gpt-0"), sdk.models.retrieve("gpt-0")):
        with pytest.raises(openai.NotFoundError) as missing:
            await refused
        assert missing.value.code == "model_not_found"
    stranger = sdk.with_options(api_key="sk-wrong")
    for refused in (ask(stranger), chat(stranger), stranger.models.retrieve(MODEL)):
        with pytest.raises(openai.AuthenticationError) as denied:
            await refused
        assert denied.value.code == "invalid_api_key"


async def test_a_request_without_input_is_refused(sdk: AsyncOpenAI) -> None:
    """400, naming the parameter."""
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(sdk, input=[])
    assert refused.value.param == "input"


async def test_a_script_is_followed_step_by_step(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """Texts, answers with an end of their own, faults: first in, first out; then the echo again."""
    emu.model.script.extend(["first", Answer("cut o", end="length"), Fault("error", service="model", status=503)])
    assert (await ask(sdk)).output_text == "first"
    cut = await ask(sdk)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with pytest.raises(openai.InternalServerError):
        await ask(sdk)
    assert (await ask(sdk)).output_text == "answer to: hello"


async def test_a_responder_decides_by_the_request(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """A test's own function sees role and text of each message, whichever API it came by, and may be async."""
    seen: list[ModelRequest] = []

    def count(asked: ModelRequest) -> str:
        seen.append(asked)
        return f"{len(asked.messages)} messages"

    async def late(asked: ModelRequest) -> Answer:
        await asyncio.sleep(0)
        return Answer("late")

    emu.model.responder = count
    assert (await ask(sdk)).output_text == "2 messages"
    assert (await chat(sdk)).choices[0].message.content == "1 messages"
    assert [request.instructions for request in seen] == ["be kind", "be kind"]
    assert seen[0].messages == (("assistant", "earlier"), ("user", "hello"))
    emu.model.responder = late
    assert (await ask(sdk)).output_text == "late"


async def test_the_assistant_answers_in_the_customers_language(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """For the demo: about what was asked, with Markdown here and there, the same each time."""
    emu.settings.answers = "assistant"
    spanish = (await ask(sdk, "¿Cuánto cuesta una maceta?")).output_text
    english = (await ask(sdk, "How much is a pot?")).output_text
    assert "precios" in spanish
    assert "prices" in english
    assert "**" in spanish
    odd = (await ask(sdk, "Can you juggle seven hedgehogs?")).output_text
    assert "hedgehogs" in odd
    assert odd == (await ask(sdk, "Can you juggle seven hedgehogs?")).output_text


async def test_the_context_has_an_end(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """Too much history is context_length_exceeded; less of it is answered."""
    emu.settings.context_characters = 50
    for asked in (ask(sdk, "x" * 51), chat(sdk, "x" * 51)):
        with pytest.raises(openai.BadRequestError) as refused:
            await asked
        assert refused.value.code == "context_length_exceeded"
    assert (await ask(sdk, "short")).output_text == "answer to: short"


@pytest.mark.parametrize(
    ("fault", "status", "reason", "said"),
    [
        ("refusal", "completed", None, ""),
        ("incomplete", "incomplete", "max_output_tokens", "This answer"),
        ("content_filter", "incomplete", "content_filter", ""),
        ("empty", "completed", None, ""),
    ],
)
async def test_what_a_model_may_say_instead_of_an_answer(
    emu: Emulator, sdk: AsyncOpenAI, fault: str, status: str, reason: str | None, said: str
) -> None:
    """Refused, cut off, filtered, silent: HTTP 200 each, told apart by the members that OpenAI uses."""
    emu.faults.add(fault, service="model", times=2)
    answer = await ask(sdk)
    assert answer.status == status
    assert (answer.incomplete_details and answer.incomplete_details.reason) == reason
    assert answer.output_text.startswith(said)
    assert bool(answer.output_text) == bool(said)
    if fault == "refusal":
        assert answer.output[0].content[0].refusal
    [choice] = (await chat(sdk)).choices
    ends = {"incomplete": "length", "content_filter": "content_filter"}
    assert choice.finish_reason == ends.get(fault, "stop")
    assert bool(choice.message.refusal) == (fault == "refusal")


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"status": 429, "code": "rate_limit_exceeded"}, openai.RateLimitError, "rate_limit_exceeded"),
        ({"status": 429, "code": "insufficient_quota"}, openai.RateLimitError, "insufficient_quota"),
        ({"status": 403}, openai.PermissionDeniedError, None),
        ({"status": 400, "code": "invalid_prompt"}, openai.BadRequestError, "invalid_prompt"),
        ({}, openai.InternalServerError, None),
    ],
)
async def test_errors_carry_openais_body_and_headers(
    emu: Emulator, sdk: AsyncOpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], code: str
) -> None:
    """Any status and code, with a Retry-After where the test wants one."""
    emu.faults.add("error", service="model", headers={"Retry-After": "9"}, **fields)
    with pytest.raises(error) as failed:
        await ask(sdk)
    assert failed.value.code == code
    assert failed.value.response.headers["retry-after"] == "9"
    assert failed.value.request_id is not None
    assert (await ask(sdk)).output_text == "answer to: hello"


@pytest.mark.parametrize(
    ("kind", "what"), [("html", str), ("null", type(None)), ("object", openai.types.responses.Response)]
)
async def test_a_200_need_not_be_an_answer(emu: Emulator, sdk: AsyncOpenAI, kind: str, what: type) -> None:
    """What the package lets through without an error."""
    emu.faults.add(kind, service="model")
    assert type(await ask(sdk)) is what


@pytest.mark.parametrize("kind", ["broken", "nothing"])
async def test_broken_json_is_the_callers_to_catch(emu: Emulator, sdk: AsyncOpenAI, kind: str) -> None:
    """The package raises a bare JSONDecodeError."""
    emu.faults.add(kind, service="model")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        await ask(sdk)


@pytest.mark.parametrize("kind", ["cut", "cut_body"])
async def test_a_connection_is_cut(emu: Emulator, sdk: AsyncOpenAI, kind: str) -> None:
    """Before any reply, or in the middle of it."""
    emu.faults.add(kind, service="model")
    with pytest.raises(openai.APIConnectionError):
        await ask(sdk)


async def test_a_body_drips_past_the_packages_timeout(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """Each byte is in time, the whole is not: only an outer timeout helps."""
    emu.faults.add("drip", service="model", seconds=2.0)
    began = time.monotonic()
    assert (await ask(sdk, timeout=1.0)).output_text == "answer to: hello"
    assert time.monotonic() - began > 1.5


async def test_a_model_hangs_until_the_caller_has_had_enough(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """No answer at all; the next request is served meanwhile."""
    emu.faults.add("hang", service="model", contains="slow")
    with pytest.raises(openai.APITimeoutError):
        await ask(sdk, "slow", timeout=0.05)
    assert (await ask(sdk, "quick")).output_text == "answer to: quick"


async def test_a_fault_can_follow_one_customers_words(emu: Emulator, sdk: AsyncOpenAI) -> None:
    """The model is asked without a phone; the emulator knows who wrote the text."""
    ana, bo = emu.customer("Ana", wa_id="5215512345678"), emu.customer("Bo", user_id="US.1")
    for who, text in ((ana, "from Ana"), (bo, "from Bo")):
        emu.compose([(who, text_message, {"body": text})])
    emu.fail_model(ana)
    assert (await ask(sdk, "from Bo")).output_text == "answer to: from Bo"
    with pytest.raises(openai.InternalServerError):
        await ask(sdk, "from Ana")
    assert [entry.user for entry in emu.log.of("model")] == ["US.1", "5215512345678"]
