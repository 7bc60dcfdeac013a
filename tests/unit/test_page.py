"""The status page: honest in each state, escaped, complete without JavaScript."""

import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from bot.clock import age, readable, stamp
from bot.domain import Batch, Done, Identity, Inbound, Operator, Released
from bot.store.replies import Plan
from bot.store.store import Store
from bot.store.turns import Budget
from bot.web.guard import VISITOR, Visitor
from bot.web.page import PARTS, TEMPLATES, Page
from bot.web.wire import prefers_html
from tests.clock import START, FakeClock
from tests.flow.listeners import NUMBER, a_store
from tests.flow.people import fail, lease, refuse, wait

ANA, BEA = "5215512345678", "5215587654321"


class Drawn:
    """A page and the reasons behind it."""

    def __init__(self, store: Store) -> None:
        self.store, self.reasons = store, dict[str, str]()
        self._page, self.visitor = Page(store, self.reasons), Visitor("admin", "127.0.0.1")

    async def status(self, query: str = "") -> str:
        """Draw the status page."""
        return (await self._page.status(self._request(f"/?{query}"))).text or ""

    async def user(self, user: str = "u1") -> str:
        """Draw the page of a user."""
        return (await self._page.user(self._request(f"/users/{user}", user_id=user))).text or ""

    async def clear(self, user: str = "") -> str:
        """Draw the question before messages are cancelled."""
        names = {"user_id": user} if user else {}
        return (await self._page.confirm_clear(self._request("/clear", **names))).text or ""

    def error(self, reason: str) -> str:
        """Draw an error."""
        return self._page.draw("error.html", self.visitor, 409, reason=reason).text or ""

    def _request(self, path: str, **names: str) -> web.Request:
        request = make_mocked_request("GET", path, match_info=names)
        request[VISITOR] = self.visitor
        return request


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Drawn]:
    """A page over a new store."""
    async with a_store(tmp_path) as store:
        yield Drawn(store)


class Outline(HTMLParser):
    """What a page holds: its words, its buttons with where they post to, its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.buttons, self.tags = ("", list[tuple[str, str]](), list[tuple[str, dict[str, str | None]]]())
        self._open: list[str] = []
        self._action = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br"}:
            self._open.append(tag)
        if tag == "form":
            self._action = dict(attrs)["action"] or ""

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words and the labels of buttons."""
        self.words += data
        if self._open and self._open[-1] == "button":
            self.buttons.append((data.strip(), self._action))


def headline(html: str) -> str:
    """Return the page's first heading."""
    found = re.search("<h1>(.*?)</h1>", html, re.DOTALL)
    assert found
    return found[1]


async def test_an_empty_queue_says_so(page: Drawn) -> None:
    """No empty tables: words that tell what would stand there."""
    html = await page.status()
    assert headline(html) == "Answering normally"
    for words in ("Nothing waits.", "Nobody has written yet", "Nothing failed.", "The first minute is being counted."):
        assert words in html
    assert "<table" not in html


async def test_the_headline_tells_why_nothing_is_answered(page: Drawn) -> None:
    """The first of the reasons stands in the headline, several in a list; times are readable."""
    await page.store.pause(None, who=Operator("test"))
    html = await page.status()
    assert re.fullmatch(r"Paused since \d\d:\d\d UTC", headline(html))
    assert re.search(r"<title>Paused since \d\d:\d\d UTC · bot</title>", html)
    page.reasons["file"] = "the file can't be written: disk full"
    html = await page.status()
    assert headline(html) == "The file can&#39;t be written: disk full"
    assert "disk full" in html
    assert "everything is paused" in html


