"""Who writes in the fuzz: odd people, whose ids are mixed up on purpose, and good neighbours, one to a payload."""

import random
from dataclasses import dataclass

from bot.emulator import payloads
from bot.emulator.payloads import Json

ODD_PEOPLE = 24
POOL_LASTS = 50  # payloads
NEIGHBOURS = "3461"  # how their phones begin, and nobody else's
CALLBACK = "@callback@"  # stands for the callback data of something that the daemon sent, put in when it is known
SENT = "@sent@"  # and for its wamid


@dataclass(frozen=True, slots=True)
class Odd:
    """Somebody by a phone and a BSUID, of a pool that is small enough for rings and recycled numbers."""

    number: int

    @property
    def phone(self) -> str:
        """Digits."""
        return f"52155{self.number:08}"

    @property
    def bsuid(self) -> str:
        """A business-scoped user id."""
        return f"MX.{10**17 + self.number}"


def any_odd(dice: random.Random, number: int) -> Odd:
    """Give one of those who write around payload `number`: in the long run they all turn into one person."""
    return Odd(number // POOL_LASTS * ODD_PEOPLE + dice.randrange(ODD_PEOPLE))


def head(dice: random.Random, number: int, wamid: str, now: int) -> Json:
    """Say who wrote a message and when: phone, BSUID or both, of one person or (a recycled number) of two."""
    one = any_odd(dice, number)
    other = any_odd(dice, number) if dice.random() < 0.1 else one
    known = dice.choice(({"wa_id": one.phone}, {"user_id": one.bsuid}, {"wa_id": one.phone, "user_id": other.bsuid}))
    return {**known, "wamid": wamid, "timestamp": now - dice.choice((0, 0, 0, 1, 60, 4000, 90_000))}


def neighbour_phone(number: int) -> str:
    """Give the phone of the good neighbour in payload `number`; nobody else has it."""
    return f"{NEIGHBOURS}{number:08}"


def is_neighbour(phone: str) -> bool:
    """Whether a phone is of a good neighbour."""
    return phone.startswith(NEIGHBOURS)


def neighbour_text(number: int) -> str:
    """Give what the good neighbour writes."""
    return f"good {number}"


def neighbour(seed: int, number: int, now: int) -> Json:
    """Write the good neighbour's message."""
    return payloads.text_message(
        body=neighbour_text(number), wa_id=neighbour_phone(number), wamid=neighbour_wamid(seed, number), timestamp=now
    )


def neighbour_wamid(seed: int, number: int) -> str:
    """Give the id of that message."""
    return f"wamid.good.{seed}.{number}"
