"""What the emulator accepts and refuses in POST /messages agrees with Meta's own schema."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bot.emulator.contract import check_read, check_send
from bot.emulator.graph_errors import GraphError
from tests.unit.emulator_hook import read, text

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
CONTRACT = SHARED / "meta-contract" / "meta-messages-v23.json"

# Each makes a good text bad; `None` as a value takes the key away.
BAD_TEXTS: list[tuple[str, Callable[[Json], Any], int]] = [
    ("no product", lambda b: b.pop("messaging_product"), 100),
    ("another product", lambda b: b.update(messaging_product="sms"), 100),
    ("no recipient type", lambda b: b.pop("recipient_type"), 131008),
    ("odd recipient type", lambda b: b.update(recipient_type="crowd"), 131009),
    ("no type", lambda b: b.pop("type"), 131008),
    ("odd type", lambda b: b.update(type="telepathy"), 131051),
    ("nobody to send to", lambda b: b.pop("to"), 100),
    ("a number as a number", lambda b: b.update(to=5215512345678), 131009),
    ("a number of letters", lambda b: b.update(to="Ana"), 131009),
    ("no text", lambda b: b.pop("text"), 131008),
    ("text as a string", lambda b: b.update(text="hello"), 131009),
    ("no body", lambda b: b["text"].pop("body"), 131008),
    ("body as a number", lambda b: b["text"].update(body=7), 131009),
    ("empty body", lambda b: b["text"].update(body=""), 131008),
    ("a body one too long", lambda b: b["text"].update(body="x" * 4097), 100),
    ("preview as a word", lambda b: b["text"].update(preview_url="yes"), 131009),
    ("an unknown key", lambda b: b.update(priority="high"), 100),
    ("an unknown key in text", lambda b: b["text"].update(font="serif"), 100),
    ("context as a string", lambda b: b.update(context="wamid.1"), 131009),
    ("a quote as a number", lambda b: b.update(context={"message_id": 1}), 131009),
    ("callback data too long", lambda b: b.update(biz_opaque_callback_data="x" * 513), 100),
    ("callback data as an object", lambda b: b.update(biz_opaque_callback_data={}), 131009),
]
BAD_TEMPLATES: list[tuple[str, Callable[[Json], Any], int]] = [
    ("no template", lambda b: b.pop("template"), 131008),
    ("no name", lambda b: b["template"].pop("name"), 131008),
    ("no language", lambda b: b["template"].pop("language"), 131008),
    ("a language as a word", lambda b: b["template"].update(language="en"), 131009),
    ("no parameter", lambda b: b["template"].pop("components"), 132000),
    ("an odd component", lambda b: b["template"].update(components=[7]), 132000),
    ("two parameters", lambda b: b["template"]["components"][0]["parameters"].append({}), 132000),
    ("two lines", lambda b: b["template"]["components"][0]["parameters"][0].update(text="a\nb"), 100),
    ("too many spaces", lambda b: b["template"]["components"][0]["parameters"][0].update(text="a     b"), 100),
    ("too long", lambda b: b["template"]["components"][0]["parameters"][0].update(text="x" * 1025), 132005),
    ("a text as well", lambda b: b.update(text={"body": "hello"}), 100),
]
BAD_READS: list[tuple[str, Callable[[Json], Any], int]] = [
    ("no product", lambda b: b.pop("messaging_product"), 100),
    ("no message", lambda b: b.pop("message_id"), 131008),
    ("a message as a number", lambda b: b.update(message_id=5), 131009),
    ("not a wamid", lambda b: b.update(message_id="x"), 131009),
    ("another status", lambda b: b.update(status="seen"), 131009),
    ("status as a flag", lambda b: b.update(status=True), 131009),
    ("typing as a flag", lambda b: b.update(typing_indicator=True), 131009),
    ("typing without its type", lambda b: b.update(typing_indicator={}), 131008),
]
GOOD: list[Json] = [
    text(),
    text("x" * 4096, context={"message_id": "wamid.1"}, biz_opaque_callback_data="x" * 512),
    text(to="5215512345678"),
    {key: value for key, value in text(recipient="MX.ENT.abc123").items() if key != "to"},
    read("wamid.1"),
    read("wamid.1", typing=False),
]
TEMPLATE: Json = {
    **{key: value for key, value in text().items() if key not in ("type", "text")},
    "type": "template",
    "template": {
        "name": "alert",
        "language": {"code": "en"},
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "hello"}]}],
    },
}


def check(body: Json) -> None:
    """Check a body as the server does."""
    check_read(body, lambda wamid: True) if "status" in body else check_send(body)


@pytest.mark.parametrize("body", GOOD)
def test_what_meta_takes_is_taken(body: Json) -> None:
    """Texts to phones and BSUIDs, quotes, callback data, read marks with and without typing."""
    check(body)


@pytest.mark.parametrize(("case", "spoil", "code"), BAD_TEXTS)
def test_a_bad_text_is_refused_with_metas_code(case: str, spoil: Callable[[Json], Any], code: int) -> None:
    """Each mistake is refused with the code that Meta's error page gives for it."""
    body = text()
    spoil(body)
    with pytest.raises(GraphError) as refused:
        check(body)
    assert refused.value.code == code, case


