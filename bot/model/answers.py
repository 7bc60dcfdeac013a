"""Read a model's answer out of JSON of which nothing is certain: Responses, Chat Completions and their look-alikes."""

import json
import re
from typing import Any

from bot.domain import Answer
from bot.errors import Kind
from bot.model.failures import failed, from_error

_THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)  # what some open models say to themselves


def read_answer(content: bytes, request_id: str | None) -> Answer:
    """Return the answer in the body of an HTTP 200 of either API.

    A refusal in words is an answer. One that was cut off ends in "…". Raises ServiceError: LATER for what is empty,
    unfinished or malformed, MESSAGE for the content filter and a refusal without words, or as its own error says.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    match body:
        case {"error": error} if error:
            raise from_error(error, request_id=request_id)
        case {"choices": [{"error": error}, *_]} if error:
            raise from_error(error, request_id=request_id)
        case {"choices": [{"message": dict() as message, **choice}, *_]}:
            texts = [_THOUGHTS.sub("", _text(message.get("content"))), _text(message.get("refusal"))]
            end, refused = str(choice.get("finish_reason")), message.get("refusal") is not None
        case {"output": list() as items}:
            contents = [item.get("content") for item in items if _is(item, "message")]
            texts = [_text(content) for content in contents]
            end = _end_of_response(body)
            refused = any(_is(part, "refusal") for content in contents if isinstance(content, list) for part in content)
        case _:
            raise failed(Kind.LATER, "the model's answer is malformed", code="malformed", request_id=request_id)
    text = "\n\n".join(filter(None, map(str.strip, texts)))
    if end == "content_filter" or (refused and not text):
        raise failed(Kind.MESSAGE, "the model refuses to answer", code="refusal", request_id=request_id)
    if not text:
        raise failed(Kind.LATER, "the model's answer is empty", code="empty", request_id=request_id)
    return Answer((f"{text}…" if end == "length" else text,), *_tokens(body.get("usage")), request_id)


def _end_of_response(body: dict[str, Any]) -> str:
    """Return what Chat Completions would call it: "stop", "length" (also where it broke off), "content_filter"."""
    match body:
        case {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}:
            return "content_filter"
        case {"status": "incomplete" | "failed" | "cancelled" | "in_progress" | "queued"}:
            return "length"
    return "stop"


def _is(item: object, kind: str) -> bool:
    return isinstance(item, dict) and item.get("type") == kind


def _text(content: object) -> str:
    """Return a text, or the texts of a list of parts; of anything else nothing."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        texts = [part.get("refusal") if _is(part, "refusal") else part.get("text") for part in parts]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _tokens(usage: object) -> tuple[int, int]:
    match usage:
        case {"input_tokens": int(read), "output_tokens": int(written)} | {
            "prompt_tokens": int(read),
            "completion_tokens": int(written),
        }:
            return min(max(read, 0), 2**31), min(max(written, 0), 2**31)
    return 0, 0
