"""What hidden personal data looks like: numbers lose their middle, texts all but how long they are.

`[admin] privacy = "masked"`; the one place that knows which members of an answer are personal.
"""

import re
from typing import Any

from bot.web.guard import Visitor

LENGTHS = {20: "a few words", 200: "short", 2000: "long"}
NUMBER = re.compile(r"\+?[0-9](?:[ ().\-/]{0,2}[0-9]){6,}")
DATE = re.compile("20[0-9]{2}-[01][0-9]-[0-3][0-9]( [0-2][0-9])?$")  # is none: of $now, in the instructions
# What an error repeats stands in quotes, or behind one that was cut off. An apostrophe inside a word is none; any other
# may end what began with one, so the last does: rather too much is hidden than too little.
QUOTED = (
    re.compile(r'(")(?:\\.|[^"\\])*\\?("|\Z)', re.DOTALL),
    re.compile(r"(`)[^`]*(`|\Z)"),
    re.compile(r"([“„«])[^”“»]*([”“»]|\Z)"),
    re.compile(r"((?<!\w)[bu]?['‘])(?:.+(['’])(?!\w)|.+)", re.DOTALL),
)


def shown(visitor: Visitor, data: Any) -> Any:
    """Return what may be shown to who asks: `data`, or the same with people's numbers and texts hidden."""
    return hide(data) if visitor.hides else data


def hide(data: Any, name: str = "") -> Any:
    """Return a copy of an answer in which people's numbers and texts are hidden, wherever they stand in it."""
    if isinstance(data, dict):
        return {key: value if key in NOBODYS else hide(value, key) for key, value in data.items()}
    if isinstance(data, list):
        return [hide(value, name) for value in data]
    return MASKS[name](data) if isinstance(data, str) and name in MASKS else data


def _number(text: str) -> str:
    return f"{text[: 2 + text.startswith('+')]}…{text[-4:]}" if len(text) > 8 else "…"


def _numbers(text: str) -> str:
    return NUMBER.sub(lambda found: found[0] if DATE.match(found[0]) else _number(found[0]), text)


def _text(text: str) -> str:
    words = next((words for most, words in LENGTHS.items() if len(text) <= most), "very long")
    return f"••• ({words})" if text else text


def _error(text: str) -> str:
    text = _numbers(text)
    for quoted in QUOTED:
        text = quoted.sub(r"\1•••\2", text)
    return text


NOBODYS = {"warnings"}  # what WhatsApp says of the account
MASKS = dict.fromkeys(("phone", "bsuid", "wamid"), _number)  # a wamid has the number inside, in base64
MASKS |= dict.fromkeys(("body", "text", "quotes", "payload"), _text)
MASKS |= {"name": _numbers, "instructions": _numbers, "error": _error}
