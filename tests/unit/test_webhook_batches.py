"""A POST of Meta's, whatever is in it, becomes a Batch: what is understood, and remarks on the rest."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import Batch, Echo, Identity, IdentityChange, Inbound, Status
from bot.emulator import payloads
from bot.emulator.payloads import PHONE_NUMBER_ID, contact, encode, text_message, webhook
from bot.whatsapp.messages import READERS
from bot.whatsapp.webhook import Malformed, parse, translate

SHARED = Path(__file__).parents[3] / "shared" / "data" / "webhooks"
FOUND = sorted(SHARED.rglob("*.json"))  # Meta's and others' examples, where they lie beside the checkout
NOON = "1795392000"

Json = dict[str, Any]


def read(payload: Json) -> Batch:
    """Take the payload over the wire and translate it for the emulator's number."""
    return translate(parse(encode(payload)), phone_number_id=PHONE_NUMBER_ID)


def change(field: str, value: object) -> Json:
    """Wrap one change of one field."""
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": field, "value": value}]}],
    }


def of_number(**members: object) -> Json:
    """Build a value of the emulator's number."""
    return {"metadata": {"phone_number_id": PHONE_NUMBER_ID}, **members}


def said(payload: Json) -> list[str]:
    """Return the bodies of a payload's messages."""
    return [message.body for message in read(payload).messages]


# -- parsing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'"text"',
        b"17",
        b"null",
        b'{"a": 1',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    """Only such a body is a 400; the reason fits a line and quotes nothing of it."""
    with pytest.raises(Malformed) as raised:
        parse(body)
    assert 0 < len(str(raised.value)) < 40


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"entry": ' + b"9" * 5000 + b"}",
        b'{"entry": NaN, "object": -Infinity}',
        b'{"entry": 1e999999}',
        b'{"entry": [{"changes": "\\ud800\\u0000"}]}',
        b'{"entry": [[], null, 7, "x", {"changes": {}}, {"changes": [1, null]}]}',
    ],
)
def test_an_odd_json_object_is_read_all_the_same(body: bytes) -> None:
    """A signed object is never refused: Meta would deliver it again for seven days."""
    batch = translate(parse(body), phone_number_id=PHONE_NUMBER_ID)
    assert (batch.messages, batch.statuses, batch.echoes) == ((), (), ())


# -- a message ------------------------------------------------------------------------------------------------------


def test_a_text_becomes_a_message_with_its_sender_time_and_payload() -> None:
    """Everything that the queue needs is there, and the payload is the message as Meta sent it."""
    message = text_message(body="¡Olé! a/b 😀", wa_id="16505551234", user_id="US.1349", timestamp=NOON, wamid="wamid.1")
    batch = read(webhook(messages=[message], contacts=[contact(name="Ana", wa_id="16505551234", user_id="US.1349")]))
    [inbound] = batch.messages
    assert inbound == Inbound(
        phone_number_id=PHONE_NUMBER_ID,
        wamid="wamid.1",
        sender=Identity("16505551234", "US.1349", "Ana"),
        type="text",
        body="¡Olé! a/b 😀",
        payload=inbound.payload,
        sent_at=datetime.fromtimestamp(int(NOON), UTC),
        answerable=True,
    )
    assert json.loads(inbound.payload) == message
    assert "😀" in inbound.payload
    assert batch.remarks == ()


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1795392000", 1795392000),
        (1795392000, 1795392000),
        (1795392000.7, 1795392000),
        ("0", None),
        (0, None),
        (-5, None),
        ("-5", None),
        ("", None),
        ("soon", None),
        (None, None),
        (True, None),
        ("1795392000000", None),
        (10**18, None),
        ("9" * 5000, None),
        ("١٧٩٥٣٩٢٠٠٠", None),
        ([], None),
    ],
)
def test_a_timestamp_is_unix_seconds_or_nothing(timestamp: object, expected: int | None) -> None:
    """A string and a number count alike; what is no time leaves the arrival time to decide."""
    message = text_message(body="hi", wa_id="16505551234") | {"timestamp": timestamp}
    [inbound] = read(webhook(messages=[message])).messages
    assert inbound.sent_at == (None if expected is None else datetime.fromtimestamp(expected, UTC))


