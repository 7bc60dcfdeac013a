"""Post prepared requests with as little work as can be (epoll, raw sockets): the client is never the limit."""

import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GIVE_UP_SECONDS = 30.0


@dataclass(slots=True)
class Acks:
    """How requests were answered: counts by HTTP status, seconds in all, and each one's milliseconds."""

    seconds: float = 0.0
    busy_seconds: float = 0.0  # the client's own CPU time
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.statuses.total() / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the milliseconds within which so many percent were answered."""
        ordered = sorted(self.milliseconds)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def post(port: int, requests: Sequence[bytes], *, connections: int = 64, per_second: float = 0.0) -> Acks:
    """Post everything and wait for the answers: as fast as they come, or `per_second` at regular times.

    At regular times the milliseconds count from when a request was due, so that a stall counts for all who wait.
    """
    sockets = [_connect(port) for _ in range(connections)]
    acks, poll = Acks(), select.epoll()
    by_number = {connection.fileno(): connection for connection in sockets}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    free, due = deque(by_number), dict.fromkeys(by_number, 0.0)
    unread: dict[int, bytes] = dict.fromkeys(by_number, b"")
    began, busy, sent = time.perf_counter(), time.process_time(), 0
    while acks.statuses.total() < len(requests):
        now = time.perf_counter()
        while free and sent < len(requests) and (at := began + sent / per_second if per_second else now) <= now:
            number = free.popleft()
            due[number] = at
            by_number[number].sendall(requests[sent])
            sent += 1
        waiting = per_second and free and sent < len(requests)
        ready = poll.poll(max(began + sent / per_second - now, 0.0) if waiting else GIVE_UP_SECONDS)
        if not ready and not waiting:
            raise TimeoutError(f"{sent - acks.statuses.total()} of {sent} requests were not answered")
        for number, _ in ready:
            unread[number] += by_number[number].recv(65536)
            if (status := _status(unread[number])) is not None:
                unread[number] = b""
                free.append(number)
                acks.statuses[status] += 1
                acks.milliseconds.append((time.perf_counter() - due[number]) * 1000)
    acks.seconds, acks.busy_seconds = time.perf_counter() - began, time.process_time() - busy
    for connection in sockets:
        connection.close()
    poll.close()
    return acks


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _status(answer: bytes) -> int | None:
    """Return the HTTP status once the answer is there whole."""
    if not answer:
        raise ConnectionError("the server closed the connection")
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head[9:12]) if len(body) >= int(length[15:]) else None


def merged(all_acks: Iterable[Acks]) -> Acks:
    """Put rounds together that ran one after the other."""
    whole = Acks()
    for acks in all_acks:
        whole.seconds += acks.seconds
        whole.busy_seconds += acks.busy_seconds
        whole.statuses += acks.statuses
        whole.milliseconds += acks.milliseconds
    return whole
