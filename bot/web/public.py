"""The public listener: what Meta calls. It writes to the store and rings the bell, nothing else."""

import hmac
from time import perf_counter
from traceback import format_tb
from typing import Protocol

import structlog
from aiohttp import web

from bot.bell import Bell
from bot.domain import Appended, Batch
from bot.errors import StoreError, StoreFull
from bot.web.body import BodyReader, Refused
from bot.whatsapp import signature
from bot.whatsapp.webhook import Malformed, parse, translate

MOST_USERS_IN_A_LINE = 5
FULL_RETRY_SECONDS = 60  # until there may be room again
RETRY_SECONDS = 10  # until the file may be written again

log = structlog.get_logger(__name__)


class Inbox(Protocol):
    """The one verb of the store that a webhook needs."""

    async def append(self, batch: Batch) -> Appended:
        """Store a batch durably. Raises StoreFull, StoreUnavailable."""
        ...


def public_app(
    *,
    phone_number_id: str,
    app_secret: str,
    verify_token: str,
    store: Inbox,
    bell: Bell,
    body_seconds: float = 10.0,
) -> web.Application:
    """Build the app of the public listener: /webhook and /healthz. `body_seconds`: how long a body may take."""
    app = web.Application()
    webhook = _Webhook(phone_number_id, app_secret, store, bell, BodyReader(seconds=body_seconds))
    token = verify_token.encode()

    async def subscribe(request: web.Request) -> web.Response:
        given = request.query.get("hub.verify_token", "").encode(errors="replace")
        right = bool(token) and hmac.compare_digest(given, token)
        if not right or request.query.get("hub.mode") != "subscribe":
            log.warning("subscription check refused", token_fits=right)
            return web.Response(status=403, text="wrong hub.verify_token or hub.mode\n")
        log.info("subscription check answered")
        challenge = request.query.get("hub.challenge", "")
        return web.Response(text=challenge, headers={"X-Content-Type-Options": "nosniff"})

    app.router.add_get("/webhook", subscribe, allow_head=False)
    app.router.add_post("/webhook", webhook.receive)
    app.router.add_get("/healthz", alive, allow_head=False)
    return app


async def alive(_: web.Request) -> web.Response:
    """Answer that the process serves."""
    return web.Response(text="ok\n")


class _Webhook:
    def __init__(
        self, phone_number_id: str, app_secret: str, store: Inbox, bell: Bell, bodies: BodyReader
    ) -> None:
        self._phone_number_id = phone_number_id
        self._secret = app_secret.encode()
        self._store = store
        self._bell = bell
        self._bodies = bodies

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 200 once everything in the body is durable; DESIGN §2 has each other answer. Never 500."""
        started = perf_counter()
        try:
            body = await self._bodies.read(request)
            if not signature.valid(self._secret, body, request.headers.get("X-Hub-Signature-256")):
                raise Refused(401, "missing or wrong X-Hub-Signature-256")
            payload = parse(body)
        except Refused as refusal:
            return _refuse(refusal.status, refusal.reason)
        except Malformed as error:
            return _refuse(400, str(error))
        try:
            batch = translate(payload, phone_number_id=self._phone_number_id)
            appended = await self._store.append(batch)
        except StoreError as error:
            return _later(error, started)
        except (
            Exception
        ) as error:  # whatever it is, Meta delivers again: nothing is lost, and the log says where
            trace = "".join(
                format_tb(error.__traceback__)
            )  # but not the error's text, which may quote a message
            log.error("webhook failed", error=type(error).__name__, trace=trace)
            return _later(error, started)
        self._bell.ring()
        for remark in batch.remarks:
            log.warning("webhook remark", remark=remark)
        log.info(
            "webhook",
            outcome="stored",
            new=appended.new,
            known=appended.known,
            statuses=appended.statuses,
            users=[f"u{user_id}" for user_id in appended.users[:MOST_USERS_IN_A_LINE]],
            ms=_ms_since(started),
        )
        return web.Response()


def _refuse(status: int, reason: str) -> web.Response:
    # A wrong signature on real webhooks is the commonest mistake of a set-up: it must be seen.
    tell = log.warning if status in {401, 503} else log.info
    tell("webhook", outcome="refused", status=status, reason=reason)
    response = web.Response(status=status, text=f"{reason}\n")
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status in {408, 413}:
        response.force_close()
    return response


def _later(error: Exception, started: float) -> web.Response:
    full = isinstance(error, StoreFull)
    reason = str(error) if isinstance(error, StoreError) else type(error).__name__
    log.warning("webhook", outcome="full" if full else "unavailable", reason=reason, ms=_ms_since(started))
    seconds = FULL_RETRY_SECONDS if full else RETRY_SECONDS
    return web.Response(status=503, text="not now\n", headers={"Retry-After": str(seconds)})


def _ms_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 1)
