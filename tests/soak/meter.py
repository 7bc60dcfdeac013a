"""Measure the daemon from outside: its memory, descriptors, files, and how soon it answers a trifle."""

import http.client
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PULSE_SECONDS = 0.1
BESIDE_BYTES = 64 * 1024  # about what a commit writes
HEALTHZ_SECONDS = 30.0  # then it counts as hanging


@dataclass(slots=True)
class Sample:
    """What was seen in a period."""

    rss_mb: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)
    wal_mb: list[float] = field(default_factory=list)
    healthz_ms: list[float] = field(default_factory=list)
    machine_ms: list[float] = field(default_factory=list)


class Meter:
    """Take the daemon's pulse in a thread of its own, so that this process's loop isn't measured along.

    `GET /healthz` does nothing but pass the daemon's event loop: what it takes over a fraction of a millisecond is the
    loop's lag (and the machine's, which other processes share). How slow the machine itself is shows beside it: a small
    write to the same disk, synced, by this process.
    """

    def __init__(self, pid: int, port: int, database: Path) -> None:
        self._pid, self._port, self._database = pid, port, database
        self._over = threading.Event()
        self._sample = Sample()
        self.trouble = ""
        self._beside = database.with_name("beside")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Meter":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def take(self) -> Sample:
        """Return what was seen since this was last asked."""
        taken, self._sample = self._sample, Sample()
        return taken

    def database_mb(self) -> float:
        """Size of the file, without the WAL."""
        return self._database.stat().st_size / 2**20

    def peak_mb(self) -> float:
        """The most memory that the process ever had."""
        return self._status("VmHWM")

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HEALTHZ_SECONDS)
        while not self._over.wait(PULSE_SECONDS):
            try:
                self._pulse(connection)
            except (OSError, http.client.HTTPException, ValueError) as gone:
                self.trouble = f"{type(gone).__name__}: {gone}"
                return
        connection.close()

    def _pulse(self, connection: http.client.HTTPConnection) -> None:
        sample, began = self._sample, time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        sample.healthz_ms.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        with self._beside.open("wb") as file:
            file.write(bytes(BESIDE_BYTES))
            os.fdatasync(file.fileno())
        sample.machine_ms.append((time.perf_counter() - began) * 1000)
        sample.rss_mb.append(self._status("VmRSS"))
        sample.descriptors.append(len(os.listdir(f"/proc/{self._pid}/fd")))
        sample.wal_mb.append(Path(f"{self._database}-wal").stat().st_size / 2**20)

    def _status(self, field: str) -> float:
        text = Path(f"/proc/{self._pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0]) / 1024
