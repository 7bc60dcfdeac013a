"""Misbehave on purpose: which request a fault hits, and what it does to it."""

import asyncio
import contextlib
import random
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from bot.emulator.journal import serves

BODIES: dict[str, tuple[str, str]] = {
    "html": ("<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>", "text/html"),
    "null": ("null", "application/json"),
    "object": ("{}", "application/json"),
    "broken": ('{"id": "resp_1", "out', "application/json"),
    "nothing": ("", "application/json"),
}
TRANSPORT = ("http", "cut", "hang", "cut_body", "drip", "mistyped", *BODIES)
MODEL = ("refusal", "incomplete", "content_filter", "empty", "context_length")
SILENT = ("cut", "hang")  # nothing is answered
KINDS = ("error", "slow", *TRANSPORT, *MODEL)
GRAPH = ("send", "read", "number", "token", "subscriptions", "webhooks", "media")
SERVICES = ("graph", *(f"graph.{name}" for name in GRAPH), "model")


@dataclass(frozen=True, slots=True)
class Fault:
    """Describe one kind of misbehaviour and the requests that it hits.

    kind:
      error         the service's own error body. Graph: Meta's `code` (`status` follows from it unless given);
                    model: `status` (500), `code`, `message`
      http          `status` (503) with `body` (an HTML page) and `headers`
      cut, hang     the connection is closed, at once or after `seconds` (0: when the emulator closes)
      slow          waits `seconds`, then goes on as if nothing was; with `after` it is the answer that waits
      cut_body      the answer's headers and half of its body, then the connection is closed
      drip          the answer's body byte by byte over `seconds`
      mistyped      the answer, called text/html
      html, null, object, broken, nothing    HTTP 200 with such a body instead of the answer
      refusal, incomplete, content_filter, empty, context_length    what a model says; `body`: its words
    after: the request takes effect first (the message goes out, its statuses come); only the answer suffers.
      Always so for cut_body, drip and mistyped, which need an answer to spoil.
    """

    kind: str
    service: str = "graph.send"
    times: int = 1  # 0: until it is removed
    probability: float = 1.0
    user: str = ""  # phone or BSUID; for the model: whoever wrote the text it is asked
    contains: str = ""  # only where the text does
    after: bool = False
    seconds: float = 0.0
    status: int = 0
    code: int | str = 0
    message: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault of kind {self.kind!r}; there are: {', '.join(KINDS)}")
        if self.service not in SERVICES:
            raise ValueError(f"no service {self.service!r}; there are: {', '.join(SERVICES)}")
        if self.kind in MODEL and self.service != "model":
            raise ValueError(f"{self.kind} is a fault of the model")
        object.__setattr__(self, "user", self.user.removeprefix("+"))

    @property
    def early(self) -> bool:
        """Say whether it strikes before the request takes effect."""
        return not self.after and self.kind not in ("cut_body", "drip", "mistyped")


class Faults:
    """Keep the faults that are set, and hand each out as often as it says."""

    def __init__(self, seed: int = 0) -> None:
        self._set: dict[int, Fault] = {}
        self._numbers = 0
        self._random = random.Random(seed)

    def add(self, fault: Fault | str, /, **fields: Any) -> int:
        """Set a fault, given whole or as its kind and fields. Returns the number to remove it by."""
        made = fault if isinstance(fault, Fault) else Fault(fault, **fields)
        self._numbers += 1
        self._set[self._numbers] = made
        return self._numbers

    def remove(self, number: int) -> None:
        """Take one fault away; one that is used up already is no error."""
        self._set.pop(number, None)

    def clear(self) -> None:
        """Take all faults away."""
        self._set.clear()

    def list(self) -> dict[int, Fault]:
        """Show what is set, by number; `times` is what is left of it."""
        return dict(self._set)

    def take(self, service: str, ids: Collection[str], text: str = "") -> Fault | None:
        """Give the first fault that hits this request, and count it."""
        for number, fault in self._set.items():
            if not serves(fault.service, service) or (fault.user and fault.user not in ids):
                continue
            if fault.contains not in text or self._random.random() >= fault.probability:
                continue
            if fault.times == 1:
                del self._set[number]
            elif fault.times:
                self._set[number] = replace(fault, times=fault.times - 1)
            return fault
        return None


async def enact(fault: Fault, request: web.Request, answer: bytes, closing: asyncio.Event) -> web.StreamResponse:
    """Treat a request as a transport fault says; `answer` is the JSON it would have got."""
    if fault.kind == "http":
        text = fault.body or BODIES["html"][0]
        kind = "application/json" if text.startswith(("{", "[")) else "text/html"
        headers = {"Content-Type": kind, **fault.headers}
        return web.Response(status=fault.status or 503, body=text.encode(), headers=headers)
    if fault.kind in BODIES:
        text, kind = BODIES[fault.kind]
        return web.Response(text=fault.body or text, content_type=kind, headers=fault.headers)
    if fault.kind == "mistyped":
        return web.Response(body=answer, content_type="text/html")
    if fault.kind == "hang":
        await pause(fault.seconds or None, closing)
    if fault.kind in SILENT:
        return _cut(request)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(answer))})
    await response.prepare(request)
    if fault.kind == "cut_body":
        await response.write(answer[: len(answer) // 2])
        return _cut(request, response)
    with contextlib.suppress(ConnectionError):  # whoever asked may have had enough
        for position in range(len(answer)):
            await response.write(answer[position : position + 1])
            await pause(fault.seconds / len(answer), closing)
    return response


async def pause(seconds: float | None, closing: asyncio.Event) -> None:
    """Wait so long (None: for ever), or until the emulator closes."""
    if seconds == 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response or web.Response()