async def test_a_refusing_service_is_named_and_can_be_tried(page: Drawn) -> None:
    """Which, why, since when, when the next try is due, and a button for now."""
    await refuse(page.store)
    html = await page.status()
    outline = Outline(html)
    assert re.fullmatch(r"The model refuses our key since \d\d:\d\d UTC", headline(html))
    assert re.search(r"the model can't be used since \d\d \w{3} [\d:]{8} UTC: 401: Incorrect API key", outline.words)
    assert re.search(r"The model is tried again at \d\d \w{3} [\d:]{8} UTC; bot check", outline.words)
    assert ("Try now", "/api/circuits/model/try") in outline.buttons


async def test_a_try_that_is_due_is_not_promised_for_a_time_that_has_passed(page: Drawn) -> None:
    """It comes with whatever message is next: where nothing waits, nothing is tried."""
    await refuse(page.store)
    await page.store.try_circuit("model", who=Operator("test"))
    assert "The model is tried again with the next message; bot check" in Outline(await page.status()).words


async def test_every_time_names_its_zone(page: Drawn) -> None:
    """Who reads at night must not have to wonder."""
    await fail(page.store, ANA, "failing words")
    await refuse(page.store)
    await page.store.pause(None, who=Operator("test"))
    await wait(page.store, ANA, "waiting words")
    for html in (await page.status(), await page.user()):
        assert re.search(r"\d\d:\d\d:\d\d UTC", html)
        assert not re.search(r"\d\d:\d\d:\d\d(?! UTC)", html)


async def test_users_and_failures_have_their_buttons(page: Drawn) -> None:
    """What can be done stands beside what it concerns, with its scope and count on it."""
    message = await fail(page.store, ANA, "hola?", "the model broke")
    await fail(page.store, BEA, "late", "expired", name="Bea")
    await wait(page.store, ANA, "one", "two")
    await page.store.pause(2, who=Operator("test"))
    outline = Outline(await page.status())
    assert set(outline.buttons) >= {
        ("Pause", "/api/users/u1/pause"),
        ("Resume", "/api/users/u2/resume"),
        ("Retry", f"/api/messages/{message}/retry"),
        ("Retry all 2", "/api/failures/retry"),
        ("Pause everything", "/api/pause"),
    }
    links = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert "/users/u1/clear" in links
    assert "/users/u2/clear" not in links  # nothing waits there
    for words in ("hola?", "the model broke", "expired", f"+{ANA}", "Bea", "paused"):
        assert words in outline.words


async def test_retry_all_does_not_promise_a_count_that_the_page_does_not_know(page: Drawn) -> None:
    """Where more failures exist than are shown, the button says that it reaches further."""
    for n in range(3):
        await fail(page.store, ANA, f"text {n}")
    outline = Outline(await page.status("limit=2"))
    labels = [label for label, action in outline.buttons if action == "/api/failures/retry"]
    assert labels == ["Retry every failure that can be, on this page and the others"]
    assert "More failures" in outline.words


async def test_a_page_of_a_list_leads_to_the_next_one_and_does_not_redraw_itself(page: Drawn) -> None:
    """Who reads on must not be thrown back every five seconds."""
    for n in range(3):
        await wait(page.store, f"521550000000{n}", "hola", name=f"user {n}")
    first = await page.status("limit=2&done=paused-1")
    assert 'http-equiv="refresh"' in first
    link = re.search(r'href="/\?([^"]*after=[^"]*)"', first)
    assert link
    query = link[1].replace("&amp;", "&")
    assert "done" not in query
    second = await page.status(query)
    assert "user 0" in second
    assert "user 2" not in second
    assert 'http-equiv="refresh"' not in second


HOSTILE = '"><script>alert(1)</script>{{ 12345*9 }}\u202e'


async def test_what_people_write_is_shown_and_not_obeyed(page: Drawn) -> None:
    """Names, messages and errors are strangers' texts."""
    await fail(page.store, ANA, HOSTILE, f"error {HOSTILE}", name=HOSTILE)
    await wait(page.store, ANA, HOSTILE, name=HOSTILE)
    for html in (await page.status(), await page.user(), await page.clear("u1"), page.error(HOSTILE)):
        assert "<script>alert" not in html
        assert "111105" not in html
        assert HOSTILE in Outline(html).words