def test_a_missing_timestamp_is_no_time() -> None:
    """Absent is as good as zero."""
    message = text_message(body="hi", wa_id="16505551234")
    del message["timestamp"]
    assert read(webhook(messages=[message])).messages[0].sent_at is None


@pytest.mark.parametrize(
    "odd", [7, None, "text", [], {}, {"id": 5}, {"id": ""}, {"id": "x" * 300, "from": "16505551234"}]
)
def test_an_odd_message_leaves_its_neighbours_alone(odd: object) -> None:
    """The messages before and after it are there, and a remark tells of it."""
    first, last = (text_message(body=body, wa_id="16505551234") for body in ("one", "two"))
    payload = webhook(messages=[first, last])
    payload["entry"][0]["changes"][0]["value"]["messages"].insert(1, odd)
    batch = read(payload)
    assert [message.body for message in batch.messages] == ["one", "two"]
    assert len(batch.remarks) == 1


@pytest.mark.parametrize("defect", [KeyError("x"), RecursionError("too deep"), AssertionError()])
def test_a_defect_of_a_reader_leaves_its_messages_neighbours_alone(
    monkeypatch: pytest.MonkeyPatch, defect: Exception
) -> None:
    """What nobody thought of costs one message; an error would bring all of them again for seven days."""

    def broken(_: Json) -> str:
        raise defect

    monkeypatch.setattr("bot.whatsapp.messages.READERS", {**READERS, "location": broken})
    one, two = (text_message(body=body, wa_id="16505551234") for body in ("one", "two"))
    place = payloads.location_message(wa_id="16505551234")
    batch = read(webhook(messages=[one, place, two], statuses=[payloads.status(wamid="wamid.1", status="read")]))
    assert [message.body for message in batch.messages] == ["one", "two"]
    assert [status.delivery for status in batch.statuses] == ["read"]
    assert batch.remarks == (f"skipped a part of messages: {type(defect).__name__}",)


def test_surrogates_and_nul_never_reach_the_store() -> None:
    """Both would break the database's text; they are replaced wherever they stand, an escaped backslash is not."""
    body = rb'{"a":"\ud83d x\u0000y \\u0000 \\\u0000 \udc00 \ud83d\ude00"}'
    text = json.loads(body)["a"]
    message = text_message(body=text, wa_id="16505551234") | {"extra": {text: [text]}}
    card = contact(name=text, wa_id="16505551234")
    [inbound] = read(webhook(messages=[message], contacts=[card])).messages
    assert inbound.body == "� x�y \\u0000 \\� � 😀"
    assert inbound.sender.name == "� x�y \\u0000 \\� � 😀"
    assert json.loads(inbound.payload)["extra"] == {inbound.body: [inbound.body]}
    for value in (inbound.body, inbound.payload, inbound.sender.name):
        value.encode()
        assert "\x00" not in value


def test_texts_ids_names_and_payloads_are_bounded() -> None:
    """A message of a megabyte costs the store no more than 64 KiB and its text."""
    message = text_message(body="ñ" * 1_000_000, wa_id="16505551234", wamid="wamid.big")
    card = contact(name="n" * 5000, wa_id="16505551234")
    [inbound] = read(webhook(messages=[message], contacts=[card])).messages
    assert len(inbound.body) == 16_384
    assert len(inbound.sender.name or "") == 256
    assert json.loads(inbound.payload) == {"truncated": True, "id": "wamid.big", "type": "text"}


