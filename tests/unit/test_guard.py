"""Who may use the admin listener: hosts, proxies, foreign pages, tokens."""

import base64

import pytest
from multidict import CIMultiDict

from bot.web.guard import Guard

TOKEN = "s3cret-token"


def judge(guard: Guard, method: str = "GET", **headers: str) -> int:
    """Return the status of a denial, 0 where the request may pass; header names take _ for -."""
    fields = {"Host": "127.0.0.1:8081"} | {name.replace("_", "-"): value for name, value in headers.items()}
    denial = guard.judge(method, CIMultiDict({name: value for name, value in fields.items() if value}))
    return denial.status if denial else 0


def basic(password: str, user: str = "me") -> str:
    """Write what a browser sends after it asked its user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


LOOPBACK = Guard(token="", exposed=False)
LOOPBACK_WITH_TOKEN = Guard(token=TOKEN, exposed=False)
PROXIED = Guard(token=TOKEN, exposed=True, allowed_hosts=("Bot.Example.com",))
OPEN = Guard(token=TOKEN, exposed=True)
BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8081", "127.0.0.1", "localhost:9", "LocalHost", "127.1.2.3", "[::1]:8081", "[::1]"]
)
def test_on_loopback_every_loopback_host_may_pass_without_a_token(host: str) -> None:
    """Any port: an SSH tunnel ends on another one."""
    assert judge(LOOPBACK, Host=host) == 0
    assert judge(LOOPBACK, "POST", Host=host, Origin=f"http://{host}") == 0


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:8081",
        "127.0.0.1.nip.io",
        "192.168.1.5:8081",
        "0.0.0.0:8081",
        "[2001:db8::1]",
        "2130706433",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil.example",
        "127.0.0.1:port",
        "[::1",
        "127.0.0.1 evil.example",
        "",
    ],
)
def test_on_loopback_any_other_host_is_refused_for_it_may_be_a_rebound_name(host: str) -> None:
    """A page elsewhere can point its own name at 127.0.0.1; its browser then says that name as Host."""
    assert judge(LOOPBACK, Host=host) == 403
    assert judge(LOOPBACK, "POST", Host=host, Origin=f"http://{host}") == 403
    assert judge(LOOPBACK_WITH_TOKEN, Host=host, Authorization=BEARER) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://localhost:8081"},
        {"Origin": "http://127.0.0.1:8081.evil.example"},
        {"Origin": "ftp://127.0.0.1:8081"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://127.0.0.1:8081", "Sec_Fetch_Site": "cross-site"},
    ],
)
def test_a_post_of_another_site_is_refused(headers: dict[str, str]) -> None:
    """The owner's browser must not press buttons for a page elsewhere, another port's included."""
    fields = CIMultiDict({"Host": "127.0.0.1:8081"} | {k.replace("_", "-"): v for k, v in headers.items()})
    for method in ("POST", "PUT", "DELETE"):
        denial = LOOPBACK.judge(method, fields)
        assert denial is not None
        assert denial.status == 403


def test_a_post_of_the_own_page_or_of_a_program_may_pass() -> None:
    """Browsers name the origin of each POST; curl names none."""
    assert judge(LOOPBACK, "POST") == 0
    assert judge(LOOPBACK, "POST", Origin="http://127.0.0.1:8081", Sec_Fetch_Site="same-origin") == 0


def test_a_link_from_another_site_may_open_the_page() -> None:
    """Reading is harmless: the other site doesn't see the answer."""
    assert judge(LOOPBACK, Origin="http://evil.example", Sec_Fetch_Site="cross-site") == 0


@pytest.mark.parametrize("name", ["Forwarded", "X_Forwarded_For", "x_forwarded_proto", "X_FORWARDED_ANYTHING"])
def test_what_came_through_a_proxy_needs_the_token(name: str) -> None:
    """A proxy in front of a loopback listener shows it to the world."""
    headers = {name: "203.0.113.9"}
    assert judge(LOOPBACK, **headers) == 403
    assert judge(LOOPBACK_WITH_TOKEN, **headers) == 403
    assert judge(LOOPBACK_WITH_TOKEN, Authorization="Bearer wrong", **headers) == 403
    assert judge(LOOPBACK_WITH_TOKEN, Authorization=BEARER, **headers) == 0


def test_an_empty_token_is_never_presented_rightly() -> None:
    """No token configured, none given: that is no match."""
    for nothing in ("Bearer ", "Bearer", basic("")):
        assert judge(LOOPBACK, Authorization=nothing, Forwarded="for=x") == 403


@pytest.mark.parametrize("guard", [PROXIED, OPEN])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (BEARER, 0),
        (f"bearer {TOKEN}", 0),
        (basic(TOKEN), 0),
        (basic(TOKEN, user="an owner: with colon"), 401),
        ("", 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Token {TOKEN}", 401),
        ("Basic %%%", 401),
        (basic("wrong"), 401),
        ("Bearer ñ\udc80", 401),
    ],
)
def test_where_others_can_come_by_the_token_is_wanted(guard: Guard, authorization: str, status: int) -> None:
    """Off loopback or with allowed_hosts, also from this machine."""
    assert judge(guard, Authorization=authorization) == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("bot.example.com", 0),
        ("BOT.example.com:443", 0),
        ("127.0.0.1:8081", 0),
        ("10.0.0.5:8081", 0),
        ("evil.example", 403),
        ("bot.example.com.evil.example", 403),
    ],
)
def test_with_allowed_hosts_other_names_are_refused_even_with_the_token(host: str, status: int) -> None:
    """An address can't be rebound, a name that nobody named can."""
    assert judge(PROXIED, Host=host, Authorization=BEARER) == status


def test_off_loopback_without_allowed_hosts_the_token_alone_decides() -> None:
    """The listener can't know by which names it is reached."""
    assert judge(OPEN, Host="server.lan:8081", Authorization=BEARER, X_Forwarded_For="10.0.0.9") == 0
    assert judge(OPEN, Host="server.lan:8081") == 401


def test_behind_a_proxy_the_forms_of_the_page_work() -> None:
    """The origin is the public name, whether the proxy keeps Host or writes its own."""
    for host in ("bot.example.com", "127.0.0.1:8081"):
        headers = {"Authorization": basic(TOKEN), "X_Forwarded_For": "203.0.113.9"}
        assert judge(PROXIED, "POST", Host=host, Origin="https://bot.example.com", **headers) == 0
        assert judge(PROXIED, "POST", Host=host, Origin="https://evil.example", **headers) == 403


def test_a_browser_that_keeps_the_password_is_no_help_to_another_site() -> None:
    """Basic credentials go along with a foreign form, so the origin counts there too."""
    headers = {"Authorization": basic(TOKEN), "Origin": "https://evil.example"}
    assert judge(OPEN, "POST", **headers) == 403


def test_an_exposed_listener_without_a_token_cannot_be_built() -> None:
    """The configuration says so before; this is the second lock."""
    with pytest.raises(ValueError, match="token"):
        Guard(token="", exposed=True)
