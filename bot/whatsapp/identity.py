"""Find out who a message is from: phone, business-scoped user id (BSUID) or both."""

import re

from bot.domain import Identity, IdentityChange
from bot.whatsapp.clean import Json, objects, opaque, section, text

_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")  # Meta's "Business-scoped user IDs"
_NAME_LIMIT = 256


def identity(phone: object, bsuid: object, name: str | None = None) -> Identity | None:
    """Build an Identity from what a webhook says; None where it names nobody.

    Gateways were seen to put a BSUID where a phone belongs: its shape tells.
    """
    number, user = _phone(phone), opaque(bsuid)
    if number and _BSUID.fullmatch(number):
        number, user = None, user or number
    return Identity(number, user, name) if number or user else None


def _phone(value: object) -> str | None:
    # Digits as a rule; what looks different is somebody all the same, and goes back out the way it came.
    number = text(value, 129)
    digits = number.removeprefix("+")
    if 5 <= len(digits) <= 20 and digits.isascii() and digits.isdecimal():
        return digits
    return number if 0 < len(number) <= 128 and number.isprintable() and not number.isspace() else None


class Contacts:
    """The `contacts` of one webhook value: one list for all of its messages, in no promised order."""

    def __init__(self, value: Json) -> None:
        people = [_card(card) for card in objects(value, "contacts")]
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


def _card(card: Json) -> Identity | None:
    profile = section(card, "profile")
    name = text(profile.get("name") or profile.get("username"), _NAME_LIMIT).strip()
    return identity(card.get("wa_id"), card.get("user_id"), name or None)


def from_system(message: Json) -> IdentityChange | None:
    """Read a system message `user_changed_number` or `user_changed_user_id`; None for any other.

    The first names the old phone in `from` and the new one in `system.wa_id`, and both BSUIDs; the second no phone.
    """
    system = section(message, "system")
    before, after = system.get("previous_user_id"), system.get("user_id")
    if system.get("type") == "user_changed_number":
        return _change(identity(message.get("from"), before), identity(system.get("wa_id"), after))
    if system.get("type") == "user_changed_user_id":
        return _change(identity(None, before), identity(None, after))
    return None


def from_update(update: Json) -> IdentityChange | None:
    """Read an item of the field `user_id_update`; None where it links nothing."""
    ids, phone = section(update, "user_id"), update.get("wa_id")
    return _change(identity(phone, ids.get("previous")), identity(phone, ids.get("current")))


def _change(before: Identity | None, after: Identity | None) -> IdentityChange | None:
    return IdentityChange(before, after) if before and after and before != after else None