@pytest.mark.parametrize("extra", ["1e999", "[" * 800 + "]" * 800])
def test_a_payload_that_json_can_not_hold_is_a_stub(extra: str) -> None:
    """What stands in `payload` is always JSON that SQLite can read."""
    body = encode(webhook(messages=[text_message(body="hi", wa_id="16505551234") | {"extra": 0}]))
    batch = translate(parse(body.replace(b'"extra":0', b'"extra":' + extra.encode())), phone_number_id=PHONE_NUMBER_ID)
    assert batch.messages[0].body == "hi"
    assert json.loads(batch.messages[0].payload)


# -- several things in one POST -------------------------------------------------------------------------------------


def test_entries_changes_messages_and_statuses_all_count() -> None:
    """One POST carries many users, messages and statuses, in several entries and changes; all are there in order."""
    one = webhook(messages=[text_message(body="1", wa_id="16505551234"), text_message(body="2", wa_id="5215512345678")])
    two = webhook(
        messages=[text_message(body="3", wa_id="16505551234")],
        statuses=[payloads.status(wamid="wamid.out", status="sent", callback_data="abc.1", timestamp=NOON)],
    )
    one["entry"] += two["entry"]
    one["entry"][0]["changes"].append(change("messages", of_number(statuses=[{}]))["entry"][0]["changes"][0])
    batch = read(one)
    assert [message.body for message in batch.messages] == ["1", "2", "3"]
    assert batch.statuses == (Status("wamid.out", "sent", datetime.fromtimestamp(int(NOON), UTC), "abc.1", None),)
    assert batch.remarks == ("skipped a status without a name",)


@pytest.mark.parametrize("number", ["123456123", 123456123, None, "", [], {}])
def test_another_number_is_acknowledged_and_ignored(number: object) -> None:
    """Meta's dashboard samples and other numbers of the account bring no message, only a remark."""
    payload = webhook(
        messages=[text_message(body="hi", wa_id="16505551234")],
        statuses=[payloads.status(wamid="wamid.1", status="sent")],
    )
    payload["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = number
    batch = read(payload)
    assert (batch.messages, batch.statuses) == ((), ())
    assert batch.remarks == ("messages of another phone number: acknowledged and ignored",)


def test_a_thousand_messages_in_one_post() -> None:
    """As many updates as Meta packs into one POST are read, each with its own sender."""
    phones = [str(16505550000 + n) for n in range(1000)]
    batch = read(
        webhook(
            messages=[text_message(body=phone, wa_id=phone) for phone in phones],
            contacts=[contact(name=f"n{phone}", wa_id=phone) for phone in reversed(phones)],
        )
    )
    assert [(m.body, m.sender.name) for m in batch.messages] == [(phone, f"n{phone}") for phone in phones]


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "played", "failed"])
def test_each_delivery_is_a_status(status: str) -> None:
    """The five that Meta knows, without callback id or recipient too."""
    [found] = read(webhook(statuses=[{"id": "wamid.1", "status": status}])).statuses
    assert found == Status("wamid.1", status, None, None, None)  # type: ignore[arg-type]


def test_a_failed_status_says_why() -> None:
    """Code and title, as the failures list shows them."""
    failed = payloads.status(wamid="wamid.1", status="failed", errors=[{"code": 131047, "title": "Re-engagement"}])
    assert read(webhook(statuses=[failed])).statuses[0].error == "131047 Re-engagement"


def test_an_unknown_status_is_skipped() -> None:
    """A status that Meta invents tomorrow changes nothing."""
    batch = read(webhook(statuses=[{"id": "wamid.1", "status": "deleted"}, {"status": "sent"}]))
    assert batch.statuses == ()
    assert len(batch.remarks) == 2


def test_errors_of_the_value_are_remarks() -> None:
    """A health matter without any message is shown with its code and title."""
    batch = read(change("messages", of_number(errors=[{"code": 130429, "title": "Rate limit hit"}])))
    assert batch.remarks == ("WhatsApp reports 130429 Rate limit hit",)


