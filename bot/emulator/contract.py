"""Refuse what Meta refuses in POST /messages: texts, templates, and read marks with or without a typing indicator.

The rules are those of Meta's published schema (v23.0) with its allOf merged, plus `recipient`,
`biz_opaque_callback_data` and `typing_indicator`, which it lacks.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from bot.emulator.graph_errors import GraphError

BODY_LIMIT = 4096
CALLBACK_DATA_LIMIT = 512
PARAMETER_LIMIT = 1024

_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{4,24}")
_WAMID = re.compile(r"wamid\..+")

_T = TypeVar("_T")
_NAMES: dict[type, str] = {str: "a string", bool: "a boolean", dict: "an object", list: "a list"}


def check_send(body: dict[str, Any]) -> None:
    """Check a text or a template to one person. Raises GraphError with the parameter at fault."""
    _product(body)
    kind = _required(body, "type", str)
    if kind not in ("text", "template"):
        raise GraphError(131051, f"Message type {kind!r} is not supported by this emulator.")
    keys = {"messaging_product", "recipient_type", "to", "recipient", "type", "context", "biz_opaque_callback_data"}
    _no_other_keys(body, keys | {kind}, "")
    if _required(body, "recipient_type", str) not in ("individual", "group"):
        raise _invalid("recipient_type", "must be one of {individual, group}")
    _recipient(body)
    _template(body) if kind == "template" else _text(body)
    context = _optional(body, "context", dict)
    if context is not None:
        _optional(context, "message_id", str)
    callback = _optional(body, "biz_opaque_callback_data", str)
    if callback is not None and len(callback) > CALLBACK_DATA_LIMIT:
        raise GraphError(100, f"Param biz_opaque_callback_data must be at most {CALLBACK_DATA_LIMIT} characters long.")


def words_of(body: dict[str, Any]) -> str:
    """Give what a person will read of a send that may be wrong: the text, or what fills a template in."""
    try:
        if body.get("type") == "template":
            return str(body["template"]["components"][0]["parameters"][0]["text"])
        return str(body["text"].get("body", ""))
    except (AttributeError, IndexError, KeyError, TypeError):
        return ""


def _text(body: dict[str, Any]) -> None:
    text = _required(body, "text", dict)
    _no_other_keys(text, {"body", "preview_url"}, "text")
    words = _required(text, "body", str, "text.body")
    if not words.strip():
        raise GraphError(131008, "Parameter 'text.body' is mandatory and can't be empty.")
    if len(words) > BODY_LIMIT:
        raise GraphError(100, f"Param text['body'] must be at most {BODY_LIMIT} characters long.")
    _optional(text, "preview_url", bool)


def _template(body: dict[str, Any]) -> None:
    """Check a template whose body has one parameter, the only kind there is here."""
    template = _required(body, "template", dict)
    _no_other_keys(template, {"name", "language", "components"}, "template")
    _required(template, "name", str, "template.name")
    _required(_required(template, "language", dict, "template.language"), "code", str, "template.language.code")
    match _optional(template, "components", list):
        case [{"type": "body", "parameters": [{"type": "text"} as given]}]:
            words = _required(given, "text", str)
        case _:
            raise GraphError(132000, "body: number of localizable_params does not match the expected number (1)")
    if re.search(r"[\n\t]| {5}", words):
        raise GraphError(100, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces")
    if not 0 < len(words) <= PARAMETER_LIMIT:
        raise GraphError(132005, f"Translated text must have 1 to {PARAMETER_LIMIT} characters")


def check_read(body: dict[str, Any], known: Callable[[str], bool]) -> None:
    """Check a read mark. Raises GraphError; `known` says whether a wamid may be marked."""
    _product(body)
    if _required(body, "status", str) != "read":
        raise _invalid("status", "must be one of {read}")
    wamid = _required(body, "message_id", str)
    if not _WAMID.fullmatch(wamid) or not known(wamid):
        raise _invalid("message_id", "is not the id of a message to this number")
    typing = _optional(body, "typing_indicator", dict)
    if typing is not None and _required(typing, "type", str, "typing_indicator.type") != "text":
        raise _invalid("typing_indicator.type", "must be one of {text}")


def _product(body: dict[str, Any]) -> None:
    if "messaging_product" not in body:
        raise GraphError(100, message="(#100) The parameter messaging_product is required.")
    if body["messaging_product"] != "whatsapp":
        raise GraphError(100, message="(#100) Param messaging_product must be one of {WHATSAPP}")


def _recipient(body: dict[str, Any]) -> None:
    to = _optional(body, "to", str)
    recipient = _optional(body, "recipient", str)
    if to is None and recipient is None:
        raise GraphError(100, message="(#100) The parameter to is required.")
    if to is None and not _BSUID.fullmatch(recipient or ""):
        raise _invalid("recipient", "is not a business-scoped user id")
    if to is not None and not _PHONE.fullmatch(to):
        raise _invalid("to", "is not a phone number")


def _no_other_keys(value: dict[str, Any], known: set[str], where: str) -> None:
    for key in value:
        if key not in known:
            raise GraphError(100, message=f'(#100) Unexpected key "{key}" on param "{where or "message"}".')


def _required(value: dict[str, Any], key: str, kind: type[_T], name: str = "") -> _T:
    found = _optional(value, key, kind)
    if found is None:
        raise GraphError(131008, f"Parameter '{name or key}' is mandatory.")
    return found


def _optional(value: dict[str, Any], key: str, kind: type[_T]) -> _T | None:
    if key not in value:
        return None
    found = value[key]
    if not isinstance(found, kind):
        raise _invalid(key, f"must be {_NAMES[kind]}")
    return found


def _invalid(parameter: str, what: str) -> GraphError:
    return GraphError(131009, f"Parameter '{parameter}' {what}.")
