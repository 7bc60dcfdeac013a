"""Build webhook bodies as Meta sends them: pure functions from values to JSON.

Shapes follow Meta's published examples (facebook/openapi) and the 2026 business-scoped user ids.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

Json = dict[str, Any]

PHONE_NUMBER_ID = "106540352242922"
WABA_ID = "102290129340398"
DISPLAY_PHONE_NUMBER = "15550783881"


class Head(TypedDict, total=False):
    """Name what every message has: who wrote it (phone, BSUID or both), its id, its second, what it quotes."""

    wa_id: str
    user_id: str | None
    wamid: str
    timestamp: int | str
    context: Json


def new_wamid() -> str:
    """Make an id as unique as Meta's, also across restarts of the emulator."""
    return "wamid." + base64.b64encode(b"\x1c\x18\x0b" + secrets.token_bytes(24)).decode()


def message(kind: str, /, members: Json, **head: Unpack[Head]) -> Json:
    """Put a message together from its type, the members of that type and its head."""
    identity: Json = {}
    if head.get("wa_id"):
        identity["from"] = head["wa_id"]
    if head.get("user_id"):
        identity["from_user_id"] = head["user_id"]
    if head.get("context"):
        identity["context"] = head["context"]
    stamp = str(head.get("timestamp", int(time.time())))
    return {**identity, "id": head.get("wamid") or new_wamid(), "timestamp": stamp, "type": kind, **members}


def text_message(*, body: str, **head: Unpack[Head]) -> Json:
    """Build a text."""
    return message("text", {"text": {"body": body}}, **head)


def image_message(*, media_id: str = "1003383421387256", caption: str = "", **head: Unpack[Head]) -> Json:
    """Build a picture, with a caption where one is given."""
    image: Json = {"mime_type": "image/jpeg", "sha256": _sha256(media_id), "id": media_id}
    if caption:
        image = {"caption": caption, **image}
    return message("image", {"image": image}, **head)


def audio_message(*, media_id: str = "1908647269898587", voice: bool = True, **head: Unpack[Head]) -> Json:
    """Build a sound; `voice` makes it a voice note (there is no type of that name)."""
    audio = {"mime_type": "audio/ogg; codecs=opus", "sha256": _sha256(media_id), "id": media_id, "voice": voice}
    return message("audio", {"audio": audio}, **head)


def location_message(
    *, latitude: float = 19.4326, longitude: float = -99.1332, name: str = "", **head: Unpack[Head]
) -> Json:
    """Build a place, named where a name is given."""
    place: Json = {"latitude": latitude, "longitude": longitude}
    return message("location", {"location": place | ({"name": name} if name else {})}, **head)


def button_message(*, text: str, payload: str = "", **head: Unpack[Head]) -> Json:
    """Build the press of a template's button."""
    return message("button", {"button": {"payload": payload or text, "text": text}}, **head)


def button_reply_message(*, title: str, reply_id: str = "reply-1", **head: Unpack[Head]) -> Json:
    """Build the press of an interactive button."""
    reply = {"type": "button_reply", "button_reply": {"id": reply_id, "title": title}}
    return message("interactive", {"interactive": reply}, **head)


def list_reply_message(*, title: str, description: str = "", reply_id: str = "row-1", **head: Unpack[Head]) -> Json:
    """Build the choice from an interactive list."""
    row = {"id": reply_id, "title": title, "description": description}
    return message("interactive", {"interactive": {"type": "list_reply", "list_reply": row}}, **head)


def reaction_message(*, message_id: str, emoji: str = "👍", **head: Unpack[Head]) -> Json:
    """Build a reaction; an empty emoji takes one away."""
    reaction = {"message_id": message_id} | ({"emoji": emoji} if emoji else {})
    return message("reaction", {"reaction": reaction}, **head)


def unsupported_message(*, kind: str = "unknown", **head: Unpack[Head]) -> Json:
    """Build what Meta can't pass on; `kind` is what it was, e.g. `edit`."""
    title = "Message type unknown"
    details = {"details": "Message type is currently not supported."}
    errors = [{"code": 131051, "title": title, "message": title, "error_data": details}]
    return message("unsupported", {"errors": errors, "unsupported": {"type": kind}}, **head)


def edit_message(*, original: str, body: str, **head: Unpack[Head]) -> Json:
    """Build the correction of an earlier text (coexistence numbers only)."""
    edited = {"type": "text", "text": {"body": body}}
    return message("edit", {"edit": {"original_message_id": original, "message": edited}}, **head)