async def test_no_page_has_inline_scripts_styles_or_anything_from_elsewhere(page: Drawn) -> None:
    """What the content policy forbids isn't there in the first place; tags close in order."""
    await fail(page.store, ANA, "hola")
    await refuse(page.store)
    for html in (await page.status(), await page.user(), await page.clear(), page.error("x")):
        outline = Outline(html)
        assert not {tag for tag, _ in outline.tags} & {"style", "iframe", "img", "object"}
        scripts = [attributes for tag, attributes in outline.tags if tag == "script"]
        assert scripts in ([], [{"src": "/static/live.js", "defer": None}])
        assert "".join(re.findall("<script[^>]*>(.*?)</script>", html, re.DOTALL)) == ""
        for _, attributes in outline.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for target in (attributes.get("href"), attributes.get("action")):
                assert target is None or re.match("/[^/]|/$|data:,$|#failures$", target)
        assert ("html", {"lang": "en"}) in outline.tags


# -- the last hour


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Drawn]:
    """A page over a new store whose clock stands still."""
    store = await Store.open(tmp_path / "bot.db", clock=FakeClock())
    try:
        yield Drawn(store)
    finally:
        await store.close()


def shapes(html: str, kind: str) -> list[str]:
    """Return what a kind of line or bars is drawn by, chart after chart."""
    return re.findall(rf'<path class="{kind}" d="([^"]*)"', html)


async def minutes(page: Drawn, **columns: dict[int, int]) -> None:
    """Put in minutes, by how long ago each is; what isn't told is 0, times are NULL."""
    agos = sorted({ago for values in columns.values() for ago in values}, reverse=True)

    def put(db: sqlite3.Connection) -> None:
        for ago in agos:
            row = {"depth": 0, "arrived": 0, "answered": 0, "failed": 0, "last_outbox": 0, "last_attempt": 0}
            row |= {name: values[ago] for name, values in columns.items() if ago in values}
            at = stamp(START - timedelta(minutes=ago))
            marks = ", ".join("?" * (len(row) + 1))
            db.execute(f"INSERT INTO minutes (at, {', '.join(row)}) VALUES ({marks})", (at, *row.values()))

    await page.store._db.write(put)


async def test_the_depth_is_a_line_with_gaps_where_the_daemon_was_down(still: Drawn) -> None:
    """Minutes that follow each other are joined, others are not: nothing is drawn that nobody saw."""
    await minutes(still, depth={30: 0, 29: 4, 28: 8, 10: 8, 2: 2, 1: 4})
    (line,) = shapes(await still.status(), "depth")
    assert line == "M30 29.0h.01L31 15.0L32 1.0M50 1.0h.01M58 22.0h.01L59 15.0"


async def test_answered_and_failed_stand_on_each_other(still: Drawn) -> None:
    """A bar each minute, none where nothing ended."""
    await minutes(still, answered={5: 4, 4: 0, 3: 1}, failed={5: 4, 4: 0, 3: 1})
    html = await still.status()
    assert shapes(html, "answered") == ["M54.6 29.0v-14.0h.8V29.0zM56.6 29.0v-3.5h.8V29.0z"]
    assert shapes(html, "failed") == ["M54.6 15.0v-14.0h.8V15.0zM56.6 25.5v-3.5h.8V25.5z"]
    assert "5 answered, 5 failed in all" in Outline(html).words


