"""What a message says in words, by its type, and whether it wants an answer at all."""

import json
from typing import Any

import pytest

from bot.domain import Inbound
from bot.emulator.payloads import PHONE_NUMBER_ID, webhook
from bot.whatsapp.webhook import translate

Json = dict[str, Any]


def inbound(**members: object) -> Inbound:
    """Translate one message with these members."""
    message = {"from": "16505551234", "id": "wamid.1", "timestamp": "1795392000", **members}
    [found] = translate(webhook(messages=[message]), phone_number_id=PHONE_NUMBER_ID).messages
    return found


def form(response: str) -> Json:
    """Build the answer to a flow."""
    return {"interactive": {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": response}}}


@pytest.mark.parametrize(
    ("kind", "members", "body"),
    [
        ("text", {"text": {"body": "  hi  "}}, "  hi  "),
        ("text", {"text": {"body": 42}}, "42"),
        ("text", {"text": {"body": " \n "}}, ""),
        ("text", {"text": "hi"}, ""),
        ("text", {}, ""),
        ("image", {"image": {"id": "1", "caption": "What is it?"}}, "What is it?"),
        ("image", {"image": {"id": "1"}}, ""),
        ("video", {"video": {"caption": "Look"}}, "Look"),
        ("document", {"document": {"filename": "a.pdf", "caption": "The bill"}}, "The bill"),
        ("document", {"document": {"filename": "a.pdf"}}, ""),
        ("sticker", {"sticker": {"id": "1"}}, ""),
        ("audio", {"audio": {"id": "1", "voice": True}}, ""),
        ("location", {"location": {"latitude": 37.5, "longitude": -122.25}}, "📍 37.5, -122.25"),
        (
            "location",
            {"location": {"latitude": "37.5", "longitude": "-1", "name": "Philz", "address": "101 Forest Ave"}},
            "📍 Philz, 101 Forest Ave (37.5, -1)",
        ),
        ("location", {"location": {"name": "Philz"}}, "📍 Philz"),
        ("location", {"location": []}, ""),
        (
            "contacts",
            {
                "contacts": [
                    {
                        "name": {"formatted_name": "Lucía Gómez"},
                        "phones": [{"phone": "+1 (983) 555-2319"}, {"wa_id": "19835552319"}, 7],
                    },
                    {"org": {"company": "Google"}},
                    {"phones": [{"phone": "555"}]},
                    {"name": {"first_name": "Ana", "last_name": "Ruiz"}},
                    None,
                ]
            },
            "Lucía Gómez: +1 (983) 555-2319, 19835552319\nGoogle\n555\nAna Ruiz",
        ),
        ("contacts", {"contacts": "x"}, ""),
        (
            "order",
            {
                "order": {
                    "text": "Please",
                    "product_items": [
                        {"product_retailer_id": "abc", "quantity": 2, "item_price": 30, "currency": "USD"},
                        {"product_retailer_id": "def", "quantity": "1"},
                    ],
                }
            },
            "Please\n2 × abc (30 USD)\n1 × def",
        ),
        ("button", {"button": {"text": "Stop", "payload": "STOP"}}, "Stop"),
        ("button", {"button": {"payload": "STOP"}}, "STOP"),
        (
            "interactive",
            {"interactive": {"type": "button_reply", "button_reply": {"id": "x", "title": "Cancel"}}},
            "Cancel",
        ),
        (
            "interactive",
            {"interactive": {"type": "list_reply", "list_reply": {"title": "Express", "description": "Next day"}}},
            "Express – Next day",
        ),
        ("interactive", {"interactive": {"list_reply": {"id": "express"}}}, "express"),
        (
            "interactive",
            form('{"flow_token": "t", "rating": 5, "gift": true, "why": "ñ", "tags": ["a"], "left": ""}'),
            'rating: 5\ngift: true\nwhy: ñ\ntags: ["a"]',
        ),
        ("interactive", form("not JSON"), "not JSON"),
        ("interactive", form("[1]"), "[1]"),
        (
            "interactive",
            {"interactive": {"type": "product", "product": {"catalog_id": "1", "product_retailer_id": "abc"}}},
            "catalog_id: 1\nproduct_retailer_id: abc",
        ),
        ("unsupported", {"errors": [{"code": 131051}]}, ""),
        ("unsupported", {"unsupported": {"type": "edit"}}, ""),
        ("unsupported", {"unsupported": {"type": "gif"}}, ""),
        ("unknown", {"errors": [{"code": 131051}]}, ""),
    ],
)
def test_a_question_says_in_words_what_was_sent(kind: str, members: Json, body: str) -> None:
    """The model and the owner read the body; an empty one takes its place in line and gets the notice."""
    found = inbound(type=kind, **members)
    assert (found.type, found.body, found.answerable) == (kind, body, True)


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("interactive", {}),
        (
            "interactive",
            {"interactive": {"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}}},
        ),
        ("interactive", {"interactive": {"type": "button_reply"}}),
        ("unsupported", {"unsupported": {"type": "reaction"}}),
        ("unknown", {}),
        ("request_welcome", {}),
        ("hologram", {"hologram": {"id": "1"}}),
        ("edit", {"edit": {"original_message_id": "wamid.0"}}),
        ("edit", {"edit": {"message": {"type": "text", "text": {"body": "new"}}}}),
        ("edit", {}),
        ("revoke", {}),
    ],
)
def test_what_is_no_question_is_kept_and_not_answered(kind: str, members: Json) -> None:
    """It has its row with its type and payload, and no one answers it; nothing it might target is named."""
    found = inbound(type=kind, **members)
    assert (found.type, found.body, found.answerable, found.target) == (kind, "", False, None)


@pytest.mark.parametrize(("reaction", "body"), [({"emoji": "👍"}, "👍"), ({"emoji": ""}, ""), ({}, "")])
def test_a_reaction_is_never_a_question(reaction: Json, body: str) -> None:
    """Given or taken away, it is kept with its emoji."""
    found = inbound(type="reaction", reaction={"message_id": "wamid.0", **reaction})
    assert (found.body, found.answerable) == (body, False)


def test_a_group_is_never_answered() -> None:
    """Nobody who writes into a group gets a private answer."""
    found = inbound(type="text", text={"body": "hi all"}, group_id="Y2FwaV9ncm91cA")
    assert (found.body, found.answerable) == ("hi all", False)


def test_an_edit_carries_what_the_original_becomes() -> None:
    """Its target is the original; body, type and payload are the corrected ones; it is no question itself."""
    edited = {"context": {"id": "M0"}, "type": "image", "image": {"id": "9", "caption": "corrected"}}
    found = inbound(type="edit", edit={"original_message_id": "wamid.0", "message": edited})
    assert (found.wamid, found.target, found.answerable) == ("wamid.1", "wamid.0", False)
    assert (found.type, found.body, json.loads(found.payload)) == ("image", "corrected", edited)


def test_a_revoke_names_what_is_taken_back() -> None:
    """Its target is the original, and it is no question itself."""
    found = inbound(type="revoke", revoke={"original_message_id": "wamid.0"})
    assert (found.type, found.target, found.answerable) == ("revoke", "wamid.0", False)


def test_quotes_referrals_and_forwards_stay_in_the_payload() -> None:
    """What later versions read is kept as it came."""
    members: Json = {"context": {"id": "wamid.0", "forwarded": True}, "referral": {"source_type": "ad"}}
    found = inbound(type="text", text={"body": "hi"}, **members)
    assert {key: json.loads(found.payload)[key] for key in members} == members


def test_an_unknown_type_is_remarked() -> None:
    """The log tells that WhatsApp has learnt something new."""
    message = {"from": "16505551234", "id": "wamid.1", "type": "hologram"}
    batch = translate(webhook(messages=[message]), phone_number_id=PHONE_NUMBER_ID)
    assert batch.remarks == ("kept a message of the unknown type hologram, not answered",)
