"""How both apps are served: settings of aiohttp's server that the promises of the listeners rest on."""

import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        # What strangers send to an open port is no error of ours.
        level = logging.DEBUG if isinstance(exc_info, HttpProcessingError) else logging.ERROR
        self.log(level, msg, *args, exc_info=exc_info, **kwargs)


def runner(app: web.Application, *, shutdown_seconds: float = 5.0) -> web.AppRunner:
    """Return a runner for an app, not set up yet: no access log, bodies as they came (never decompressed).

    `shutdown_seconds` is how long requests under way may take once the runner is cleaned up.
    """
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        # Longer than a reverse proxy keeps an idle connection (Caddy: 120 s), so that none is closed as it is used
        # again; short enough that a client that never finishes its headers is let go.
        keepalive_timeout=180,
        lingering_time=5,  # reading on after an early refusal, so that the client gets to see it
        logger=_Quiet(logging.getLogger(__name__), {}),
        shutdown_timeout=shutdown_seconds,
    )
