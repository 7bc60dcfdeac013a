"""Tell systemd how the daemon is: the sd_notify(3) protocol, one datagram a message."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send e.g. `READY=1` to the service manager; does nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        contextlib.suppress(OSError),  # a manager that doesn't listen must not stop the work
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection,
    ):
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        connection.sendall(state.encode())
