"""The public listener: what Meta calls. It writes to the store and rings the bell, nothing else."""

import asyncio
import hmac
from dataclasses import dataclass
from time import perf_counter
from traceback import format_tb

import structlog
from aiohttp import web

from bot.bell import Bell
from bot.clock import ms_since
from bot.config import WhatsApp
from bot.errors import StoreError
from bot.metrics import Metrics
from bot.store.store import Store
from bot.web.wire import BODY_SECONDS
from bot.whatsapp import signature
from bot.whatsapp.webhook import Malformed, parse, translate

MOST_BYTES = 3 * 1024 * 1024  # Meta's own limit for a webhook
SMALL_BYTES = 64 * 1024
# Of all bodies that are still arriving: a small VPS has 500 MB. Small ones are taken nevertheless.
MOST_BYTES_ARRIVING = 16 * MOST_BYTES
MOST_USERS_IN_A_LINE = 5
RETRY_AFTER = {"Retry-After": "30"}  # seconds, until there may be room again or the file be written

log = structlog.get_logger(__name__)


def public_app(
    whatsapp: WhatsApp, *, store: Store, bell: Bell, metrics: Metrics, body_seconds: float = BODY_SECONDS
) -> web.Application:
    """Build the app of the public listener: /webhook and /healthz. `body_seconds`: how long a body may take."""
    webhook = _Webhook(whatsapp, store, bell, metrics, body_seconds)
    app = web.Application()
    app.router.add_get("/webhook", webhook.subscribe, allow_head=False)
    app.router.add_post("/webhook", webhook.receive)
    app.router.add_get("/healthz", alive, allow_head=False)
    return app


async def alive(_: web.Request) -> web.Response:
    """Answer that the process serves."""
    return web.Response(text="ok\n")


@dataclass(slots=True, repr=False)
class _Webhook:
    whatsapp: WhatsApp
    store: Store
    bell: Bell
    metrics: Metrics
    body_seconds: float
    bytes_arriving: int = 0

    async def subscribe(self, request: web.Request) -> web.Response:
        """Prove to Meta that this address is ours: the challenge back as plain text; 403 for a wrong token."""
        token = request.query.get("hub.verify_token", "").encode(errors="replace")
        ours = self.whatsapp.verify_token.get_secret_value().encode()
        right = bool(ours) and hmac.compare_digest(token, ours)
        log.info("subscription check", token_fits=right)
        if not right or request.query.get("hub.mode") != "subscribe":
            return web.Response(status=403, text="wrong hub.verify_token or hub.mode\n")
        challenge = request.query.get("hub.challenge", "")
        return web.Response(text=challenge, headers={"X-Content-Type-Options": "nosniff"})

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 200 once everything in the body is durable; DESIGN §2 has each other answer. Never 500."""
        started = perf_counter()
        try:
            body = await self._read(request)
            number, secret = self.whatsapp.phone_number_id, self.whatsapp.app_secret.get_secret_value().encode()
            if not signature.valid(secret, body, request.headers.get("X-Hub-Signature-256")):
                raise web.HTTPUnauthorized(reason="missing or wrong X-Hub-Signature-256")
            batch = translate(parse(body), phone_number_id=number, waba_id=self.whatsapp.waba_id)
            # The claim that this wakes comes behind them, as a rule in the same transaction. The end of a doubt, which
            # a status may bring, is found at the next look.
            if batch.messages:
                self.bell.ring()
            appended = await self.store.append(batch)
        except web.HTTPException as error:
            return self._refuse(started, error.status, error.reason)
        except Malformed as error:
            return self._refuse(started, 400, str(error))
        except StoreError as error:
            return self._refuse(started, 503, str(error))
        except Exception as error:  # whatever it is, Meta delivers again: nothing is lost
            # The log says where, without the error's own text: it may quote a message.
            log.error("webhook failed", error=type(error).__name__, trace=format_tb(error.__traceback__))
            return self._refuse(started, 503, "this went wrong inside")
        self.metrics.webhook(batch, appended.known)
        for remark in batch.remarks:
            log.warning("webhook remark", remark=remark)
        users = [f"u{user_id}" for user_id in appended.users[:MOST_USERS_IN_A_LINE]]
        figures = {"new": appended.new, "known": appended.known, "statuses": appended.statuses}
        log.info("webhook", outcome="stored", **figures, users=users, ms=ms_since(started))
        return web.Response()

    async def _read(self, request: web.Request) -> bytes:
        """Return the body as it came, so that slow clients by the hundred hold neither a worker nor much memory.

        Raises HTTPException: 413 over 3 MiB, whatever Content-Length says; 408 when it doesn't arrive in time; 503
        while too much is arriving at once; 400 when the client breaks off or breaks the rules of HTTP.
        """
        content, body = request.content, bytearray()
        if content.is_eof() and content.exception() is None and content.total_bytes <= MOST_BYTES:
            return content.read_nowait()  # most come along with their headers: no timer
        try:
            async with asyncio.timeout(self.body_seconds):
                async for chunk in content.iter_any():
                    body += chunk
                    self.bytes_arriving += len(chunk)
                    if max(len(body), request.content_length or 0) > MOST_BYTES:
                        raise web.HTTPRequestEntityTooLarge(MOST_BYTES, reason="over 3 MiB")
                    if len(body) > SMALL_BYTES and self.bytes_arriving > MOST_BYTES_ARRIVING:
                        raise web.HTTPServiceUnavailable(reason="too much is arriving at once")
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason=f"no whole body within {self.body_seconds:g} s") from None
        except web.HTTPException:
            raise
        except Exception as error:  # aiohttp has a dozen for what a client can do wrong; none is our fault
            raise web.HTTPBadRequest(reason=f"the body can't be read ({type(error).__name__})") from error
        finally:
            self.bytes_arriving -= len(body)
        return bytes(body)

    def _refuse(self, started: float, status: int, reason: str) -> web.Response:
        self.metrics.count("webhooks", str(status))
        outcome = "not stored" if status == 503 else "refused"
        # A wrong signature is the commonest mistake of a set-up: it must be seen.
        tell = log.warning if status in {401, 503} else log.info
        tell("webhook", outcome=outcome, status=status, reason=reason, ms=ms_since(started))
        response = web.Response(status=status, text=f"{reason}\n", headers=RETRY_AFTER if status == 503 else None)
        if status in {408, 413}:
            response.force_close()
        return response
