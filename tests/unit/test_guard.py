"""Who may use the admin listener, and as what: hosts, proxies, foreign pages, tokens, cookies."""

import base64
from unittest import mock

import itsdangerous
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pydantic import SecretStr

from bot.config.settings import Admin
from bot.web.guard import SESSION, SESSION_SECONDS, VISITOR, WRONG_TOKENS, Guard, Visitor

TOKEN, READ = "s3cret-token", "read-token"
BEARER, READER = f"Bearer {TOKEN}", f"Bearer {READ}"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


def a_guard(token: str = TOKEN, read: str = READ, key: str = "of the file", **settings: object) -> Guard:
    """Make a guard; without settings it stands on loopback."""
    return Guard(Admin(token=SecretStr(token), read_token=SecretStr(read), **settings), key)


def loopback() -> Guard:
    """A listener on loopback without a token."""
    return a_guard("", "")


def loopback_with_token() -> Guard:
    """A listener on loopback with tokens that nobody wants."""
    return a_guard()


def named() -> Guard:
    """A listener that a proxy shows under a name."""
    return a_guard(allowed_hosts=("Bot.Example.com",))


def off_loopback() -> Guard:
    """A listener that others can reach."""
    return a_guard(host="0.0.0.0")


def behind(*proxies: str, **keys: object) -> Guard:
    """A listener behind proxies that it trusts."""
    return a_guard(trusted_proxies=proxies or ("127.0.0.1",), **keys)


def request(method: str = "GET", path: str = "/queue-stats", peer: str = "127.0.0.1", **headers: str) -> web.Request:
    """Make a request; header names take _ for -, "" leaves one out, a value of two lines makes two of it."""
    fields = {"Host": "127.0.0.1:8081"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [(name, line) for name, value in fields.items() for line in value.split("\n") if line]
    transport = mock.Mock()
    transport.get_extra_info = {"peername": (peer, 4711)}.get
    made = make_mocked_request(method, path, CIMultiDict(lines), transport=transport)
    made.match_info.route.resource.canonical = path.partition("?")[0]
    return made


async def seen(guard: Guard, made: web.Request) -> Visitor:
    """Let a request in and return whose it is."""
    await guard.admit(made)
    return made[VISITOR]


async def judge(guard: Guard, method: str = "GET", path: str = "/queue-stats", **headers: str) -> int:
    """Return the status of a denial, 0 where the request may pass."""
    try:
        await guard.admit(request(method, path, **headers))
    except web.HTTPException as denial:
        return denial.status
    return 0


def basic(password: str) -> str:
    """Write what a browser would send if it were asked for a password in the old way."""
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


# -- hosts and foreign pages


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8081", "127.0.0.1", "localhost:9", "LocalHost", "127.1.2.3", "[::1]:8081", "[::1]"]
)
async def test_on_loopback_every_loopback_host_may_pass_without_a_token(host: str) -> None:
    """Any port: an SSH tunnel ends on another one."""
    assert await judge(loopback(), Host=host) == 0
    assert await judge(loopback(), "POST", Host=host, Origin=f"http://{host}") == 0


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
async def test_on_loopback_any_other_host_is_refused_for_it_may_be_a_rebound_name(host: str) -> None:
    """A page elsewhere can point its own name at 127.0.0.1; its browser then says that name as Host."""
    assert await judge(loopback(), Host=host) == 403
    assert await judge(loopback(), "POST", Host=host, Origin=f"http://{host}") == 403
    assert await judge(loopback_with_token(), Host=host, Authorization=BEARER) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://localhost:8081"},
        {"Origin": "http://127.0.0.1:8081.evil.example"},
        {"Origin": "ftp://127.0.0.1:8081"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://127.0.0.1:8081", "Sec_Fetch_Site": "cross-site"},
    ],
)
async def test_a_post_of_another_site_is_refused(headers: dict[str, str]) -> None:
    """The owner's browser must not press buttons for a page elsewhere, another port's included, nor sign in for it."""
    for method in ("POST", "PUT", "DELETE"):
        assert await judge(loopback(), method, **headers) == 403
        assert await judge(off_loopback(), method, "/signin", **headers) == 403


