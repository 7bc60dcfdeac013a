"""How systemd and the daemon talk: sd_notify(3), one datagram a message, and sd_listen_fds(3), the sockets it holds."""

import contextlib
import itertools
import math
import os
import socket
from collections.abc import Mapping
from functools import cache

from bot.errors import StartError

SECTIONS = {"public": "SERVER", "admin": "ADMIN"}  # of bot.toml, by the FileDescriptorName= of the socket unit


def notify(state: str) -> None:
    """Send e.g. `READY=1` to the service manager; does nothing where there is none.

    One that doesn't read is waited for a little, as nothing else happens meanwhile: longer with what is told only once.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        contextlib.suppress(OSError),  # a manager that doesn't listen, or has stopped reading, must not stop the work
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection,
    ):
        connection.settimeout(0.05 if state.startswith(("STATUS", "WATCHDOG")) else 2.0)
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        connection.sendall(state.encode())


def told_every_seconds() -> float:
    """Return how often the service manager is told how it goes: twice in WatchdogSec=, and each 10 seconds."""
    return min(int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6 or math.inf, 10.0)


@cache
def handed_over() -> Mapping[str, socket.socket]:
    """Return the listening sockets that this process was started with, by name: `public`, `admin`, or none.

    They stay open where the daemon ends, so that clients wait for the next one. Raises StartError for any other socket.
    """
    pid, _, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return {}
    found: dict[str, socket.socket] = {}
    for name, descriptor in zip(names.split(":"), itertools.count(3), strict=False):
        with contextlib.suppress(OSError):  # what is no socket is missed below
            one = socket.socket(fileno=descriptor)
            listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if name in SECTIONS and listens and one.family in {socket.AF_INET, socket.AF_INET6}:
                one.set_inheritable(False)
                found[name] = one
    if sorted(found) != sorted(names.split(":")):
        raise StartError(
            f"systemd handed over sockets named {names!r}: wanted is one ListenStream= with address and port, "
            "FileDescriptorName=public, and another with FileDescriptorName=admin"
        )
    return found


def addresses() -> dict[str, str]:
    """Return where the sockets handed over listen, as the variables that set the configuration: it is so."""
    told: dict[str, str] = {}
    for name, one in handed_over().items():
        host, port = one.getsockname()[:2]
        told |= {f"BOT_{SECTIONS[name]}__HOST": host, f"BOT_{SECTIONS[name]}__PORT": str(port)}
    return told
