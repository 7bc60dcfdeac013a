"""What is done now and then: note that webhooks can arrive and how a minute went, prune, say why nobody is answered."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog

from bot.clock import Clock
from bot.config import settings
from bot.errors import ServiceError, StoreError
from bot.sender import Sender
from bot.store.store import Store
from bot.systemd import notify, told_every_seconds
from bot.whatsapp.client import GraphClient

log = structlog.get_logger(__name__)
ROUND_SECONDS = 15.0  # well under the minute after which the daemon counts as having been deaf
PRUNE_EVERY_SECONDS = 86_400.0
PRUNE_BATCH = 25
WATCH_SECONDS = 1.0


async def note_listening(store: Store, clock: Clock, sender: Sender) -> None:
    """Note every 15 seconds that webhooks can arrive, until cancelled."""
    while True:
        await clock.sleep(ROUND_SECONDS)
        await store.listening()
        sender.confirmation.hear(clock.now())


async def prune_daily(store: Store, clock: Clock, keep: settings.Store, graph: GraphClient) -> None:
    """Take out what is old, now and once a day, until cancelled. By a clock that may be wrong nothing is pruned."""
    while True:
        with suppress(ServiceError):  # then it is asked again soon
            if await graph.clock_is_right():
                await _prune(store, clock, keep)
            await clock.sleep(PRUNE_EVERY_SECONDS)
        await clock.sleep(ROUND_SECONDS)


async def _prune(store: Store, clock: Clock, keep: settings.Store) -> None:
    """Take out what is older than `keep` says, in steps that delay nobody."""
    after: int | None = 0
    messages = people = 0
    while after is not None:
        step = await store.prune(keep, after, PRUNE_BATCH)
        messages, people, after = messages + step.messages, people + step.people, step.after
        await clock.sleep(0.1)
    if messages or people:
        log.info("pruned", messages=messages, people=people)


async def note_minutes(store: Store, clock: Clock) -> None:
    """Store each minute how it went, just after it ended, until cancelled."""
    while True:
        await clock.sleep(60.01 - clock.now().timestamp() % 60)
        with suppress(StoreError):  # the store tells that itself
            await store.note_minute()


async def tell_manager(store: Store, reasons: Mapping[str, str]) -> None:
    """Tell the service manager in words how it goes, until cancelled."""
    while True:
        with suppress(StoreError):
            headline, stats = await store.headline(list(reasons.values())), await store.insights.queue_stats()
            notify(f"STATUS={headline.text}; {stats['pending']} waiting, {stats['leased']} being answered")
        await asyncio.sleep(told_every_seconds())


async def feed_watchdog(store: Store) -> None:
    """Tell the service manager that the loop turns and the file answers, so that it restarts what doesn't.

    A file that can be read and not be written is no reason: another process would fare no better.
    """
    while True:
        with suppress(StoreError):
            await store.insights.named_reasons()  # in the line in which turns read
            notify("WATCHDOG=1")
        await asyncio.sleep(told_every_seconds())


async def tell_reasons(store: Store, clock: Clock) -> None:
    """Say in the log, within a second or so, why nobody is answered any more and when everybody is again."""
    told: list[str] = []
    while True:
        try:
            reasons = list((await store.insights.named_reasons()).values())
        except StoreError:  # the store tells that itself
            reasons = told
        for reason in reasons:
            if reason not in told:
                log.error("not answering", reason=reason)
        if told and not reasons:
            log.info("answering again")
        told = reasons
        await clock.sleep(WATCH_SECONDS)