async def test_times_are_lines_where_something_was_answered(still: Drawn) -> None:
    """Half and 95 of 100, of waiting and of answering; said in words, too."""
    await minutes(
        still,
        depth={4: 0, 3: 0, 2: 0},
        wait_p50_ms={4: 1000, 2: 500}, wait_p95_ms={4: 2000, 2: 1000},
        answer_p50_ms={4: 4000, 2: 3000}, answer_p95_ms={4: 120_000, 2: 60_000},
    )  # fmt: skip
    html = await still.status()
    assert shapes(html, "p50") == ["M56 15.0h.01M58 22.0h.01", "M56 28.1h.01M58 28.3h.01"]
    assert shapes(html, "p95") == ["M56 1.0h.01M58 15.0h.01", "M56 1.0h.01M58 15.0h.01"]
    words = Outline(html).words
    assert "half within 0.5 s, 95 of 100 within 1.0 s" in words
    assert "half within 3.0 s, 95 of 100 within 1 min" in words


async def test_every_minute_stands_in_a_table_too(still: Drawn) -> None:
    """For who can't see the charts; newest first, the charts themselves say in words what they show."""
    await minutes(still, depth={2: 7, 1: 8}, answered={1: 3})
    outline = Outline(await still.status())
    labels = [attributes["aria-label"] for tag, attributes in outline.tags if tag == "svg"]
    assert labels[0] == "Waiting, the last hour: 8 now, at most 8"
    assert len(labels) == 4
    rows = [attributes["data-key"] for tag, attributes in outline.tags if tag == "tr" and "data-key" in attributes]
    assert rows == sorted(rows, reverse=True)
    assert len(rows) == 2


async def test_the_days_cost_is_shown_against_its_limit(tmp_path: Path) -> None:
    """As figures and a meter; in red once it is spent."""
    budget = Budget(0.5, 1000.0, 10_000.0)
    async with a_store(tmp_path, budget=budget) as store:
        drawn = Drawn(store)
        assert "0.00" in Outline(await drawn.status()).words
        await store._db.write(lambda db: db.execute("INSERT INTO usage VALUES (date('now'), 9, 200, 20)"))
        html = await drawn.status()
        assert ("meter", "0.5", "0.4000") in [
            (tag, attributes.get("max"), attributes.get("value")) for tag, attributes in Outline(html).tags
        ]
        await store._db.write(lambda db: db.execute("UPDATE usage SET output_tokens = 1200000"))
        outline = Outline(await drawn.status())
        assert "1.2 M" in outline.words
        assert "budget for the model is spent" in outline.words


async def test_whatsapps_warnings_are_shown_as_they_came(page: Drawn) -> None:
    """With their time, escaped as everything else."""
    values = ("2026-11-24T10:41:07.123Z", "account_update", f"Banned {HOSTILE}")
    await page.store._db.write(lambda db: db.execute("INSERT INTO warnings (at, kind, text) VALUES (?, ?, ?)", values))
    html = await page.status()
    assert "24 Nov 10:41:07 UTC" in html
    assert f"Banned {HOSTILE}" in Outline(html).words


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ("retried-3", "back in the queue: 3"),
        ("paused-1", "Paused."),
        ("resumed-2-5", "skipped: 5"),
        ("cleared-1-4", "cancelled: 4"),
        ("trying-1", "tries the service again"),
    ],
)
async def test_the_result_of_a_button_is_told(page: Drawn, done: str, told: str) -> None:
    """In a sentence with its figures."""
    assert told in await page.status(f"done={done}")


@pytest.mark.parametrize("done", ["hacked", "paused-x", "paused-<b>", "cleared", "", "retried-1-2-3-4", "paused--1"])
async def test_a_link_cannot_put_words_into_the_pages_mouth(page: Drawn, done: str) -> None:
    """Only our own words with figures are told; whatever else comes, the page is drawn."""
    html = await page.status(f"done={done}")
    assert "hacked" not in html
    assert "<b>" not in html


