"""The shipped handler asks a model over real sockets and says what each way to fail means."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from bot.backoff import LONGEST_ASKED_SECONDS, asked_seconds
from bot.config import Config, OpenAI
from bot.domain import Answer, Message, Question, Utterance
from bot.emulator import Answer as Says
from bot.emulator import Emulator, Settings
from bot.errors import Kind, ServiceError
from bot.model.answers import read_answer
from bot.model.failures import from_error
from bot.model.handler import OpenAIHandler
from tests.clock import FakeClock

NOW = datetime(2026, 11, 24, 10, 41, 7, tzinfo=UTC)
APIS = ("responses", "chat_completions")
SECRET = "a secret word of the user"

Build = Callable[..., OpenAIHandler]


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """Run an emulator in echo mode."""
    async with Emulator(Settings()) as emulator:
        yield emulator


@pytest.fixture
async def build(emu: Emulator) -> AsyncIterator[Build]:
    """Make handlers for the emulator (or what is said instead) and close them."""
    made: list[OpenAIHandler] = []

    def make(**other: Any) -> OpenAIHandler:
        given: dict[str, Any] = {
            "api_key": SecretStr(emu.settings.api_key),
            "base_url": emu.model_url,
            "model": "gpt-5.4-mini",
            "api": "responses",
            "instructions": "It is $now. Be kind to $name.",
            "timeout_seconds": 5.0,
        }
        made.append(OpenAIHandler(Config(openai=OpenAI(**{**given, **other})), FakeClock(NOW)))
        return made[-1]

    yield make
    for handler in made:
        await handler.close()


def message(body: str, quotes: str | None = None) -> Message:
    """One message of the user."""
    return Message(1, "wamid.1", "text", body, NOW, NOW, quotes)


def question(*bodies: str, history: tuple[Utterance, ...] = (), name: str | None = "Ana") -> Question:
    """Ask with these messages."""
    return Question("m1", tuple(map(message, bodies or (SECRET,))), history, name)


async def failure(handler: OpenAIHandler, asked: Question | None = None) -> ServiceError:
    """Ask, expecting a failure that tells no secrets; return it."""
    with pytest.raises(ServiceError) as caught:
        await handler.answer(asked or question())
    error = caught.value
    told = f"{error.reason} {error.code} {error.__cause__}"
    assert SECRET not in told
    assert "api-key" not in told
    assert "\n" not in error.reason
    assert error.__suppress_context__ or error.__context__ is None
    assert error.service == "model"
    return error


# -- what is asked and answered --------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
async def test_the_answer_comes_with_tokens_and_request_id(emu: Emulator, build: Build, api: str) -> None:
    """One part, as the model wrote it; figures for the cost; an id for support."""
    emu.model.script.append("**Hola**\n\nAna ")
    answer = await build(api=api).answer(question("hi"))
    assert answer.parts == ("**Hola**\n\nAna",)
    assert answer.input_tokens > 0
    assert answer.output_tokens > 0
    assert (answer.request_id or "").startswith("req_")


async def test_responses_are_asked_for_without_being_kept(emu: Emulator, build: Build) -> None:
    """OpenAI would keep question and answer for 30 days."""
    await build().answer(question("hi", history=(Utterance("user", "a"), Utterance("assistant", "b"))))
    [entry] = emu.log.of("model")
    assert entry.request == {
        "model": "gpt-5.4-mini",
        "store": False,
        "instructions": "It is Tue 2026-11-24 10:41 UTC. Be kind to Ana.",
        "input": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "hi"},
        ],
    }


async def test_chat_completions_gets_nothing_that_a_compatible_server_may_not_know(emu: Emulator, build: Build) -> None:
    """Model and messages only, the instructions first."""
    await build(api="chat_completions").answer(question("hi", name=None))
    [entry] = emu.log.of("model")
    assert entry.request == {
        "model": "gpt-5.4-mini",
        "messages": [
            {"role": "system", "content": "It is Tue 2026-11-24 10:41 UTC. Be kind to ."},
            {"role": "user", "content": "hi"},
        ],
    }


@pytest.mark.parametrize(
    ("base_url", "forgets"),
    [("https://api.openai.com/v1", True), ("https://eu.api.openai.com/v1", True), ("https://openai.example/v1", False)],
)
def test_openai_is_told_to_forget_chat_completions_too(build: Build, base_url: str, forgets: bool) -> None:
    """OpenAI may keep them by default; a parameter that they don't know makes other servers refuse."""
    _, body = build(api="chat_completions", base_url=base_url)._request(question())
    assert ("store" in body) is forgets


