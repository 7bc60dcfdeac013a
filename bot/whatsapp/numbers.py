"""Write a stored number as the Graph API wants it in `to`: rules like "521########## > 52##########".

Mexico's and Argentina's mobiles arrive with a digit that Meta doesn't always take back. Never applied to stored ids.
"""

import re
from collections.abc import Sequence


def rewrite(number: str, rules: Sequence[str]) -> str:
    """Rewrite a number by the first rule whose left side fits all of it: each `#` is a digit, kept in its order."""
    for rule in rules:
        source, _, target = rule.replace(" ", "").partition(">")
        if found := re.fullmatch(source.replace("#", "([0-9])"), number):
            return target.replace("#", "{}").format(*found.groups())
    return number
