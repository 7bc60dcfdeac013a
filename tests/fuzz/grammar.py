"""Build the webhooks that are mutated: each kind that Meta sends, valid as it stands, alone or mixed in batches."""

import json
import random
from collections.abc import Callable
from typing import Any

from bot.emulator import payloads
from bot.emulator.payloads import Json
from tests.fuzz.people import CALLBACK, SENT, Odd, any_odd, head, neighbour_wamid

Build = Callable[["Grammar"], Json]
OTHER_FIELDS = (
    *(
        "account_update",
        "account_alerts",
        "security",
        "flows",
        "message_template_status_update",
        "account_news_of_2030",
    ),
    *("phone_number_quality_update", "history", "standby", "smb_app_state_sync", "calls"),
)
NEIGHBOURS_BACK = 200  # payloads after which a neighbour is stored for certain, and its id may be spoken of


class Grammar:
    """Make the parts of one payload; the same seed and number make the same ones."""

    def __init__(self, dice: random.Random, seed: int, number: int, now: int) -> None:
        self.dice, self._seed, self._number, self._now = dice, seed, number, now
        self._ids = 0

    def payload(self) -> Json:
        """Give a whole webhook: one to three entries, mostly one."""
        entries = [self._entry() for _ in range(self.dice.choice((1, 1, 1, 2, 3)))]
        return {"object": "whatsapp_business_account", "entry": entries}

    def odd(self) -> Odd:
        """Give somebody of the pool."""
        return any_odd(self.dice, self._number)

    def wamid(self) -> str:
        """Give an id of this payload's own; now and then one that an earlier payload had, as a redelivery does."""
        self._ids += 1
        number = self._number - self.dice.randint(1, 50) if self.dice.random() < 0.03 else self._number
        return f"wamid.odd.{self._seed}.{number}.{self._ids}"

    def target(self) -> str:
        """Give an id to edit, revoke, quote or react to: an odd one, a neighbour's, one of ours, nobody's."""
        back = self._number - self.dice.randint(0, 40)
        ids = [f"wamid.odd.{self._seed}.{back}.{self.dice.randint(1, 3)}", SENT, "wamid.nobody"]
        if self._number > NEIGHBOURS_BACK:  # an odd person's edit must not touch what somebody else wrote
            ids.append(neighbour_wamid(self._seed, self.dice.randint(0, self._number - NEIGHBOURS_BACK)))
        return self.dice.choice(ids)

    def head(self) -> Json:
        """Give what every message has."""
        made = head(self.dice, self._number, self.wamid(), self._now)
        if self.dice.random() < 0.2:
            made["context"] = {"from": payloads.DISPLAY_PHONE_NUMBER, "id": self.target()}
        return made

    def message(self) -> Json:
        """Give one message of any kind."""
        build = self.dice.choice(MESSAGES)
        made: Json = build(self)
        return made

    def _entry(self) -> Json:
        changes = [self._change() for _ in range(self.dice.choice((1, 1, 1, 2)))]
        return {"id": payloads.WABA_ID, "changes": changes}

    def _change(self) -> Json:
        chance = self.dice.random()
        if chance < 0.08:
            value = self._value() | {"message_echoes": [self._echo() for _ in range(self.dice.randint(1, 3))]}
            return {"field": "smb_message_echoes", "value": value}
        if chance < 0.16:
            value = self._value() | {"user_id_update": [self._update() for _ in range(self.dice.randint(1, 3))]}
            return {"field": "user_id_update", "value": value}
        if chance < 0.22:
            value = self._value() | {"messages": [self.message()], "event": "ACCOUNT_RESTRICTION"}
            return {"field": self.dice.choice(OTHER_FIELDS), "value": value}
        return {"field": "messages", "value": self._messages()}

    def _value(self) -> Json:
        number = "999999999999999" if self.dice.random() < 0.05 else payloads.PHONE_NUMBER_ID
        metadata = {"display_phone_number": payloads.DISPLAY_PHONE_NUMBER, "phone_number_id": number}
        return {"messaging_product": "whatsapp", "metadata": metadata}

    def _messages(self) -> Json:
        value, many = self._value(), self.dice.choice((0, 1, 1, 1, 2, 3, 8))
        if self.dice.random() < 0.002:
            many = 300
        messages = [self.message() for _ in range(many)]
        if self.dice.random() < 0.05:
            messages += self._ring()
        value["contacts"] = [self._card() for _ in range(self.dice.choice((0, 1, 1, 2)))]
        value["messages"] = messages
        value["statuses"] = [self._status() for _ in range(self.dice.choice((0, 0, 0, 1, 2, 5)))]
        if self.dice.random() < 0.05:
            value["errors"] = [{"code": 131051, "title": "Unsupported", "error_data": {"details": "of no kind"}}]
        return {key: held for key, held in value.items() if held != []}

    def _card(self) -> Json:
        one, dice = self.odd(), self.dice
        name = dice.choice(("Ana", "José Ñandú", "👩‍👩‍👧", "a\u202eb", ""))
        phone, bsuid = dice.choice(((one.phone, None), ("", one.bsuid), (one.phone, one.bsuid)))
        return payloads.contact(name=name, wa_id=phone, user_id=bsuid, username=dice.choice(("", "ana.t")))

    def _ring(self) -> list[Json]:
        """Give changes of identity that lead back to where they began, with a word said on the way."""
        round_ = [self.odd() for _ in range(self.dice.randint(2, 5))]
        ring: list[Json] = []
        for one, next_ in zip(round_, [*round_[1:], round_[0]], strict=True):
            ring.append(self._changed(one.phone, next_.phone, one.bsuid, next_.bsuid))
            if self.dice.random() < 0.3:
                ring.append(self._said(one.phone))
        return ring

    def _said(self, phone: str) -> Json:
        return payloads.text_message(body="on the way", wa_id=phone, wamid=self.wamid(), timestamp=self._now)

    def _changed(self, phone: str, next_phone: str, bsuid: str, next_bsuid: str) -> Json:
        if self.dice.random() < 0.5:
            return payloads.changed_user_id_message(
                new_user_id=next_bsuid, previous_user_id=bsuid, wamid=self.wamid(), timestamp=self._now
            )
        ids = {"new_user_id": next_bsuid, "previous_user_id": bsuid} if self.dice.random() < 0.5 else {}
        return payloads.changed_number_message(
            new_wa_id=next_phone, **ids, wa_id=phone, wamid=self.wamid(), timestamp=self._now
        )

    def changed(self) -> Json:
        """Give a system message: somebody of the pool became somebody else of it."""
        one, other = self.odd(), self.odd()
        return self._changed(one.phone, other.phone, one.bsuid, other.bsuid)

    def _update(self) -> Json:
        one, other = self.odd(), self.odd()
        update: Json = {"user_id": {"previous": one.bsuid, "current": other.bsuid}}
        return update | ({"wa_id": one.phone} if self.dice.random() < 0.5 else {})

    def _echo(self) -> Json:
        one = self.odd()
        to = self.dice.choice(({"to": one.phone}, {"to_user_id": one.bsuid}))
        stamp = {"id": self.wamid(), "timestamp": str(self._now)}
        return {"from": payloads.DISPLAY_PHONE_NUMBER, **to, **stamp, "type": "text", "text": {"body": "from the shop"}}

    def _status(self) -> Json:
        """Give a status of one of our sends, or of one that nobody knows."""
        ours, one = self.dice.random() < 0.6, self.odd()
        name = self.dice.choice(("sent", "delivered", "read", "played", "failed", "failed"))
        return payloads.status(
            wamid=self.dice.choice((SENT, self.target())) if ours else f"wamid.{self.dice.random()}",
            status=name,
            wa_id=self.dice.choice(("", one.phone)),
            user_id=self.dice.choice((None, one.bsuid)),
            timestamp=self._now,
            callback_data=self.dice.choice((CALLBACK, "")) if ours else self.dice.choice(("", "of-another-app.1")),
            errors=[{"code": 131026, "title": "Message undeliverable"}] if name == "failed" else (),
        )


