"""What an error of the Graph API means: by its code; the HTTP status counts only where no code is known."""

import pytest

from bot.errors import Kind
from bot.whatsapp.codes import kind_of, pause_of

# As WHATSAPP's error table sorts them, with the HTTP status that they come with (throttles are 400).
BY_CODE = [
    *((code, 401, Kind.REFUSED) for code in (0, 190)),
    *((code, 403, Kind.REFUSED) for code in (3, 10, 200, 219, 299, 131005, 368, 131031, 131064)),
    *((code, 400, Kind.REFUSED) for code in (33, 131037, 131042, 131048, 133010)),
    *((code, 400, Kind.EVERYBODY) for code in (4, 80007, 130429)),
    (131045, 500, Kind.REFUSED),
    (131057, 500, Kind.EVERYBODY),
    (131056, 400, Kind.PAIR),
    (2, 503, Kind.LATER),
    (131016, 500, Kind.LATER),
    (1, 400, Kind.IN_DOUBT),
    (131000, 500, Kind.IN_DOUBT),
    (135000, 400, Kind.IN_DOUBT),
    (131047, 400, Kind.EXPIRED),
    *((code, 400, Kind.UNREACHABLE) for code in (131026, 131021, 131030, 130472, 131049, 131050, 131062)),
    (130497, 403, Kind.UNREACHABLE),
    *((code, 400, Kind.MESSAGE) for code in (100, 131008, 131009, 131051, 131052, 131053)),
]


@pytest.mark.parametrize(("code", "status", "kind"), BY_CODE)
def test_a_known_code_decides(code: int, status: int, kind: Kind) -> None:
    """With the status that Meta sends, and with any other."""
    assert kind_of(code, status) is kind
    assert kind_of(code, 200) is kind


@pytest.mark.parametrize("code", [None, 999999])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Kind.LATER),
        (502, Kind.LATER),
        (504, Kind.LATER),
        (408, Kind.LATER),
        (429, Kind.EVERYBODY),
        (401, Kind.REFUSED),
        (403, Kind.REFUSED),
        (404, Kind.REFUSED),
        (302, Kind.REFUSED),
        (400, Kind.MESSAGE),
        (413, Kind.MESSAGE),
        (200, Kind.IN_DOUBT),
    ],
)
def test_without_a_known_code_the_status_decides(code: int | None, status: int, kind: Kind) -> None:
    """A page of some proxy, or a code that Meta invents tomorrow."""
    assert kind_of(code, status) is kind


@pytest.mark.parametrize(
    "message",
    [
        "Invalid appsecret_proof provided in the API argument",
        "API calls from the server require an appsecret_proof argument",
        "Unsupported post request. Object with ID '1' does not exist, cannot be loaded due to missing permissions",
    ],
)
def test_code_100_may_be_a_refusal(message: str) -> None:
    """A wrong proof or number id would end every call so: no message may fail for it."""
    assert kind_of(100, 400, message) is Kind.REFUSED


def test_a_rate_limit_has_a_pause_of_its_own() -> None:
    """Seconds for the number, a minute for its upgrade, minutes for the app and the account; none for other errors."""
    asked = [(code, pause_of(kind_of(code, 429), code)) for code in (130429, None, 131057, 4, 80007, 131056, 2)]
    assert asked == [(130429, 5.0), (None, 5.0), (131057, 60.0), (4, 120.0), (80007, 120.0), (131056, None), (2, None)]
