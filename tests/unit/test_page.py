"""The status page: honest in each state, escaped, complete without JavaScript."""

import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from aiohttp.test_utils import make_mocked_request

from bot.clock import age, readable
from bot.domain import Batch, Done, Identity, Inbound, Operator, Released
from bot.store.failures import Failing
from bot.store.replies import Plan
from bot.web.guard import Visitor
from bot.web.page import PARTS, TEMPLATES, _templates
from bot.web.wire import prefers_html
from tests.flow.listeners import NUMBER, a_store
from tests.flow.people import fail, lease, refuse, wait
from tests.unit.drawn import ANA, BEA, HOSTILE, Drawn, Outline, headline


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Drawn]:
    """A page over a new store."""
    async with a_store(tmp_path) as store:
        yield Drawn(store)


async def test_an_empty_queue_says_so(page: Drawn) -> None:
    """No empty tables: words that tell what would stand there."""
    html = await page.status()
    assert headline(html) == "Answering normally"
    assert '<form class="filter"' in html
    for words in (
        "Nothing waits.",
        "Nobody has written yet",
        "No failures. Good.",
        "The first minute is being counted.",
    ):
        assert words in html
    assert "<table" not in html


async def test_templates_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look has them compiled beside the event loop, and no further one looks at their files again."""
    compile_ = jinja2.Environment.compile

    def beside(*arguments: Any, **keywords: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return compile_(*arguments, **keywords)

    def never(*_: object) -> None:
        raise AssertionError

    async with a_store(tmp_path) as store:
        await wait(store, ANA, "hola")
        _templates.cache_clear()
        page = Drawn(store)
        monkeypatch.setattr("jinja2.Environment.compile", beside)
        await page.status()
        monkeypatch.setattr("os.path.getmtime", never)
        await page.status()
        await page.user()
        page.error("no")


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
        assert not re.search(r"\d\d:\d\d:\d\d(?! UTC)", re.sub("<time.*?</time>", "", html))
    assert re.search(r'<li class="day"[^>]*><span>\d\d \w{3}, UTC</span>', html)  # a conversation says it once a day


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
    for words in ("hola?", "the model broke", "expired", f"+{ANA}", "Bea", "paused"):
        assert words in outline.words


async def test_retry_all_says_how_many_it_means(page: Drawn) -> None:
    """All that the filter finds, also those on further pages, without those that can't be retried."""
    for n in range(3):
        await fail(page.store, ANA, f"text {n}")
    await fail(page.store, BEA, "hola", "another cause", name="Bea")
    outline = Outline(await page.status("limit=2"))
    assert ("Retry all 4", "/api/failures/retry") in outline.buttons
    assert "More failures" in outline.words
    html = await page.status("cause=the+model+broke&failed=text&limit=2")
    assert ("Retry all 3 found", "/api/failures/retry") in Outline(html).buttons
    for name, value in (("cause", "the model broke"), ("search", "text")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in html


async def test_failures_are_grouped_by_their_cause(page: Drawn) -> None:
    """Most common first, with how many; each leads to its own, and the chosen one back to all."""
    await fail(page.store, ANA, "one", "rare")
    for text in ("two", "three"):
        await fail(page.store, ANA, text, "common & <i>")
    outline = Outline(await page.status("sort=recent"))
    assert re.search(r"common & <i>\s*2.*rare\s*1", outline.words, re.DOTALL)
    assert "/?sort=recent&cause=common+%26+%3Ci%3E#failures-title" in outline.links
    chosen = Outline(await page.status("cause=rare&failures_after=2026-11-24T10:00:00.000Z-9"))
    assert "/#failures-title" in chosen.links
    assert "two" not in chosen.words


async def test_a_selection_posts_an_empty_id_too(page: Drawn) -> None:
    """Otherwise a form with no box checked would name nothing, and nothing means all."""
    one, two = await fail(page.store, ANA, "one"), await fail(page.store, ANA, "two")
    html = await page.status()
    form = re.search('<form id="selected".*?</form>', html, re.DOTALL)
    assert form
    assert '<input type="hidden" name="ids" value="">' in form[0]
    boxes = [tag for name, tag in Outline(html).tags if name == "input" and tag.get("type") == "checkbox"]
    assert [(box["value"], box["form"]) for box in boxes] == [(str(two), "selected"), (str(one), "selected")]


async def test_users_are_filtered_and_sorted_and_the_form_remembers(page: Drawn) -> None:
    """What was asked stands in the form and in the links to further pages; the other list's filter stays."""
    for n in range(3):
        await wait(page.store, f"521550000000{n}", "hola", name=f"user {n}")
    await wait(page.store, BEA, "adiós", name="Bea")
    html = await page.status("search=user&state=waiting&sort=recent&limit=2&cause=x")
    outline = Outline(html)
    assert "Bea" not in outline.words
    assert 'name="search" value="user"' in html
    assert '<option value="waiting" selected>' in html
    assert '<input type="hidden" name="cause" value="x">' in html
    (more,) = [link for link in outline.links if link and "&after=" in link]
    assert more.startswith("/?search=user&state=waiting&sort=recent&limit=2&after=20")
    assert more.endswith("&cause=x#users-title")
    assert "Nobody like that." in await page.status("search=nobody")
    assert "No such failure." in await page.status("failed=nothing")


async def test_a_page_of_a_list_leads_to_the_next_one_and_back(page: Drawn) -> None:
    """The note of a button isn't kept; no page loads itself anew: a script keeps it live, without one nothing jumps."""
    for n in range(3):
        await wait(page.store, f"521550000000{n}", "hola", name=f"user {n}")
    first = await page.status("limit=2&done=paused-1")
    (more,) = [link for link in Outline(first).links if link and "after=" in link]
    assert "done" not in more
    second = await page.status(more.partition("?")[2].partition("#")[0])
    assert "user 0" in second
    assert "user 2" not in second
    assert "/?limit=2#users-title" in Outline(second).links
    assert "http-equiv" not in first + second


async def test_what_people_write_is_shown_and_not_obeyed(page: Drawn) -> None:
    """Names, messages and errors are strangers' texts."""
    await fail(page.store, ANA, HOSTILE, f"error {HOSTILE}", name=HOSTILE)
    await wait(page.store, ANA, HOSTILE, name=HOSTILE)
    pages = [await page.status(), await page.user(), await page.clear("u1"), page.error(HOSTILE), await page.message(1)]
    for html in pages:
        assert "<script>alert" not in html
        assert "111105" not in html
        assert HOSTILE in Outline(html).words


async def test_no_page_has_inline_scripts_styles_or_anything_from_elsewhere(page: Drawn) -> None:
    """What the content policy forbids isn't there in the first place; tags close in order."""
    await fail(page.store, ANA, "hola")
    await refuse(page.store)
    pages = [await page.status(), await page.user(), await page.clear(), page.error("x"), await page.message(1)]
    for html in [*pages, await page.audit()]:
        outline = Outline(html)
        assert not {tag for tag, _ in outline.tags} & {"style", "iframe", "img", "object"}
        scripts = [attributes for tag, attributes in outline.tags if tag == "script"]
        assert scripts in (
            [],
            [{"src": "/static/live.js", "defer": None}],
            [{"src": "/static/choose.js", "defer": None}, {"src": "/static/live.js", "defer": None}],
        )
        assert "".join(re.findall("<script[^>]*>(.*?)</script>", html, re.DOTALL)) == ""
        for _, attributes in outline.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for target in (attributes.get("href"), attributes.get("action")):
                assert target is None or re.match("/[^/]|/$|data:,$|#(main|failures|reply-title)$", target)
        assert ("html", {"lang": "en"}) in outline.tags


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ("retried-3", "back in the queue: 3"),
        ("retried-17-1-0-0-0-0-0-0", "17 of 18 put back; 1 was answered meanwhile."),
        ("retried-1-2-1-0-0-0-0-0", "1 of 4 put back; 2 were answered meanwhile; 1 was pending already."),
        ("replied-1", "Messages on their way: 1."),
        ("retried-0-2-0-0-0-0-1-1", "0 of 4 put back; 2 were answered meanwhile; 1 was too old"),
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
    assert f"/messages/{failed}" in outline.links


async def test_retrying_all_of_a_person_says_how_many_that_is(page: Drawn) -> None:
    """Also those that are too many for the page."""
    for n in range(102):
        await fail(page.store, ANA, f"text {n}")
    await fail(page.store, BEA, "hola")
    assert ("Retry all 102 of this person", "/api/failures/retry") in Outline(await page.user()).buttons
    assert (await page.store.retry(Failing(user="u1"), who=Operator("test"))).retried == 102


async def test_what_the_model_was_sent_is_shown(page: Drawn) -> None:
    """Instructions, history and the message itself, with a way back to the person."""
    await fail(page.store, ANA, "earlier words")
    await wait(page.store, ANA, "these words")
    outline = Outline(await page.message(2))
    for words in ("Eres el asistente", "earlier words", "these words"):
        assert words in outline.words
    assert "/users/u1" in outline.links


async def test_the_owner_may_write_while_whatsapp_lets_them(page: Drawn) -> None:
    """After 24 hours the box stands there closed, and says why."""
    await wait(page.store, ANA, "hola")
    assert ("Send", "/api/users/u1/reply") in Outline(await page.user()).buttons
    assert "disabled" not in await page.user()
    await wait(page.store, BEA, "hola", minutes_ago=24 * 60 + 1)
    html = await page.user("u2")
    assert html.count(" disabled") == 2
    assert "more than 24 hours old" in html


async def test_each_drawing_of_the_box_has_a_key_of_its_own(page: Drawn) -> None:
    """A double click sends once; what is put in live leaves it alone."""
    await wait(page.store, ANA, "hola")
    keys = [re.findall('name="key" value="([0-9a-f]{24,})"', await page.user()) for _ in range(2)]
    assert [len(found) for found in keys] == [1, 1]
    assert keys[0] != keys[1]
    parts = (await page.parts("/users/u1")).values()
    assert "textarea" not in "".join(parts)
    assert 'name="key"' not in "".join(parts)


async def test_long_texts_are_folded(page: Drawn) -> None:
    """4,000 emojis take no screen after screen; the whole text is there."""
    await wait(page.store, ANA, "🌵" * 4000)
    html = await page.user()
    assert "All 4,000 characters" in html
    assert "🌵" * 4000 in html


async def test_the_audit_says_who_did_what_to_whom_from_where(page: Drawn) -> None:
    """Newest first, in words; nobody's act is left out, and an empty one says what would stand there."""
    assert "Nobody has done anything yet" in await page.audit()
    await wait(page.store, ANA, "one", "two")
    await page.store.clear(1, who=Operator("api", "192.0.2.7"))
    await refuse(page.store)
    await page.store.pause(None, who=Operator("cli"))
    await page.store.try_circuit("model", who=Operator("page"))
    found = re.findall("<tr>(<td>.*?)</tr>", (await page.audit()).replace("</td>", "</td> "), re.DOTALL)
    rows = [" ".join(Outline(row).words.split()).partition(" UTC ")[2] for row in found]
    assert rows == [
        "tried the model again – – page this machine",
        "paused everybody – cli this machine",
        "cancelled what waited u1 2 api 192.0.2.7",
    ]
    assert "Older" in await page.audit("limit=1")


async def test_a_reader_sees_no_buttons(page: Drawn) -> None:
    """The server would refuse them; filters are no buttons."""
    await fail(page.store, ANA, "failing")
    await fail(page.store, ANA, "failing, too")
    await wait(page.store, ANA, "one")
    await refuse(page.store)
    page.visitor = Visitor("reader", "127.0.0.1")
    for html in (await page.status(), await page.user(), await page.clear("u1")):
        outline = Outline(html)
        assert {action for _, action in outline.buttons if action != "/"} <= {""}  # the one of live.js has no form
        assert "checkbox" not in html
        assert "/users/u1/clear" not in outline.links


async def test_hidden_data_can_be_shown_by_who_may(page: Drawn) -> None:
    """Numbers and texts are masked everywhere; one button shows a person's."""
    await fail(page.store, ANA, "secret words", f"no answer for {ANA}")
    page.visitor = Visitor("admin", "127.0.0.1", hides=True)
    for html in (await page.status(), await page.user(), await page.message(1)):
        assert ANA not in html
        assert "secret" not in html
    assert ("Show numbers and texts", "/api/users/u1/reveal") in Outline(await page.user()).buttons
    assert not [link for link in Outline(await page.status()).links if link and "cause=" in link]


async def test_a_user_known_by_a_business_scoped_id_alone_has_a_page(page: Drawn) -> None:
    """No phone, no name, and a message that can't be read."""
    sender = Identity(bsuid="US.13491208655302741918")
    await page.store.append(Batch((Inbound(NUMBER, "wamid.B", sender, "audio", "", "{}", None),)))
    assert "US.13491208655302741918" in await page.status()
    html = await page.user("US.13491208655302741918")
    assert headline(html) == "<bdi>u1</bdi>"
    assert "(audio)" in html


async def test_clearing_asks_first_and_counts_what_it_would_cancel(page: Drawn) -> None:
    """The one being answered goes on, so it isn't counted."""
    await wait(page.store, ANA, "one", "two")
    await wait(page.store, BEA, "three", name="Bea")
    await lease(page.store)
    assert headline(await page.clear("u1")) == "Cancel 1 waiting message of <bdi>Ana</bdi>?"
    assert headline(await page.clear()) == "Cancel 2 waiting messages of everybody?"
    assert Outline(await page.clear("u1")).buttons == [("Cancel 1 message", "/api/users/u1/clear")]
    assert Outline(await page.clear()).buttons == [("Cancel 2 messages", "/api/clear")]


async def test_who_is_paused_may_be_resumed_without_what_waits(page: Drawn) -> None:
    """Behind the same question: it can't be taken back either."""
    await wait(page.store, ANA, "one")
    await page.store.pause(1, who=Operator("test"))
    assert ("Resume, answer 1", "/api/users/u1/resume") in Outline(await page.user("u1")).buttons
    assert ("Cancel 1 message and resume", "/api/users/u1/resume") in Outline(await page.clear("u1")).buttons
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
        "base.html", "status.html", "user.html", "clear.html", "error.html", "live.html", "drawing.html", "pieces.html",
        "message.html", "audit.html", "signin.html",
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