def revoke_message(*, original: str, **head: Unpack[Head]) -> Json:
    """Build the deletion of an earlier message (coexistence numbers only)."""
    return message("revoke", {"revoke": {"original_message_id": original}}, **head)


def changed_number_message(
    *, new_wa_id: str, new_user_id: str = "", previous_user_id: str = "", **head: Unpack[Head]
) -> Json:
    """Build the notice that a person took another number; `wa_id` of the head is the old one."""
    body = f"User changed from {head.get('wa_id', '')} to {new_wa_id}"
    system: Json = {"body": body, "wa_id": new_wa_id, "type": "user_changed_number"}
    if new_user_id:
        system |= {"user_id": new_user_id, "previous_user_id": previous_user_id}
    head.pop("user_id", None)
    return message("system", {"system": system}, **head)


def changed_user_id_message(*, new_user_id: str, previous_user_id: str, **head: Unpack[Head]) -> Json:
    """Build the notice that a BSUID was replaced; it names no phone at all."""
    body = f"User changed from {previous_user_id} to {new_user_id}"
    system = {
        "body": body,
        "user_id": new_user_id,
        "previous_user_id": previous_user_id,
        "type": "user_changed_user_id",
    }
    head.pop("user_id", None)
    head.pop("wa_id", None)
    return message("system", {"system": system}, **head)


def status(
    *,
    wamid: str,
    status: str,
    wa_id: str = "",
    user_id: str | None = None,
    timestamp: int | str | None = None,
    callback_data: str = "",
    errors: Iterable[Json] = (),
) -> Json:
    """Build what became of a message we sent: sent, delivered, read, played or failed."""
    stamp = int(time.time()) if timestamp is None else timestamp
    built: Json = {"id": wamid, "status": status, "timestamp": str(stamp)}
    if wa_id:
        built["recipient_id"] = wa_id
    if user_id:
        built["recipient_user_id"] = user_id
    if callback_data:
        built["biz_opaque_callback_data"] = callback_data
    if status in ("sent", "delivered"):
        built["pricing"] = {
            "billable": False,
            "pricing_model": "PMP",
            "type": "free_customer_service",
            "category": "service",
        }
    if listed := list(errors):
        built["errors"] = listed
    return built


def contact(*, name: str = "", wa_id: str = "", user_id: str | None = None, username: str = "") -> Json:
    """Build the card of a sender as it travels beside the messages."""
    profile = {key: value for key, value in (("name", name), ("username", username)) if value}
    card: Json = {"profile": profile} if profile else {}
    if wa_id:
        card["wa_id"] = wa_id
    if user_id:
        card["user_id"] = user_id
    return card


def webhook(
    phone_number_id: str = PHONE_NUMBER_ID,
    *,
    messages: Iterable[Json] = (),
    statuses: Iterable[Json] = (),
    contacts: Iterable[Json] = (),
    display_phone_number: str = DISPLAY_PHONE_NUMBER,
    waba_id: str = WABA_ID,
) -> Json:
    """Wrap messages and statuses of one business number into one webhook body."""
    metadata = {"display_phone_number": display_phone_number, "phone_number_id": phone_number_id}
    value: Json = {"messaging_product": "whatsapp", "metadata": metadata}
    for key, items in (("contacts", list(contacts)), ("messages", list(messages)), ("statuses", list(statuses))):
        if items:
            value[key] = items
    change = {"value": value, "field": "messages"}
    return {"object": "whatsapp_business_account", "entry": [{"id": waba_id, "changes": [change]}]}


def account_webhook(
    field: str, value: Json, *, waba_id: str = WABA_ID, timestamp: int | None = None, display_phone_number: str = ""
) -> Json:
    """Build what Meta tells of the account, e.g. `("phone_number_quality_update", {"event": "FLAGGED"})`."""
    number = {"display_phone_number": display_phone_number} if display_phone_number else {}
    stamp = int(time.time()) if timestamp is None else timestamp
    entry = {"id": waba_id, "time": stamp, "changes": [{"value": {**number, **value}, "field": field}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def encode(payload: Any) -> bytes:
    r"""Write JSON as Meta does: compact, non-ASCII as \uXXXX and / as \/ (which no re-encoding gives back)."""
    return json.dumps(payload, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def sign(secret: str, body: bytes) -> str:
    """Give the X-Hub-Signature-256 header of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
