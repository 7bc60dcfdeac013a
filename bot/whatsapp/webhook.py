"""Translate one webhook POST of Meta's into a Batch: every entry, change, message and status, each on its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from bot.domain import AccountWarning, Batch, Delivery, Echo, IdentityChange, Inbound, Status
from bot.whatsapp.account import account_warning
from bot.whatsapp.clean import Json, moment, objects, opaque, section, telling, text
from bot.whatsapp.identity import Contacts, from_system, from_update
from bot.whatsapp.messages import READERS, inbound, read, type_of

_REMARKS = 20
_DELIVERIES: dict[str, Delivery] = {delivery: delivery for delivery in get_args(Delivery)}
_KNOWN_TYPES = READERS.keys() | {"edit", "revoke", "request_welcome"}

_DECODER = json.JSONDecoder(
    # int() refuses more than 4,300 digits with a ValueError, which would make a signed object a 400.
    parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits),
    parse_constant=lambda _: None,  # NaN is no JSON: never stored
)


class Malformed(Exception):
    """The body is no JSON object: 400. The text says why in a few words."""


def parse(body: bytes) -> Json:
    """Parse what Meta sends, webhook or answer. Raises Malformed: no JSON object in UTF-8, or nested too deeply."""
    try:
        payload = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        raise Malformed("not JSON in UTF-8, or nested too deeply") from None
    if not isinstance(payload, dict):
        raise Malformed("not a JSON object")
    return payload


def translate(payload: Json, *, phone_number_id: str, waba_id: str = "") -> Batch:
    """Read everything a webhook holds for one business number, and what it tells of its account (of any, where
    `waba_id` is empty). Never raises for a JSON object.

    What belongs to others, is unknown or can't be understood becomes a remark and leaves its neighbours alone.
    """
    found = _Translation(phone_number_id, waba_id)
    found.each(payload, "entry", lambda entry: found.each(entry, "changes", lambda change: found.change(change, entry)))
    remarks = tuple(f"{said} (x {count})" if count > 1 else said for said, count in found.remarks.items())
    people = (tuple(found.messages), tuple(found.statuses), tuple(found.changes), tuple(found.echoes))
    return Batch(*people, remarks, tuple(found.warnings))


class _Translation:
    def __init__(self, phone_number_id: str, waba_id: str) -> None:
        self._phone_number_id, self._waba_id = phone_number_id, waba_id
        self.messages: list[Inbound] = []
        self.statuses: list[Status] = []
        self.changes: list[IdentityChange] = []
        self.echoes: list[Echo] = []
        self.warnings: list[AccountWarning] = []
        self.remarks: dict[str, int] = {}

    def each(self, holder: Json, key: str, take: Callable[[Json], str | None]) -> None:
        """Take all objects of a list; what is said in return, or why one can't be taken, is remarked."""
        found = holder.get(key, [])
        for item in found if isinstance(found, list) else [found]:
            try:
                said = take(item) if isinstance(item, dict) else f"skipped a part of {key}: not an object"
            except Exception as error:  # of whatever kind: a 500 would bring the whole batch again for seven days
                said = f"skipped a part of {key}: {type(error).__name__}"
            if said:
                remark = telling(said, 190)
                if remark not in self.remarks and len(self.remarks) >= _REMARKS - 1:
                    remark = "more remarks left out"
                self.remarks[remark] = self.remarks.get(remark, 0) + 1

    def change(self, change: Json, entry: Json) -> str | None:
        field, value = text(change.get("field"), 64) or "(no field)", change.get("value")
        if not isinstance(value, dict):
            return f"skipped {field}: no value"
        if field not in ("messages", "smb_message_echoes", "user_id_update"):
            warning = account_warning(field, value, moment(entry.get("time")))
            if warning is None:  # copies and old messages (standby, history…) among them: never to be answered
                return f"{field}: not used"
            accounts = (entry.get("id"), section(value, "waba_info").get("waba_id"))  # news of partners have it there
            if self._waba_id and self._waba_id not in map(text, accounts):
                return f"{field} of another account: acknowledged and ignored"
            self.warnings.append(warning)
            return f"{field}: {warning.text}"
        if text(section(value, "metadata").get("phone_number_id")) != self._phone_number_id:
            return f"{field} of another phone number: acknowledged and ignored"
        contacts = Contacts(value)
        if field == "messages":
            self.each(value, "messages", lambda message: self._message(message, contacts))
            self.each(value, "statuses", self._status)
            self.each(value, "errors", lambda error: f"WhatsApp reports {_error(error)}")
        else:
            self.each(value, "message_echoes", lambda echo: self._echo(echo, contacts))
            self.each(value, "user_id_update", lambda update: self._identity(from_update(update), update, field))
        return None

    def _message(self, message: Json, contacts: Contacts) -> str | None:
        kind, wamid = type_of(message), opaque(message.get("id"))
        sender = contacts.person(message.get("from"), message.get("from_user_id"))
        if kind == "system":
            what = text(section(message, "system").get("type"), 64)
            return self._identity(from_system(message), message, f"system message {what}")
        if wamid is None or sender is None:
            return f"skipped a message without {'an id' if wamid is None else 'a sender'}"
        self.messages.append(inbound(message, wamid, sender, self._phone_number_id))
        return None if kind in _KNOWN_TYPES else f"kept a message of the unknown type {kind}, not answered"

    def _identity(self, change: IdentityChange | None, told: Json, source: str) -> str | None:
        if change is None:
            return f"{source}: no one to be linked"
        self.changes.append(replace(change, at=moment(told.get("timestamp"))))
        return None

    def _status(self, status: Json) -> str | None:
        wamid, name = opaque(status.get("id")), text(status.get("status"), 32)
        if wamid is None or name not in _DELIVERIES:
            return f"skipped a status {name or 'without a name'}"
        callback = text(status.get("biz_opaque_callback_data"), 512) or None  # Meta's own limit
        error, at = "; ".join(map(_error, objects(status, "errors")[:3])), moment(status.get("timestamp"))
        self.statuses.append(Status(wamid, _DELIVERIES[name], at, callback, error or None))
        return None

    def _echo(self, echo: Json, contacts: Contacts) -> str | None:
        wamid, recipient = opaque(echo.get("id")), contacts.person(echo.get("to"), echo.get("to_user_id"))
        if wamid is None or recipient is None:
            return "skipped an echo without an id or a recipient"
        self.echoes.append(Echo(wamid, recipient, type_of(echo), read(echo)[0], moment(echo.get("timestamp"))))
        return None


def _error(error: Json) -> str:
    return telling(f"{text(error.get('code'), 16)} {text(error.get('title')) or text(error.get('message'))}")
