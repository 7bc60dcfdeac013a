"""The guard of the admin listener on real sockets: sign in, look, act, sign out; hidden data; nothing by GET."""

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.config.settings import Admin
from bot.store.replies import Plan
from bot.store.store import Store
from bot.web.guard import SESSION, WRONG_TOKENS, Guard
from tests.flow.listeners import Reply, a_store, a_window, exchange, request, serving
from tests.flow.people import fail, lease, wait

TOKEN, READ = "s3cret-token", "read-token"
ANA = "5215512345678"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOST = "status.example.com"


class Site:
    """An admin listener behind a proxy on this machine, which says who calls."""

    def __init__(self, store: Store, app: web.Application, port: int, file: Path) -> None:
        self.store, self.app, self.port, self.file = store, app, port, file

    async def send(self, method: str, path: str, body: str = "", **headers: str) -> Reply:
        """Send a program's request."""
        form = {"Content_Type": "application/x-www-form-urlencoded"} if body else {}
        way = {"Host": HOST, "X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https"}
        return await exchange(self.port, request(method, path, body.encode(), **(way | form | headers)))

    async def browse(self, path: str, cookie: str = "", **headers: str) -> Reply:
        """Look at a page."""
        return await self.send("GET", path, **({"Accept": HTML, "Cookie": cookie} | headers))

    async def press(self, path: str, cookie: str = "", form: str = "", **headers: str) -> Reply:
        """Press a button of a page."""
        fields = {"Accept": HTML, "Cookie": cookie, "Origin": f"https://{HOST}", "Sec_Fetch_Site": "same-origin"}
        return await self.send("POST", path, form, **(fields | headers))

    async def sign_in(self, token: str, to: str = "/") -> str:
        """Sign in, and return the cookie as it is sent back."""
        reply = await self.press(f"/signin?to={quote(to)}", form=urlencode({"token": token}))
        assert (reply.status, reply.headers["location"]) == (303, to)
        return reply.headers["set-cookie"].partition(";")[0]

    async def api(self, path: str, token: str = TOKEN, method: str = "GET") -> Any:
        """Ask as a program does."""
        return json.loads((await self.send(method, path, Authorization=f"Bearer {token}")).body)

    def audit(self) -> list[tuple[Any, ...]]:
        """Read what operators did."""
        with contextlib.closing(sqlite3.connect(self.file)) as file:
            return file.execute("SELECT who, address, action, user_id FROM audit ORDER BY id").fetchall()

    def contents(self) -> list[str]:
        """Read the whole database."""
        with contextlib.closing(sqlite3.connect(self.file)) as file:
            return list(file.iterdump())


