"""Who wrote a message: a phone, a business-scoped user id, or both, and whoever turns out to be the same."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.domain import Batch, Identity, IdentityChange
from bot.emulator.payloads import PHONE_NUMBER_ID, changed_number_message, changed_user_id_message, contact, webhook
from bot.whatsapp.webhook import translate

Json = dict[str, Any]
PHONE, BSUID = "16505551234", "US.13491208655302741918"
AT = 1_795_000_000  # Unix seconds, a day of November 2026


def read(*messages: Json, contacts: Any = ()) -> Batch:
    """Translate messages beside these contacts."""
    payload = webhook(messages=messages)
    payload["entry"][0]["changes"][0]["value"]["contacts"] = contacts
    return translate(payload, phone_number_id=PHONE_NUMBER_ID)


def sender(message: Json, contacts: Any = ()) -> Identity | None:
    """Return who sent a message, None where it was skipped for want of one."""
    found = read({"id": "wamid.1", "type": "text", "text": {"body": "hi"}, **message}, contacts=contacts)
    return found.messages[0].sender if found.messages else None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"from": PHONE}, Identity(PHONE)),
        ({"from": f"+{PHONE}"}, Identity(PHONE)),
        ({"from": int(PHONE)}, Identity(PHONE)),
        ({"from_user_id": BSUID}, Identity(None, BSUID)),
        ({"from": PHONE, "from_user_id": BSUID}, Identity(PHONE, BSUID)),
        ({"from": BSUID}, Identity(None, BSUID)),
        ({"from": "US.ENT.abcDEF123"}, Identity(None, "US.ENT.abcDEF123")),
        ({"from": BSUID, "from_user_id": "US.other"}, Identity(None, "US.other")),
        ({"from": "us.lower"}, Identity("us.lower")),
        ({"from": "PHONE_NUMBER"}, Identity("PHONE_NUMBER")),
        ({"from": "1234"}, Identity("1234")),
        ({"from": "١٢٣٤٥٦٧"}, Identity("١٢٣٤٥٦٧")),
        ({"from": "", "from_user_id": BSUID}, Identity(None, BSUID)),
        ({"from": [PHONE], "from_user_id": BSUID}, Identity(None, BSUID)),
        ({"from": PHONE, "from_user_id": 7}, Identity(PHONE)),
        ({"from": PHONE, "from_user_id": "U" * 300}, Identity(PHONE)),
        ({"from": "x" * 129}, None),
        ({"from": "a\nb"}, None),
        ({"from": "   "}, None),
        ({"from": None}, None),
        ({}, None),
    ],
)
def test_a_message_names_its_sender(message: Json, expected: Identity | None) -> None:
    """Digits are a phone, the shape of a BSUID is one wherever it stands, other words are kept as they are."""
    assert sender(message) == expected


@pytest.mark.parametrize(
    ("message", "cards", "expected"),
    [
        ({"from": PHONE}, [contact(name="Ana", wa_id=PHONE, user_id=BSUID)], Identity(PHONE, BSUID, "Ana")),
        ({"from_user_id": BSUID}, [contact(name="Ana", wa_id=PHONE, user_id=BSUID)], Identity(PHONE, BSUID, "Ana")),
        (
            {"from": PHONE},
            [contact(name="Bo", wa_id="4930123"), contact(name="Ana", wa_id=PHONE)],
            Identity(PHONE, None, "Ana"),
        ),
        ({"from": PHONE}, [contact(name="Bo", wa_id="4930123")], Identity(PHONE)),
        ({"from_user_id": BSUID}, [contact(username="ana.r", user_id=BSUID)], Identity(None, BSUID, "ana.r")),
        (
            {"from": PHONE, "from_user_id": BSUID},
            [contact(name="Bo", wa_id=PHONE, user_id="US.2")],
            Identity(PHONE, BSUID),
        ),
        ({"from": PHONE}, [contact(wa_id=f"+{PHONE}", name="  ")], Identity(PHONE)),
        ({"from": PHONE}, [{"wa_id": PHONE, "profile": "Ana"}, None, 7], Identity(PHONE)),
        ({"from": PHONE}, {"wa_id": PHONE}, Identity(PHONE)),
    ],
)
def test_the_contact_that_matches_completes_the_sender(message: Json, cards: Any, expected: Identity) -> None:
    """Contacts are matched by phone or BSUID, in any order; a card of somebody else adds nothing."""
    assert sender(message, cards) == expected


def test_a_message_of_nobody_is_from_the_only_contact() -> None:
    """Seen in the field: neither `from` nor `from_user_id`, but a single card."""
    assert sender({}, [contact(name="Ana", user_id=BSUID)]) == Identity(None, BSUID, "Ana")


def test_among_several_contacts_nobody_is_guessed() -> None:
    """The first card is as good as the second: the message is skipped with a remark."""
    batch = read(
        {"id": "wamid.1", "type": "text", "text": {"body": "hi"}},
        contacts=[contact(wa_id=PHONE), contact(wa_id="4930123")],
    )
    assert batch == Batch(remarks=("skipped a message without a sender",))


def test_a_changed_number_links_the_old_phone_and_the_new() -> None:
    """The system message is no message of the user's; with BSUIDs both of them are linked as well."""
    plain = changed_number_message(wa_id=PHONE, new_wa_id="12195555358", timestamp=AT)
    full = changed_number_message(wa_id=PHONE, new_wa_id="12195555358", new_user_id="US.2", previous_user_id="US.1")
    del full["timestamp"]
    batch = read(plain, full)
    assert batch == Batch(
        identity_changes=(
            IdentityChange(Identity(PHONE), Identity("12195555358"), datetime.fromtimestamp(AT, UTC)),
            IdentityChange(Identity(PHONE, "US.1"), Identity("12195555358", "US.2")),
        )
    )


def test_a_changed_user_id_links_the_ids_without_a_phone() -> None:
    """The notice names no phone at all, and it needs none."""
    batch = read(changed_user_id_message(new_user_id="US.2", previous_user_id="US.1", timestamp=AT))
    told = IdentityChange(Identity(bsuid="US.1"), Identity(bsuid="US.2"), datetime.fromtimestamp(AT, UTC))
    assert batch == Batch(identity_changes=(told,))


@pytest.mark.parametrize(
    "system",
    [
        {"type": "customer_identity_changed", "hash": "x"},
        {"type": "user_changed_number"},
        {"type": "user_changed_user_id", "user_id": "US.2"},
        {"type": "user_changed_user_id", "user_id": "US.2", "previous_user_id": "US.2"},
        {},
        "text",
    ],
)
def test_other_system_messages_are_only_remarked(system: object) -> None:
    """What links nobody to anybody is neither a message nor a change."""
    batch = read({"id": "wamid.1", "type": "system", "from": PHONE, "system": system})
    assert batch == Batch(remarks=batch.remarks)
    assert len(batch.remarks) == 1
