"""Planned replies to WhatsApp, part by part, each once: the database is told before and after every send."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock, ms_since
from bot.domain import Done, Failed, InDoubt, Lease, Letter, Outcome, Part, Receipt, Released
from bot.errors import Kind, ServiceError
from bot.metrics import Metrics
from bot.store.replies import Admission, Permit, Settled, Wait
from bot.store.store import DEAF_SECONDS, Store
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
DOUBTS_MOST = 3
FINAL = (Kind.MESSAGE, Kind.UNREACHABLE, Kind.EXPIRED)
UNCONFIRMED = "sent, but WhatsApp never confirmed it"


class NumberLimit:
    """WhatsApp's limit of sends for the whole business number says how long a send has to wait.

    Whoever is sent away is told a time of their own, so that they don't all come back at the same moment.
    """

    def __init__(self, per_second: float, now: datetime) -> None:
        self._interval = timedelta(seconds=1 / per_second if per_second else 0)
        self._full = self._told = now

    def take(self, now: datetime) -> datetime | None:
        """Take a send's place and return None; where there is none, return when to come back."""
        if self._full <= now:
            self._full = now + self._interval
            return None
        self._told = max(self._told + self._interval, self._full)
        return self._told

    def hold(self, until: datetime) -> None:
        """Let nobody send before `until`: the Graph API said so."""
        self._full = max(self._full, until)


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
    heard_at: datetime | None = None

    def hear(self, now: datetime) -> None:
        """Note that webhooks can arrive; where nobody could note it for over a minute, we were deaf until now."""
        if (now - (self.heard_at or self.listening_since)).total_seconds() > DEAF_SECONDS:
            self.listening_since, self.was_deaf = now, True
        self.heard_at = now

    def until(self, sent_at: datetime) -> datetime:
        """Return when a send of that time may be repeated."""
        if sent_at >= self.listening_since:
            return sent_at + timedelta(seconds=self.seconds)
        wait = self.after_downtime_seconds if self.was_deaf else self.seconds
        return self.listening_since + timedelta(seconds=wait)


class Sender:
    """Deliver a lease's parts in order, the next after the previous one's 200; or a letter, which is one part."""

    def __init__(
        self,
        store: Store,
        graph: GraphClient,
        clock: Clock,
        limit: NumberLimit,
        confirmation: Confirmation,
        metrics: Metrics,
    ) -> None:
        self._store, self._graph, self._clock = store, graph, clock
        self.limit, self.confirmation, self._metrics = limit, confirmation, metrics

    async def deliver(self, lease: Lease | Letter, parts: Sequence[Part], begun: Admission | None = None) -> Outcome:
        """Send what is not decided yet; `begun` is the first part's admission, where it was asked for already.

        Returns Done when nothing is left to send, Failed when a status said that a part failed, or why the row has
        to wait. Raises ServiceError when the Graph API didn't take a part; the part is planned again, or failed for
        good where its kind says so.
        """
        receipt: Receipt | None = None
        undecided = [part for part in parts if part.state not in ("sent", "cancelled")]
        for part in undecided:
            if part.state == "failed":
                if part.kind == "answer":
                    return Failed(part.error or "WhatsApp could not deliver it", receipt)
                continue
            match begun or await self._admit(lease, part, receipt):
                case Permit() as permit:
                    quotes = isinstance(lease, Lease) and lease.manual and part is undecided[0]
                    step = await self._send(lease, part, permit, quotes=quotes)
                    if not isinstance(step, Receipt):
                        return step
                    receipt = step
                case InDoubt() as doubt:
                    return doubt
                case Wait(until=until):
                    return Released(until)
                case Settled(state="failed"):
                    return Released()  # the next look finds why
            begun = None
        return Done(receipt)

    def doubt(self, parts: Sequence[Part]) -> InDoubt | None:
        """Say how long to wait for a status where nobody knows how a send ended."""
        now = self._clock.now()
        self.confirmation.hear(now)
        ends = [self.confirmation.until(part.sending_at or now) for part in parts if part.state == "sending"]
        return InDoubt(max(ends)) if ends and max(ends) > now else None

    async def _admit(self, lease: Lease | Letter, part: Part, before: Receipt | None) -> Admission | InDoubt:
        now = self._clock.now()
        if part.state == "sending":
            if doubt := self.doubt([part]):
                return doubt
            if part.doubts >= DOUBTS_MOST:
                await self._store.refuse_part(part, UNCONFIRMED, final=True)
                return InDoubt(now)  # the next look finds it failed, or a status that came just now
        if (come_back := self.limit.take(now)) is None:
            return await self._store.begin_send(lease, part, before)
        if before is not None:
            await self._store.record_sent(before)
        return Wait(come_back)

    async def _send(self, lease: Lease | Letter, part: Part, permit: Permit, *, quotes: bool) -> Receipt | InDoubt:
        began, sent_at = time.perf_counter(), self._clock.now()
        outcome, code = "interrupted", None
        message = lease.messages[0] if isinstance(lease, Lease) else None
        quote = message.wamid if message and quotes else None
        try:
            wamid = await self._graph.send_text(permit.to, part.body, callback=permit.callback, quote=quote)
            outcome = "sent"
            return Receipt(part.id, wamid, ms_since(began))
        except ServiceError as error:
            outcome, code = error.kind.name.lower(), error.code
            if error.kind is Kind.IN_DOUBT:
                return InDoubt(self.confirmation.until(sent_at), error.reason, error.code, "graph")
            if error.kind is Kind.PAIR:  # Meta's advice: no sooner than 4^n seconds
                error.retry_after = max(error.retry_after or 0.0, 4.0 ** min(part.tries + 1, 4))
            await self._store.refuse_part(part, error.reason, final=error.kind in FINAL)
            raise
        finally:
            self._metrics.count("sends", outcome, code or "")
            self._metrics.observe("send_seconds", time.perf_counter() - began)
            log.info(
                "send", user=f"u{lease.user_id}", message=message and message.id, part=part.number, kind=part.kind,
                outcome=outcome, code=code, ms=ms_since(began),
            )  # fmt: skip
