"""Give OpenAI's JSON: what a request asks, and the two APIs' answers, streams and errors."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bot.emulator.payloads import Json


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Hold what a model is asked, whichever API it came by. `messages` are (role, text) pairs, oldest first."""

    api: str  # "responses" or "chat_completions"
    model: str
    instructions: str
    messages: tuple[tuple[str, str], ...]
    stream: bool
    body: Json

    @property
    def text(self) -> str:
        """Give the last thing that the user said."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def characters(self) -> int:
        """Count what has to fit into the context."""
        return len(self.instructions) + sum(len(text) for _, text in self.messages)


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a model says after `seconds`. `end`: stop, length (cut off), content_filter or refusal."""

    text: str
    end: str = "stop"
    seconds: float = 0.0


class ModelError(Exception):
    """Refuse a model call with OpenAI's error body and perhaps headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or ""
        self.headers = headers or {}
        kind = "server_error" if status >= 500 else "invalid_request_error"
        if status == 429:
            kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
        self.body: Json = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def read_request(api: str, body: Json) -> ModelRequest:
    """Read a request of either API. Raises ModelError (400) where something it needs is missing."""
    key = "input" if api == "responses" else "messages"
    for name in ("model", key):
        if not body.get(name):
            text = f"Missing required parameter: '{name}'."
            raise ModelError(400, text, code="missing_required_parameter", param=name)
    items = [{"role": "user", "content": body[key]}] if isinstance(body[key], str) else body[key]
    pairs = [(str(item.get("role", "")), _text(item.get("content", ""))) for item in items if isinstance(item, dict)]
    told = [text for role, text in pairs if role in ("system", "developer")]
    instructions = "\n".join([str(body.get("instructions") or ""), *told]).strip()
    said = tuple(pair for pair in pairs if pair[0] not in ("system", "developer"))
    return ModelRequest(api, str(body["model"]), instructions, said, bool(body.get("stream")), body)


def response(asked: ModelRequest, answer: Answer) -> Json:
    """Build the whole answer of POST /v1/responses."""
    if answer.end == "refusal":
        part: Json = {"type": "refusal", "refusal": answer.text}
    else:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.end)
    status = "incomplete" if cut else "completed"
    item = {"id": _id("msg"), "type": "message", "status": status, "role": "assistant", "content": [part]}
    return {
        "id": _id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": asked.instructions or None,
        "metadata": {},
        "model": asked.model,
        "output": [item] if answer.text else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "store": bool(asked.body.get("store", True)),
        "usage": _usage(asked, answer),
    }


def response_events(asked: ModelRequest, answer: Answer) -> Iterator[bytes]:
    """Build the event stream of POST /v1/responses, word by word."""
    whole = response(asked, answer)
    opening = whole | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[Json] = [{"type": f"response.{name}", "response": opening} for name in ("created", "in_progress")]
    for item in whole["output"]:
        part = item["content"][0]
        kind = part["type"]
        member = "refusal" if kind == "refusal" else "text"
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        empty = item | {"status": "in_progress", "content": []}
        events.append({"type": "response.output_item.added", "output_index": 0, "item": empty})
        events.append({"type": "response.content_part.added", **at, "part": part | {member: ""}})
        events += [{"type": f"response.{kind}.delta", **at, "delta": word} for word in _words(answer.text)]
        events.append({"type": f"response.{kind}.done", **at, member: answer.text})
        events.append({"type": "response.content_part.done", **at, "part": part})
        events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(events):
        yield f"event: {event['type']}\n".encode() + _data(event | {"sequence_number": number})


def completion(asked: ModelRequest, answer: Answer) -> Json:
    """Build the whole answer of POST /v1/chat/completions."""
    refused = answer.end == "refusal"
    message = {
        "role": "assistant",
        "content": None if refused else answer.text,
        "refusal": answer.text if refused else None,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return _chat_head(asked, "chat.completion") | {"choices": [choice], "usage": _chat_usage(asked, answer)}


def completion_events(asked: ModelRequest, answer: Answer) -> Iterator[bytes]:
    """Build the event stream of POST /v1/chat/completions, word by word."""
    head = _chat_head(asked, "chat.completion.chunk")
    member = "refusal" if answer.end == "refusal" else "content"
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", member: ""}, None)]
    deltas += [({member: word}, None) for word in _words(answer.text)]
    deltas.append(({}, _finish(answer)))
    for delta, finish in deltas:
        yield _data(head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield _data(head | {"choices": [], "usage": _chat_usage(asked, answer)})
    yield b"data: [DONE]\n\n"


def _chat_head(asked: ModelRequest, kind: str) -> Json:
    return {"id": _id("chatcmpl"), "object": kind, "created": int(time.time()), "model": asked.model}


def _finish(answer: Answer) -> str:
    return "stop" if answer.end == "refusal" else answer.end


def _usage(asked: ModelRequest, answer: Answer) -> Json:
    # About four characters make a token.
    read, written = asked.characters // 4 + 8, len(answer.text) // 4 + 1
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _chat_usage(asked: ModelRequest, answer: Answer) -> Json:
    usage = _usage(asked, answer)
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}
    return {theirs: usage[ours] for theirs, ours in names.items()}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _words(text: str) -> list[str]:
    head, *rest = text.split(" ")
    return [word for word in (head, *(f" {word}" for word in rest)) if word]


def _data(event: Json) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
