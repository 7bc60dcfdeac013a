"""Turn one message of a webhook into an Inbound: what it says in words, and whether it wants an answer."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from bot.domain import Identity, Inbound
from bot.whatsapp.clean import Json, compact, moment, objects, opaque, section, text

_MANY = 50  # cards or items of one message that are read
# What Meta can't pass on may be no message at all; an edit is one: its author should know that it wasn't read.
_NO_MESSAGES = ("reaction", "pin", "keep_in_chat", "poll_update")


def inbound(message: Json, wamid: str, sender: Identity, phone_number_id: str) -> Inbound:
    """Translate a message whose id and sender are known."""
    kind, content, target = type_of(message), message, None
    if kind in ("edit", "revoke"):
        change = section(message, kind)
        target, edited = opaque(change.get("original_message_id")), section(change, "message")
        if kind == "edit" and target and edited:
            kind, content = type_of(edited), edited
        elif kind == "edit":
            target = None  # without an original or its new words it changes nothing
    body, question = read(content)
    answerable = question and target is None and "group_id" not in message
    sent_at = moment(message.get("timestamp"))
    return Inbound(phone_number_id, wamid, sender, kind, body, compact(content), sent_at, answerable, target)


def type_of(message: Json) -> str:
    """Return the type as Meta names it, "unknown" where it names none."""
    return text(message.get("type"), 64) or "unknown"


def read(message: Json) -> tuple[str, bool]:
    """Return a message's readable text ("" where this version can't read it) and whether it is a question at all."""
    kind = type_of(message)
    reader = READERS.get(kind)
    body = reader(message) if reader else None
    return ("", False) if body is None else (text(body) if body.strip() else "", kind != "reaction")


def _caption(message: Json) -> str:
    return text(section(message, type_of(message)).get("caption"))


def _location(message: Json) -> str:
    place = section(message, "location")
    words, point = _join(", ", place, "name", "address"), _join(", ", place, "latitude", "longitude")
    words = f"{words} ({point})" if words and point else words or point
    return words and f"📍 {words}"


def _contacts(message: Json) -> str:
    lines = []
    for card in objects(message, "contacts")[:_MANY]:
        name = section(card, "name")
        who = text(name.get("formatted_name")) or _join(" ", name, "first_name", "last_name")
        phones = [text(phone.get("phone") or phone.get("wa_id"), 64) for phone in objects(card, "phones")[:_MANY]]
        known = {
            "who": who or text(section(card, "org").get("company")),
            "phones": ", ".join(filter(None, phones)),
        }
        lines.append(_join(": ", known, "who", "phones"))
    return "\n".join(filter(None, lines))


def _order(message: Json) -> str:
    order = section(message, "order")
    lines = [text(order.get("text"))]
    for item in objects(order, "product_items")[:_MANY]:
        product, price = (
            _join(" × ", item, "quantity", "product_retailer_id"),
            _join(" ", item, "item_price", "currency"),
        )
        lines.append(f"{product} ({price})" if price else product)
    return "\n".join(filter(None, lines))


def _interactive(message: Json) -> str | None:
    interactive = section(message, "interactive")
    if reply := section(interactive, "button_reply") or section(interactive, "list_reply"):
        return _join(" – ", reply, "title", "description") or text(reply.get("id"))
    if form := section(interactive, "nfm_reply"):
        return _form(form)
    if interactive.get("type") == "product":  # since August 2026: a customer shares a product of the catalogue
        return _lines(section(interactive, "product") or section(interactive, "action"))
    return None  # call_permission_reply, or a message whose content Meta left out


def _form(form: Json) -> str:
    filled = text(form.get("response_json"))
    try:
        answers = json.loads(filled)
    except (ValueError, RecursionError):
        return filled
    return _lines(answers) if isinstance(answers, dict) else filled


def _lines(fields: Json) -> str:
    lines = []
    for key, value in fields.items():
        said = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else text(value)
        if said and key != "flow_token":  # Meta's own, nothing that the user filled in
            lines.append(f"{key}: {said}")
    return "\n".join(lines)


def _join(between: str, holder: Json, *keys: str) -> str:
    return between.join(filter(None, (text(holder.get(key)) for key in keys)))


READERS: Final[Mapping[str, Callable[[Json], str | None]]] = {
    "text": lambda message: text(section(message, "text").get("body")),
    **dict.fromkeys(("image", "video", "document", "sticker", "audio"), _caption),  # a sound has no caption: ""
    "location": _location,
    "contacts": _contacts,
    "order": _order,
    "button": lambda message: text((button := section(message, "button")).get("text") or button.get("payload")),
    "interactive": _interactive,
    "reaction": lambda message: text(section(message, "reaction").get("emoji"), 64),
    "unsupported": lambda message: None if section(message, "unsupported").get("type") in _NO_MESSAGES else "",
    "unknown": lambda message: "" if message.get("errors") else None,  # how Meta wrote `unsupported` before
}
