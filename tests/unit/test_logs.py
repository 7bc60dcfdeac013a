"""One pipeline for all logs: readable or JSON, levelled for journald, free of secrets, and never in the way."""

import asyncio
import io
import json
import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot import logs

log = structlog.get_logger()

SECRET = "EAAGm0PX4ZCps/BA=="


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def stream() -> io.StringIO:
    """A stream that is no terminal."""
    return io.StringIO()


def line_of(stream: io.StringIO) -> dict[str, Any]:
    """Read the one line that stands in the stream."""
    (line,) = stream.getvalue().splitlines()
    return dict(json.loads(line))


def test_a_line_is_json_with_event_level_and_time_first(stream: io.StringIO) -> None:
    """Programs read one object a line; people find what happened at its beginning, the time in UTC milliseconds."""
    logs.configure(stream=stream, environ={})
    log.info("turn", user="u17", ms=812)
    line = line_of(stream)
    assert list(line) == ["event", "level", "timestamp", "user", "ms"]
    assert (line["event"], line["level"], line["ms"]) == ("turn", "info", 812)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


def test_a_terminal_gets_colours_and_no_json() -> None:
    """A person reads words in colours."""
    terminal = Terminal()
    logs.configure(stream=terminal, environ={})
    log.info("turn", user="u17")
    assert "\x1b[" in terminal.getvalue()
    assert "turn" in terminal.getvalue()
    assert "{" not in terminal.getvalue()


def test_no_color_is_respected_on_a_terminal() -> None:
    """Where NO_COLOR is set, the words come bare."""
    terminal = Terminal()
    logs.configure(stream=terminal, environ={"NO_COLOR": "1"})
    log.info("turn", user="u17")
    assert "\x1b[" not in terminal.getvalue()
    assert "user=u17" in terminal.getvalue()


def test_a_traceback_on_a_terminal_shows_no_local_variables() -> None:
    """Local variables hold message texts and tokens; rich's tracebacks would print them."""
    terminal = Terminal()
    logs.configure(stream=terminal, environ={"NO_COLOR": "1"})
    body = "where is " + "my parcel"
    try:
        raise RuntimeError(len(body))
    except RuntimeError:
        log.exception("turn failed")
    assert "RuntimeError: 18" in terminal.getvalue()
    assert "my parcel'" not in terminal.getvalue()


def test_an_exception_is_one_field_of_one_line(stream: io.StringIO) -> None:
    """A traceback must not fall apart into lines that are no JSON."""
    logs.configure(stream=stream, environ={})
    try:
        raise RuntimeError("no way")
    except RuntimeError:
        log.exception("turn failed")
    line = line_of(stream)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("RuntimeError: no way")


