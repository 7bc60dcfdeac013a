"""The errors that cross rooms, and the kinds that decide what becomes of a message."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum

from bot.domain import Service


class Kind(Enum):
    """What an error of a service means for the message, its user and everybody else."""

    MESSAGE = "this message is bad: fail now, apologise"
    UNREACHABLE = "this person can't be reached: fail, no apology"
    EXPIRED = "WhatsApp's 24-hour window is closed: fail as expired, no apology"
    TOO_LONG = "the model's context overflows: halve the history and ask again"
    LATER = "try later: backoff, an attempt is spent"
    PAIR = "too many messages to this user: this user waits, nothing is spent"
    EVERYBODY = "a rate limit of the number or account: everybody waits, nothing is spent"
    IN_DOUBT = "the message may have been sent: wait for its status"
    DOWN = "nothing answers and nothing was sent: the circuit opens, nothing is spent"
    REFUSED = "the service refuses us: the circuit opens, nothing is spent"


@dataclass(eq=False)
class ServiceError(Exception):
    """A call to the Graph API or the model failed.

    `reason` is one line for people (no secret, no message text), `code` the service's own code as text,
    `retry_after` seconds as the service asked, `request_id` its id for support.
    """

    service: Service
    kind: Kind
    reason: str
    _: KW_ONLY
    code: str | None = None
    retry_after: float | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        return self.reason


class StoreError(Exception):
    """The store can't do it; the text says why in a sentence."""


class StoreUnavailable(StoreError):
    """Nothing could be written: disk full, locked, I/O error. Nothing was stored."""


class StoreFull(StoreError):
    """max_depth_total is reached: new messages are not taken for now; statuses were stored."""


class NotFound(StoreError):
    """There is no such message or user."""


class WrongState(StoreError):
    """The message is not in a state that allows it; the text says which and why."""


class BadValue(StoreError):
    """What is asked for makes no sense: `field` says where, the text why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class StartError(Exception):
    """The daemon can't start; the text is one sentence that says what to do."""
