"""Answer as OpenAI's API does, by script: Responses and Chat Completions, whole or as a stream."""

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bot.emulator import assistant, openai_shapes
from bot.emulator.chats import Chats
from bot.emulator.faults import MODEL, SILENT, Fault, Faults, enact, pause
from bot.emulator.journal import Entry, Journal
from bot.emulator.openai_shapes import Answer, ModelError, ModelRequest
from bot.emulator.payloads import Json
from bot.emulator.settings import Settings

Step = str | Answer | Fault
Responder = Callable[[ModelRequest], Step | Awaitable[Step]]

REFUSAL = "I'm sorry, but I can't help with that."


class ModelApi:
    """Serve the model's part of the emulator.

    What it says is decided by, in this order: a fault that is set, the next step of `script`, `responder`,
    `settings.answers`.
    """

    def __init__(
        self, settings: Settings, journal: Journal, faults: Faults, chats: Chats, closing: asyncio.Event
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._faults = faults
        self._chats = chats
        self._closing = closing
        self.script: deque[Step] = deque()
        self.responder: Responder | None = None

    def routes(self) -> list[web.RouteDef]:
        """List the paths that this part answers."""
        return [
            web.post("/v1/responses", self._responses),
            web.post("/v1/chat/completions", self._completions),
            web.get("/v1/models", self._models),
            web.get("/v1/models/{model}", self._models),
        ]

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._ask(request, "responses")

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._ask(request, "chat_completions")

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check_key(request)
            name = request.match_info.get("model")
            if name is None:
                return _json({"object": "list", "data": [_model(known) for known in self._settings.models]})
            self._check_model(name)
            return _json(_model(name))
        except ModelError as refused:
            return _json(refused.body, refused.status)

    async def _ask(self, request: web.Request, api: str) -> web.StreamResponse:
        entry = self._journal.begin("model")
        try:
            entry.request = body = await _read_json(request)
            self._check_key(request)
            asked = openai_shapes.read_request(api, body)
            entry.text = asked.text
            writer = self._chats.writer(asked.text)
            entry.user = writer.key if writer else ""
            self._check_model(asked.model)
            self._journal.notify()
            fault = self._faults.take("model", writer.ids if writer else (), asked.text)
            step: Step = fault or await self._next_step(asked)
            while isinstance(step, Fault) and step.kind == "slow":
                entry.fault = step.kind
                await pause(step.seconds, self._closing)
                step = await self._next_step(asked)
            if isinstance(step, Fault):
                return await self._misbehave(request, entry, asked, step)
            answer = Answer(step) if isinstance(step, str) else step
            await pause(answer.seconds or self._settings.model_delay_seconds, self._closing)
            self._check_length(asked)
            return await self._answer(request, entry, asked, answer)
        except ModelError as refused:
            self._journal.end(entry, status=refused.status, code=refused.code)
            return _json(refused.body, refused.status, refused.headers)
        finally:
            if entry.ended_at is None:
                self._journal.end(entry)

    async def _next_step(self, asked: ModelRequest) -> Step:
        if self.script:
            return self.script.popleft()
        if self.responder is not None:
            step = self.responder(asked)
            return step if isinstance(step, str | Answer | Fault) else await _awaited(step)
        return assistant.reply(asked.text) if self._settings.answers == "assistant" else assistant.echo(asked.text)

    async def _misbehave(
        self, request: web.Request, entry: Entry, asked: ModelRequest, fault: Fault
    ) -> web.StreamResponse:
        entry.fault = fault.kind
        if fault.kind == "context_length":
            raise _too_long()
        if fault.kind == "error":
            text = fault.message or "The server had an error while processing your request."
            code = str(fault.code) if fault.code else None
            raise ModelError(fault.status or 500, text, code=code, headers=fault.headers)
        if fault.kind in MODEL:
            return await self._answer(request, entry, asked, _spoken(fault))
        answer = json.dumps(self._whole(asked, Answer(fault.body or assistant.echo(asked.text)))).encode()
        response = await enact(fault, request, answer, self._closing)
        self._journal.end(entry, status=0 if fault.kind in SILENT else response.status)
        return response

    async def _answer(
        self, request: web.Request, entry: Entry, asked: ModelRequest, answer: Answer
    ) -> web.StreamResponse:
        entry.accepted = True
        if not asked.stream:
            self._journal.end(entry, status=200)
            return _json(self._whole(asked, answer))
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **_headers()})
        await stream.prepare(request)
        events = openai_shapes.response_events if asked.api == "responses" else openai_shapes.completion_events
        for event in events(asked, answer):
            await stream.write(event)
            if self._settings.model_pace_seconds:
                await pause(self._settings.model_pace_seconds, self._closing)
        self._journal.end(entry, status=200)
        return stream

    def _whole(self, asked: ModelRequest, answer: Answer) -> Json:
        build = openai_shapes.response if asked.api == "responses" else openai_shapes.completion
        return build(asked, answer)

    def _check_key(self, request: web.Request) -> None:
        if request.headers.get("Authorization", "") != f"Bearer {self._settings.api_key}":
            text = (
                "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
            )
            raise ModelError(401, text, code="invalid_api_key")

    def _check_model(self, name: str) -> None:
        if self._settings.models and name not in self._settings.models:
            text = f"The model '{name}' does not exist or you do not have access to it."
            raise ModelError(404, text, code="model_not_found")

    def _check_length(self, asked: ModelRequest) -> None:
        if 0 < self._settings.context_characters < asked.characters:
            raise _too_long()


def _spoken(fault: Fault) -> Answer:
    words = fault.body or "This answer was going to be longer, but"
    if fault.kind == "refusal":
        return Answer(fault.body or REFUSAL, "refusal")
    if fault.kind == "incomplete":
        return Answer(words, "length")
    if fault.kind == "content_filter":
        return Answer(fault.body, "content_filter")
    return Answer("")


def _too_long() -> ModelError:
    text = "Your input exceeds the context window of this model. Please adjust your input and try again."
    return ModelError(400, text, code="context_length_exceeded", param="input")


async def _awaited(step: Awaitable[Step]) -> Step:
    return await step


async def _read_json(request: web.Request) -> Json:
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(await request.read())
    if not isinstance(body, dict):
        raise ModelError(400, "We could not parse the JSON body of your request.")
    return body


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "system"}


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers={**_headers(), **(headers or {})})


def _headers() -> dict[str, str]:
    return {"x-request-id": "req_" + secrets.token_hex(16), "openai-version": "2020-10-01"}