@asynccontextmanager
async def a_site(folder: Path, **keys: Any) -> AsyncIterator[Site]:
    """Serve an admin listener over a new store."""
    ours = {"allowed_hosts": (HOST,), "trusted_proxies": ("127.0.0.1",), "token": SecretStr(TOKEN)}
    admin = Admin(**(ours | {"read_token": SecretStr(READ)} | keys))
    async with a_store(folder, discreet=admin.privacy == "masked") as store:
        app = a_window(store, guard=Guard(admin, "key"))
        async with serving(app) as port:
            yield Site(store, app, port, folder / "bot.db")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An admin listener behind a proxy."""
    async with a_site(tmp_path) as made:
        yield made


@pytest.fixture
async def masked(tmp_path: Path) -> AsyncIterator[Site]:
    """One that hides personal data, with a message and an answer in it."""
    async with a_site(tmp_path, privacy="masked") as made:
        await fail(made.store, ANA, "my number is +52 1 55 9999 8888", 'invalid text "my number is…" of 5215512345678')
        await wait(made.store, ANA, "the secret plan")
        taken = await lease(made.store)
        await made.store.plan(Plan(taken, "answer", ["a secret answer"]))
        yield made


# -- sign in and out


async def test_a_browser_signs_in_is_led_to_where_it_wanted_to_go_and_signs_out(site: Site) -> None:
    """The whole journey; the cookie is for this site, this protocol and no script."""
    await wait(site.store, ANA, "hola")
    led = await site.browse("/users/u1")
    assert (led.status, led.headers["location"]) == (303, "/signin?to=/users/u1")
    form = await site.browse(led.headers["location"])
    assert form.status == 200
    action = re.search('action="([^"]+)"', form.body)
    assert action is not None
    assert re.search('<input [^>]*name="token"', form.body)
    assert "/audit" not in form.body
    reply = await site.press(action[1], form=urlencode({"token": TOKEN}))
    assert (reply.status, reply.headers["location"]) == (303, "/users/u1")
    cookie, *attributes = reply.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=Strict", "Secure", "Max-Age=2592000"} <= set(attributes)
    page = await site.browse("/users/u1", cookie)
    assert page.status == 200
    assert 'action="/signout"' in page.body
    assert (await site.press("/api/users/u1/pause", cookie)).status == 303
    out = await site.press("/signout", cookie)
    assert (out.status, out.headers["location"]) == (303, "/signin")
    assert f'{SESSION}=""' in out.headers["set-cookie"]
    assert site.audit() == [("page", "203.0.113.9", "pause", 1)]


async def test_a_wrong_token_is_said_on_the_form_and_too_many_with_the_time_to_wait(site: Site) -> None:
    """Where it wanted to go isn't forgotten over it; another address is not kept waiting."""
    for _ in range(WRONG_TOKENS):
        reply = await site.press("/signin?to=/users/u1", form="token=wrong")
        assert (reply.status, "set-cookie" in reply.headers) == (403, False)
        assert "This token is wrong" in reply.body
        assert 'action="/signin?to=/users/u1"' in reply.body
    refused = await site.press("/signin", form=urlencode({"token": TOKEN}))
    assert (refused.status, refused.headers["retry-after"]) == (429, "12")
    assert "Too many wrong tokens" in refused.body
    assert "try again in 12 seconds" in refused.body
    assert (await site.send("GET", "/queue-stats", Authorization=f"Bearer {TOKEN}")).status == 429
    right = await site.press("/signin", form=urlencode({"token": TOKEN}), X_Forwarded_For="1.1.1.1, 203.0.113.10")
    assert right.status == 303


async def test_who_signs_in_is_logged_without_the_token(site: Site) -> None:
    """With the address, for those who watch for guesses."""
    with capture_logs() as lines:
        await site.press("/signin", form="token=wr0ng-guess")
        await site.sign_in(READ)
    assert [(line["event"], line["role"], line["address"]) for line in lines] == [
        ("sign-in", None, "203.0.113.9"),
        ("sign-in", "reader", "203.0.113.9"),
    ]
    assert "wr0ng" not in str(lines)


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
        "evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/ /x",
        "/\r\nSet-Cookie: a=b",
        "\\/evil.example",
        "/ñ",
        "",
        "/" + "x" * 5000,
    ],
)
async def test_the_sign_in_leads_to_paths_of_ours_alone(site: Site, to: str) -> None:
    """No open redirect: whatever a link says, the way ends at home."""
    query = urlencode({"to": to}, errors="surrogatepass")
    reply = await site.press(f"/signin?{query}", form=urlencode({"token": TOKEN}))
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"].partition(";")[0]
    again = await site.browse(f"/signin?{query}", cookie)
    assert (again.status, again.headers["location"]) == (303, "/")
    assert "evil" not in (await site.browse(f"/signin?{query}")).body


async def test_a_link_on_another_site_finds_who_is_signed_in(site: Site) -> None:
    """Such a click brings no Strict cookie, so the page asks for itself once more; it does so once."""
    cookie = await site.sign_in(TOKEN)
    asked = await site.browse("/signin?to=/users/u1", Sec_Fetch_Site="cross-site")
    assert '<meta http-equiv="refresh" content="0; url=/signin?to=/users/u1">' in asked.body
    assert "refresh" not in (await site.browse("/signin?to=/users/u1", Sec_Fetch_Site="same-origin")).body
    led = await site.browse("/signin?to=/users/u1", cookie, Sec_Fetch_Site="same-origin")
    assert (led.status, led.headers["location"]) == (303, "/users/u1")


async def test_a_form_of_another_site_signs_nobody_in(site: Site) -> None:
    """Else somebody could act in a session that another watches."""
    reply = await site.press("/signin", form=urlencode({"token": TOKEN}), Origin="https://evil.example")
    assert (reply.status, "set-cookie" in reply.headers) == (403, False)


