"""Read JSON that may hold anything into values that are bounded and safe to store.

A lone surrogate stored through json_each makes every later SELECT of the row fail, a NUL cuts a text off in SQLite.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

TEXT_LIMIT = 16_384  # WhatsApp's own texts end at 4,096
ID_LIMIT = 256
PAYLOAD_LIMIT = 64 * 1024  # bytes

_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_TELLING = re.compile(r"(?=[\w|-]*\d)[\w|-]{24,}|\+?\d[\d ()-]{5,}\d")  # tokens and other long ids; phone numbers
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def text(value: object, limit: int = TEXT_LIMIT) -> str:
    """Return a string (or a number as one), at most `limit` characters, without NULs and lone surrogates; else ""."""
    if type(value) not in (str, int, float):  # a bool is none of them
        return ""
    cut = str(value)[:limit]
    return cut if cut.isascii() and "\x00" not in cut else _UNSAFE.sub("\ufffd", cut)


def opaque(value: object) -> str | None:
    """Return an id as it is; None for no string and for one that is too long: cut off, two ids could become one."""
    return text(value) if isinstance(value, str) and 0 < len(value) <= ID_LIMIT else None


def section(holder: Json, key: str) -> Json:
    """Return the object under `key`, or an empty one."""
    found = holder.get(key)
    return found if isinstance(found, dict) else {}


def objects(holder: Json, key: str) -> list[Json]:
    """Return the objects of the list under `key`; whatever else stands there is left out."""
    found = holder.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def moment(value: object) -> datetime | None:
    """Read Unix seconds, a string or a number; None for what is no time between 1970 and 9999."""
    try:
        seconds = float(text(value, 24).encode())  # in bytes only ASCII digits count
        return datetime.fromtimestamp(int(seconds), UTC) if seconds >= 1 else None
    except (ArithmeticError, OSError, ValueError):
        return None


def compact(message: Json) -> str:
    """Write a message as JSON of at most 64 KiB; what doesn't fit leaves its id, its type and `"truncated": true`."""
    try:
        written = _ENCODER.encode(message)
    except (ValueError, RecursionError):  # 1e999, or nested deeper than can be written
        written = ""
    if not 0 < len(written.encode(errors="replace")) <= PAYLOAD_LIMIT:
        kind = text(message.get("type"), 64)
        return _ENCODER.encode({"truncated": True, "id": text(message.get("id"), ID_LIMIT), "type": kind})
    if "\\u0000" in written:
        written = _ESCAPED_NUL.sub("\\1\ufffd", written)
    return written if written.isascii() else _UNSAFE.sub("\ufffd", written)


def telling(value: object, limit: int = 200) -> str:
    """Return words of Meta's for a log line or an error: one line, bounded, long ids and phone numbers blotted out."""
    return _TELLING.sub("…", " ".join(text(value, 4 * limit).split()))[:limit]
