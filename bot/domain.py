"""What the rooms say to each other, as plain frozen values: what a webhook brings, a turn's own, and its outcomes.

Times are aware datetimes in UTC. Ids of people are our own integers (u17 outside). Texts are bounded and free of
NULs and lone surrogates before they become one of these values (bot/whatsapp sees to it).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Service = Literal["graph", "model"]
ReplyKind = Literal["answer", "apology", "notice", "human"]
ReplyState = Literal["planned", "sending", "sent", "failed", "cancelled"]
Delivery = Literal["sent", "delivered", "read", "played", "failed"]


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts on the queue, as the audit says it: `name` is page, api or cli; `address` the client's, None here."""

    name: str
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is to WhatsApp: a phone (digits, no plus), a business-scoped user id, or both; at least one."""

    phone: str | None = None
    bsuid: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message of a user as it stood in a webhook.

    `body` is what the model may read; "" when this version can't read the content (the turn then sends a notice).
    `answerable` is False for what is kept and never answered (reactions, groups, request_welcome, unknown types…).
    `target` is the wamid that an edit or a revoke speaks of; such a message is never answerable itself, and an
    edit's `body`, `type` and `payload` are those the original gets.
    """

    phone_number_id: str
    wamid: str
    sender: Identity
    type: str
    body: str
    payload: str
    sent_at: datetime | None
    answerable: bool = True
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What became of one of our messages. `callback` is our biz_opaque_callback_data, where it came back."""

    wamid: str
    delivery: Delivery
    at: datetime | None
    callback: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """The same person under another id: `before` names them as known so far, `after` as they are from now on.

    `at` is WhatsApp's own time of it, where there is one: by it a notice that is delivered again is known.
    """

    before: Identity
    after: Identity
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Echo:
    """What the owner wrote to a user from the phone app (smb_message_echoes)."""

    wamid: str
    recipient: Identity
    type: str
    body: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountWarning:
    """What WhatsApp told about the account, its number or a template, in words; `grave`: the owner should look."""

    kind: str
    text: str
    grave: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one webhook POST held, for one transaction. `remarks` are short texts worth a log line: skipped
    parts, value-level errors, account alerts; they hold no message text and no full number."""

    messages: tuple[Inbound, ...] = ()
    statuses: tuple[Status, ...] = ()
    identity_changes: tuple[IdentityChange, ...] = ()
    echoes: tuple[Echo, ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[AccountWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """What the store made of a Batch: messages that are new, those known already, statuses that named a reply."""

    new: int
    known: int
    statuses: int
    users: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One row of the outbox, as a turn sees it. `quotes` is the text this message replies to, where known."""

    id: int
    wamid: str
    type: str
    body: str
    sent_at: datetime
    received_at: datetime
    quotes: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One outgoing message: a row of `replies`."""

    id: int
    number: int
    kind: ReplyKind
    body: str
    state: ReplyState
    tries: int
    doubts: int
    sending_at: datetime | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to answer: `messages` of one user, oldest first; the first leads and is the leased row.

    `token` is the row's `leased_at`: who doesn't hold it any more changes nothing. `parts` is the plan so far.
    `error` is set when an apology or a notice was planned before: the reason the row will end with.
    """

    messages: tuple[Message, ...]
    user_id: int
    name: str | None
    token: str
    attempts: int
    crashes: int
    manual: bool
    error: str | None
    last_message_at: datetime
    parts: tuple[Part, ...] = ()
    probes: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A part of what the owner writes to a user oneself: it answers no message, so no lease stands for it.

    `late`: by our clock the user's last message is over 24 hours old.
    """

    user_id: int
    part: Part
    late: bool


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of the conversation, for the model."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a Handler is asked. `turn_id` stays the same over retries and restarts: the key for tools' idempotency."""

    turn_id: str
    messages: tuple[Message, ...]
    history: tuple[Utterance, ...]
    name: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Handler says: parts in Markdown, sent in order; none means that nothing is to be said."""

    parts: tuple[str, ...]
    input_tokens: int = 0
    output_tokens: int = 0
    request_id: str | None = None


class Handler(Protocol):
    """Whatever answers: the shipped one asks OpenAI, an owner's own may do anything."""

    async def answer(self, question: Question) -> Answer:
        """Answer a question. Raises bot.errors.ServiceError; whatever else it raises counts as "try later"."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The Graph API took a part: its wamid, to be recorded with whatever comes next."""

    part_id: int
    wamid: str
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Answered."""

    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Set aside, with a reason; `attempts` is 1 where a try ended so. An apology that was due is decided already."""

    error: str
    receipt: Receipt | None = None
    attempts: int = 0
    code: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended unanswered by a rule: `error` says which."""

    error: str
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after so many seconds; one attempt is spent, unless `service` turns out to have an outage."""

    after_seconds: float
    error: str
    code: str | None = None
    request_id: str | None = None
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A send may or may not have gone out: wait until `until` for its status; nothing is spent.

    `service` and `error` tell of a send that ended so just now.
    """

    until: datetime
    error: str = ""
    code: str | None = None
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """Give the row back unchanged: nothing is spent, now or at `until` it may be claimed again.

    `refused_by` opens that service's circuit with `error`; its next probe is due after `probe_after_seconds`.
    `pause` pauses the user for the limit that `error` names.
    """

    until: datetime | None = None
    refused_by: Service | None = None
    pause: bool = False
    error: str = ""
    code: str | None = None
    request_id: str | None = None
    probe_after_seconds: float = 0.0


Outcome = Done | Failed | Cancelled | Retry | InDoubt | Released