@pytest.mark.parametrize(
    ("level", "priority"), [("info", 6), ("warning", 4), ("error", 3), ("critical", 2), ("debug", 7)]
)
def test_journald_gets_the_level_of_each_line(tmp_path: Path, level: str, priority: int) -> None:
    """Where the stream is the journal's own, sd-daemon's <N> stands before each line."""
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        logs.configure(stream=journal, level="debug", environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        getattr(log, level)("turn")
        journal.seek(0)
        prefix, brace, _ = journal.read().partition("{")
    assert (prefix, brace) == (f"<{priority}>", "{")


def test_an_exception_goes_to_journald_as_an_error(tmp_path: Path) -> None:
    """`exception` is a method of loggers, not a level."""
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        logs.configure(stream=journal, environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        try:
            raise RuntimeError
        except RuntimeError:
            log.exception("turn failed")
        journal.seek(0)
        assert journal.read().startswith('<3>{"event":"turn failed","level":"error"')


def test_another_stream_than_the_journal_gets_no_prefix(tmp_path: Path) -> None:
    """JOURNAL_STREAM is inherited by everything below a service; it counts only where it names this very stream."""
    with (tmp_path / "file").open("w+") as file:
        logs.configure(stream=file, environ={"JOURNAL_STREAM": "1:2"})
        log.info("turn")
        file.seek(0)
        assert file.read().startswith("{")


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    """Level info leaves out debug."""
    logs.configure(stream=stream, level="info", environ={})
    log.debug("row")
    assert stream.getvalue() == ""


def test_debug_shows_when_it_is_asked_for(stream: io.StringIO) -> None:
    """Level debug leaves out nothing."""
    logs.configure(stream=stream, level="debug", environ={})
    log.debug("row")
    assert line_of(stream)["level"] == "debug"


def test_libraries_speak_through_the_same_pipeline(stream: io.StringIO) -> None:
    """aiohttp's and asyncio's errors are lines like ours, with the logger's name and the traceback in a field."""
    logs.configure(stream=stream, environ={})
    try:
        raise ConnectionResetError("gone")
    except ConnectionResetError:
        logging.getLogger("aiohttp.server").exception("Error handling %s", "request")
    line = line_of(stream)
    assert (line["event"], line["level"], line["logger"]) == ("Error handling request", "error", "aiohttp.server")
    assert line["exception"].endswith("ConnectionResetError: gone")


def test_libraries_are_heard_from_warning_up(stream: io.StringIO) -> None:
    """Access logs and OPENAI_LOG=debug (which prints message texts) stay out, whatever level a logger gave itself."""
    logs.configure(stream=stream, level="debug", environ={})
    chatty = logging.getLogger("openai")
    chatty.setLevel(logging.DEBUG)
    try:
        chatty.debug("Request options: …")
        chatty.info("HTTP Request: POST")
        assert stream.getvalue() == ""
        chatty.warning("retrying")
    finally:
        chatty.setLevel(logging.NOTSET)
    assert line_of(stream)["level"] == "warning"


def test_libraries_with_levels_of_their_own_are_heard(stream: io.StringIO) -> None:
    """A level between ours counts as the lower one."""
    logs.configure(stream=stream, environ={})
    logging.getLogger("odd").log(35, "notice")
    assert line_of(stream)["level"] == "warning"


def test_a_library_whose_arguments_do_not_fit_is_heard_all_the_same(stream: io.StringIO) -> None:
    """A log call never raises, and what can be said is said."""
    logs.configure(stream=stream, environ={})
    logging.getLogger("odd").warning("%d of %d", 1)
    assert line_of(stream)["event"] == "%d of %d"


def test_warnings_of_python_are_logged(stream: io.StringIO) -> None:
    """A DeprecationWarning on a bare line would break the JSON."""
    logs.configure(stream=stream, environ={})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert line_of(stream)["logger"] == "py.warnings"


def test_handlers_from_before_do_not_say_it_twice(stream: io.StringIO) -> None:
    """What a library put on the root logger while it was imported goes."""
    other = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(other))
    logs.configure(stream=stream, environ={})
    logging.getLogger("aiohttp").error("once")
    assert other.getvalue() == ""
    assert line_of(stream)["event"] == "once"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SECRET, "[secret]"),
        (f"Bearer {SECRET}", "Bearer [secret]"),
        ("EAAGm0PX4ZCps%2FBA%3D%3D", "[secret]"),
        (PermissionError(f"bad token {SECRET}"), "bad token [secret]"),
        ({"headers": {"Authorization": SECRET}}, "{'headers': {'Authorization': '[secret]'}}"),
    ],
    ids=["whole", "part", "in a URL", "exception", "nested"],
)
def test_a_secret_is_replaced_wherever_it_stands(stream: io.StringIO, value: object, shown: str) -> None:
    """Whole values, parts of values, what is written in a URL, and what stands deep in other objects."""
    logs.configure(stream=stream, environ={}, secrets=["other", SECRET, ""])
    log.info("call", value=value, fine=1)
    line = line_of(stream)
    assert line["value"] == shown
    assert line["fine"] == 1


def test_a_secret_is_replaced_in_the_event_and_in_a_traceback(stream: io.StringIO) -> None:
    """Libraries put URLs and headers into the messages of their exceptions."""
    logs.configure(stream=stream, environ={}, secrets=[SECRET])
    try:
        raise PermissionError(f"bad token {SECRET}")
    except PermissionError:
        logging.getLogger("aiohttp").exception("refused %s", SECRET)
    line = line_of(stream)
    assert line["event"] == "refused [secret]"
    assert line["exception"].endswith("bad token [secret]")
    assert SECRET not in stream.getvalue()


def test_a_secret_is_replaced_on_a_terminal() -> None:
    """Screens are shared and photographed."""
    terminal = Terminal()
    logs.configure(stream=terminal, environ={"NO_COLOR": "1"}, secrets=[SECRET])
    log.info("call", url=f"https://graph.test/?access_token={SECRET}")
    assert SECRET not in terminal.getvalue()
    assert "[secret]" in terminal.getvalue()


@pytest.mark.parametrize("secret", ['mi "palabra"', """l'"x\"""", "contraseña", r"a\b", "12"])
def test_a_secret_of_odd_characters_is_replaced_inside_other_objects(stream: io.StringIO, secret: str) -> None:
    """A verify token may be any text; quotes, letters and backslashes are escaped differently here and there."""
    logs.configure(stream=stream, environ={}, secrets=[secret])
    log.info("call", bare=secret, listed=[secret], error=ValueError(secret), pasted=json.dumps({"token": secret}))
    line = line_of(stream)
    assert line["bare"] == "[secret]"
    assert line["error"] == "[secret]"
    assert "[secret]" in line["listed"]
    assert json.loads(line["pasted"]) == {"token": "[secret]"}


