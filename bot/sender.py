"""Planned replies to WhatsApp, part by part, each once: the database is told before and after every send."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from bot.clock import Clock
from bot.domain import Done, Failed, Identity, InDoubt, Lease, Outcome, Part, Receipt, Released
from bot.errors import Kind, ServiceError
from bot.store.replies import Permit, Settled, Wait
from bot.store.store import Store

log = structlog.get_logger(__name__)
DOUBTS_MOST = 3
FINAL = (Kind.MESSAGE, Kind.UNREACHABLE, Kind.EXPIRED)
UNCONFIRMED = "sent, but WhatsApp never confirmed it"


class Transport(Protocol):
    """What carries a text to a person: the Graph API's client."""

    async def send_text(self, to: Identity, body: str, *, callback: str, quote: str | None) -> str:
        """Send one message and return its wamid. Raises ServiceError."""
        ...


class NumberLimit:
    """WhatsApp's limit of sends for the whole business number (GCRA): says how long a send has to wait.

    Whoever is sent away is told a time of their own, so that they don't all come back at the same moment.
    """

    def __init__(self, per_second: float, now: datetime) -> None:
        self._interval = timedelta(seconds=1 / per_second if per_second else 0)
        self._burst = timedelta(seconds=1)
        self._full = self._told = now

    def take(self, now: datetime) -> datetime | None:
        """Take a send's place and return None; where there is none, return when to come back."""
        full = max(self._full, now)
        if full - self._burst <= now or not self._interval:
            self._full = full + self._interval
            return None
        self._told = max(self._told, full - self._burst) + self._interval
        return self._told

    def hold(self, until: datetime) -> None:
        """Let nobody send before `until`: the Graph API said so."""
        self._full = max(self._full, until + self._burst)


@dataclass(slots=True)
class Confirmation:
    """How long a send in doubt waits for the status that tells how it ended.

    Counted from the send, or from when webhooks could arrive again: Meta delivers what we missed, after a longer
    deafness only after a while.
    """

    seconds: float
    after_downtime_seconds: float
    listening_since: datetime
    was_deaf: bool = False

    def until(self, sent_at: datetime) -> datetime:
        """Return when a send of that time may be repeated."""
        if sent_at >= self.listening_since:
            return sent_at + timedelta(seconds=self.seconds)
        wait = self.after_downtime_seconds if self.was_deaf else self.seconds
        return self.listening_since + timedelta(seconds=wait)


class Sender:
    """Deliver a lease's parts in order; the next goes after the previous one's 200."""

    def __init__(
        self, store: Store, transport: Transport, clock: Clock, limit: NumberLimit, confirmation: Confirmation
    ) -> None:
        self._store = store
        self._transport = transport
        self._clock = clock
        self._limit = limit
        self._confirmation = confirmation

    def hold(self, until: datetime) -> None:
        """Let nobody send before `until`."""
        self._limit.hold(until)

    async def deliver(self, lease: Lease, parts: Sequence[Part]) -> Outcome:
        """Send what is not decided yet.

        Returns Done when nothing is left to send, Failed when a status said that a part failed, or why the row has
        to wait. Raises ServiceError when the Graph API didn't take a part; the part is planned again, or failed for
        good where its kind says so.
        """
        receipt: Receipt | None = None
        for part in parts:
            if part.state in ("sent", "cancelled"):
                continue
            if part.state == "failed":
                if part.kind == "answer":
                    return Failed(part.error or "WhatsApp could not deliver it", receipt)
                continue
            step = await self._step(lease, part, receipt)
            if not isinstance(step, Receipt):
                if step is None:
                    continue
                return step
            receipt = step
        return Done(receipt)

    async def _step(self, lease: Lease, part: Part, before: Receipt | None) -> Receipt | Outcome | None:
        now = self._clock.now()
        if part.state == "sending":
            until = self._confirmation.until(part.sending_at or now)
            if until > now:
                return InDoubt(until)
            if part.doubts >= DOUBTS_MOST:
                await self._store.refuse_part(part, UNCONFIRMED, final=True)
                return Failed(UNCONFIRMED)
        if (come_back := self._limit.take(now)) is not None:
            return await self._wait(lease, before, come_back)
        permit = await self._store.begin_send(lease, part, before)
        match permit:
            case Wait(until=until):
                return Released(until)
            case Settled(state=state):
                return None if state in ("sent", "cancelled") else Failed("WhatsApp could not deliver it")
        return await self._send(lease, part, permit)

    async def _wait(self, lease: Lease, before: Receipt | None, until: datetime) -> Outcome:
        if before is not None:
            await self._store.record_sent(before)
        return Released(until)

    async def _send(self, lease: Lease, part: Part, permit: Permit) -> Receipt | Outcome:
        began, sent_at = time.perf_counter(), self._clock.now()
        quote = lease.messages[0].wamid if lease.manual and part.number == 1 else None
        outcome, code = "sent", None
        try:
            wamid = await self._transport.send_text(
                permit.to, part.body, callback=permit.callback, quote=quote
            )
            return Receipt(part.id, wamid, _ms(began))
        except ServiceError as error:
            outcome, code = error.kind.name.lower(), error.code
            if error.kind is Kind.IN_DOUBT:
                return InDoubt(self._confirmation.until(sent_at))
            if error.kind is Kind.PAIR:  # Meta's advice: no sooner than 4^n seconds
                error.retry_after = max(error.retry_after or 0.0, 4.0 ** min(part.tries + 1, 4))
            await self._store.refuse_part(part, error.reason, final=error.kind in FINAL)
            raise
        finally:
            log.info(
                "send", user=f"u{lease.user_id}", message=lease.messages[0].id, part=part.number, kind=part.kind,
                outcome=outcome, code=code, ms=_ms(began),
            )  # fmt: skip


def _ms(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