@pytest.mark.parametrize(("case", "spoil", "code"), BAD_TEMPLATES)
def test_a_bad_template_is_refused_with_metas_code(case: str, spoil: Callable[[Json], Any], code: int) -> None:
    """The same for templates with one parameter."""
    body = copy.deepcopy(TEMPLATE)
    check(body)
    spoil(body)
    with pytest.raises(GraphError) as refused:
        check(body)
    assert refused.value.code == code, case


@pytest.mark.parametrize(("case", "spoil", "code"), BAD_READS)
def test_a_bad_read_mark_is_refused_with_metas_code(case: str, spoil: Callable[[Json], Any], code: int) -> None:
    """The same for read marks."""
    body = read("wamid.1")
    spoil(body)
    with pytest.raises(GraphError) as refused:
        check(body)
    assert refused.value.code == code, case


def test_a_bsuid_is_taken_as_it_is_written() -> None:
    """Lower case or a missing country is no business-scoped id."""
    for odd in ("us.123", "123", "US.", "US.a b"):
        body = text(recipient=odd)
        del body["to"]
        with pytest.raises(GraphError):
            check(body)


# -- agreement with Meta's schema, wherever a copy of it lies beside the checkout ---------------------------------


def contract() -> list[Json]:
    """Give Meta's schema as a list of one, or of none where there is no copy (then nothing below is collected)."""
    return [json.loads(CONTRACT.read_text(encoding="utf-8"))] if CONTRACT.is_file() else []


def schemas(meta: Json) -> tuple[Json, Json]:
    """Merge the allOf of a text, which accepts nothing as it stands, and add what the schema lacks."""
    parts = meta["components"]["schemas"]
    base, own = parts["BaseMessageProperties"], parts["TextMessage"]["allOf"][1]
    added = {
        "recipient": {"type": "string"},
        "biz_opaque_callback_data": {
            "type": "string",
            "maxLength": meta["x-limits"]["biz_opaque_callback_data.maxLength"],
        },
    }
    merged = copy.deepcopy({**own, "properties": {**base["properties"], **own["properties"], **added}})
    merged["properties"]["context"] = parts["MessageContext"]
    merged["properties"]["text"]["properties"]["body"]["maxLength"] = meta["x-limits"]["text.body.maxLength"]
    merged["required"] = [*(set(base["required"]) - {"to"}), *own["required"]]
    merged["anyOf"] = [{"required": ["to"]}, {"required": ["recipient"]}]
    mark = copy.deepcopy(parts["MarkMessageRequestPayload"])
    mark["properties"]["typing_indicator"] = {"type": "object", "required": ["type"]}
    return merged, mark


def accepted_by_meta(meta: Json, body: Json) -> bool:
    """Ask the merged schema."""
    send, mark = schemas(meta)
    return jsonschema.Draft202012Validator(mark if "status" in body else send).is_valid(body)


def accepted_here(body: Json) -> bool:
    """Ask the emulator."""
    try:
        check(body)
    except GraphError:
        return False
    return True


def mutations(body: Json) -> Iterator[Json]:
    """Yield the body with each key taken away, given another type, or joined by a stranger, at every depth."""
    for key, value in body.items():
        yield {name: kept for name, kept in body.items() if name != key}
        for other in (7, None, True, [], {}, ""):
            if type(other) is not type(value):
                yield {**body, key: other}
        if isinstance(value, dict):
            yield from ({**body, key: inner} for inner in mutations(value))
    yield {**body, "stranger": 1}


@pytest.mark.parametrize("meta", contract(), ids=["v23.0"][: len(contract())])
def test_metas_examples_are_judged_alike(meta: Json) -> None:
    """Each of Meta's examples that its own schema accepts is accepted here; the incomplete one is refused by both."""
    operation = meta["paths"]["/{Version}/{Phone-Number-ID}/messages"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    judged = {}
    for name, example in examples.items():
        body = json.loads(json.dumps(example["value"]).replace("{{Recipient-Phone-Number}}", "+16505551234"))
        judged[name] = accepted_here(body)
        assert judged[name] == accepted_by_meta(meta, body), name
    assert sum(judged.values()) == len(judged) - 1


@pytest.mark.parametrize("meta", contract(), ids=["v23.0"][: len(contract())])
def test_what_metas_schema_refuses_is_refused(meta: Json) -> None:
    """Every mutation of a good body that the schema refuses is refused here too; being stricter is allowed."""
    refused = 0
    for good in GOOD:
        assert accepted_by_meta(meta, good)
        for mutated in mutations(good):
            if not accepted_by_meta(meta, mutated):
                refused += 1
                assert not accepted_here(mutated), mutated
    assert refused > 100
