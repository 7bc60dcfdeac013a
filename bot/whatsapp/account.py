"""Put into words what WhatsApp tells of the account, its numbers and templates: Meta's codes -> account.json.

The words there are for whoever owns the shop. By field and code, `*` for any other code; a ! stands before what is
grave: the owner should look at it. Source: Meta's webhook reference, as of 2026.
"""

import json
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from bot.domain import AccountWarning
from bot.whatsapp.clean import Json, moment, telling, text

WORDS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_NEWS = ("account_", "phone_number_", "business_", "message_template_", "template_")
_CODES = (  # what a field's code may stand under, the more telling ones first
    *("waba_ban_state", "new_quality_score", "new_status", "alert_state", "alert_type", "decision", "event"),
    "alert_severity",
)
_DATES = ("expiration", "disable_date")
_PARTS_MOST = 200


def account_warning(field: str, value: Json, at: datetime | None) -> AccountWarning | None:
    """Return what a change of this field means to the owner; None for fields that tell of something else."""
    words = WORDS.get(field) or (WORDS["*"] if field.startswith(_NEWS) else None)
    if words is None:
        return None
    said = _said(value)
    text_ = words[next((said[key] for key in _CODES if said.get(key) in words), "*")]
    codes = {key: code.replace("_", " ").lower() for key, code in said.items() if re.fullmatch("[A-Z0-9_, ]{3,}", code)}
    names = {key: name for key, name in said.items() if key not in codes or "name" in key}
    shown = defaultdict(lambda: "?", codes | names | {"what": ", ".join(codes.values()) or "something new"})
    return AccountWarning(field, text_.lstrip("!").format_map(shown)[:400], text_.startswith("!"), at)


def _said(value: Json) -> dict[str, str]:
    """Return the texts and numbers of a value by their key, however deep they stand; lists joined by commas."""
    said: dict[str, str] = {}
    waiting: list[tuple[str, object]] = [("", value)]
    for _ in range(_PARTS_MOST):
        key, part = waiting.pop() if waiting else ("", None)
        if isinstance(part, dict | list):
            inside = part.items() if isinstance(part, dict) else ((key, item) for item in part)
            waiting += reversed([*inside][:_PARTS_MOST])
        elif shown := _day(part) if key in _DATES else telling(part):
            said[key] = f"{said[key]}, {shown}" if key in said else shown
    return said


def _day(value: object) -> str:
    when, day = moment(value), re.match(r"\d{4}-\d\d-\d\d", text(value, 64))
    return f"{when:%Y-%m-%d}" if when else day[0] if day else telling(value)
