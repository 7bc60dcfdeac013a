"""Set up logging: colours on a terminal, elsewhere a line of JSON for each event, with levels for journald."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

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
    stream = stream or sys.stderr
    # Tracebacks become text before a renderer sees them: rich's would print local variables.
    processors: list[Processor] = [structlog.processors.format_exc_info, _redactor(secrets), _add_head]
    if stream.isatty():
        processors.append(structlog.dev.ConsoleRenderer(colors=not environ.get("NO_COLOR"), sort_keys=False))
    else:
        encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
        processors.append(lambda _logger, _level, event: encode(event))
        if _is_journal(stream, environ):
            processors.append(lambda _logger, level, line: f"<{PRIORITIES[level]}>{line}")
    lines = _Lines(stream)
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


class _Lines:
    """Write lines; what can't be written is dropped: a full disk or a closed pipe must not stop the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def debug(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            pass

    info = warning = error = critical = debug


class _Handler(logging.Handler):
    """Pass what aiohttp, asyncio, openai and Python's warnings say on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments don't fit the format
            message = str(record.msg)
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        structlog.get_logger().log(level, message, logger=record.name, exc_info=record.exc_info)


def _add_head(_logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """Put event, level and time before the rest."""
    timestamp = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return {"event": event.pop("event", ""), "level": level, "timestamp": timestamp, **event}


def _redactor(secrets: Iterable[str]) -> Processor:
    # As a secret may stand in a text: as it is, in a repr, in JSON, in a URL. The longest first: one may hold another.
    forms = {
        form for secret in secrets for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, ""))
    }
    ordered = sorted(forms - {""}, key=len, reverse=True)

    def redact(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
        everything = "\n".join(map(str, event.values()))
        for form in ordered:
            if form in everything:
                for key, value in event.items():
                    if form in str(value):
                        event[key] = str(value).replace(form, "[secret]")
        return event

    return redact


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file behind it
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
