"""One message's way to its answer: limits, typing, history, the handler, the plan, and what an error makes of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from traceback import format_tb

import structlog

from bot.backoff import backoff_seconds
from bot.clock import Clock, ms_since
from bot.config import Config
from bot.domain import Answer, Cancelled, Done, Failed, Handler, Lease, Outcome, Part, Question, Released, Retry
from bot.errors import Kind, ServiceError
from bot.metrics import Metrics
from bot.sender import Sender
from bot.store.replies import Admission, Plan, Wait
from bot.store.store import Store
from bot.whatsapp.client import GraphClient
from bot.whatsapp.markdown import to_whatsapp
from bot.whatsapp.split import split

log = structlog.get_logger(__name__)
WINDOW = timedelta(hours=24)  # WhatsApp's: free text only so long after the person's last message
NOTICE_EVERY = timedelta(minutes=10)
TYPING_SECONDS = 20.0  # the indicator goes after 25 s
TYPING_GRACE_SECONDS = 2.0


class Turn:
    """Answer a leased message. Every way out is an Outcome."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        graph: GraphClient,
        handler: Handler,
        clock: Clock,
        config: Config,
        metrics: Metrics,
    ) -> None:
        self._store, self._sender, self._graph, self._metrics = store, sender, graph, metrics
        self._handler, self._clock, self._config = handler, clock, config
        self._max_age = timedelta(seconds=config.queue.max_age_seconds)

    async def run(self, lease: Lease) -> Outcome:
        """Bring a message to its outcome; the handler may take `lease_seconds`, each send what its client allows."""
        try:
            return await self._answer(lease)
        except ServiceError as error:
            if error.service == "model":
                self._metrics.count("model_calls", error.kind.name.lower())
            return await self._outcome_of(error, lease)

    async def _answer(self, lease: Lease) -> Outcome:
        unsent = [part for part in lease.parts if part.state in ("planned", "sending")]
        if (unsent or not lease.parts) and await self._older(lease.last_message_at, WINDOW):
            return self._sender.doubt(unsent) or Failed("expired")
        if lease.attempts >= self._config.queue.max_attempts and all(part.kind == "answer" for part in lease.parts):
            return await self._say(Plan(lease, "apology", [self._config.replies.error], lease.error))
        if lease.parts:
            return await self._deliver(lease, [part for part in lease.parts if part.kind != "answer"] or lease.parts)
        if not lease.manual and await self._older(lease.messages[0].sent_at, self._max_age):
            return Failed("expired")
        if lease.crashes >= self._config.queue.max_attempts:
            died = f"the daemon died {lease.crashes} times while answering it"
            return await self._say(Plan(lease, "apology", [self._config.replies.error], died))
        return await self._within_limits(lease)

    async def _older(self, moment: datetime, age: timedelta) -> bool:
        """Whether a moment is longer ago; not by a clock that is wrong."""
        return self._clock.now() - moment > age and await self._graph.clock_is_right()

    async def _within_limits(self, lease: Lease) -> Outcome:
        now, limits, replies, openai = self._clock.now(), self._config.limits, self._config.replies, self._config.openai
        standing = await self._store.standing(lease.messages[0].id, openai.history_messages, openai.history_characters)
        if 0 < limits.answers_per_user_per_hour <= standing.answers_hour:
            log.error("user paused", user=f"u{lease.user_id}", limit="answers_per_user_per_hour")
            return Released(pause=True, error="limit_per_hour")
        if 0 < limits.answers_per_user_per_day <= standing.answers_day:
            if standing.limited_at and now - standing.limited_at < timedelta(days=1):
                return Cancelled("limit_per_day")
            return await self._say(Plan(lease, "notice", [replies.limit], "limit_per_day", notice="limited_at"))
        if not any(message.body for message in lease.messages):
            if standing.noticed_at and now - standing.noticed_at < NOTICE_EVERY:
                return Done()
            async with self._typing(lease):  # marks it read, at least
                await asyncio.sleep(0)
            return await self._say(Plan(lease, "notice", [replies.unsupported], notice="noticed_at"))
        question = Question(f"m{lease.messages[0].id}", lease.messages, standing.history, lease.name)
        return await self._from_handler(lease, question)

    async def _from_handler(self, lease: Lease, question: Question) -> Outcome:
        began = time.perf_counter()
        async with self._typing(lease):
            answer = await self._ask(question, lease.user_id)
            self._metrics.answered(answer, time.perf_counter() - began)
        bodies = [part for text in answer.parts for part in split(to_whatsapp(text))]
        spent = ms_since(began)
        return await self._say(Plan(lease, "answer", bodies, answer=answer, duration_ms=spent))

    async def _ask(self, question: Question, user_id: int) -> Answer:
        while True:
            try:
                async with asyncio.timeout(self._config.queue.lease_seconds):
                    return await self._handler.answer(question)
            except TimeoutError:
                raise ServiceError("model", Kind.LATER, "no answer within queue.lease_seconds") from None
            except ServiceError as error:
                if error.kind is not Kind.TOO_LONG or not question.history:
                    raise
                question = replace(question, history=question.history[(len(question.history) + 1) // 2 :])
            except Exception as error:  # an owner's handler may raise anything: it counts as "try later"
                # Not its own text, which may quote the message.
                name, trace = type(error).__name__, format_tb(error.__traceback__)
                log.error(
                    "handler failed", user=f"u{user_id}", message=question.messages[0].id, error=name, trace=trace
                )
                raise ServiceError("model", Kind.LATER, f"the handler raised {name}") from error

    async def _say(self, plan: Plan) -> Outcome:
        """Plan parts and send them; the first one is marked as being sent in the transaction that plans it."""
        come_back = self._sender.limit.take(self._clock.now()) if plan.bodies else None
        parts, begun = await self._store.plan(replace(plan, begin=come_back is None))
        if plan.kind == "apology" and not parts:  # a part of the answer may have gone out
            return Failed(plan.error or "failed", attempts=plan.attempts)
        return await self._deliver(plan.lease, parts, plan.error, Wait(come_back) if come_back else begun)

    async def _deliver(
        self, lease: Lease, parts: Sequence[Part], error: str | None = None, begun: Admission | None = None
    ) -> Outcome:
        """Send a plan; its kind says how the row ends. An apology or notice that fails is not apologised for."""
        kind, reason = (parts[0].kind if parts else "answer"), error or lease.error
        try:
            outcome = await self._sender.deliver(lease, parts, begun)
        except ServiceError as failure:
            if kind == "answer":
                raise
            return self._wait_or_retry(failure, lease) or Failed(reason or failure.reason)
        if isinstance(outcome, Done) and kind == "apology":
            return Failed(reason or "failed", outcome.receipt)
        if isinstance(outcome, Done) and kind == "notice" and reason:
            return Cancelled(reason, outcome.receipt)
        return outcome

    async def _outcome_of(self, error: ServiceError, lease: Lease) -> Outcome:
        """Map every kind of error to what becomes of the message: the one place that does."""
        if (outcome := self._wait_or_retry(error, lease)) is not None:
            return outcome
        if error.kind in (Kind.EXPIRED, Kind.UNREACHABLE):
            outcome = Failed("expired" if error.kind is Kind.EXPIRED else error.reason, attempts=1)
        else:
            works = error.service if error.kind is Kind.MESSAGE else None
            sorry = [self._config.replies.error]
            outcome = await self._say(Plan(lease, "apology", sorry, error.reason, attempts=1, works=works))
        if isinstance(outcome, Failed):
            outcome = replace(outcome, code=error.code, request_id=error.request_id)
        return outcome

    def _wait_or_retry(self, error: ServiceError, lease: Lease) -> Outcome | None:
        now, queue = self._clock.now(), self._config.queue
        # A probe that is told to come later: its circuit stays open, and nothing is spent either.
        probe = error.kind in (Kind.LATER, Kind.EVERYBODY) and error.service in lease.probes
        throttled = error.kind is Kind.EVERYBODY and error.service == "model"
        if probe or throttled or error.kind in (Kind.DOWN, Kind.REFUSED):
            return Released(
                refused_by=error.service,
                error=error.reason,
                code=error.code,
                request_id=error.request_id,
                probe_after_seconds=error.retry_after or 0.0,
            )
        match error.kind:
            case Kind.PAIR:
                return Released(now + timedelta(seconds=error.retry_after or 0.0))
            case Kind.EVERYBODY:
                until = now + timedelta(seconds=error.retry_after or 0.0)
                self._sender.limit.hold(until)
                return Released(until)
            case Kind.LATER if lease.attempts < queue.max_attempts:  # the last try is told to its user at the next look
                base, most, spent = queue.backoff_base_seconds, queue.backoff_max_seconds, lease.attempts + 1
                backoff = backoff_seconds(spent, base=base, maximum=most, retry_after=error.retry_after)
                wait = backoff if spent < queue.max_attempts else 0.0
                return Retry(wait, error.reason, error.code, error.request_id, error.service)
        return None

    @contextlib.asynccontextmanager
    async def _typing(self, lease: Lease) -> AsyncIterator[None]:
        """Show "typing…" while the handler thinks; a mark under way ends before the reply, or it would outlive it."""
        wamid, marking = lease.messages[-1].wamid, asyncio.Lock()

        async def keep() -> None:
            while True:
                async with marking:
                    try:
                        await self._graph.mark_read(wamid, typing=True)
                    except ServiceError as error:
                        log.debug("typing", user=f"u{lease.user_id}", outcome=error.kind.name.lower(), code=error.code)
                await self._clock.sleep(TYPING_SECONDS)

        typing = asyncio.create_task(keep(), name=f"typing-m{lease.messages[0].id}")
        try:
            yield
            if marking.locked():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TYPING_GRACE_SECONDS), marking:
                        pass
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