def test_a_secret_that_looks_like_a_figure_or_a_word_leaves_the_line_readable(stream: io.StringIO) -> None:
    """Keys, level and time are ours: the line stays JSON whatever word somebody chose as the verify token."""
    logs.configure(stream=stream, environ={}, secrets=["12", "info", "ms", "20"])
    log.info("call", ms=12, user="u12")
    line = line_of(stream)
    assert (line["event"], line["level"], line["ms"], line["user"]) == ("call", "info", "[secret]", "u[secret]")
    assert line["timestamp"].startswith("20")


def test_the_longer_secret_is_replaced_first(stream: io.StringIO) -> None:
    """Otherwise one that begins like another would leave its end behind."""
    logs.configure(stream=stream, environ={}, secrets=["word", "wordier"])
    log.info("call", value="wordier")
    assert line_of(stream)["value"] == "[secret]"


def test_any_object_can_be_logged(stream: io.StringIO) -> None:
    """A path or an exception among the values is written as text, not refused."""
    logs.configure(stream=stream, environ={})
    log.info("opened", path=Path("/var/lib/bot/bot.db"), error=ValueError("no"))
    line = line_of(stream)
    assert (line["path"], line["error"]) == ("/var/lib/bot/bot.db", "no")


def test_a_line_is_plain_ascii(stream: io.StringIO) -> None:
    """A lone surrogate or a Latin-1 locale can't stop a line, and no line separator hides in one."""
    logs.configure(stream=stream, environ={})
    log.info("turn", error="\ud800 \u2028 ñ")
    assert stream.getvalue().isascii()
    assert line_of(stream)["error"] == "\ud800 \u2028 ñ"


def test_a_stream_that_cannot_be_written_stops_nothing() -> None:
    """A full disk under a redirected log must not turn a webhook into a 500."""
    logs.configure(stream=Broken(), environ={})
    log.error("disk full")


def test_a_closed_stream_stops_nothing(stream: io.StringIO) -> None:
    """Neither must a log whose other end is gone."""
    logs.configure(stream=stream, environ={})
    stream.close()
    log.error("late")


def test_configuring_again_reaches_loggers_that_were_used_before(stream: io.StringIO) -> None:
    """A test's stream ends with the test; module-level loggers must not hold on to it."""
    before = io.StringIO()
    logs.configure(stream=before, environ={})
    log.info("first")
    logs.configure(stream=stream, environ={})
    log.info("second")
    assert line_of(before)["event"] == "first"
    assert line_of(stream)["event"] == "second"


def test_loggers_are_cached_on_the_stream_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's stream lives as long as its loggers: no wrapping at each line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(environ={})
    assert structlog.get_config()["cache_logger_on_first_use"] is True
    structlog.get_logger().info("turn")
    assert line_of(stream)["event"] == "turn"


def test_without_a_standard_error_lines_go_to_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell's `2>&-` closes it; the commands work all the same."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
    logs.configure(environ={})
    log.info("turn")
    assert line_of(stream)["event"] == "turn"


def test_the_traceback_of_a_plain_error_names_this_file(stream: io.StringIO) -> None:
    """What is logged as exc_info is formatted by structlog as Python does it."""
    logs.configure(stream=stream, environ={})
    try:
        raise KeyError("x")
    except KeyError as error:
        log.warning("odd", exc_info=error)
        expected = "".join(traceback.format_exception(error)).rstrip("\n")
    assert line_of(stream)["exception"] == expected


class Counted(io.StringIO):
    """A stream that counts how often it is written to."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += bool(text)
        return super().write(text)


def told(stream: io.StringIO) -> list[str]:
    """List the events that were written."""
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


async def test_the_lines_of_one_turn_of_the_loop_are_written_together() -> None:
    """As each write costs more than the line; none is kept longer than that."""
    stream = Counted()
    logs.configure(stream=stream)
    for n in range(3):
        log.info(f"line {n}")
    assert told(stream) == []
    await asyncio.sleep(0)
    assert (told(stream), stream.writes) == (["line 0", "line 1", "line 2"], 1)


async def test_a_warning_is_written_at_once_behind_what_came_before() -> None:
    """What goes wrong is told though the loop never turns again."""
    stream = Counted()
    logs.configure(stream=stream)
    log.info("before")
    log.warning("wrong")
    assert told(stream) == ["before", "wrong"]
    log.info("after")
    await asyncio.sleep(0)
    assert told(stream) == ["before", "wrong", "after"]


def test_what_is_logged_last_in_a_loop_is_written(stream: io.StringIO) -> None:
    """And what comes from a thread, or once it has ended."""
    logs.configure(stream=stream)

    async def last() -> None:
        await asyncio.to_thread(log.info, "in a thread")
        log.info("last")

    asyncio.run(last())
    log.info("afterwards")
    assert told(stream) == ["in a thread", "last", "afterwards"]
