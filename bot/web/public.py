"""The public listener: what Meta calls. It writes to the store and rings the bell, nothing else."""

import hmac
from dataclasses import dataclass, field
from time import perf_counter
from traceback import format_tb

import structlog
from aiohttp import web

from bot.bell import Bell
from bot.errors import StoreError, StoreFull
from bot.store.store import Store
from bot.web.body import BodyReader, Refused
from bot.whatsapp import signature
from bot.whatsapp.webhook import Malformed, parse, translate

MOST_USERS_IN_A_LINE = 5
FULL_RETRY_SECONDS = 60  # until there may be room again
RETRY_SECONDS = 10  # until the file may be written again

log = structlog.get_logger(__name__)


def public_app(
    *,
    phone_number_id: str,
    app_secret: str,
    verify_token: str,
    store: Store,
    bell: Bell,
    body_seconds: float = 10.0,
) -> web.Application:
    """Build the app of the public listener: /webhook and /healthz. `body_seconds`: how long a body may take."""
    bodies = BodyReader(seconds=body_seconds)
    webhook = _Webhook(phone_number_id, app_secret.encode(), verify_token.encode(), store, bell, bodies)
    app = web.Application()
    app.router.add_get("/webhook", webhook.subscribe, allow_head=False)
    app.router.add_post("/webhook", webhook.receive)
    app.router.add_get("/healthz", alive, allow_head=False)
    return app


async def alive(_: web.Request) -> web.Response:
    """Answer that the process serves."""
    return web.Response(text="ok\n")


@dataclass(frozen=True, slots=True)
class _Webhook:
    phone_number_id: str
    app_secret: bytes = field(repr=False)
    verify_token: bytes = field(repr=False)
    store: Store
    bell: Bell
    bodies: BodyReader

    async def subscribe(self, request: web.Request) -> web.Response:
        """Prove to Meta that this address is ours: the challenge back as plain text; 403 for a wrong token."""
        token = request.query.get("hub.verify_token", "").encode(errors="replace")
        right = bool(self.verify_token) and hmac.compare_digest(token, self.verify_token)
        log.info("subscription check", token_fits=right)
        if not right or request.query.get("hub.mode") != "subscribe":
            return web.Response(status=403, text="wrong hub.verify_token or hub.mode\n")
        challenge = request.query.get("hub.challenge", "")
        return web.Response(text=challenge, headers={"X-Content-Type-Options": "nosniff"})

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 200 once everything in the body is durable; DESIGN §2 has each other answer. Never 500."""
        started = perf_counter()
        try:
            body = await self.bodies.read(request)
            if not signature.valid(self.app_secret, body, request.headers.get("X-Hub-Signature-256")):
                raise Refused(401, "missing or wrong X-Hub-Signature-256")
            payload = parse(body)
        except Refused as refusal:
            return _refuse(started, refusal.status, refusal.reason)
        except Malformed as error:
            return _refuse(started, 400, str(error))
        try:
            batch = translate(payload, phone_number_id=self.phone_number_id)
            appended = await self.store.append(batch)
        except StoreFull as error:
            return _refuse(started, 503, str(error), FULL_RETRY_SECONDS)
        except StoreError as error:
            return _refuse(started, 503, str(error))
        except Exception as error:  # whatever it is, Meta delivers again: nothing is lost
            # The log says where, without the error's own text: it may quote a message.
            log.error("webhook failed", error=type(error).__name__, trace=format_tb(error.__traceback__))
            return _refuse(started, 503, "this went wrong inside")
        self.bell.ring()
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


def _refuse(started: float, status: int, reason: str, retry_seconds: int = RETRY_SECONDS) -> web.Response:
    response = web.Response(status=status, text=f"{reason}\n")
    outcome, tell = "refused", log.info
    if status == 503:
        outcome, tell = "not stored", log.warning
        response.headers["Retry-After"] = str(retry_seconds)
    elif status == 401:  # on real webhooks the commonest mistake of a set-up: it must be seen
        tell = log.warning
    elif status in {408, 413}:
        response.force_close()
    tell("webhook", outcome=outcome, status=status, reason=reason, ms=_ms_since(started))
    return response


def _ms_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 1)
