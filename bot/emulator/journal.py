"""Remember every request in order, for tests and benchmarks that judge the daemon from outside."""

import asyncio
import heapq
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class Entry:
    """Hold one request to the emulator, or one webhook delivery of it; completed when it ends.

    `service`: one of faults.SERVICES (graph.send …), or webhook.
    `accepted`: it took effect, whatever the caller was told (a webhook: it was answered 200).
    """

    number: int
    service: str
    user: str = ""  # phone or BSUID of the customer it is about, where that is known
    text: str = ""  # the body sent; the last user text a model was asked
    wamid: str = ""  # of the message sent, marked read, or delivered
    callback_data: str = ""
    typing: bool = False
    request: Any = None  # the JSON body as it came
    began_at: float = 0.0  # time.monotonic()
    ended_at: float | None = None
    accepted: bool = False
    status: int = 0  # HTTP status answered; 0: none
    code: int | str = 0  # error code answered
    fault: str = ""  # kind of the fault that hit it
    retry_after: str = ""  # what a webhook's answer said by this header


class Journal:
    """Keep entries in order, the last `limit` of each service (0: all), and wake whoever waits for one."""

    def __init__(
        self, *, keep: bool = True, limit: int = 0, ended: Callable[[Entry], None] = lambda entry: None
    ) -> None:
        self._keep = keep
        self._ended = ended
        self._entries: dict[str, deque[Entry]] = defaultdict(lambda: deque(maxlen=limit or None))
        self._number = 0
        self._waiters: set[asyncio.Event] = set()

    @property
    def entries(self) -> list[Entry]:
        """List everything, oldest first."""
        return self.of("")

    def begin(self, service: str, **members: Any) -> Entry:
        """Note the arrival of a request."""
        self._number += 1
        entry = Entry(self._number, service, began_at=time.monotonic(), **members)
        if self._keep:
            self._entries[service].append(entry)
            self.notify()
        return entry

    def end(self, entry: Entry, *, status: int = 0, code: int | str = 0) -> None:
        """Note how a request was answered; status 0 is no answer at all."""
        entry.ended_at, entry.status, entry.code = time.monotonic(), status, code
        self._ended(entry)
        self.notify()

    def notify(self) -> None:
        """Let every waiter look again."""
        for waiter in self._waiters:
            waiter.set()

    def of(self, service: str, user: str | Iterable[str] = "", *, since: int = 0) -> list[Entry]:
        """List entries of a service (`graph` takes all of Graph), of one user where ids are given, after a number."""
        ids = {user.removeprefix("+")} - {""} if isinstance(user, str) else set(user)
        asked = [entries for name, entries in self._entries.items() if serves(service, name)]
        found = asked[0] if len(asked) == 1 else heapq.merge(*asked, key=lambda entry: entry.number)
        return [entry for entry in found if entry.number > since and (not ids or entry.user in ids)]

    def newest(self, service: str, most: int) -> list[Entry]:
        """List the last entries of one service, newest first, without a look at the others."""
        return list(islice(reversed(self._entries[service]), most))

    def clear(self) -> None:
        """Forget all entries; numbers go on."""
        self._entries.clear()

    async def wait_for(self, predicate: Callable[[], _T], timeout: float = 5.0) -> _T:
        """Return what `predicate` says once it is truthy; it is asked again whenever something happened.

        Raises TimeoutError with the last entries after `timeout` seconds.
        """
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            async with asyncio.timeout(timeout):
                while not (found := predicate()):
                    changed.clear()
                    await changed.wait()
                return found
        except TimeoutError:
            last = "\n".join(f"  {_line(entry)}" for entry in self.entries[-12:])
            raise TimeoutError(f"nothing fitted within {timeout} s; the emulator's last entries:\n{last}") from None
        finally:
            self._waiters.discard(changed)


def serves(asked: str, service: str) -> bool:
    """Say whether `asked` names a service or the group that it belongs to."""
    return asked in ("", service) or service.startswith(asked + ".")


def as_json(entry: Entry) -> dict[str, Any]:
    """Give an entry as it travels over HTTP."""
    return asdict(entry)


def _line(entry: Entry) -> str:
    state = "open" if entry.ended_at is None else f"{entry.status or 'no answer'} {entry.code or ''}"
    return f"{entry.number} {entry.service} {entry.user} {entry.text[:40]!r} {entry.fault} {state}"
