"""Post signed webhooks as Meta does: concurrently, again with backoff until answered 200, each within its own task."""

import asyncio
import io
import random
from collections.abc import Coroutine, Mapping
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from bot.emulator import payloads
from bot.emulator.chats import Chats, Customer
from bot.emulator.graph_errors import status_error
from bot.emulator.journal import Journal
from bot.emulator.settings import Settings, StatusPlan

LONGEST_PAUSE_SECONDS = 30.0
LARGE_BYTES = 2**20  # which aiohttp doesn't want to write in one go
HEADERS = {"Content-Type": "application/json", "User-Agent": "facebookexternalua"}


class Undelivered(Exception):
    """Report a webhook that was not answered 200 within all its tries."""


class Deliveries:
    """Own every webhook under way. Must be opened inside a running loop and closed at the end."""

    def __init__(self, settings: Settings, journal: Journal, chats: Chats) -> None:
        self._settings = settings
        self._journal = journal
        self._chats = chats
        self._random = random.Random(settings.seed)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._again = asyncio.Event()
        self._session: ClientSession | None = None
        self.plans: dict[str, StatusPlan] = {}  # by Customer.key, instead of settings.statuses

    async def open(self) -> None:
        """Make the client that posts."""
        self._session = ClientSession(connector=TCPConnector(limit=256))

    async def close(self) -> None:
        """Drop whatever is still under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    @property
    def pending(self) -> int:
        """Count the tasks (deliveries, statuses to come) that haven't ended."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run work in a task of ours, which ends with us."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def post(self, payload: Any, *, headers: Mapping[str, str] | None = None) -> int:
        """Post a webhook once (`payload`: JSON, or the very bytes). Returns the HTTP status, 0 where none came."""
        body = payload if isinstance(payload, bytes) else payloads.encode(payload)
        wamids = _wamids(payload)
        entry = self._journal.begin("webhook", wamid=" ".join(wamids), request=payload)
        signed = {**HEADERS, "X-Hub-Signature-256": payloads.sign(self._settings.app_secret, body), **(headers or {})}
        status = 0
        try:
            status, entry.retry_after = await self._post(body, signed)
        except (TimeoutError, ClientError, OSError):
            pass  # nobody answers: as for any answer but 200, whoever called decides what follows
        finally:
            entry.accepted = status == 200
            self._journal.end(entry, status=status)
        if entry.accepted:
            for wamid in wamids:
                self._chats.tick(wamid, "delivered")
        return status

    async def deliver(self, payload: Any) -> None:
        """Post a webhook until it is answered 200. Raises Undelivered after `settings.redelivery_tries`."""
        for attempt in range(self._settings.redelivery_tries):
            again = self._again  # before the try: one that fails while it is hurried goes again at once
            if await self.post(payload) == 200:
                return
            delay = self._settings.redelivery_base_seconds * 2**attempt
            try:
                async with asyncio.timeout(min(delay, LONGEST_PAUSE_SECONDS)):
                    await again.wait()
            except TimeoutError:
                continue
        raise Undelivered(f"not answered 200 in {self._settings.redelivery_tries} tries: {_wamids(payload)}")

    def hurry(self) -> None:
        """End every wait for the next try now, as after a restart of the daemon."""
        again, self._again = self._again, asyncio.Event()
        again.set()

    async def statuses(self, customer: Customer, wamid: str, callback_data: str) -> None:
        """Start the status webhooks of a send, as its plan says; returns at once unless the first one comes early."""
        plan = self.plans.get(customer.key, self._settings.statuses)
        names = list(plan.names)
        if plan.shuffled:
            self._random.shuffle(names)
        steps = [
            (plan.delays[min(n, len(plan.delays) - 1)] if plan.delays else 0.0, name) for n, name in enumerate(names)
        ]
        data = callback_data if plan.callback_data else ""
        if plan.early and steps:
            _, first = steps.pop(0)
            await self.post(self._status(plan, customer, wamid, first, data))
            self._chats.tick(wamid, first)
        if steps:
            self.spawn(self._follow(plan, customer, wamid, data, steps))

    async def _follow(
        self, plan: StatusPlan, customer: Customer, wamid: str, data: str, steps: list[tuple[float, str]]
    ) -> None:
        waited = 0.0
        for delay, name in steps:
            await asyncio.sleep(max(0.0, delay - waited))
            waited = max(waited, delay)
            payload = self._status(plan, customer, wamid, name, data)
            self._chats.tick(wamid, name)
            for _ in range(plan.copies):
                self.spawn(self.deliver(payload))

    def _status(self, plan: StatusPlan, customer: Customer, wamid: str, name: str, data: str) -> payloads.Json:
        built = payloads.status(
            wamid=wamid,
            status=name,
            wa_id=customer.wa_id,
            user_id=customer.user_id,
            callback_data=data,
            errors=[status_error(plan.failed_code)] if name == "failed" else (),
        )
        return self.wrap(statuses=[built], contacts=[card(customer)])

    def wrap(self, **parts: list[payloads.Json]) -> payloads.Json:
        """Make a webhook of this business number."""
        known = self._settings
        return payloads.webhook(
            known.phone_number_id, display_phone_number=known.display_phone_number, waba_id=known.waba_id, **parts
        )

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        if self._session is None or not self._settings.webhook_url:
            return 0, ""
        timeout = ClientTimeout(total=self._settings.delivery_timeout_seconds)
        data = io.BytesIO(body) if len(body) > LARGE_BYTES else body
        async with self._session.post(
            self._settings.webhook_url, data=data, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            await response.read()
            return response.status, response.headers.get("Retry-After", "")

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # an Undelivered stands in the journal already
        self._journal.notify()


def card(customer: Customer) -> payloads.Json:
    """Give a customer's contact card."""
    return payloads.contact(
        name=customer.name, wa_id=customer.wa_id, user_id=customer.user_id, username=customer.username
    )


def _wamids(payload: Any) -> list[str]:
    try:
        values = [change["value"] for entry in payload["entry"] for change in entry["changes"]]
        return [item["id"] for value in values for key in ("messages", "statuses") for item in value.get(key, [])]
    except (AttributeError, KeyError, TypeError):
        return []  # bytes, or a body that is odd on purpose
