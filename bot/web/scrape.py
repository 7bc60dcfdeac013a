"""GET /metrics: what the process counted, and what the store knows at this moment."""

import asyncio
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.aiohttp import make_aiohttp_handler

from bot.errors import StoreError
from bot.metrics import Metrics
from bot.store.store import Store

READ_SECONDS = 5.0  # Prometheus gives up after ten


def scrape(store: Store, reasons: dict[str, str], metrics: Metrics) -> Handler:
    """Return the handler; Accept chooses between Prometheus' text and OpenMetrics."""
    draw = make_aiohttp_handler(metrics.registry)

    async def answer(request: web.Request) -> web.StreamResponse:
        read: dict[str, float | None] = {"store_up": 0, "store_writable": not store.trouble, "ready": 0}
        with suppress(StoreError, OSError, TimeoutError):  # a file that can't be read is told by what is missing
            async with asyncio.timeout(READ_SECONDS):
                figures = await store.insights.figures()
                ready = not (reasons or await store.reasons())
            read |= figures | {"store_up": 1, "ready": ready}
        metrics.figures = read  # and at once drawn: nothing comes between
        return await draw(request)

    return answer
