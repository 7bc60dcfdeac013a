"""Look every few seconds for what is wrong, by a few cheap reads, and tell it by each channel, once.

An alert is raised when its condition has held for a while, reminded of after a pause, and cleared when the condition
has been gone for a while. The store remembers what is raised; a channel that fails tries again and holds up no other.
"""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import structlog

from bot.alerts.channels import Telling, Undelivered, Way
from bot.backoff import backoff_seconds
from bot.clock import Clock, parse_stamp, readable, stamp
from bot.config import Config
from bot.domain import Alert
from bot.errors import ServiceError, StoreError
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
WORDS: dict[str, str] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
LOOK_SECONDS = 5.0
HOLD_SECONDS, GONE_SECONDS = 30.0, 60.0  # before an alert is raised, and before it is cleared
AGAIN_SECONDS, AGAIN_MOST_SECONDS = 5.0, 300.0  # before a channel that failed is tried again
GIVE_UP = timedelta(days=1)
ONCE = "warning_"  # what happened and isn't a state: neither reminded of nor cleared


class Alerts:
    """What is raised, and who hears of it."""

    def __init__(self, store: Store, clock: Clock, config: Config, graph: GraphClient, ways: Mapping[str, Way]) -> None:
        self._store, self._clock, self._config, self._graph = store, clock, config, graph
        self._channels = [_Channel(name, way, clock, self._told) for name, way in ways.items()]
        self._raised: dict[str, Alert] = {}
        self._kept: list[Alert] | None = None  # as the store has them; None: not read yet
        self._since: dict[str, datetime] = {}  # by name: from when on what is true is not what is raised
        self._said: dict[str, datetime] = {}
        self._started = stamp(clock.now())

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(channel.run())
            while True:
                try:
                    await self.look()
                except Exception as error:  # a look that fails must not be the last one
                    log.error("alerts can't look", error=str(error) or type(error).__name__)
                await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Compare what is true with what is raised, once."""
        if self._kept is None:
            await self._remember()
        now, true = self._clock.now(), await self.conditions()
        remind_after = timedelta(seconds=self._config.alerts.remind_after_seconds)
        for name, text in true.items():
            if alert := self._raised.get(name):
                if remind_after and now - self._said[name] >= remind_after and not name.startswith(ONCE):
                    self._tell(alert, "reminded", WORDS["reminded"].format(since=_when(alert), text=text))
            elif self._differs(name, now) >= HOLD_SECONDS:
                self._raised[name] = alert = Alert(name, text, now)
                self._tell(alert, "raised", text)
        for name in self._raised.keys() - true.keys():
            if self._differs(name, now) >= GONE_SECONDS:
                alert = self._raised.pop(name)
                title = alert.text.partition(": ")[0]
                if not name.startswith(ONCE):
                    self._tell(alert, "cleared", WORDS["cleared"].format(since=_when(alert), title=title))
        self._since = {name: at for name, at in self._since.items() if (name in true) != (name in self._raised)}
        await self._keep()

    async def conditions(self) -> dict[str, str]:
        """Return what is wrong now, in words, by name. What can't be looked at stays as it was."""
        limits, now = self._config.alerts, self._clock.now()
        reasons = await self._store.named_reasons()
        found = {
            name: WORDS["reason"].format(reason=reason, hint=WORDS.get(name, "")) for name, reason in reasons.items()
        }
        try:
            signs = await self._store.insights.signs("")
        except StoreError:
            return {name: alert.text for name, alert in self._raised.items()} | found
        signs |= {"free_mb": shutil.disk_usage(self._config.store.path.parent).free // 2**20}

        def ago(seconds: float) -> str:  # 0 turns a limit off: nothing is before that
            return stamp(now - timedelta(seconds=seconds)) if seconds else ""

        wrong = {
            "backlog_age": (signs["waiting_since"] or "~") < ago(limits.backlog_age_seconds),
            "depth": 0 < limits.depth <= signs["depth"],
            "failures": 0 < limits.failures_in_a_row <= signs["failed_in_a_row"],
            "disk": signs["free_mb"] < limits.disk_free_mb,
            "no_webhook": (signs["heard_at"] or self._started) < ago(3600 * limits.no_webhook_hours),
            "limited": signs["limited"],
            "clock": self._graph.clock_off,
        }
        found |= {name: WORDS[name].format_map(signs) for name, is_so in wrong.items() if is_so}
        found |= {f"{ONCE}{warning['id']}": WORDS["warning"].format_map(warning) for warning in signs["warnings"]}
        return {name: readable(text) for name, text in found.items()}

    def _differs(self, name: str, now: datetime) -> float:
        return (now - self._since.setdefault(name, now)).total_seconds()

    def _tell(self, alert: Alert, state: Literal["raised", "reminded", "cleared"], text: str) -> None:
        self._said[alert.name] = now = self._clock.now()
        log.warning("alert", alert=alert.name, state=state, text=text)
        for channel in self._channels:
            channel.tell(Telling(alert.name, state, text, alert.raised_at, now))

    async def _told(self, telling: Telling) -> None:
        if alert := self._raised.get(telling.name):
            self._raised[telling.name] = replace(alert, told_at=telling.at)
            await self._keep()

    async def _remember(self) -> None:
        """Take over what was raised before a restart; what nobody could be told is told now."""
        for row in await self._store.insights.alerts():
            raised, told = (row[at] and parse_stamp(row[at]) for at in ("raised_at", "told_at"))
            self._raised[row["name"]] = alert = Alert(row["name"], row["text"], raised, told)
            self._said[alert.name] = told or raised
            if not told:
                self._tell(alert, "raised", alert.text)
        self._kept = list(self._raised.values())

    async def _keep(self) -> None:
        alerts = list(self._raised.values())
        if alerts != self._kept:
            with suppress(StoreError):  # the next look tries again
                await self._store.keep_alerts(alerts)
                self._kept = alerts


class _Channel:
    """One way to the owner: one telling after the other, the newest of each alert, until it is out or a day old."""

    def __init__(self, name: str, way: Way, clock: Clock, told: Callable[[Telling], Awaitable[None]]) -> None:
        self._name, self._way, self._clock, self._told = name, way, clock, told
        self._waiting: dict[str, Telling] = {}
        self._rung = asyncio.Event()

    def tell(self, telling: Telling) -> None:
        self._waiting[telling.name] = telling
        self._rung.set()

    async def run(self) -> None:
        tries = 0
        while await self._rung.wait():
            telling = self._waiting.pop(next(iter(self._waiting)))
            about = {"channel": self._name, "alert": telling.name, "state": telling.state}
            try:
                log.info("alert told", **about, by=await self._way(telling))
                await self._told(telling)
                tries = 0
            except Exception as error:  # whatever it is, the next alert has to go out
                known = isinstance(error, Undelivered | ServiceError | StoreError)
                tries += 1
                log.warning(
                    "alert not told", **about, tries=tries, reason=str(error) if known else type(error).__name__
                )
                if self._clock.now() - telling.at < GIVE_UP:
                    self._waiting.setdefault(telling.name, telling)
                asked = getattr(error, "retry_after", None)
                wait = backoff_seconds(tries, base=AGAIN_SECONDS, maximum=AGAIN_MOST_SECONDS, retry_after=asked)
                await self._clock.sleep(wait)
            if not self._waiting:
                self._rung.clear()


def _when(alert: Alert) -> str:
    return readable(stamp(alert.raised_at))
