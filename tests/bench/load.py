"""What people write: messages in bursts, as values for the store and as signed requests for the wire."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.domain import Identity, Inbound
from bot.emulator import payloads, settings

FIRST_PHONE = 34_600_000_000
LONGEST_BURST = 8
SHUFFLED = 50  # messages within which the order of arrival differs from that of the timestamps
SECRET = settings.Settings().app_secret
NUMBER = settings.Settings().phone_number_id


@dataclass(frozen=True, slots=True)
class Said:
    """One message: who wrote it (a phone), its number (the n-th of all), its second (Unix)."""

    phone: str
    number: int
    second: int


def people_write(messages: int, users: int, *, seed: int = 0) -> Iterator[Said]:
    """Yield so many messages, the same number from each user, in bursts of 1 to 8 that share a few seconds.

    A round-robin load hides a missing order; so does one that arrives sorted: neighbours arrive shuffled.
    """
    chance = random.Random(seed)
    left = dict.fromkeys(range(users), messages // users)
    turn = list(left)
    began, span = int(time.time()) - 3600, max(messages // 3000, 1)
    number, pool = 0, []
    while turn:
        chance.shuffle(turn)
        for user in turn:
            for _ in range(min(chance.randint(1, LONGEST_BURST), left[user])):
                pool.append(Said(str(FIRST_PHONE + user), number, began + number // span))
                left[user] -= 1
                number += 1
            if len(pool) >= SHUFFLED:
                chance.shuffle(pool)
                yield from pool
                pool = []
        turn = [user for user in turn if left[user]]
    yield from pool


def inbound(said: Said) -> Inbound:
    """Make what whatsapp/ makes of such a message."""
    body, wamid = f"message {said.number}", f"wamid.{said.number}"
    at = datetime.fromtimestamp(said.second, UTC)
    message = payloads.text_message(body=body, wa_id=said.phone, wamid=wamid, timestamp=said.second)
    sender = Identity(phone=said.phone, name="Ana García")
    return Inbound(NUMBER, wamid, sender, "text", body, json.dumps(message), at)


def request(said: Said, run: str) -> bytes:
    """Write the whole HTTP request of a webhook with one message, signed. `run` tells its wamids from others'."""
    message = payloads.text_message(
        body=f"message {said.number}", wa_id=said.phone, wamid=f"wamid.{run}.{said.number}", timestamp=said.second
    )
    card = payloads.contact(name="Ana García", wa_id=said.phone)
    body = payloads.encode(payloads.webhook(NUMBER, messages=[message], contacts=[card]))
    return (
        b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"User-Agent: facebookexternalua\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (payloads.sign(SECRET, body).encode(), len(body), body)
    )