@pytest.mark.parametrize("body", ["", "x=1", "token=", "token=%ff%00", "{}", "token=" + "x" * 9000, "&=&&;"])
async def test_what_is_no_form_with_a_token_signs_nobody_in(site: Site, body: str) -> None:
    """Whatever it is, it is refused in words."""
    reply = await site.press("/signin", form=body)
    assert (reply.status in {400, 403}, "set-cookie" in reply.headers) == (True, False)
    assert 'name="token"' in reply.body


async def test_without_tls_the_cookie_is_not_secure_and_with_it_it_is(tmp_path: Path) -> None:
    """By what a trusted proxy says, or the browser itself; a stranger's header says nothing."""
    async with a_site(tmp_path, trusted_proxies=()) as site:
        form, plain, tls = urlencode({"token": TOKEN}), f"http://{HOST}", f"https://{HOST}"
        assert "Secure" not in (await site.press("/signin", form=form, Origin=plain)).headers["set-cookie"]
        assert "Secure" in (await site.press("/signin", form=form, Origin=tls)).headers["set-cookie"]


async def test_on_loopback_nothing_is_asked_and_one_may_sign_in_to_look_only(tmp_path: Path) -> None:
    """A token is accepted there, not wanted; without one there is nothing to sign in with."""
    async with a_site(tmp_path, allowed_hosts=(), trusted_proxies=()) as site:
        here = {"Host": "127.0.0.1", "X_Forwarded_For": "", "X_Forwarded_Proto": ""}
        home = here | {"Origin": "http://127.0.0.1"}
        assert (await site.browse("/clear", **here)).status == 200
        reply = await site.press("/signin", form=urlencode({"token": READ}), **home)
        cookie = reply.headers["set-cookie"].partition(";")[0]
        assert (await site.press("/api/pause", cookie, **home)).status == 403
        assert (await site.press("/api/pause", **home)).status == 303
        assert (await site.press("/signin", form="token=", **home)).status == 403


async def test_headers_that_are_no_text_are_refused_like_any_wrong_token(site: Site) -> None:
    """Bytes that no encoding explains, in the token as in the cookie."""
    for name in (b"Authorization: Bearer ", b"Cookie: bot_session="):
        raw = request("GET", "/queue-stats", Host=HOST).replace(
            b"\r\n\r\n", b"\r\n" + name + b"\xff\xfe\xed\xa0\r\n\r\n"
        )
        assert (await exchange(site.port, raw)).status == 401


# -- readers


@pytest.mark.parametrize("path", ["/signin", "/api/failures/retry", f"/api/users/{ANA}/reply", "/api/resume"])
async def test_a_body_that_does_not_arrive_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """408, also for a stranger's: they hold no connection for as long as they like."""
    monkeypatch.setattr("bot.web.wire.BODY_SECONDS", 0.1)
    await wait(site.store, ANA, "hola")
    way = {"Host": HOST, "Authorization": f"Bearer {TOKEN}", "Content_Length": "20"}
    async with asyncio.timeout(5):
        reply = await exchange(site.port, request("POST", path, b"half of", **way))
    assert reply.status == 408
    assert "0.1 s" in reply.body


async def test_a_reader_looks_at_everything_and_no_button_is_drawn(site: Site) -> None:
    """Signing out is the one thing to press."""
    message = await fail(site.store, ANA, "hola")
    cookie = await site.sign_in(READ)
    for path in ("/", "/users/u1", "/clear", "/users/u1/clear"):
        page = await site.browse(path, cookie)
        assert page.status == 200
        assert set(re.findall('<form[^>]* method="post"[^>]* action="([^"]+)"', page.body)) <= {"/signout"}
    refused = await site.press(f"/api/messages/{message}/retry", cookie)
    assert refused.status == 403
    assert "the read token may look at everything and change nothing" in refused.body
    assert refused.headers["content-type"].startswith("text/html")
    posted = await site.send("POST", "/api/pause", Authorization=f"Bearer {READ}")
    assert (posted.status, posted.headers["content-type"].partition(";")[0]) == (403, refused_type(posted))
    assert (await site.api("/api/users", READ))["users"][0]["failed"] == 1
    assert site.audit() == []


def refused_type(reply: Reply) -> str:
    """Return the type of a refusal to programs: JSON in one of its forms."""
    found = reply.headers["content-type"].partition(";")[0]
    assert found in {"application/json", "application/problem+json"}
    return found