async def test_what_one_side_says_in_a_row_is_one_item(emu: Emulator, build: Build) -> None:
    """Some models insist on taking turns; texts that hold nothing are left out."""
    history = (Utterance("user", "a"), Utterance("user", "b"), Utterance("assistant", ""), Utterance("user", "c"))
    await build().answer(question("d", "", "e", history=history))
    [entry] = emu.log.of("model")
    assert entry.request["input"] == [{"role": "user", "content": "a\n\nb\n\nc\n\nd\n\ne"}]


@pytest.mark.parametrize(
    ("api", "roles"),
    [("responses", ["assistant", "user"]), ("chat_completions", ["system", "user", "assistant", "user"])],
)
async def test_a_compatible_server_sees_the_user_begin(emu: Emulator, build: Build, api: str, roles: list[str]) -> None:
    """Prompt templates of some open models fail when the assistant does."""
    await build(api=api).answer(question("hi", history=(Utterance("assistant", "Your order is here"),)))
    [entry] = emu.log.of("model")
    assert [item["role"] for item in entry.request.get("input") or entry.request["messages"]] == roles


async def test_the_model_sees_what_a_message_replies_to(emu: Emulator, build: Build) -> None:
    """The quoted text stands before the words, on one line and bounded."""
    await build().answer(Question("m1", (message("yes", quotes="Monday\nor Tuesday?"),), (), None))
    await build().answer(Question("m1", (message("no", quotes="word " * 1000),), (), None))
    short, long = (entry.text for entry in emu.log.of("model"))
    assert short == '[in reply to: "Monday or Tuesday?"]\nyes'
    assert long.endswith('…"]\nno')
    assert len(long) < 350


# -- what a model may say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
async def test_a_refusal_in_words_is_an_answer(emu: Emulator, build: Build, api: str) -> None:
    """They are the model's words, sent as they are."""
    emu.model.script.append(Says("I can't help with that.", "refusal"))
    assert (await build(api=api).answer(question())).parts == ("I can't help with that.",)


@pytest.mark.parametrize("api", APIS)
async def test_a_cut_off_answer_ends_in_an_ellipsis(emu: Emulator, build: Build, api: str) -> None:
    """Half an answer is better than none, and looks like half."""
    emu.model.script.append(Says("Once upon a", "length"))
    assert (await build(api=api).answer(question())).parts == ("Once upon a…",)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("says", "kind", "code"),
    [
        (Says("", "length"), Kind.LATER, "empty"),
        (Says(""), Kind.LATER, "empty"),
        (Says(" \n"), Kind.LATER, "empty"),
        (Says("", "content_filter"), Kind.MESSAGE, "refusal"),
        (Says("half a", "content_filter"), Kind.MESSAGE, "refusal"),
        (Says(" ", "refusal"), Kind.MESSAGE, "refusal"),
    ],
)
async def test_no_words_are_no_answer(emu: Emulator, build: Build, api: str, says: Says, kind: Kind, code: str) -> None:
    """Nothing to say may be chance and is tried again; the filter and a bare refusal are the message's fault."""
    emu.model.script.append(says)
    error = await failure(build(api=api))
    assert (error.kind, error.code) == (kind, code)
    assert error.request_id