async def test_a_post_with_an_empty_origin_is_refused() -> None:
    """No browser sends one; it is not the same as none."""
    made = make_mocked_request("POST", "/api/pause", {"Host": "127.0.0.1:8081", "Origin": ""})
    with pytest.raises(web.HTTPForbidden):
        await loopback().admit(made)


async def test_a_post_of_the_own_page_or_of_a_program_may_pass() -> None:
    """Browsers name the origin of each POST; curl names none."""
    assert await judge(loopback(), "POST") == 0
    assert await judge(loopback(), "POST", Origin="http://127.0.0.1:8081", Sec_Fetch_Site="same-origin") == 0


async def test_a_link_from_another_site_may_open_the_page() -> None:
    """Reading is harmless: the other site doesn't see the answer."""
    assert await judge(loopback(), Origin="http://evil.example", Sec_Fetch_Site="cross-site") == 0


# -- proxies that nobody named


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X_Forwarded_For",
        "x_forwarded_proto",
        "X_FORWARDED_ANYTHING",
        "X_Real_IP",
        "Via",
        "CF_Connecting_IP",
    ],
)
async def test_what_came_through_a_proxy_needs_the_token(name: str) -> None:
    """A proxy in front of a loopback listener shows it to the world; the way in is closed, too, until it is named."""
    headers = {name: "203.0.113.9"}
    assert await judge(loopback(), **headers) == 403
    assert await judge(loopback_with_token(), **headers) == 403
    assert await judge(loopback_with_token(), "POST", "/signin", **headers) == 403
    assert await judge(loopback_with_token(), Authorization="Bearer wrong", **headers) == 403
    assert await judge(loopback_with_token(), Authorization=BEARER, **headers) == 0


async def test_what_a_stranger_says_of_its_way_is_not_believed() -> None:
    """Neither address nor host nor scheme: they came in the same request as everything else."""
    forwarded = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "bot.example.com"}
    visitor = await seen(off_loopback(), request(peer="198.51.100.1", Authorization=BEARER, **forwarded))
    assert visitor == Visitor("admin", "198.51.100.1")
    assert await judge(named(), Host="evil.example", Authorization=BEARER, **forwarded) == 403


async def test_an_empty_token_is_never_presented_rightly() -> None:
    """No token configured, none given: that is no match."""
    for nothing in ("Bearer ", "Bearer", basic("")):
        assert await judge(loopback(), Authorization=nothing, Forwarded="for=x") == 403


# -- proxies that are trusted


