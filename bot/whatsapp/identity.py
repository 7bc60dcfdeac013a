"""Find out who a message is from: phone, business-scoped user id (BSUID) or both."""

import re

from bot.domain import Identity, IdentityChange
from bot.whatsapp.clean import Json, objects, opaque, section, text

_PHONE = re.compile(r"\+?([0-9]{5,20})")
_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")  # Meta's "Business-scoped user IDs"


def identity(phone: object, bsuid: object, name: str | None = None) -> Identity | None:
    """Build an Identity from what a webhook says; None where it names nobody."""
    number, user = text(phone, 129), opaque(bsuid)
    if digits := _PHONE.fullmatch(number):
        number = digits[1]
    elif _BSUID.fullmatch(number):  # gateways were seen to put it where a phone belongs
        number, user = "", user or number
    elif len(number) > 128 or number.isspace() or not number.isprintable():
        number = ""  # what else doesn't look like a phone is somebody all the same, and goes back as it came
    return Identity(number or None, user, name) if number or user else None


class Contacts:
    """The `contacts` of one webhook value: one list for all of its messages, in no promised order."""

    def __init__(self, value: Json) -> None:
        people = []
        for card in objects(value, "contacts"):
            profile = section(card, "profile")
            name = text(profile.get("name") or profile.get("username"), 256).strip()
            people.append(identity(card.get("wa_id"), card.get("user_id"), name or None))
        self._sole = people[0] if len(people) == 1 else None
        self._cards = {key: known for known in people if known for key in (known.phone, known.bsuid) if key}

    def person(self, phone: object, bsuid: object) -> Identity | None:
        """Complete what a message says of its sender by the card that matches it; None where it can't be known.

        A message that names nobody is from the only contact, where there is only one (seen in the field).
        """
        said = identity(phone, bsuid)
        if said is None:
            return self._sole
        card = self._cards.get(said.bsuid or "") or self._cards.get(said.phone or "")
        if card is None or (said.bsuid and card.bsuid and said.bsuid != card.bsuid):
            return said
        return Identity(said.phone or card.phone, said.bsuid or card.bsuid, card.name)


def from_system(message: Json) -> IdentityChange | None:
    """Read a system message that a number (`from` to `system.wa_id`) or a user id has changed; None for any other."""
    system = section(message, "system")
    before, after = system.get("previous_user_id"), system.get("user_id")
    match system.get("type"):
        case "user_changed_number":
            return _change(identity(message.get("from"), before), identity(system.get("wa_id"), after))
        case "user_changed_user_id":
            return _change(identity(None, before), identity(None, after))
    return None


def from_update(update: Json) -> IdentityChange | None:
    """Read an item of the field `user_id_update`; None where it links nothing."""
    ids, phone = section(update, "user_id"), update.get("wa_id")
    return _change(identity(phone, ids.get("previous")), identity(phone, ids.get("current")))


def _change(before: Identity | None, after: Identity | None) -> IdentityChange | None:
    return IdentityChange(before, after) if before and after and before != after else None
