"""Read a model's answer out of JSON of which nothing is certain: Responses, Chat Completions and their look-alikes."""

import json
import re
from typing import Any

from bot.domain import Answer
from bot.errors import Kind, ServiceError
from bot.model.failures import from_error

Part = dict[str, Any]

_THOUGHTS = re.compile(r"\A<think>.*?(?:</think>|\Z)", re.DOTALL)  # what some open models say to themselves
_UNFINISHED = ("incomplete", "failed", "cancelled", "in_progress", "queued")


def read_answer(content: bytes, request_id: str | None) -> Answer:
    """Return the answer in the body of an HTTP 200 of either API.

    A refusal in words is an answer. One that was cut off ends in "…". Raises ServiceError: LATER for what is empty,
    unfinished or malformed, MESSAGE for the content filter and a refusal without words, or as its own error says.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    said: list[list[Part]] = []
    match body:
        case {"error": error} if error:
            raise from_error(error, request_id=request_id)
        case {"choices": [{"error": error}, *_]} if error:
            raise from_error(error, request_id=request_id)
        case {"choices": [{"message": dict() as message, **choice}, *_]}:
            said = [_parts(message.get("content")), [{"refusal": message.get("refusal")}]]
            end = choice.get("finish_reason")
        case {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}:
            end = "content_filter"
        case {"output": list() as items}:
            messages = (item for item in items if isinstance(item, dict) and item.get("type") == "message")
            said = [_parts(message.get("content")) for message in messages]
            end = "length" if body.get("status") in _UNFINISHED else "stop"
        case _:
            end = "malformed"
    text = "\n\n".join(filter(None, ("".join(map(_words, parts)).strip() for parts in said)))
    text = _THOUGHTS.sub("", text).strip()
    if text and end != "content_filter":
        return Answer((f"{text}…" if end == "length" else text,), *_tokens(body.get("usage")), request_id)
    if end == "content_filter" or any(part.get("refusal") is not None for parts in said for part in parts):
        raise ServiceError("model", Kind.MESSAGE, "the model refuses to answer", code="refusal", request_id=request_id)
    code = "malformed" if end == "malformed" else "empty"
    raise ServiceError("model", Kind.LATER, f"the model's answer is {code}", code=code, request_id=request_id)


def _parts(content: object) -> list[Part]:
    parts = content if isinstance(content, list) else [{"text": content}]
    return [part for part in parts if isinstance(part, dict)]


def _words(part: Part) -> str:
    return next((words for words in (part.get("text"), part.get("refusal")) if isinstance(words, str)), "")


def _tokens(usage: object) -> tuple[int, int]:
    match usage:
        case {"input_tokens": int(read), "output_tokens": int(written)} | {
            "prompt_tokens": int(read),
            "completion_tokens": int(written),
        }:
            return min(max(read, 0), 2**31), min(max(written, 0), 2**31)
    return 0, 0
