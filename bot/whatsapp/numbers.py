"""Write a stored number as the Graph API wants it in `to`: rules like "521########## > 52##########".

Mexico's and Argentina's mobiles arrive with a digit that Meta doesn't always take back. Never applied to stored ids.
"""

from collections.abc import Sequence


def rewrite(number: str, rules: Sequence[str]) -> str:
    """Rewrite a number of digits by the first rule whose left side fits its whole length; else return it as it is.

    A `#` on the left is any digit; the digits go into the `#` on the right in their order.
    """
    for rule in rules:
        source, _, target = (side.strip() for side in rule.partition(">"))
        if len(source) == len(number) and all(mark in ("#", digit) for mark, digit in zip(source, number, strict=True)):
            kept = iter(digit for mark, digit in zip(source, number, strict=True) if mark == "#")
            return "".join(next(kept, "") if mark == "#" else mark for mark in target)
    return number
