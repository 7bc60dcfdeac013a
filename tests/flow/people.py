"""Bring a store into the states that operators see: waiting, failed, being answered, refused."""

from bot.domain import Failed, Lease, Released
from bot.store.store import Store
from tests.flow.listeners import batch, inbound


async def wait(store: Store, phone: str, *texts: str, name: str = "Ana", minutes_ago: float = 0) -> None:
    """Let messages of a user wait."""
    known = (await store.insights.queue_stats())["timestamp"]
    messages = [
        inbound(f"wamid.{phone}.{text}.{known}", phone, text, name=name, minutes_ago=minutes_ago) for text in texts
    ]
    await store.append(batch(*messages))


async def lease(store: Store) -> Lease:
    """Take the next head of line, as the scheduler does."""
    (found,), _ = await store.claim(1)
    return found


async def fail(store: Store, phone: str, text: str, error: str = "the model broke", *, name: str = "Ana") -> int:
    """Let a message of a user without others fail; return its id."""
    await wait(store, phone, text, name=name)
    taken = await lease(store)
    await store.settle(taken, Failed(error), claim=False)
    return taken.messages[0].id


async def refuse(store: Store, phone: str = "5215500000009") -> None:
    """Let the model refuse us: its circuit opens, the message waits on."""
    await wait(store, phone, "anybody there?", name="Zoe")
    taken = await lease(store)
    refusal = Released(refused_by="model", error="401: Incorrect API key", code="401", probe_after_seconds=30)
    await store.settle(taken, refusal, claim=False)
