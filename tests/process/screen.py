"""A command in a terminal of its own: what it shows, and keys pressed."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0  # for a loaded machine


@dataclass
class Screen:
    """The master's side of a pseudo terminal."""

    fd: int
    process: subprocess.Popen[bytes]
    text: str = ""

    def until(self, shown: Callable[[str], bool]) -> str:
        """Read on until what was shown so far is as wanted. Raises AssertionError when time is up."""
        deadline = time.monotonic() + SECONDS
        while not shown(self.text):
            assert time.monotonic() < deadline, f"not shown: {self.text!r}"
            assert self._read(0.1) or self.process.poll() is None or shown(self.text), f"it ended: {self.text!r}"
        return self.text

    def press(self, keys: str) -> None:
        """Press keys: Ctrl-C is \\x03."""
        os.write(self.fd, keys.encode())

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on: {self.text!r}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            found = os.read(self.fd, 2**16)
        except OSError:  # the other side is closed
            return False
        self.text += found.decode(errors="replace")
        return bool(found)


def _in_front() -> None:
    """Let Ctrl-C reach the process; where these tests run in the background it would have it ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def screen(*command: str, cwd: Path, env: Mapping[str, str], columns: int = 80, lines: int = 24) -> Iterator[Screen]:
    """Start a command whose terminal has that size; end it at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={name: value for name, value in env.items() if name not in ("LINES", "COLUMNS")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_in_front,
    )
    os.close(theirs)
    try:
        yield Screen(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