async def test_a_user_page_tells_what_waits_failed_and_was_said(page: Drawn) -> None:
    """Queue, failures with their button, conversation with states."""
    failed = await fail(page.store, ANA, "failing words")
    await wait(page.store, ANA, "answered words")
    taken = await lease(page.store)
    await page.store.plan(Plan(taken, "answer", ["our words"]))
    await page.store.settle(taken, Done(), claim=False)
    await wait(page.store, ANA, "waiting words")
    outline = Outline(await page.user())
    for words in ("failing words", "answered words", "our words", "waiting words", "cancelled", "failed"):
        assert words in outline.words
    assert ("Retry", f"/api/messages/{failed}/retry") in outline.buttons


async def test_a_user_known_by_a_business_scoped_id_alone_has_a_page(page: Drawn) -> None:
    """No phone, no name, and a message that can't be read."""
    sender = Identity(bsuid="US.13491208655302741918")
    await page.store.append(Batch((Inbound(NUMBER, "wamid.B", sender, "audio", "", "{}", None),)))
    assert "US.13491208655302741918" in await page.status()
    html = await page.user("US.13491208655302741918")
    assert headline(html) == "u1"
    assert "(audio)" in html


async def test_clearing_asks_first_and_counts_what_it_would_cancel(page: Drawn) -> None:
    """The one being answered goes on, so it isn't counted."""
    await wait(page.store, ANA, "one", "two")
    await wait(page.store, BEA, "three", name="Bea")
    await lease(page.store)
    assert headline(await page.clear("u1")) == "Cancel 1 waiting message of Ana?"
    assert headline(await page.clear()) == "Cancel 2 waiting messages of everybody?"
    assert Outline(await page.clear("u1")).buttons == [("Cancel them", "/api/users/u1/clear")]
    assert Outline(await page.clear()).buttons == [("Cancel them", "/api/clear")]


async def test_who_is_paused_may_be_resumed_without_what_waits(page: Drawn) -> None:
    """Behind the same question: it can't be taken back either."""
    await wait(page.store, ANA, "one")
    await page.store.pause(1, who=Operator("test"))
    assert "/api/users/u1/resume" in [action for _, action in Outline(await page.user("u1")).buttons]
    assert ("Cancel them and resume", "/api/users/u1/resume") in Outline(await page.clear("u1")).buttons
    await page.store.pause(None, who=Operator("test"))
    assert ("Cancel them and resume", "/api/resume") in Outline(await page.clear()).buttons


async def test_a_limit_that_paused_somebody_is_named(page: Drawn) -> None:
    """Not a pause like any other: nobody pressed a button."""
    await wait(page.store, ANA, "one")
    lease_ = await lease(page.store)
    await page.store.settle(lease_, Released(pause=True, error="limit_per_hour"), claim=False)
    for html in (await page.status(), await page.user("u1")):
        assert "paused: too many answers in an hour" in html


def test_every_template_is_drawn_by_a_test_here() -> None:
    """Undefined values raise only when a template is drawn."""
    assert {path.name for path in TEMPLATES.glob("*.html")} == {
        "base.html", "status.html", "user.html", "clear.html", "error.html", "live.html", "drawing.html",
    }  # fmt: skip
    assert {path.stem for path in (TEMPLATES / "parts").iterdir()} == {
        part for parts in PARTS.values() for part in parts
    }


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("application/json;q=0.5, text/html;q=0.9", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=x, ;;;,=", True),
    ],
)
def test_browsers_are_told_from_programs_by_accept(accept: str, html: bool) -> None:
    """Programs that say nothing, or anything, get JSON."""
    assert prefers_html(make_mocked_request("GET", "/", headers={"Accept": accept})) is html


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0 s"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages_are_written_as_people_say_them(seconds: float | None, words: str) -> None:
    """One unit is enough."""
    assert age(seconds) == words


def test_times_are_written_as_people_read_them() -> None:
    """Wherever they stand in a text; what is no time stays."""
    assert readable("since 2026-11-24T10:41:07.123Z: no") == "since 24 Nov 10:41:07 UTC: no"
    assert readable("2026-99-24T10:41:07.123Z") == "2026-99-24T10:41:07.123Z"
    assert readable(None) == "–"
