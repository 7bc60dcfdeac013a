"""What bot/web/openapi.json says of an answer, held against the answer."""

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from bot.web.api import OPENAPI
from tests.flow.listeners import Reply


@cache
def document() -> dict[str, Any]:
    """Return the document, in which an object has the members that it names and no others."""
    whole: dict[str, Any] = json.loads(OPENAPI.read_text("utf-8"))
    _close(whole["components"])
    return whole


def operations() -> set[tuple[str, str]]:
    """Return method and path of everything that the document describes."""
    return {(method.upper(), path) for path, item in document()["paths"].items() for method in item}


def check(method: str, path: str, reply: Reply) -> None:
    """Check status, content type and body of an answer, where the document describes its path and method."""
    path = path.partition("?")[0]
    # Words before parameters: /api/users/{user_id}/pause is no /api/users/{user_id}.
    for template in sorted(document()["paths"], key=lambda known: known.count("{")):
        operation = document()["paths"][template].get(method.lower())
        if operation and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            break
    else:
        return
    found = _resolved(operation["responses"][str(reply.status)])
    kind = reply.headers.get("content-type", "").partition(";")[0]
    assert kind in found.get("content", {"": None}), f"{method} {template} {reply.status} is no {kind}"
    if kind.endswith("json"):
        schema = found["content"][kind]["schema"] | {"components": document()["components"]}
        Draft202012Validator(schema).validate(json.loads(reply.body))


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = document()
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _close(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node and isinstance(node["properties"], dict):
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _close(value)
    elif isinstance(node, list):
        for value in node:
            _close(value)