@pytest.mark.parametrize(
    ("proxies", "peer", "hops", "address"),
    [
        (["127.0.0.1"], "127.0.0.1", "203.0.113.9", "203.0.113.9"),
        (["127.0.0.1"], "127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (["127.0.0.1"], "127.0.0.1", "6.6.6.6,127.0.0.1 , 203.0.113.9", "203.0.113.9"),
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        (["127.0.0.1"], "127.0.0.1", "203.0.113.9, 10.1.2.3", "10.1.2.3"),
        (["127.0.0.1"], "127.0.0.1", "", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "6.6.6.6, unknown", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "unix:", "127.0.0.1"),
        (["127.0.0.1"], "198.51.100.1", "203.0.113.9", "198.51.100.1"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        (["::1"], "::1", "2001:DB8:0::1", "2001:db8::1"),
        (["fe80::/10"], "fe80::1%eth0", "fe80::2%25x, 2001:db8::1", "2001:db8::1"),
    ],
)
async def test_the_client_is_the_nearest_hop_that_is_no_trusted_proxy(
    proxies: list[str], peer: str, hops: str, address: str
) -> None:
    """What stands further left came from outside; what can't be read ends the search."""
    made = request(peer=peer, Authorization=BEARER, X_Forwarded_For=hops)
    assert (await seen(behind(*proxies), made)).address == address


async def test_forwarded_is_not_believed_even_from_a_trusted_proxy() -> None:
    """Caddy and nginx let a client's own pass."""
    made = request(Authorization=BEARER, Forwarded="for=6.6.6.6;proto=https", X_Forwarded_For="203.0.113.9")
    assert await seen(behind(), made) == Visitor("admin", "203.0.113.9")


async def test_several_headers_are_read_as_one_list() -> None:
    """A proxy may add its own line instead of lengthening the one that is there."""
    made = request(Authorization=BEARER, X_Forwarded_For="6.6.6.6\n203.0.113.9")
    assert (await seen(behind(), made)).address == "203.0.113.9"


async def test_naming_a_proxy_wants_the_token_of_everybody() -> None:
    """A proxy that forgets to say that it is one must not open the door."""
    assert await judge(behind()) == 401
    assert await judge(behind(), Authorization=BEARER) == 0


async def test_behind_a_trusted_proxy_the_public_name_is_the_host() -> None:
    """As it says; it is held to allowed_hosts, and forms to scheme and name."""
    guard = behind(allowed_hosts=("bot.example.com",))
    way = {"Authorization": BEARER, "X_Forwarded_Host": "bot.example.com", "X_Forwarded_Proto": "https"}
    assert (await seen(guard, request("POST", Origin="https://bot.example.com", **way))).scheme == "https"
    assert await judge(guard, "POST", Origin="http://bot.example.com", **way) == 403
    assert await judge(guard, "POST", Origin="https://evil.example", **way) == 403
    assert await judge(guard, **(way | {"X_Forwarded_Host": "evil.example"})) == 403
    elsewhere = behind()
    assert await judge(elsewhere, "POST", Origin="https://bot.example.com", **way) == 0
    assert await judge(elsewhere, "POST", Origin="https://other.example.com", **way) == 403


async def test_behind_a_proxy_nobody_named_the_forms_of_the_page_work() -> None:
    """The origin is the public name, whether the proxy keeps Host or writes its own."""
    for host in ("bot.example.com", "127.0.0.1:8081"):
        headers = {"Authorization": BEARER, "X_Forwarded_For": "203.0.113.9"}
        assert await judge(named(), "POST", Host=host, Origin="https://bot.example.com", **headers) == 0
        assert await judge(named(), "POST", Host=host, Origin="https://evil.example", **headers) == 403
        # Cookies know no ports: another service there must not act by them.
        assert await judge(named(), "POST", Host=host, Origin="https://bot.example.com:8443", **headers) == 403


# -- tokens


@pytest.mark.parametrize("guard", [named, off_loopback, behind])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (BEARER, 0),
        (READER, 0),
        (f"bearer  {TOKEN} ", 0),
        ("", 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Token {TOKEN}", 401),
        (basic(TOKEN), 401),
        ("Bearer ñ", 401),
    ],
)
async def test_where_others_can_come_by_the_token_is_wanted(guard: object, authorization: str, status: int) -> None:
    """Off loopback, with allowed_hosts, behind a trusted proxy: also from this machine. Basic is over."""
    assert await judge(guard(), Authorization=authorization) == status


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
async def test_with_allowed_hosts_other_names_are_refused_even_with_the_token(host: str, status: int) -> None:
    """An address can't be rebound, a name that nobody named can."""
    assert await judge(named(), Host=host, Authorization=BEARER) == status


async def test_off_loopback_without_allowed_hosts_the_token_alone_decides() -> None:
    """The listener can't know by which names it is reached."""
    guard = off_loopback()
    assert await judge(guard, Host="server.lan:8081", Authorization=BEARER, X_Forwarded_For="10.0.0.9") == 0
    assert await judge(guard, Host="server.lan:8081") == 401


async def test_a_listener_that_others_can_reach_cannot_be_built_without_a_token() -> None:
    """The configuration says so before; this is the second lock. A read token alone is none."""
    for keys in ({"host": "0.0.0.0"}, {"allowed_hosts": ("x",)}, {"trusted_proxies": ("10.0.0.1",)}):
        with pytest.raises(ValueError, match="token"):
            a_guard("", "", **keys)
    with pytest.raises(ValueError, match="token"):
        a_guard("", READ)


@pytest.mark.parametrize("guard", [loopback_with_token, off_loopback, behind])
async def test_a_reader_looks_and_changes_nothing(guard: object) -> None:
    """Wherever the read token is shown, on loopback too; the way out is open."""
    made: Guard = guard()
    assert (await seen(made, request(Authorization=READER))).role == "reader"
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert await judge(made, method, "/api/pause", Authorization=READER) == 403
        assert await judge(made, method, "/nowhere", Authorization=READER) == 403
    assert await judge(made, "POST", "/signout", Authorization=READER) == 0
    assert await judge(made, "POST", "/signin", Authorization=READER) == 0
    assert await judge(made, "POST", "/api/pause", Authorization=BEARER) == 0


async def test_on_loopback_everybody_is_an_admin_whether_or_not_there_is_a_token() -> None:
    """It is accepted there, not wanted; a wrong one does no harm, however often."""
    for guard in (loopback(), loopback_with_token()):
        for _ in range(WRONG_TOKENS * 3):
            assert await seen(guard, request("POST", Authorization="Bearer wrong")) == Visitor("admin", "127.0.0.1")


async def test_masked_is_said_to_whoever_draws() -> None:
    """For admins as well: they can reveal, and it is noted."""
    assert not (await seen(loopback(), request())).hides
    assert (await seen(a_guard(privacy="masked"), request(Authorization=BEARER))).hides


async def test_too_many_wrong_tokens_close_the_door_to_their_address_alone() -> None:
    """Even to the right one, which who guesses must not notice; who has a cookie goes on."""
    guard = off_loopback()
    for _ in range(WRONG_TOKENS):
        assert await judge(guard, Authorization="Bearer wrong") == 401
    assert await judge(guard, Authorization=BEARER) == 429
    with pytest.raises(web.HTTPTooManyRequests, match="try again in 12 seconds") as caught:
        await guard.role_of(TOKEN, "127.0.0.1")
    assert caught.value.headers["Retry-After"] == "12"
    assert await judge(guard, Cookie=f"{SESSION}={guard.cookie('admin')}") == 0
    assert await guard.role_of(TOKEN, "127.0.0.2") == "admin"


async def test_behind_a_proxy_that_is_not_trusted_wrong_tokens_count_for_it_behind_a_trusted_one_for_the_client() -> (
    None
):
    """A client can't get rid of its count by writing addresses of its own."""
    strange, trusted = off_loopback(), behind()
    for n in range(WRONG_TOKENS):
        await judge(strange, Authorization="Bearer x", X_Forwarded_For=f"203.0.113.{n}")
        await judge(trusted, Authorization="Bearer x", X_Forwarded_For=f"6.6.6.{n}, 203.0.113.9")
    assert await judge(strange, Authorization=BEARER, X_Forwarded_For="203.0.113.77") == 429
    assert await judge(trusted, Authorization=BEARER, X_Forwarded_For="203.0.113.9") == 429
    assert await judge(trusted, Authorization=BEARER, X_Forwarded_For="203.0.113.10") == 0


async def test_an_address_of_ipv6_counts_for_its_network() -> None:
    """Whoever has one has 2^64."""
    guard = off_loopback()
    for n in range(WRONG_TOKENS):
        assert await guard.role_of("wrong", f"2001:db8::{n}") is None
    with pytest.raises(web.HTTPTooManyRequests):
        await guard.role_of(TOKEN, "2001:db8::ffff")
    assert await guard.role_of(TOKEN, "2001:db8:0:1::1") == "admin"


async def test_memory_of_wrong_tokens_is_bounded() -> None:
    """A million addresses leave no more behind than some thousand."""
    guard = off_loopback()
    for n in range(10_000):
        await guard.role_of("wrong", f"10.0.{n // 256}.{n % 256}")
    assert guard._tries.cache_info().currsize <= 4096


# -- browsers


@pytest.mark.parametrize(
    ("method", "path", "to"),
    [
        ("GET", "/", "/"),
        ("GET", "/users/u1?done=paused-1", "/users/u1?done%3Dpaused-1"),
        ("GET", "/?a=1&b=%26", "/?a%3D1%26b%3D%2526"),
        ("POST", "/api/pause", "/"),
    ],
)
async def test_a_browser_without_a_session_is_led_to_the_sign_in(method: str, path: str, to: str) -> None:
    """With where it wanted to go; a form that was sent is not sent again."""
    with pytest.raises(web.HTTPSeeOther) as caught:
        await off_loopback().admit(request(method, path, Accept=HTML))
    assert caught.value.headers["Location"] == f"/signin?to={to}"


async def test_a_program_without_a_token_is_told_how() -> None:
    """401 with a challenge that no browser opens a window for."""
    with pytest.raises(web.HTTPUnauthorized) as caught:
        await off_loopback().admit(request())
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("path", "status"), [("/signin", 0), ("/static", 0), ("/healthz", 401), ("/metrics", 401)])
async def test_strangers_see_the_way_in_and_nothing_else(path: str, status: int) -> None:
    """And what it is drawn with."""
    assert await judge(off_loopback(), path=path) == status


