"""Set up logging: colours on a terminal, elsewhere a line of JSON for each event, with levels for journald."""

import asyncio
import json
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.clock import stamp
from bot.errors import StoreUnavailable

# Where the line begins with <N>, journald takes N as its level: sd-daemon(3).
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(
    *,
    stream: TextIO | None = None,
    level: str = "info",
    environ: Mapping[str, str] = os.environ,
    secrets: Iterable[str] = (),
) -> None:
    """Send what structlog and, from warning up, the standard library log to `stream` (standard error).

    `secrets` never show: a value that is one, or holds one, has `[secret]` in its place, exceptions included.
    """
    stream = stream or sys.stderr or sys.stdout  # a shell's 2>&- leaves no standard error
    journal = False
    with suppress(OSError, ValueError):  # no file behind it
        status = os.fstat(stream.fileno())
        journal = environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    # Tracebacks become text before a renderer sees them: rich's would print local variables.
    processors: list[Processor] = [structlog.processors.format_exc_info, _redactor(secrets), _add_head]
    if stream.isatty():
        processors.append(structlog.dev.ConsoleRenderer(colors=not environ.get("NO_COLOR"), sort_keys=False))
    else:
        encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
        processors.append(lambda _logger, level, event: (f"<{PRIORITIES[level]}>" if journal else "") + encode(event))

    held: deque[str] = deque()

    def write() -> None:  # what can't be written is dropped: a full disk must not stop the work
        with suppress(OSError, ValueError, IndexError):  # the stream is closed; an earlier write took them all along
            print(held.popleft() + "".join(held.popleft() for _ in range(len(held))), end="", file=stream, flush=True)

    def tell(line: str) -> None:  # what went wrong at once, should we hang or die
        held.append(f"{line}\n")
        write()

    def note(line: str) -> None:  # many lines together: at each write the store's threads and we wait for each other
        held.append(f"{line}\n")
        try:
            asyncio.get_running_loop().call_soon(write)
        except RuntimeError:  # none runs
            write()

    lines = SimpleNamespace(**dict.fromkeys(PRIORITIES, tell) | {"debug": note, "info": note})
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_names: lines,
        # A cached logger keeps its stream; only the process's own lives as long as the loggers do (a test's does not).
        cache_logger_on_first_use=stream is sys.__stderr__,
    )
    handler = _Handler(max(threshold, logging.WARNING))
    logging.basicConfig(level=handler.level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _tell_end(task: asyncio.Task[Any]) -> None:
    """Say at once what broke a task that was to run until it is cancelled: a callback for when it is done."""
    error = None if task.cancelled() else task.exception()
    if error and not isinstance(error, StoreUnavailable):  # then the daemon is about to end, and says why
        structlog.get_logger().error("a side task broke", exc_info=error)


@asynccontextmanager
async def owned(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let a task work until the block ends; what breaks it is told at once."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_end)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Handler(logging.Handler):
    """Pass what aiohttp, asyncio, openai and Python's warnings say on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        message = str(record.msg)
        with suppress(TypeError, ValueError):  # the arguments don't fit the format
            message = record.getMessage()
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        structlog.get_logger().log(level, message, logger=record.name, exc_info=record.exc_info)


def _add_head(_logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """Put event, level and time before the rest."""
    return {"event": event.pop("event", ""), "level": level, "timestamp": stamp(datetime.now(UTC)), **event}


def _redactor(secrets: Iterable[str]) -> Processor:
    # As a secret may stand in a text: as it is, in a repr, in JSON, in a URL. The longest first: one may hold another.
    forms = {form for one in secrets for form in (one, repr(one)[1:-1], json.dumps(one)[1:-1], quote(one, "")) if form}
    ordered = sorted(forms, key=len, reverse=True)

    def redact(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
        everything = "\n".join(map(str, event.values()))
        for form in filter(everything.__contains__, ordered):
            for key in [key for key, value in event.items() if form in str(value)]:
                event[key] = str(event[key]).replace(form, "[secret]")
        return event

    return redact