# -- other fields ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        "standby",
        "history",
        "smb_app_state_sync",
        "calls",
        "groups",
        "group_lifecycle_update",
        "user_preferences",
        "something_new",
        None,
        7,
    ],
)
def test_other_fields_are_only_remarked(field: object) -> None:
    """Copies, old messages and what nobody knows yet never become a question, whatever they hold."""
    value = webhook(messages=[text_message(body="SECRET WORDS", wa_id="16505551234")])["entry"][0]["changes"][0][
        "value"
    ]
    batch = read(change(field, value))  # type: ignore[arg-type]
    assert batch == Batch(remarks=batch.remarks)
    assert len(batch.remarks) == 1
    assert "SECRET" not in batch.remarks[0]


def test_news_of_the_account_are_warnings_and_remarks() -> None:
    """The owner has to see a restriction, on the page and in the log, with the time that WhatsApp gives it."""
    told = payloads.account_webhook("account_update", {"event": "ACCOUNT_DELETED"}, timestamp=int(NOON))
    [warning] = read(told).warnings
    assert (warning.kind, warning.grave, warning.at) == ("account_update", True, datetime.fromtimestamp(int(NOON), UTC))
    assert read(told).remarks == (f"account_update: {warning.text}",)
    assert read(change("account_update", "nothing")).remarks == ("skipped account_update: no value",)


def test_news_of_another_account_are_none_of_ours() -> None:
    """One app may look after several businesses; without waba_id nobody can tell them apart."""
    told = parse(encode(payloads.account_webhook("security", {"event": "PIN_CHANGED"}, waba_id="7")))
    assert translate(told, phone_number_id="1", waba_id="7").warnings == translate(told, phone_number_id="1").warnings
    batch = translate(told, phone_number_id="1", waba_id="8")
    assert batch == Batch(remarks=("security of another account: acknowledged and ignored",))
    removed = {"event": "PARTNER_REMOVED", "waba_info": {"waba_id": "7"}}  # the entry is the partner's there
    told = parse(encode(payloads.account_webhook("account_update", removed, waba_id="9")))
    assert len(translate(told, phone_number_id="1", waba_id="7").warnings) == 1


def test_an_echo_is_what_the_owner_wrote() -> None:
    """It is never an inbound message, and it knows whom it was for."""
    echo = {"from": "15550783881", "to": "16505551234", "to_user_id": "US.1", "id": "wamid.e", "timestamp": NOON}
    batch = read(
        change(
            "smb_message_echoes",
            of_number(message_echoes=[echo | {"type": "text", "text": {"body": "On it"}}, {"id": "wamid.f"}]),
        )
    )
    sent_at = datetime.fromtimestamp(int(NOON), UTC)
    assert batch.echoes == (Echo("wamid.e", Identity("16505551234", "US.1"), "text", "On it", sent_at),)
    assert batch.messages == ()
    assert batch.remarks == ("skipped an echo without an id or a recipient",)


def test_an_update_of_user_ids_is_an_identity_change() -> None:
    """The old and the new id are linked; an item that links nothing is remarked."""
    updates = [
        {"user_id": {"previous": "US.OLD", "current": "US.NEW"}},
        {"user_id": {"previous": "US.A", "current": "US.B"}, "wa_id": "16505551234"},
        {"user_id": {"current": "US.B"}},
        {"user_id": "US.B"},
    ]
    batch = read(change("user_id_update", of_number(user_id_update=updates)))
    assert batch.identity_changes == (
        IdentityChange(Identity(bsuid="US.OLD"), Identity(bsuid="US.NEW")),
        IdentityChange(Identity("16505551234", "US.A"), Identity("16505551234", "US.B")),
    )
    assert batch.remarks == ("user_id_update: no one to be linked (x 2)",)


# -- remarks --------------------------------------------------------------------------------------------------------