def test_what_open_models_think_aloud_is_not_said() -> None:
    """Thoughts in front of the answer are cut, even where they were all that the model came to."""
    said = {"choices": [{"message": {"content": "<think>hm\n\n</think>\n\nHola"}, "finish_reason": "stop"}]}
    assert read_answer(json.dumps(said).encode(), None).parts == ("Hola",)
    said = {"choices": [{"message": {"content": "<think>hm, let me"}, "finish_reason": "length"}]}
    with pytest.raises(ServiceError) as caught:
        read_answer(json.dumps(said).encode(), None)
    assert caught.value.kind is Kind.LATER


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 7]}}]}, ("ab",)),
        ({"output": [{"type": "message", "content": "a"}, {"type": "reasoning"}, None]}, ("a",)),
        (
            {
                "output": [
                    {"type": "message", "content": [{"type": "output_text", "text": text}]} for text in ("a", "b")
                ]
            },
            ("a\n\nb",),
        ),
        ({"status": "failed", "error": None, "output": [{"type": "message", "content": "a"}]}, ("a…",)),
        ({"choices": [{"message": {"content": "The <think>tag</think> is"}}]}, ("The <think>tag</think> is",)),
        ({"error": None, "choices": [{"message": {"content": "a", "tool_calls": None}}, {}]}, ("a",)),
    ],
)
def test_look_alikes_are_understood(said: Any, parts: tuple[str, ...]) -> None:
    """Parts where a text is usual, texts where parts are, members that are missing."""
    assert read_answer(json.dumps(said).encode(), None) == Answer(parts)


@pytest.mark.parametrize(
    "usage",
    [None, 7, [], {}, {"input_tokens": "7", "output_tokens": 7}, {"input_tokens": None}, {"prompt_tokens": 1.5}],
)
def test_odd_usage_counts_nothing(usage: Any) -> None:
    """An answer isn't lost for the sake of its figures."""
    said = {"output": [{"type": "message", "content": "a"}], "usage": usage}
    assert read_answer(json.dumps(said).encode(), None) == Answer(("a",))


def test_absurd_usage_is_bounded() -> None:
    """What the database can't hold would lose the answer."""
    said = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 10**30, "completion_tokens": -5}}
    assert read_answer(json.dumps(said).encode(), None) == Answer(("a",), 2**31, 0)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"null", b"{}", b"[]", b"7", b'"text"', b"<html>", b'{"output": [', b"\xff\xfe", b"[" * 100_000),
        *(b'{"output": null}', b'{"choices": []}', b'{"choices": [null]}', b'{"choices": [{"message": null}]}'),
        b'{"output": [{"type": "message", "content": ' + b'[{"text":' * 300 + b"1" + b"}]" * 300 + b"}]}",
    ],
)
def test_a_body_that_is_no_answer_is_tried_again(content: bytes) -> None:
    """Whatever JSON, or none: LATER, and nothing else is raised."""
    with pytest.raises(ServiceError) as caught:
        read_answer(content, "req_1")
    assert caught.value.kind is Kind.LATER
    assert caught.value.request_id == "req_1"


# -- what may go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["html", "null", "object", "broken", "nothing", "cut_body", "cut"])
async def test_a_broken_answer_is_tried_again(emu: Emulator, build: Build, fault: str) -> None:
    """The package lets most of these pass as answers; a cut connection looks like no connection to it."""
    emu.faults.add(fault, service="model")
    error = await failure(build())
    assert error.kind is Kind.LATER
    assert error.code == ("cut" if fault.startswith("cut") else "malformed")