async def test_who_came_by_the_sign_in_is_no_longer_a_stranger_but_there() -> None:
    """The visitor of the sign-in page has no role: nothing is drawn for them."""
    assert (await seen(off_loopback(), request(path="/signin"))).role is None


@pytest.mark.parametrize("role", ["admin", "reader"])
async def test_a_cookie_says_who_signed_in(role: str) -> None:
    """The role with it, wherever the listener stands."""
    for guard in (off_loopback(), loopback_with_token()):
        visitor = await seen(guard, request(Cookie=f"{SESSION}={guard.cookie(role)}"))
        assert (visitor.role, visitor.signed_in) == (role, True)


async def test_a_cookie_cannot_be_made_or_changed_without_the_token() -> None:
    """Not by a reader out of theirs, not by another listener, not by another token."""
    guard = off_loopback()
    forged = itsdangerous.TimestampSigner(READ, salt="admin").sign("admin").decode()
    mixed = itsdangerous.TimestampSigner(READ, salt="reader").sign("admin").decode()
    reader = guard.cookie("reader")
    others = [a_guard("new-token").cookie("admin"), a_guard(read="new").cookie("reader")]
    others.append(a_guard(key="of another file").cookie("admin"))  # who guesses the token can't try it as a cookie
    for cookie in (forged, mixed, reader.replace("reader", "admin"), *others, "", "admin", ".", "a.b.c", "ñ"):
        assert await judge(guard, Cookie=f"{SESSION}={cookie}") == 401


async def test_a_new_token_signs_out_who_came_by_the_old_one() -> None:
    """Each role by its own."""
    before, after = off_loopback(), a_guard("another", host="0.0.0.0")
    assert await judge(after, Cookie=f"{SESSION}={before.cookie('admin')}") == 401
    assert await judge(after, Cookie=f"{SESSION}={before.cookie('reader')}") == 0


async def test_a_cookie_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 30 days the token is wanted again; a clock put back doesn't help."""
    guard = off_loopback()
    cookie = guard.cookie("admin")
    now = itsdangerous.timed.time.time()
    for later, status in ((SESSION_SECONDS - 60, 0), (SESSION_SECONDS + 60, 401), (-60, 401)):
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda later=later: now + later)
        assert await judge(guard, Cookie=f"{SESSION}={cookie}") == status


async def test_a_foreign_form_gets_no_help_from_a_cookie() -> None:
    """SameSite keeps it at home already; the origin counts there too."""
    guard = off_loopback()
    cookie = f"{SESSION}={guard.cookie('admin')}"
    assert await judge(guard, "POST", Cookie=cookie, Origin="https://evil.example") == 403
