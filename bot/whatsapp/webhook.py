"""Translate one webhook POST of Meta's into a Batch: every entry, change, message and status, each on its own."""

import json
import re
from collections.abc import Callable
from typing import get_args

from bot.domain import Batch, Delivery, Echo, IdentityChange, Inbound, Status
from bot.whatsapp.clean import Json, compact, moment, objects, opaque, section, telling, text
from bot.whatsapp.identity import Contacts, from_system, from_update
from bot.whatsapp.messages import READERS, inbound, read, type_of

_REMARKS = 20
_CALLBACK_LIMIT = 512  # Meta's own, for biz_opaque_callback_data
_DELIVERIES: dict[str, Delivery] = {delivery: delivery for delivery in get_args(Delivery)}
_EVENT = re.compile(r'"([A-Z][A-Z0-9_]{2,63})"')  # how Meta writes what happened: "ACCOUNT_RESTRICTION"
_KNOWN_TYPES = READERS.keys() | {"edit", "revoke", "request_welcome"}

# What one odd part of a webhook may raise while it is read. Whatever is forgotten here would be a 500, and Meta
# would deliver the whole batch again for seven days.
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Malformed(Exception):
    """The body is no JSON object: 400. The text says why in a few words."""


def _integer(digits: str) -> int | float:
    # int() refuses more than 4,300 digits with a ValueError, which would make a signed object a 400.
    return int(digits) if len(digits) < 20 else float(digits)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=lambda _: None)  # NaN is no JSON: never stored


def parse(body: bytes) -> Json:
    """Parse a webhook's body. Raises Malformed where it isn't a JSON object in UTF-8, or is nested too deeply."""
    try:
        payload = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    except ValueError:
        raise Malformed("not JSON") from None
    except RecursionError:
        raise Malformed("nested too deeply") from None
    if not isinstance(payload, dict):
        raise Malformed("not a JSON object")
    return payload


def translate(payload: Json, *, phone_number_id: str) -> Batch:
    """Read everything a webhook holds for one business number. Never raises for a JSON object.

    What belongs to another number, is unknown or can't be understood becomes a remark and leaves its neighbours alone.
    """
    translation = _Translation(phone_number_id)
    translation.each(payload, "entry", lambda entry: translation.each(entry, "changes", translation.change))
    return translation.batch()


class _Translation:
    def __init__(self, phone_number_id: str) -> None:
        self._phone_number_id = phone_number_id
        self._messages: list[Inbound] = []
        self._statuses: list[Status] = []
        self._changes: list[IdentityChange] = []
        self._echoes: list[Echo] = []
        self._remarks: dict[str, int] = {}

    def batch(self) -> Batch:
        remarks = tuple(f"{said} (x {count})" if count > 1 else said for said, count in self._remarks.items())
        messages, statuses = tuple(self._messages), tuple(self._statuses)
        return Batch(messages, statuses, tuple(self._changes), tuple(self._echoes), remarks)

    def remark(self, said: str) -> None:
        remark = telling(said, 190)
        if remark not in self._remarks and len(self._remarks) >= _REMARKS - 1:
            remark = "more remarks left out"
        self._remarks[remark] = self._remarks.get(remark, 0) + 1

    def each(self, holder: Json, key: str, take: Callable[[Json], None]) -> None:
        found = holder.get(key, ())
        if not isinstance(found, list | tuple):
            self.remark(f"skipped {key}: not a list")
            found = ()
        for item in found:
            try:
                take(item) if isinstance(item, dict) else self.remark(f"skipped a part of {key}: not an object")
            except _ODD as error:
                self.remark(f"skipped a part of {key}: {type(error).__name__}")

    def change(self, change: Json) -> None:
        field, value = text(change.get("field"), 64) or "(no field)", change.get("value")
        if not isinstance(value, dict):
            self.remark(f"skipped {field}: no value")
        elif field not in ("messages", "smb_message_echoes", "user_id_update"):
            # Copies and old messages (standby, history, smb_app_state_sync) must never be answered, too.
            self.remark(f"{field}: {_events(field, value) or 'not used'}")
        elif text(section(value, "metadata").get("phone_number_id")) != self._phone_number_id:
            self.remark(f"{field} of another phone number: acknowledged and ignored")
        elif field == "messages":
            contacts = Contacts(value)
            self.each(value, "messages", lambda message: self._message(message, contacts))
            self.each(value, "statuses", self._status)
            self.each(value, "errors", lambda error: self.remark(f"WhatsApp reports {_error(error)}"))
        elif field == "smb_message_echoes":
            contacts = Contacts(value)
            self.each(value, "message_echoes", lambda echo: self._echo(echo, contacts))
        else:
            self.each(value, "user_id_update", lambda update: self._identity(from_update(update), field))

    def _message(self, message: Json, contacts: Contacts) -> None:
        kind, wamid = type_of(message), opaque(message.get("id"))
        sender = contacts.person(message.get("from"), message.get("from_user_id"))
        if kind == "system":
            what = text(section(message, "system").get("type"), 64)
            self._identity(from_system(message), f"system message {what}")
        elif wamid is None or sender is None:
            self.remark(f"skipped a message without {'an id' if wamid is None else 'a sender'}")
        else:
            self._messages.append(inbound(message, wamid, sender, self._phone_number_id))
            if kind not in _KNOWN_TYPES:
                self.remark(f"kept a message of the unknown type {kind}, not answered")

    def _identity(self, change: IdentityChange | None, source: str) -> None:
        if change is None:
            self.remark(f"{source}: no one to be linked")
        else:
            self._changes.append(change)

    def _status(self, status: Json) -> None:
        wamid, name = opaque(status.get("id")), text(status.get("status"), 32)
        if wamid is None or name not in _DELIVERIES:
            self.remark(f"skipped a status {name or 'without a name'}")
        else:
            callback = text(status.get("biz_opaque_callback_data"), _CALLBACK_LIMIT) or None
            error, at = "; ".join(map(_error, objects(status, "errors")[:3])), moment(status.get("timestamp"))
            self._statuses.append(Status(wamid, _DELIVERIES[name], at, callback, error or None))

    def _echo(self, echo: Json, contacts: Contacts) -> None:
        wamid, recipient = opaque(echo.get("id")), contacts.person(echo.get("to"), echo.get("to_user_id"))
        if wamid is None or recipient is None:
            self.remark("skipped an echo without an id or a recipient")
        else:
            sent_at = moment(echo.get("timestamp"))
            self._echoes.append(Echo(wamid, recipient, type_of(echo), read(echo)[0], sent_at))


def _error(error: Json) -> str:
    return telling(f"{text(error.get('code'), 16)} {text(error.get('title')) or text(error.get('message'))}")


def _events(field: str, value: Json) -> str:
    """Name what happened to the account, the number or a template; nothing of fields that may hold people's words."""
    told = field.startswith(("account_", "phone_number_", "business_", "message_template_", "security"))
    return ", ".join(_EVENT.findall(compact(value))[:6]) if told else ""
