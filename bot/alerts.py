"""Tell the owner what is wrong: looked for every few seconds by a few cheap reads, told by each channel, once.

An alert is raised when its condition has held for a while, reminded of after a pause, and cleared when the condition
has been gone for a while. The store remembers what is raised; a channel that fails tries again and holds up no other.
"""

import asyncio
import json
import secrets
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from pydantic import SecretStr

from bot import __version__
from bot.backoff import backoff_seconds
from bot.clock import Clock, readable, stamp
from bot.config import Config
from bot.domain import Identity
from bot.errors import Kind, ServiceError, StoreError
from bot.sender import NumberLimit
from bot.store.operators import WINDOW
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
WORDS: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
LOOK_SECONDS, TIMEOUT = 5.0, aiohttp.ClientTimeout(total=10)
HOLD_SECONDS, GONE_SECONDS = 30.0, 60.0  # before an alert is raised, and before it is cleared
AGAIN_SECONDS, AGAIN_MOST_SECONDS = 5.0, 300.0  # before a channel that failed is tried again …
GIVE_UP_SECONDS = 86_400.0  # … until then
ONCE = "warning_"  # what happened and is no state: neither reminded of nor cleared
LOOKS = {"raised": ("high", "rotating_light"), "reminded": ("default", "bell"), "cleared": ("low", "white_check_mark")}


@dataclass(frozen=True, slots=True)
class Alert:
    """What is wrong, or what is told of it: `told_at` is when somebody could last be told, of a telling its own time.

    Times are stamps. `state` is raised, reminded or cleared.
    """

    name: str
    text: str
    raised_at: str
    told_at: str | None = None
    state: str = "raised"


Way = Callable[[Alert], Awaitable[str]]


class Alerts:
    """What is raised, and who has to hear of it by which ways."""

    def __init__(self, store: Store, channels: "Channels") -> None:
        self._store, self._clock, self._graph = store, channels.clock, channels.graph
        self._config, self._ways = channels.config, channels.ways
        self._raised: dict[str, Alert] = {}
        self._kept: list[Alert] | None = None  # as the store has them; None: not read yet
        self._since: dict[str, str] = {}  # by name: from when on what is true has not been what is raised
        self._newest: dict[str, Alert] = {}  # by name: what was last told, or is being told
        self._started, self._tasks = self._ago(0), asyncio.TaskGroup()

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        async with self._tasks:
            while True:
                try:
                    await self.look()
                except Exception as error:  # a look that fails must not be the last one
                    log.error("alerts can't look", error=type(error).__name__)
                await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Compare what is true with what is raised, once."""
        if self._kept is None:
            self._remember([Alert(**row) for row in await self._store.insights.alerts()])
        true, now, remind_after = await self.conditions(), self._ago(0), self._config.alerts.remind_after_seconds
        for name, text in true.items():
            if alert := self._raised.get(name):
                told_at = self._newest[name].told_at or now
                if remind_after and told_at <= self._ago(remind_after) and not name.startswith(ONCE):
                    self._tell(alert, "reminded", text)
            elif self._since.setdefault(name, now) <= self._ago(HOLD_SECONDS):
                self._raised[name] = Alert(name, text, now)
                self._tell(self._raised[name], "raised", text)
        for name in self._raised.keys() - true.keys():
            if self._since.setdefault(name, now) <= self._ago(GONE_SECONDS):
                alert = self._raised.pop(name)
                if not name.startswith(ONCE):
                    self._tell(alert, "cleared", alert.text)
        self._since = {name: at for name, at in self._since.items() if (name in true) != (name in self._raised)}
        await self._keep()

    async def conditions(self) -> dict[str, str]:
        """Return what is wrong now, in words, by name. What can't be looked at stays as it was."""
        limits, now, reasons = self._config.alerts, self._ago(0), await self._store.named_reasons()
        said = WORDS["reason"]
        found = {name: said.format(reason=why.rstrip("."), hint=WORDS.get(name, "")) for name, why in reasons.items()}
        try:
            signs = await self._store.insights.signs()
        except StoreError:
            return {name: alert.text for name, alert in self._raised.items()} | found
        signs["heard_at"] = signs["heard_at"] or self._started
        signs["free_mb"] = shutil.disk_usage(self._config.store.path.parent).free // 2**20
        oldest, latest = self._ago(limits.backlog_age_seconds), self._ago(3600 * limits.no_webhook_hours)
        wrong = {
            "backlog_age": limits.backlog_age_seconds and (signs["waiting_since"] or now) < oldest,
            "depth": 0 < limits.depth <= signs["depth"],
            "failures": 0 < limits.failures_in_a_row <= signs["failed_in_a_row"],
            "disk": signs["free_mb"] < limits.disk_free_mb,
            "no_webhook": limits.no_webhook_hours and signs["heard_at"] < latest,
            "limited": signs["limited"],
            "clock": self._graph.clock_off,
        }
        found |= {name: WORDS[name].format_map(signs) for name, is_so in wrong.items() if is_so}
        found |= {f"{ONCE}{warning['id']}": WORDS["warning"].format_map(warning) for warning in signs["warnings"]}
        return {name: readable(text) for name, text in found.items()}

    def _ago(self, seconds: float) -> str:
        return stamp(self._clock.now() - timedelta(seconds=seconds))

    def _remember(self, alerts: list[Alert]) -> None:
        """Take over what was raised before a restart; what nobody could be told is told now."""
        self._kept, self._raised = alerts, {alert.name: alert for alert in alerts}
        self._newest = dict(self._raised)
        for alert in alerts:
            if alert.told_at is None:
                self._tell(alert, "raised", alert.text)

    def _tell(self, alert: Alert, state: str, text: str) -> None:
        since, title = readable(alert.raised_at), text.partition(". ")[0]
        words = WORDS[state].format(text=text, since=since, title=title)
        self._newest[alert.name] = telling = replace(alert, text=words, told_at=self._ago(0), state=state)
        log.warning("alert", alert=alert.name, state=state, text=words)
        for channel, way in self._ways().items():
            self._tasks.create_task(self._deliver(channel, way, telling))

    async def _deliver(self, channel: str, way: Way, telling: Alert) -> None:
        """Try until it is out, or a newer telling of this alert goes out instead, or a day has passed."""
        about = {"channel": channel, "alert": telling.name, "state": telling.state}
        for tries in count(1):
            try:
                if telling.state != "cleared" and telling.name in self._since:
                    raise Undelivered("it may be over by now")
                log.info("alert told", **about, by=await way(telling))
                if alert := self._raised.get(telling.name):
                    self._raised[telling.name] = replace(alert, told_at=telling.told_at)
                    await self._keep()
                return
            except Exception as error:  # whatever it is, the alert has to go out
                reason = str(error) if isinstance(error, Undelivered | ServiceError) else type(error).__name__
                log.warning("alert not told", **about, tries=tries, reason=reason)
                asked = getattr(error, "retry_after", None)
            wait = backoff_seconds(tries, base=AGAIN_SECONDS, maximum=AGAIN_MOST_SECONDS, retry_after=asked)
            await self._clock.sleep(wait)
            if self._newest[telling.name] is not telling or self._ago(GIVE_UP_SECONDS) > (telling.told_at or ""):
                return

    async def _keep(self) -> None:
        alerts = list(self._raised.values())
        if alerts != self._kept:
            with suppress(StoreError):  # the next look tries again
                await self._store.keep_alerts([astuple(alert)[:-1] for alert in alerts])
                self._kept = alerts


