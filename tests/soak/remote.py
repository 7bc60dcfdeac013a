"""Steer the emulator in its own process, and read its journal on from where one left off."""

from typing import Any

from aiohttp import ClientSession, ClientTimeout

Entry = dict[str, Any]


class Remote:
    """The control side of an emulator, over HTTP."""

    def __init__(self, url: str) -> None:
        self._client = ClientSession(url, timeout=ClientTimeout(total=60))
        self._read = 0  # the number of the last entry that was handed out

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def post(self, payload: Any) -> int:
        """Have a webhook signed and posted once; return the HTTP status, 0 where none came."""
        return int((await self._ask("post", "webhook", payload))["status"])

    async def fault(self, kind: str, **fields: Any) -> None:
        """Set a fault until it is cleared."""
        await self._ask("post", "faults", {"kind": kind, "times": 0, **fields})

    async def clear_faults(self) -> None:
        """Take all faults away."""
        await self._ask("delete", "faults")

    async def entries(self) -> list[Entry]:
        """Return what is new in the journal, in order, up to the first request that hasn't ended.

        Raises AssertionError where entries were lost: the journal keeps only the newest of each service.
        """
        found = (await self._ask("get", f"log?since={self._read}"))["entries"]
        ended: list[Entry] = []
        for entry in found:
            assert entry["number"] == self._read + 1, f"entry {self._read + 1} is gone, the next is {entry['number']}"
            if entry["ended_at"] is None:
                break
            self._read += 1
            ended.append(entry)
        return ended

    async def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        async with self._client.request(method, f"/_emulator/{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer
