"""Make the n-th webhook of a seed: built, spoiled, with a good neighbour in it, signed or not quite."""

import copy
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bot.emulator import payloads
from tests.fuzz import people
from tests.fuzz.grammar import Grammar
from tests.fuzz.mutations import spoil
from tests.fuzz.written import Raw, write

MOST_BYTES = 3 * 1024 * 1024
TAKEN = frozenset({200, 503})
MUTATIONS = (0, 1, 1, 1, 2, 2, 3, 5, 8)
SIGNATURES = ("", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40, "x" * 5000, "sha256=\xe9\xff")


@dataclass(frozen=True, slots=True)
class Payload:
    """One POST: what is sent, how it may be answered, and who in it must be answered for all that."""

    number: int
    kind: str
    body: bytes  # the marks of people.py still in it
    allowed: frozenset[int]
    neighbour: bool = False  # whether one is in it; answered where the POST is taken, and only there
    signature: str | None = None  # instead of the right one
    mutations: tuple[str, ...] = ()
    tree: Any = field(default=None, repr=False)  # what the body was written from, to be made smaller

    def filled(self, callback: str, wamid: str) -> bytes:
        """Give the bytes with the names of something that the daemon sent where the marks are."""
        return self.body.replace(people.CALLBACK.encode(), callback.encode()).replace(
            people.SENT.encode(), wamid.encode()
        )


def make(seed: int, number: int, now: int, samples: Iterable[bytes] = ()) -> Payload:
    """Make a payload; all but the timestamps follow from seed, number and `samples` (webhooks to spoil as well)."""
    dice = random.Random(f"{seed}:{number}")
    samples = list(samples)
    sampled = bool(samples) and dice.random() < 0.1
    tree = json.loads(dice.choice(samples)) if sampled else Grammar(dice, seed, number, now).payload()
    mutations = tuple(spoil(tree, dice) for _ in range(dice.choice(MUTATIONS)))
    good = people.neighbour(seed, number, now)
    joined = join(tree, good, dice)
    ascii_only, slashes = dice.random() < 0.8, dice.random() < 0.8
    body, chance = write(tree, ascii_only=ascii_only, slashes=slashes), dice.random()
    if chance < 0.05:
        return _unsigned(number, body, dice, mutations, joined)
    if chance < 0.09:
        return _broken(number, body, dice)
    if chance < 0.12:
        word = dice.choice((b"[]", b"null", b"1", b'"text"', b"NaN", b"true", b"[" + body + b"]", b"-1e999"))
        return Payload(number, "no object", word, frozenset({400}))
    if chance < 0.135:
        tree["deep"] = Raw("[" * (depth := dice.choice((1500, 5000, 100_000, 500_000))) + "]" * depth)
        return Payload(number, "too deep", write(tree), frozenset({200, 400}), joined, None, mutations, tree)
    if chance < 0.136:
        tree["long"] = "x" * (MOST_BYTES + dice.randint(0, 1000))
        body = write(tree)
    if len(body) > MOST_BYTES:
        return Payload(number, "too long", body, frozenset({413}), joined, None, mutations)
    return Payload(number, "object", body, TAKEN, joined, None, mutations, tree)


def join(tree: Any, message: payloads.Json, dice: random.Random) -> bool:
    """Put a good message among the spoiled ones: into their list, beside it, or in an entry of its own.

    False where the mutations left no list to put it in.
    """
    if not isinstance(entries := tree.get("entry"), list):
        return False
    entry = payloads.webhook(messages=[message])["entry"][0]
    homes = [(entries, entry)]
    for other in entries:
        if isinstance(other, dict) and isinstance(changes := other.get("changes"), list):
            homes.append((changes, entry["changes"][0]))
            homes += [(found, message) for change in changes if (found := _messages(change)) is not None]
    home, item = dice.choice(homes)
    home.insert(dice.randint(0, len(home)), item)
    return True


def _messages(change: Any) -> list[Any] | None:
    """Give the list of messages that the daemon must read, whatever else is in it."""
    if not isinstance(change, dict) or change.get("field") != "messages":
        return None
    value = change.get("value")
    metadata = value.get("metadata") if isinstance(value, dict) else None
    ours = isinstance(metadata, dict) and metadata.get("phone_number_id") == payloads.PHONE_NUMBER_ID
    return value["messages"] if ours and isinstance(value.get("messages"), list) else None


def _unsigned(number: int, body: bytes, dice: random.Random, mutations: tuple[str, ...], joined: bool) -> Payload:
    wrong = (*SIGNATURES, payloads.sign("another secret", body), payloads.sign("", body + b" ")[:-1])
    allowed = frozenset({413}) if len(body) > MOST_BYTES else frozenset({401})
    return Payload(number, "not signed", body, allowed, joined, dice.choice(wrong), mutations)


def _broken(number: int, body: bytes, dice: random.Random) -> Payload:
    """Spoil the bytes themselves; where it is an object all the same, nothing is promised of what it says."""
    at = dice.randrange(len(body))
    spoiled = dice.choice(
        (
            body[:at],
            body[:at] + dice.randbytes(3) + body[at + 3 :],
            body[:at] + b"\xed\xa0\x80" + body[at:],  # a lone surrogate in what would be UTF-8
            body[:at] + b"\xf0\x9f\x92" + body[at:],  # an emoji cut short
            body[:at] + b"\0" + body[at:],
            b"",
            b"\xef\xbb\xbf" + body,
            body.decode(errors="replace").encode("utf-16"),
            body + b"}",
            body + body,
            body.replace(b":", b"=", 1),
        )
    )
    allowed = TAKEN if is_object(spoiled) else frozenset({400})
    return Payload(number, "broken bytes", spoiled, allowed if len(spoiled) <= MOST_BYTES else frozenset({413}))


def is_object(body: bytes) -> bool:
    """Whether bytes are a JSON object, by Python's own parser."""
    try:
        return isinstance(json.loads(body.decode(), parse_int=float), dict)
    except (ValueError, RecursionError):
        return False


def smaller(tree: Any) -> Iterable[Any]:
    """Give copies of a payload that lack one member each, the largest members first."""
    places: list[tuple[Any, ...]] = []
    left: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    while left:
        path, held = left.pop(0)
        keys = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else []
        places += [(*path, key) for key in keys]
        left += [((*path, key), held[key]) for key in keys]
    for *path, key in places:
        made = copy.deepcopy(tree)
        holder = made
        for step in path:
            holder = holder[step]
        del holder[key]
        yield made