@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_a_slow_answer_is_given_up(emu: Emulator, build: Build, fault: str) -> None:
    """Neither silence nor a byte now and then holds a turn beyond the time limit."""
    emu.faults.add(fault, service="model", seconds=30)
    began = time.monotonic()
    error = await failure(build(timeout_seconds=0.3))
    assert (error.kind, error.code) == (Kind.LATER, "timeout")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, None, "Invalid 'input'", Kind.MESSAGE),
        (422, None, "", Kind.MESSAGE),
        (400, "content_filter", "", Kind.MESSAGE),
        (400, "invalid_prompt", "", Kind.MESSAGE),
        (403, None, "Your input was flagged", Kind.MESSAGE),
        (400, "context_length_exceeded", "", Kind.TOO_LONG),
        (400, None, "This model's maximum context length is 8192 tokens.", Kind.TOO_LONG),
        (400, None, "the request exceeds the available context size", Kind.TOO_LONG),
        (429, "rate_limit_exceeded", "Request too large for gpt-5.4-mini", Kind.TOO_LONG),
        (413, None, "", Kind.TOO_LONG),
        (401, "invalid_api_key", "", Kind.REFUSED),
        (402, None, "", Kind.REFUSED),
        (403, None, "", Kind.REFUSED),
        (404, "model_not_found", "", Kind.REFUSED),
        (404, None, "Not Found", Kind.REFUSED),
        (400, "model_not_found", "", Kind.REFUSED),
        (400, "unsupported_parameter", "", Kind.REFUSED),
        (400, None, "Your credit balance is too low", Kind.REFUSED),
        (400, None, "API key not valid. Please pass a valid API key.", Kind.REFUSED),
        (405, None, "", Kind.REFUSED),
        (410, None, "", Kind.REFUSED),
        (429, "insufficient_quota", "", Kind.REFUSED),
        (429, "billing_hard_limit_reached", "", Kind.REFUSED),
        (408, None, "", Kind.LATER),
        (409, None, "", Kind.LATER),
        (429, "rate_limit_exceeded", "You exceeded your current quota", Kind.EVERYBODY),
        (500, "server_error", "", Kind.LATER),
        (503, None, "", Kind.LATER),
        (529, None, "", Kind.LATER),
    ],
)
async def test_an_error_means_what_its_code_says(
    emu: Emulator, build: Build, status: int, code: str | None, message: str, kind: Kind
) -> None:
    """The kind decides between failing the message, waiting, and opening the circuit."""
    emu.faults.add("error", service="model", status=status, code=code or "", message=f"{message} {SECRET} sk-api-key")
    error = await failure(build())
    assert error.kind is kind
    assert f"HTTP {status}" in error.reason
    assert error.request_id


async def test_a_page_instead_of_an_error_goes_by_its_status(emu: Emulator, build: Build) -> None:
    """Proxies answer in HTML, an error may be a bare text, a path may lead elsewhere."""
    handler = build()
    for status, body, kind in (
        (502, "", Kind.LATER),
        (404, "", Kind.REFUSED),
        (301, "", Kind.REFUSED),
        (400, '{"error": "context length exceeded"}', Kind.TOO_LONG),
        (400, '{"detail": [{"type": "missing"}]}', Kind.MESSAGE),
        (400, '[{"error": {"code": 400, "message": "API key not valid"}}]', Kind.REFUSED),
        (400, '{"error": {"param": "model", "code": null}}', Kind.REFUSED),
        (500, '{"error": null}', Kind.LATER),
    ):
        emu.faults.add(
            "http", service="model", status=status, body=body, headers={"Location": emu.model_url + "/models"}
        )
        assert (await failure(handler)).kind is kind, (status, body)


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, Kind.EVERYBODY, "429"),
        ({"error": {"code": 402, "message": ""}}, Kind.REFUSED, "402"),
        ({"error": {"code": "invalid_prompt"}, "status": "failed", "output": []}, Kind.MESSAGE, "invalid_prompt"),
        ({"error": {"code": "server_error"}, "status": "failed", "output": []}, Kind.LATER, "server_error"),
        ({"error": "context length"}, Kind.TOO_LONG, None),
        ({"error": None, "choices": [{"error": {"code": 502}, "message": {"content": "half"}}]}, Kind.LATER, "502"),
        ({"error": {"code": {"a": 1}, "type": "no code\n" * 9}}, Kind.LATER, None),
    ],
)
def test_an_error_may_come_with_http_200(said: Any, kind: Kind, code: str | None) -> None:
    """A response of status failed has one, and some proxies have nothing else."""
    with pytest.raises(ServiceError) as caught:
        read_answer(json.dumps(said).encode(), None)
    assert (caught.value.kind, caught.value.code) == (kind, code)


