"""`bot`, telling the CPU that its live pages take: of their steps on the loop, and of the thread that reads for them.

Two runs of a daemon differ by more than what pages cost, so what they do is timed where they do it.
"""

import functools
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

from bot.__main__ import main
from bot.store.db import Database
from bot.web.live import Live

FILE = "BENCH_PAGE_CPU"  # names the file that tells it
TOLD = struct.Struct("dq")  # seconds on the loop; the reader's thread


def seconds(pid: int, told: Path) -> float:
    """Return what the pages of that process have taken so far."""
    on_the_loop, reader = TOLD.unpack(told.read_bytes())
    nanoseconds = Path(f"/proc/{pid}/task/{reader}/schedstat").read_text().split()[0]
    return float(on_the_loop) + int(nanoseconds) / 1e9


class _Teller:
    """Sums up and writes down."""

    def __init__(self, path: str) -> None:
        self._file, self._on_the_loop, self._reader = os.open(path, os.O_WRONLY | os.O_CREAT), 0.0, 0

    def timed(self, original: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a function that does as `original`, each step of it timed."""

        @functools.wraps(original)
        async def timed(*arguments: Any) -> Any:
            return await _Steps(original(*arguments), self)

        return timed

    def noting_thread(self, original: Callable[..., Awaitable[Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a function that does as `Database.look`, and notes the thread that looks."""

        async def look(database: Database, work: Callable[[sqlite3.Connection], Any]) -> Any:
            def noting(connection: sqlite3.Connection) -> Any:
                self._reader = threading.get_native_id()
                self._tell()
                return work(connection)

            return await original(database, noting)

        return look

    def step(self, step: Callable[[Any], Any], argument: Any) -> Any:
        """Go on to where it waits next."""
        began = time.thread_time()
        try:
            return step(argument)
        finally:
            self._on_the_loop += time.thread_time() - began
            self._tell()

    def _tell(self) -> None:
        os.pwrite(self._file, TOLD.pack(self._on_the_loop, self._reader), 0)


class _Steps(Awaitable[Any]):
    def __init__(self, steps: Coroutine[Any, Any, Any], teller: _Teller) -> None:
        self._steps, self._teller = steps, teller

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._steps.send
        argument: Any = None
        while True:
            try:
                wanted = self._teller.step(step, argument)
            except StopIteration as end:
                return end.value
            try:
                step, argument = self._steps.send, (yield wanted)
            except BaseException as error:  # a cancellation has to reach what is timed
                step, argument = self._steps.throw, error


if __name__ == "__main__":
    teller = _Teller(os.environ[FILE])
    Live._keep_drawing = teller.timed(Live._keep_drawing)  # type: ignore[method-assign]
    Live.events = teller.timed(Live.events)  # type: ignore[method-assign]
    Database.look = teller.noting_thread(Database.look)  # type: ignore[method-assign]
    main()