async def test_a_reader_can_post_to_no_route_at_all(site: Site) -> None:
    """Enforced in one place, so also for a route that somebody adds tomorrow."""
    await fail(site.store, ANA, "hola")
    before, routes = site.contents(), [each for each in site.app.router.routes() if each.method == "POST"]
    assert len(routes) > 6
    for route in routes:
        path = a_path(route)
        if path not in {"/signin", "/signout"}:
            assert (await site.send("POST", path, Authorization=f"Bearer {READ}")).status == 403, path
    assert site.contents() == before


# -- nothing by GET


def a_path(route: web.AbstractRoute) -> str:
    """Write a path that leads to a route."""
    values = {"user_id": "u1", "id": "1", "verb": "pause", "service": "model", "filename": "page.css"}
    assert route.resource is not None
    return re.sub(r"{(\w+)(:[^}]*)?}", lambda found: values[found[1]], route.resource.canonical)


async def test_no_get_changes_anything(site: Site) -> None:
    """Over all routes that there are: a link, a preview or a crawler is no act."""
    await fail(site.store, ANA, "hola")
    await wait(site.store, ANA, "waiting")
    before = site.contents()
    paths = {a_path(route) for route in site.app.router.routes()} | {"/events?view=/"}
    assert len(paths) > 10
    headers = {"Host": HOST, "Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}", headers=headers) as http:
        for path in sorted(paths):
            for method in ("GET", "HEAD", "OPTIONS"):
                for accept in ("*/*", HTML):
                    call = http.request(method, path, headers={"Accept": accept}, allow_redirects=False)
                    async with asyncio.timeout(5), call as response:  # an endless answer is not read to its end
                        assert response.status != 500, path
    assert site.contents() == before
    assert site.audit() == []


async def test_every_answer_forbids_what_the_pages_do_not_need(site: Site) -> None:
    """Scripts and connections of our own alone; no frames, no other windows, no camera; nothing is kept."""
    for reply in (await site.browse("/"), await site.browse("/signin"), await site.send("GET", "/queue-stats")):
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "connect-src": "'self'",
            "style-src": "'self'",
            "img-src": "data:",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in reply.headers["permissions-policy"]
        assert reply.headers["cache-control"] == "no-store"


# -- what people write


