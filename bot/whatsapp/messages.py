"""Turn one message of a webhook into an Inbound: what it says in words, and whether it wants an answer."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from bot.domain import Identity, Inbound
from bot.whatsapp.clean import Json, compact, moment, objects, opaque, section, text

_MANY = 50  # cards or items of one message that are read
_MEDIA = ("image", "video", "document", "sticker", "audio")  # a sound has no caption, which reads ""
# What Meta can't pass on may be no message at all; an edit is one: its author should know that it wasn't read.
_NO_MESSAGES = ("reaction", "pin", "keep_in_chat", "poll_update")


def inbound(message: Json, wamid: str, sender: Identity, phone_number_id: str) -> Inbound:
    """Translate a message whose id and sender are known."""
    kind, content, target = type_of(message), message, None
    if kind in ("edit", "revoke"):
        change = section(message, kind)
        edited = section(change, "message")
        target = opaque(change.get("original_message_id")) if edited or kind == "revoke" else None
        if target and kind == "edit":
            kind, content = type_of(edited), edited
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


def _location(message: Json) -> str:
    place = section(message, "location")
    words = _join(", ", place.get("name"), place.get("address"))
    point = _join(", ", place.get("latitude"), place.get("longitude"))
    return _join(" ", (words or point) and "📍", words, f"({point})" if words and point else point)


def _contacts(message: Json) -> str:
    lines = []
    for card in objects(message, "contacts")[:_MANY]:
        name = section(card, "name")
        who = text(name.get("formatted_name")) or _join(" ", name.get("first_name"), name.get("last_name"))
        phones = [phone.get("phone") or phone.get("wa_id") for phone in objects(card, "phones")[:_MANY]]
        lines.append(_join(": ", who or section(card, "org").get("company"), _join(", ", *phones)))
    return _join("\n", *lines)


def _order(message: Json) -> str:
    order = section(message, "order")
    lines = [order.get("text")]
    for item in objects(order, "product_items")[:_MANY]:
        product = _join(" × ", item.get("quantity"), item.get("product_retailer_id"))
        price = _join(" ", item.get("item_price"), item.get("currency"))
        lines.append(f"{product} ({price})" if price else product)
    return _join("\n", *lines)


def _interactive(message: Json) -> str | None:
    interactive = section(message, "interactive")
    if reply := section(interactive, "button_reply") or section(interactive, "list_reply"):
        return _join(" – ", reply.get("title"), reply.get("description")) or text(reply.get("id"))
    if form := section(interactive, "nfm_reply"):
        filled = text(form.get("response_json"))
        try:
            answers = json.loads(filled)
        except (ValueError, RecursionError):
            return filled
        return _fields(answers) if isinstance(answers, dict) else filled
    if interactive.get("type") == "product":  # since August 2026: a customer shares a product of the catalogue
        return _fields(section(interactive, "product"))
    return None  # call_permission_reply, or a message whose content Meta left out


def _fields(fields: Json) -> str:
    lines = []
    for key, value in fields.items():
        if key != "flow_token" and value not in (None, ""):  # the token is Meta's own, nobody filled it in
            lines.append(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)


def _join(between: str, *values: object) -> str:
    return between.join(filter(None, map(text, values)))


READERS: Final[Mapping[str, Callable[[Json], str | None]]] = {
    "text": lambda message: text(section(message, "text").get("body")),
    **dict.fromkeys(_MEDIA, lambda message: text(section(message, message["type"]).get("caption"))),
    "location": _location,
    "contacts": _contacts,
    "order": _order,
    "button": lambda message: text((button := section(message, "button")).get("text") or button.get("payload")),
    "interactive": _interactive,
    "reaction": lambda message: text(section(message, "reaction").get("emoji"), 64),
    "unsupported": lambda message: None if section(message, "unsupported").get("type") in _NO_MESSAGES else "",
    "unknown": lambda message: "" if message.get("errors") else None,  # how Meta wrote `unsupported` before
}
