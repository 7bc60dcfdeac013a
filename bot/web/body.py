"""Read bodies from strangers: bounded in bytes, in time, and all together in memory."""

import asyncio

from aiohttp import web

MOST_BYTES = 3 * 1024 * 1024  # Meta's own limit for a webhook
SMALL_BYTES = 64 * 1024
# Of all bodies that are still arriving: a small VPS has 500 MB. Small ones are taken nevertheless.
MOST_BYTES_UNFINISHED = 16 * MOST_BYTES


class Refused(Exception):
    """A request is answered with `status` and a short `reason`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BodyReader:
    """Reads raw bodies; slow clients by the hundred hold neither a worker nor much memory."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._unfinished = 0

    async def read(self, request: web.Request) -> bytes:
        """Return the body as it came.

        Raises Refused: 413 over 3 MiB, whatever Content-Length says; 408 when it doesn't arrive in time; 503 while
        too much is arriving at once; 400 when the client breaks off or breaks the rules of HTTP.
        """
        if (request.content_length or 0) > MOST_BYTES:
            raise Refused(413, "over 3 MiB")
        content = request.content
        if content.is_eof() and content.exception() is None and content.total_bytes <= MOST_BYTES:
            return content.read_nowait()  # most come along with their headers: no timer
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in content.iter_any():
                    body += chunk
                    self._unfinished += len(chunk)
                    if len(body) > MOST_BYTES:
                        raise Refused(413, "over 3 MiB")
                    if len(body) > SMALL_BYTES and self._unfinished > MOST_BYTES_UNFINISHED:
                        raise Refused(503, "too much is arriving at once")
        except TimeoutError:
            raise Refused(408, f"the body didn't arrive within {self._seconds:g} s") from None
        except Exception as error:  # aiohttp has a dozen for what a client can do wrong; none is our fault
            if isinstance(error, Refused):
                raise
            raise Refused(400, f"the body can't be read ({type(error).__name__})") from error
        finally:
            self._unfinished -= len(body)
        return bytes(body)