def test_remarks_are_few_short_and_tell_nobodys_number() -> None:
    """A batch full of oddities makes at most 20 of at most 200 characters, with no number and no token in them."""
    errors = [
        {"code": n, "title": f"+52 1 55 1234 5678 16505551234 EAAGm0PX4ZCpsBAKZCkT0ZBZB8Q {n} " + "é" * 5000}
        for n in range(300)
    ]
    remarks = read(change("messages", of_number(errors=errors))).remarks
    assert len(remarks) == 20
    assert max(map(len, remarks)) <= 200
    assert not any(secret in remark for remark in remarks for secret in ("1234", "EAAG"))


# -- whatever there is ----------------------------------------------------------------------------------------------


def payloads_in(found: Path) -> list[Json]:
    """Return the payloads of a file: one, or a dict of named ones."""
    content = json.loads(found.read_text(encoding="utf-8"))
    return [p for p in [content, *content.values()] if isinstance(p, dict) and "entry" in p]


def own_examples() -> Json:
    """Name the payloads that are always there, whether others' examples lie beside the checkout or not."""
    head: Any = {"wa_id": "16505551234", "user_id": "US.1"}
    built = {
        "image": payloads.image_message(caption="What is this?", **head),
        "audio": payloads.audio_message(**head),
        "location": payloads.location_message(name="Zócalo", **head),
        "button": payloads.button_message(text="Yes", **head),
        "reply": payloads.button_reply_message(title="Yes", **head),
        "list": payloads.list_reply_message(title="Express", description="Next day", **head),
        "reaction": payloads.reaction_message(message_id="wamid.1", **head),
        "unsupported": payloads.unsupported_message(**head),
        "edit": payloads.edit_message(original="wamid.1", body="corrected", **head),
        "revoke": payloads.revoke_message(original="wamid.1", **head),
    }
    restricted = {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": "X", "expiration": 1}]}
    account = {"account": payloads.account_webhook("account_update", restricted)}
    return {kind: webhook(messages=[message]) for kind, message in built.items()} | account


@pytest.mark.parametrize(
    "payload",
    [
        *(pytest.param(payload, id=kind) for kind, payload in own_examples().items()),
        *(
            pytest.param(payload, id=f"{found.relative_to(SHARED)}-{n}")
            for found in FOUND
            for n, payload in enumerate(payloads_in(found))
        ),
    ],
)
def test_every_example_is_understood(payload: Json) -> None:
    """Each message of each example is a message, an identity change or a known exception; none is lost by mistake."""
    values = [change["value"] for entry in payload["entry"] for change in entry["changes"]]
    for value in values:
        number = value.get("metadata", {}).get("phone_number_id", "none")
        batch = translate(payload, phone_number_id=number)
        wamids = [m.wamid for m in batch.messages]
        for message in value.get("messages", ()):
            if message["type"] == "system":
                assert batch.identity_changes
                assert message["id"] not in wamids
            else:
                assert message["id"] in wamids
        for status in value.get("statuses", ()):
            assert status["id"] in [s.wamid for s in batch.statuses]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the places in a JSON value that something else can be put into."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inside for place in paths_of(part, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(
    payload=st.sampled_from([*own_examples().values(), *(p for found in FOUND for p in payloads_in(found))]),
    odd=_json,
    data=st.data(),
)
def test_no_part_of_a_webhook_can_break_the_whole(payload: Json, odd: object, data: st.DataObject) -> None:
    """Whatever stands in any one place, translate answers with a Batch that can be stored as text."""
    place = data.draw(st.sampled_from(paths_of(payload)[1:]))
    changed = json.loads(json.dumps(payload))
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = odd
    number = payload["entry"][0]["changes"][0]["value"].get("metadata", {}).get("phone_number_id", "none")
    batch = translate(parse(json.dumps(changed).encode()), phone_number_id=number)
    assert len(batch.remarks) <= 20
    assert all(len(warning.text) <= 400 and warning.text.encode() for warning in batch.warnings)
    for message in batch.messages:
        assert "\x00" not in message.body
        json.loads(message.payload.encode())
