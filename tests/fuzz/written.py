"""Write JSON that no encoder would: raw fragments, keys that stand twice, numbers without end."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Raw:
    """Stand for itself in the bytes, whether that is JSON or not."""

    text: str


@dataclass(slots=True)
class Pairs:
    """An object as a list of pairs, so that a key can stand twice."""

    items: list[tuple[str, Any]] = field(default_factory=list)


def write(value: Any, *, ascii_only: bool = True, slashes: bool = True) -> bytes:
    r"""Give the bytes: as Meta writes them (\uXXXX and \/) unless told otherwise.

    Lone surrogates have no UTF-8: they stay escaped.
    """
    return _text(value, ascii_only, slashes).encode()


def _text(value: Any, ascii_only: bool, slashes: bool) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, list):
        return f"[{','.join(_text(item, ascii_only, slashes) for item in value)}]"
    if isinstance(value, dict | Pairs):
        pairs = value.items if isinstance(value, Pairs) else value.items()
        inside = (f"{_text(key, ascii_only, slashes)}:{_text(held, ascii_only, slashes)}" for key, held in pairs)
        return "{" + ",".join(inside) + "}"
    if not isinstance(value, str):
        return json.dumps(value)
    plain = ascii_only or any("\ud800" <= char <= "\udfff" for char in value)
    told = json.dumps(value, ensure_ascii=plain)
    return told.replace("/", "\\/") if slashes else told