def _by(builder: Callable[..., Json], **content: Any) -> Build:
    return lambda grammar: builder(**content, **grammar.head())


def _plain(kind: str, **members: Any) -> Build:
    written = json.dumps(members)  # a mutation must not reach the next message
    return lambda grammar: payloads.message(kind, json.loads(written), **grammar.head())


def _text(grammar: Grammar) -> Json:
    body = grammar.dice.choice(("hola", "¡Olé! 😀 a/b", "*bold* _it_ `code`", "x" * 4096, " \n\t", "{$name}"))
    made = payloads.text_message(body=body, **grammar.head())
    return made | ({"group_id": "120363000000000000"} if grammar.dice.random() < 0.05 else {})


def _form(grammar: Grammar) -> Json:
    """Give a filled-in form: JSON inside a string inside JSON, as deep as it likes."""
    depth = grammar.dice.choice((1, 3, 100, 900, 950, 980, grammar.dice.randint(900, 1000), 5000))
    told = grammar.dice.choice(
        (
            json.dumps({"name": "Ana", "flow_token": "t", "when": [1, 2]}),
            '{"deep":' + "[" * depth + "]" * depth + "}",
            '{"much":' + "9" * 5000 + "}",
            '{"nan":NaN,"lone":"\\ud800","nul":"\\u0000"}',
            "[1]",
            "no JSON",
        )
    )
    reply = {"type": "nfm_reply", "nfm_reply": {"response_json": told, "body": "Sent", "name": "flow"}}
    return payloads.message("interactive", {"interactive": reply}, **grammar.head())


_CARD = {"name": {"formatted_name": "Bea", "first_name": "Bea"}, "phones": [{"phone": "+34 600", "wa_id": "34600"}]}
_ITEM = {"product_retailer_id": "pot-1", "quantity": 2, "item_price": 120.5, "currency": "MXN"}

MESSAGES: tuple[Build, ...] = (
    _text,
    _text,
    _text,
    _form,
    _by(payloads.image_message, caption="what is this?"),
    _by(payloads.image_message),
    _by(payloads.audio_message),
    _by(payloads.location_message, name="Plaza Mayor"),
    _by(payloads.button_message, text="Yes"),
    _by(payloads.button_reply_message, title="Yes"),
    _by(payloads.list_reply_message, title="Large pot", description="26 cm"),
    _by(payloads.unsupported_message),
    _plain("contacts", contacts=[_CARD, _CARD]),
    _plain("order", order={"catalog_id": "1", "text": "quickly", "product_items": [_ITEM, _ITEM]}),
    _plain("interactive", interactive={"type": "product", "product": {"id": "pot-1", "catalog_id": "1"}}),
    _plain("interactive", interactive={"type": "call_permission_reply", "call_permission_reply": {}}),
    _plain("text", text={"body": "from an ad"}, referral={"source_url": "https://fb.me/1", "headline": "Pots"}),
    _plain("request_welcome"),
    _plain("hologram", hologram={"beam": [1, 2, {"x": None}]}),
    lambda grammar: payloads.reaction_message(message_id=grammar.target(), **grammar.head()),
    lambda grammar: payloads.edit_message(original=grammar.target(), body="edited", **grammar.head()),
    lambda grammar: payloads.revoke_message(original=grammar.target(), **grammar.head()),
    Grammar.changed,
)
