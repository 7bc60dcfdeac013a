"""How both apps are served: settings of aiohttp's server that the promises of the listeners rest on."""

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)
# What strangers send to an open port is no error of ours.
log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))


def runner(app: web.Application, *, shutdown_seconds: float = 5.0) -> web.AppRunner:
    """Return a runner, not set up yet, that gives requests under way `shutdown_seconds` when it is cleaned up."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # bodies as they came: a signature is of the bytes
        # Longer than a reverse proxy keeps an idle connection (Caddy: 120 s), so that none is closed as it is used
        # again; short enough that a client that never finishes its headers is let go.
        keepalive_timeout=180,
        lingering_time=5,  # reading on after an early refusal, so that the client gets to see it
        logger=log,
        shutdown_timeout=shutdown_seconds,
    )
