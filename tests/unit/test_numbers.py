"""How a stored number is written in `to`."""

import pytest

from bot.whatsapp.client import rewrite

RULES = ["521########## > 52##########", "549########## > 54##########"]


@pytest.mark.parametrize(
    ("number", "rules", "expected"),
    [
        ("5215512345678", RULES, "525512345678"),
        ("5491123456789", RULES, "541123456789"),
        ("525512345678", RULES, "525512345678"),
        ("52155123456789", RULES, "52155123456789"),
        ("521551234567", RULES, "521551234567"),
        ("16505551234", RULES, "16505551234"),
        ("5215512345678", [], "5215512345678"),
        ("123456", ["1#3#5#>9##7#"], "92476"),
        ("5215512345678", ["521########## > 1##########", *RULES], "15512345678"),
    ],
)
def test_the_first_rule_that_fits_the_whole_number_rewrites_it(number: str, rules: list[str], expected: str) -> None:
    """Digits are carried over in their order; a number of another length is nobody's business."""
    assert rewrite(number, rules) == expected