HOSTILE = {
    "script": "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>",
    "template": "{{ 7*7 }}{% include 'base.html' %}${7*7}",
    "rtl marks": "\u202eevil\u202d \u2066x\u2069 \u200f\u061c",
    "emojis": "👨‍👩‍👧‍👦" * 4000,
    "zero width": "a\u200b\u200c\u200d\u2060\ufeff" * 50,
    "combining": "Z" + "\u0351" * 900,
    "controls": "a\x1b[2Jb\x07\x08\x85\u2028c",
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
async def test_nothing_that_a_person_writes_becomes_more_than_text(site: Site, what: str) -> None:
    """As name, message, answer, error: the same tags as with harmless words, and JSON gives it back as it was."""
    text, tags = HOSTILE[what], list[list[str]]()
    cookie = await site.sign_in(TOKEN)
    for phone, words in ((ANA, "h" * len(text)), ("5215587654321", text)):
        await fail(site.store, phone, words, words, name=words)
        await wait(site.store, phone, words, name=words)
        taken = await lease(site.store)
        await site.store.plan(Plan(taken, "answer", [words]))
        found = await site.api(f"/api/users/{phone}")
        assert (found["user"]["name"], found["conversation"][0]["body"]) == (words, words)
        page = (await site.browse(f"/users/{found['user']['user_id']}", cookie)).body
        tags.append(re.findall(r"<(\w+)", page))
    assert tags[0] == tags[1]
    assert not {"img"} & set(tags[1])
    for html in (page, (await site.browse("/", cookie)).body):
        assert "<svg/onload" not in html
        assert "onerror=alert(1)>" not in html
        assert "{{" in html if what == "template" else "{{" not in html


# -- hidden data


async def test_where_it_is_hidden_neither_page_nor_json_shows_a_number_or_a_text(masked: Site) -> None:
    """For admins and readers alike; names stay, and how long a text is."""
    wamid = masked.contents()  # what is in the file, so that the search below has something to find
    assert any("wamid." in line for line in wamid)
    for token in (TOKEN, READ):
        cookie = await masked.sign_in(token)
        shown = ""
        for path in ("/", "/users/u1", "/users/u1/clear", "/clear", "/messages/1", "/messages/2", "/audit"):
            shown += (await masked.browse(path, cookie)).body
        for path in ("/api/users", "/api/users/u1", "/api/failures", "/api/causes", "/api/messages/2/model"):
            shown += json.dumps(await masked.api(path, token), ensure_ascii=False)
        for secret in (ANA, ANA[3:], "9999", "my number", "secret plan", "secret answer", f"wamid.{ANA}"):
            assert secret not in shown
        assert "Ana" in shown
        assert "+52…5678" in shown
        assert "••• (" in shown


async def test_one_person_is_revealed_to_an_admin_and_the_audit_says_so(masked: Site) -> None:
    """As JSON, and as the page for a browser, which has the button."""
    cookie = await masked.sign_in(TOKEN)
    page = await masked.browse("/users/u1", cookie)
    assert 'action="/api/users/u1/reveal"' in page.body
    found = await masked.api("/api/users/u1/reveal", method="POST")
    assert found["user"]["phone"] == ANA
    assert "the secret plan" in [line["body"] for line in found["conversation"]]
    revealed = await masked.press("/api/users/u1/reveal", cookie)
    assert revealed.status == 200
    assert "the secret plan" in revealed.body
    assert f"+{ANA}" in revealed.body
    assert masked.audit() == [("api", "203.0.113.9", "reveal", 1), ("page", "203.0.113.9", "reveal", 1)]
    assert (await masked.send("POST", "/api/users/u9/reveal", Authorization=f"Bearer {TOKEN}")).status == 404


async def test_a_reader_reveals_nobody(masked: Site) -> None:
    """And has no button for it; nothing is written down, for nothing was seen."""
    cookie = await masked.sign_in(READ)
    assert "/reveal" not in (await masked.browse("/users/u1", cookie)).body
    assert (await masked.press("/api/users/u1/reveal", cookie)).status == 403
    assert (await masked.send("POST", "/api/users/u1/reveal", Authorization=f"Bearer {READ}")).status == 403
    assert masked.audit() == []


@pytest.mark.parametrize(
    "path", [f"/api/users/{ANA}", f"/api/users/+{ANA}", f"/users/{ANA}", f"/api/failures?user={ANA}"]
)
async def test_hidden_numbers_cannot_be_guessed(masked: Site, path: str) -> None:
    """An answer that differs for the right number would tell it; a person is named as u17 there."""
    replies = []
    for each in (path, path.replace(ANA, "5215500000000")):
        reply = await masked.send("GET", each, Authorization=f"Bearer {READ}")
        replies.append((reply.status, reply.body))
    assert replies[0] == replies[1]
    assert replies[0][0] == 404


@pytest.mark.parametrize("search", ["secret", "plan", "number", "", "%", "_"])
@pytest.mark.parametrize("listed", ["users", "failures"])
async def test_hidden_texts_cannot_be_found_by_searching(masked: Site, listed: str, search: str) -> None:
    """A search that finds is an answer, too: letter by letter it would tell all."""
    found = (await masked.api(f"/api/{listed}?search={quote(search)}"))[listed]
    assert len(found) == (0 if search else 1)


@pytest.mark.parametrize("search", [ANA, "5678", "+52 1", "9999", "u1 5"])
async def test_hidden_numbers_cannot_be_found_by_searching(masked: Site, search: str) -> None:
    """Digits are refused with a reason, for names may be numbers, too."""
    for path in (f"/api/users?search={quote(search)}", f"/api/failures?search={quote(search)}"):
        reply = await masked.send("GET", path, Authorization=f"Bearer {TOKEN}")
        assert (reply.status, "numbers are hidden" in reply.body) == (400, True)
    page = await masked.browse(f"/?search={quote(search)}", await masked.sign_in(READ))
    assert (page.status, "numbers are hidden" in page.body) == (400, True)


@pytest.mark.parametrize("search", ["Ana", "an", "u1"])
@pytest.mark.parametrize("listed", ["users", "failures"])
async def test_names_and_ids_are_found_nevertheless(masked: Site, listed: str, search: str) -> None:
    """They show anyway."""
    assert len((await masked.api(f"/api/{listed}?search={search}"))[listed]) == 1
