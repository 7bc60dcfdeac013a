"""Play the customers' phones: who they are, what they see, and a live feed of it."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

TYPING_SECONDS = 25.0  # after which WhatsApp takes the typing dots away by itself

_RANKS = ("", "sending", "sent", "delivered", "read")


@dataclass(frozen=True, slots=True)
class Customer:
    """Name a person who writes to the number: by phone (`wa_id`, digits), by BSUID (`user_id`), or both."""

    name: str
    wa_id: str = ""
    user_id: str = ""
    username: str = ""

    @property
    def key(self) -> str:
        """Give the id that this person goes by in the log: the phone, or else the BSUID."""
        return self.wa_id or self.user_id

    @property
    def ids(self) -> frozenset[str]:
        """Give every id that this person is known by."""
        return frozenset({self.wa_id, self.user_id} - {""})


@dataclass(slots=True)
class Bubble:
    """Hold one message of a chat as the customer's phone shows it."""

    id: str  # wamid
    customer: str  # Customer.key
    direction: str  # "in": the customer wrote it; "out": the number did
    text: str
    kind: str = "text"
    at: float = field(default_factory=time.time)  # Unix seconds
    tick: str = ""  # sending, sent, delivered, read, failed
    quotes: str = ""  # wamid
    payload: dict[str, Any] = field(default_factory=dict)  # the webhook that brought it, to deliver it again

    def as_json(self) -> dict[str, Any]:
        """Give what the phone shows of it."""
        return {key: value for key, value in asdict(self).items() if key != "payload"}


class Chats:
    """Keep customers and their chats, newest last; feed what happens to whoever subscribed.

    Events are dicts with a `type`: {"type": "bubble", "bubble": {…}}, {"type": "tick", "customer", "id", "tick"},
    {"type": "typing", "customer", "on"}, {"type": "call", "customer", "service", …}: a request that ended.
    """

    def __init__(self, changed: Callable[[], None], *, limit: int = 1000) -> None:
        self.customers: dict[str, Customer] = {}
        self.bubbles: dict[str, OrderedDict[str, Bubble]] = {}
        self.typing: dict[str, asyncio.TimerHandle] = {}
        self._by_id: dict[str, str] = {}
        self._wrote: OrderedDict[str, str] = OrderedDict()
        self._where: dict[str, str] = {}
        self._changed = changed
        self._limit = limit
        self._feeds: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def add(self, customer: Customer) -> Customer:
        """Register a customer; one that shares an id with it is replaced."""
        self.customers[customer.key] = customer
        self._by_id |= dict.fromkeys(customer.ids, customer.key)
        self.bubbles.setdefault(customer.key, OrderedDict())
        return customer

    def find(self, address: str) -> Customer | None:
        """Give the customer behind a phone or a BSUID.

        Like WhatsApp, it knows that Mexican and Argentinian mobiles are stored with one digit more than is dialled.
        """
        phone = re.sub(r"\D", "", address)
        stored = {"52": "521", "54": "549"}.get(phone[:2], "") + phone[2:] if len(phone) == 12 else ""
        key = self._by_id.get(address) or self._by_id.get(phone) or self._by_id.get(stored)
        return self.customers[key] if key else None

    def meet(self, address: str) -> Customer:
        """Give the customer behind a phone or BSUID; register a stranger. Raises ValueError for anything else."""
        known = self.find(address)
        if known is not None:
            return known
        if re.fullmatch(r"\+?[\d ().-]+", address):
            phone = re.sub(r"\D", "", address)
            return self.add(Customer("+" + phone, wa_id=phone))
        if re.fullmatch(r"[A-Z]{2}\..+", address):
            return self.add(Customer(address, user_id=address))
        raise ValueError(f"{address!r} is neither a phone nor a business-scoped user id")

    def last_wrote(self, customer: Customer) -> float:
        """Give the Unix seconds of somebody's newest message; 0 where there is none."""
        return max((one.at for one in self.bubbles[customer.key].values() if one.direction == "in"), default=0.0)

    def put(self, bubble: Bubble) -> None:
        """Show a message in its chat."""
        self._keep(bubble)
        if bubble.direction == "out":
            self.set_typing(bubble.customer, on=False)
        self.tell({"type": "bubble", "bubble": bubble.as_json()})

    def restore(self, bubbles: Iterable[Bubble]) -> None:
        """Fill chats with an earlier conversation, oldest first, without telling anyone."""
        for bubble in bubbles:
            self._keep(bubble)

    def _keep(self, bubble: Bubble) -> None:
        chat = self.bubbles[bubble.customer]
        chat[bubble.id] = bubble
        self._where[bubble.id] = bubble.customer
        if len(chat) > self._limit:
            gone, _ = chat.popitem(last=False)
            self._where.pop(gone, None)
        if bubble.direction == "in":
            self._wrote[bubble.text] = bubble.customer
            if len(self._wrote) > self._limit:
                self._wrote.popitem(last=False)

    def bubble(self, wamid: str) -> Bubble | None:
        """Give one message, wherever it is."""
        return self.bubbles[self._where[wamid]].get(wamid) if wamid in self._where else None

    def writer(self, text: str) -> Customer | None:
        """Give who wrote this text last."""
        key = self._wrote.get(text)
        return self.customers.get(key) if key else None

    def tick(self, wamid: str, tick: str) -> None:
        """Raise a message's tick; it never falls, and failed counts over nothing or sent."""
        bubble = self.bubble(wamid)
        if bubble is None:
            return
        rises = bubble.tick in ("", "sending", "sent") if tick == "failed" else _rank(tick) > _rank(bubble.tick)
        if rises:
            bubble.tick = tick
            self.tell({"type": "tick", "customer": bubble.customer, "id": wamid, "tick": tick})

    def read(self, wamid: str, *, typing: bool) -> None:
        """Mark a customer's message read, and with it all earlier ones; show the typing dots."""
        bubble = self.bubble(wamid)
        if bubble is None:
            return
        for earlier in self.bubbles[bubble.customer].values():
            if earlier.direction == "in":
                self.tick(earlier.id, "read")
            if earlier is bubble:
                break
        if typing:
            self.set_typing(bubble.customer, on=True)

    def set_typing(self, key: str, *, on: bool) -> None:
        """Show the typing dots for 25 seconds, or take them away."""
        timer = self.typing.pop(key, None)
        if timer is not None:
            timer.cancel()
        if on:
            loop = asyncio.get_running_loop()
            self.typing[key] = loop.call_later(TYPING_SECONDS, lambda: self.set_typing(key, on=False))
        if on or timer is not None:
            self.tell({"type": "typing", "customer": key, "on": on})

    @contextmanager
    def feed(self) -> Iterator[AsyncIterator[dict[str, Any]]]:
        """Follow events from now on; ends when the emulator closes or the reader lags far behind."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._feeds.add(queue)
        try:
            yield _events(queue)
        finally:
            self._feeds.discard(queue)

    def close(self) -> None:
        """End all feeds and timers."""
        for timer in self.typing.values():
            timer.cancel()
        self.typing.clear()
        for queue in self._feeds:
            queue.put_nowait(None)

    def tell(self, event: dict[str, Any]) -> None:
        """Give an event to every feed."""
        for queue in list(self._feeds):
            queue.put_nowait(event)
            if queue.qsize() > 2 * self._limit:
                self._feeds.discard(queue)
                queue.put_nowait(None)
        self._changed()


async def _events(queue: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[dict[str, Any]]:
    while (event := await queue.get()) is not None:
        yield event


def _rank(tick: str) -> int:
    return _RANKS.index(tick) if tick in _RANKS else len(_RANKS)
