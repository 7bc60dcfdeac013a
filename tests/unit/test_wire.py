"""What requests say of themselves: whether a browser or a program asks, however odd the header."""

import time

import pytest
from aiohttp.test_utils import make_mocked_request

from bot.web.wire import prefers_html

PIECES = ["a", "a/", "a/b", "a/b;", "a/b; ", " ", ";", ",", "a,", "a/b,", "a/b;q=", "a/b;q=1,"]


def html(accept: str) -> bool:
    """Say whether who sends this header gets a page."""
    return prefers_html(make_mocked_request("GET", "/", headers={"Accept": accept}))


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("TEXT/HTML", True),
        (" text/html ; level=1 ; q=0.5 , application/json;q=0.4", True),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("text/html;q=0.4,*/*;q=0.3", True),
        ("application/json;q=0.1, */*", True),
        ("text/html;q=0., */*;q=1.000", False),
        (",,;q=1,text/,/html,text/html", True),
    ],
)
def test_odd_ranks_are_understood(accept: str, page: bool) -> None:
    """Spaces, capitals, parameters and what is no media type; test_page.py has the usual ones."""
    assert html(accept) is page


@pytest.mark.parametrize("piece", PIECES)
def test_a_hostile_header_takes_no_time(piece: str) -> None:
    """Strangers may send one to the sign-in page: 60,000 characters, of which aiohttp lets 8,190 through."""
    started = time.process_time()
    for end in ("", ";q", ";q=x", "/", ","):
        html(piece * (60_000 // len(piece)) + end)
    assert time.process_time() - started < 1.5