async def test_a_wait_that_the_service_asks_for_is_handed_on(emu: Emulator, build: Build) -> None:
    """From the headers of an error answer to `retry_after`."""
    emu.faults.add("error", service="model", status=429, headers={"Retry-After": "7"})
    assert (await failure(build())).retry_after == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, LONGEST_ASKED_SECONDS),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 10:42:37 GMT", "date": "Tue, 24 Nov 2026 10:41:07 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """Never over a day; what is no number of seconds to come says nothing."""
    assert asked_seconds(headers) == seconds


@asynccontextmanager
async def listening(reply: bytes = b"") -> AsyncIterator[int]:
    """Run a server that answers anything with these bytes and hangs up; give its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_nothing_that_answers_is_a_service_that_is_down(build: Build) -> None:
    """Refused, unknown to DNS, not speaking TLS: no message is at fault, nothing was asked."""
    async with listening(b"no TLS here") as port:
        for address, code in (
            ("http://127.0.0.1:9/v1", "connect"),
            ("http://model.invalid/v1", "dns"),
            (f"https://127.0.0.1:{port}/v1", "tls"),
        ):
            error = await failure(build(base_url=address))
            assert (error.kind, error.code) == (Kind.DOWN, code)


async def test_a_connection_that_is_never_taken_is_a_service_that_is_down(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full backlog or a silent firewall: given up long before the time limit for an answer."""
    monkeypatch.setattr("bot.model.handler.CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            error = await failure(build(base_url=f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout_seconds=20))
        finally:
            for each in waiting:
                each.close()
    assert (error.kind, error.code) == (Kind.DOWN, "connect")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"", "cut"),
        (b"220 smtp ready\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "cut"),
    ],
)
async def test_what_is_no_http_is_tried_again(build: Build, reply: bytes, code: str) -> None:
    """The transport's own errors come through the package as they are, or as something else."""
    async with listening(reply) as port:
        error = await failure(build(base_url=f"http://127.0.0.1:{port}/v1"))
    assert (error.kind, error.code) == (Kind.LATER, code)


async def test_a_key_that_is_missing_or_wrong_is_refused(build: Build) -> None:
    """Without a key the package would not even start, but a server at home needs none."""
    for key in ("", "sk-wrong-api-key"):
        error = await failure(build(api_key=SecretStr(key)))
        assert (error.kind, error.code) == (Kind.REFUSED, "invalid_api_key")


async def test_the_environment_has_no_say(emu: Emulator, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package obeys OPENAI_BASE_URL; bot.toml says where the words of users go."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert (await build().answer(question("hi"))).parts == ("answer to: hi",)


async def test_a_cancelled_call_leaves_the_next_one_alone(emu: Emulator, build: Build) -> None:
    """A drain cancels turns; the client stays usable and its connection is not handed on half read."""
    handler = build()
    emu.faults.add("hang", service="model", seconds=30)
    task = asyncio.create_task(handler.answer(question("first")))
    await emu.wait_for(lambda: emu.log.of("model"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await handler.answer(question("second"))).parts == ("answer to: second",)


async def test_no_words_of_users_are_logged(emu: Emulator, build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """At info and above neither the package nor its transport repeats what is asked."""
    with caplog.at_level(logging.INFO):
        await build().answer(question())
        emu.faults.add("error", service="model", status=400, message=SECRET)
        await failure(build())
    assert SECRET not in caplog.text
    assert emu.settings.api_key not in caplog.text


def test_an_error_object_may_be_anything() -> None:
    """No shape of it raises anything else."""
    for body in (None, 7, "text", [], [7], [{}], {}, {"code": []}, {"message": {"a": SECRET}}, {"code": True}):
        error = from_error(body, 500)
        assert error.kind is Kind.LATER
        assert SECRET not in error.reason
