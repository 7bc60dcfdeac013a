"""Spoil a payload: one of two dozen ways, at any place in it."""

import copy
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.written import Pairs, Raw

Tree = Any
Place = tuple[Any, Any]  # a container and the key or index in it
MOST_DIGITS = 4000  # that Python turns into a number
MOST_WEIGHT = 200_000  # characters and members; beyond it nothing is multiplied any more
GROWING = {"a box around", "an item repeated", "a part elsewhere", "a long string"}
MOST_NESTED = 400  # levels that any parser takes; what is nested deeper may be refused

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 1.5, 2**31, 2**63, -(2**63) - 1, 10**19, 1e300, -1e-300, -62135596800, 253402300799, 253402300800,
    99999999999999, Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("9" * 5000),
    Raw("-" + "9" * 4301), Raw("0." + "1" * 5000),
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "\n", "\0", "a\0b", "\ud800", "a\udc00", "\ud83d", "\udfff\ud800", "\u202e", "\ufeff", "null", "0x10",
    "-1", "0", "1e3", "1e18", "nan", "inf", "99999999999", "253402300800", "٣٤", "１２３", "+5215500000001", "text",
    "../../etc/passwd", "'; DROP TABLE outbox; --", "%s%n", "$name", "<script>", "\\u0000", "\\\\u0000", "wamid.",
    "👩‍👩‍👧‍👦" * 300,
    "x" * 255, "x" * 257, "x" * 20_000, "é" * 40_000, "\ud800" * 300,
)  # fmt: skip
KINDS = ("text", "image", "interactive", "system", "edit", "revoke", "reaction", "order", "contacts", "hologram")
BOXES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], [{}], {"a": {}}, [1, "a", None, {}], {"": ""})


def hostile(dice: random.Random) -> Any:
    """Give a value that nobody expects."""
    if dice.random() < 0.06:
        depth = dice.randint(2, MOST_NESTED)
        opening, closing = dice.choice((("[", "]"), ('{"a":', "}"), ('[{"type":', "}]")))
        return Raw(opening * (depth // len(closing)) + "1" + closing * (depth // len(closing)))
    return copy.deepcopy(dice.choice(dice.choice((NUMBERS, TEXTS, BOXES))))


def spoil(tree: Tree, dice: random.Random) -> str:
    """Change one place in a payload, in place; return by which mutation."""
    places = list(_places(tree))
    if not places:
        return "nothing to spoil"
    weight = sum(len(held) if isinstance(held := holder[key], str) else 1 for holder, key in places)
    names = [name for name in MUTATIONS if weight < MOST_WEIGHT or name not in GROWING]
    name = dice.choice(names)
    holder, key = dice.choice(places)
    MUTATIONS[name](holder, key, dice, places)
    return name


def _places(tree: Tree) -> list[Place]:
    found: list[Place] = []
    left = [tree]
    while left:
        holder = left.pop()
        if isinstance(holder, dict):
            found += [(holder, key) for key in holder]
            left += holder.values()
        elif isinstance(holder, list):
            found += [(holder, index) for index in range(len(holder))]
            left += holder
    return found


def _drop(holder: Any, key: Any, _: random.Random, __: list[Place]) -> None:
    del holder[key]


def _replace(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    holder[key] = hostile(dice)


def _box(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    holder[key] = dice.choice(([holder[key]], {"value": holder[key]}, {str(key): holder[key]}))


def _unbox(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    held = holder[key]
    inside = held if isinstance(held, list) else list(held.values()) if isinstance(held, dict) else []
    holder[key] = dice.choice(inside) if inside else ""


def _other_type(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    held = holder[key]
    if isinstance(held, str) and held.isascii() and held.isdecimal() and len(held) < MOST_DIGITS:
        holder[key] = int(held)
    elif isinstance(held, dict | list):
        holder[key] = "a string"
    else:
        holder[key] = dice.choice((str(held), [str(held)], len(str(held))))


def _rename(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    if isinstance(holder, dict):
        holder[dice.choice((str(key).upper(), f"{key} ", f"\0{key}", f"{key}\ud800", "x" * 300, ""))] = holder.pop(key)


def _add(holder: Any, _: Any, dice: random.Random, __: list[Place]) -> None:
    if isinstance(holder, dict):
        holder[dice.choice(("unknown", "errors", "group_id", "type", "status", "\ud800", "\0"))] = hostile(dice)
    else:
        holder.insert(dice.randint(0, len(holder)), hostile(dice))


def _twice(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    held = holder[key]
    if isinstance(held, dict) and held:
        pairs = list(held.items())
        pairs.insert(dice.randint(0, len(pairs)), (dice.choice(list(held)), hostile(dice)))
        holder[key] = Pairs(pairs)


def _repeat(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    if isinstance(holder, list):
        holder += [copy.deepcopy(holder[key]) for _ in range(dice.choice((1, 2, 20)))]
        dice.shuffle(holder)


def _graft(holder: Any, key: Any, dice: random.Random, places: list[Place]) -> None:
    from_, at = dice.choice(places)
    with_what = copy.deepcopy(from_[at])
    holder[key] = with_what


def _dirty(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    if isinstance(holder[key], str):
        at = dice.randint(0, len(holder[key]))
        dirt = dice.choice(("\0", "\ud800", "\udead", "\u2028", "\x1b[31m", "\x7f", "\ufffe"))
        holder[key] = holder[key][:at] + dirt + holder[key][at:]


def _stretch(holder: Any, key: Any, dice: random.Random, _: list[Place]) -> None:
    if isinstance(holder[key], str):
        holder[key] = (holder[key] or "x") * dice.choice((2, 70, 300, 5000))
        holder[key] = holder[key][:200_000]


def _absurd_time(holder: Any, _: Any, dice: random.Random, __: list[Place]) -> None:
    if isinstance(holder, dict):
        texts = ("-1", "0", "", "1", "99999999999999999999", "-62135596800", "253402300800", "1e18", "1700000000.5")
        holder["timestamp"] = dice.choice((*NUMBERS, *texts))


def _other_kind(holder: Any, _: Any, dice: random.Random, __: list[Place]) -> None:
    if isinstance(holder, dict):
        holder["type"] = dice.choice(KINDS)


MUTATIONS: dict[str, Callable[[Any, Any, random.Random, list[Place]], None]] = {
    "drop a key": _drop,
    "a hostile value": _replace,
    "a box around": _box,
    "the inside alone": _unbox,
    "another type": _other_type,
    "another key": _rename,
    "an unknown key": _add,
    "a key twice": _twice,
    "an item repeated": _repeat,
    "a part elsewhere": _graft,
    "a dirty string": _dirty,
    "a long string": _stretch,
    "an absurd time": _absurd_time,
    "another kind": _other_kind,
}