class Undelivered(Exception):
    """It couldn't be told by this way; the text says why."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The ways that [alerts] names. Each returns how it was told; raises Undelivered, ServiceError or StoreError.

    `store` knows whether the owner's number wrote lately; None: nobody did.
    """

    config: Config
    clock: Clock
    session: aiohttp.ClientSession
    graph: GraphClient
    limit: NumberLimit
    store: Store | None

    def ways(self) -> dict[str, Way]:
        """Return those that are set, by name."""
        alerts = self.config.alerts
        whatsapp, webhook = (alerts.whatsapp_to, self.whatsapp), (alerts.webhook_url, self.webhook)
        every = {"whatsapp": whatsapp, "webhook": webhook, "ntfy": (alerts.ntfy_url, self.ntfy)}
        return {name: way for name, (address, way) in every.items() if address}

    async def whatsapp(self, alert: Alert) -> str:
        """Send free text while the number's 24 hours last, the template otherwise; nothing while WhatsApp is down."""
        alerts, callback = self.config.alerts, f"alert.{secrets.token_hex(8)}"
        signs = await self.store.insights.signs(alerts.whatsapp_to) if self.store else {}
        if signs.get("graph_open") or (alert.name == "circuit_graph" and alert.state != "cleared"):
            raise Undelivered("WhatsApp itself can't be used now")
        while come_back := self.limit.take(self.clock.now()):
            await self.clock.sleep((come_back - self.clock.now()).total_seconds())
        to, template = Identity(alerts.whatsapp_to), alerts.whatsapp_template
        if (signs.get("owner_wrote_at") or "") > stamp(self.clock.now() - WINDOW):
            try:
                await self.graph.send_text(to, alert.text, callback=callback)
                return "free text"
            except ServiceError as error:
                if error.kind is not Kind.EXPIRED:
                    raise
        if not template:
            raise Undelivered("that number wrote nothing to us for 24 hours, and alerts.whatsapp_template is empty")
        language = alerts.whatsapp_template_language
        await self.graph.send_template(to, template, language, alert.text, callback=callback)
        return f"template {template}"

    async def webhook(self, alert: Alert) -> str:
        """Post it as JSON."""
        told = {"name": alert.name, "state": alert.state, "text": alert.text}
        bot = {"version": __version__, "phone_number_id": self.config.whatsapp.phone_number_id}
        body = told | {"since": alert.raised_at, "at": alert.told_at, "bot": bot}
        return await self._post(self.config.alerts.webhook_url, self.config.alerts.webhook_token, {}, json=body)

    async def ntfy(self, alert: Alert) -> str:
        """Post it as ntfy wants it: the text, and its title, priority and tags as headers."""
        alerts, (priority, tags) = self.config.alerts, LOOKS[alert.state]
        looks = {"Title": alert.text.partition(": ")[0], "Priority": priority, "Tags": tags}
        return await self._post(alerts.ntfy_url, alerts.ntfy_token, looks, data=alert.text)

    async def _post(self, url: str, token: SecretStr, headers: dict[str, str], **body: Any) -> str:
        bearer = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        call: Any = {"headers": headers | bearer, "timeout": TIMEOUT, "allow_redirects": False, **body}
        try:
            async with self.session.post(url, **call) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:  # its own text may hold the address, a secret, too
            unreachable = isinstance(error, aiohttp.ClientConnectorError)
            what = "it can't be reached" if unreachable else "it gave no whole answer in time"
            raise Undelivered(f"{what} ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answered HTTP {status}: look at the address and the token")
        return f"HTTP {status}"
