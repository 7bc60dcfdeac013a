"""The admin listener on real sockets over the real store: what programs read and do, and what the forms get."""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.bell import Bell
from bot.config import settings
from bot.domain import Done, Operator
from bot.store.store import Store
from bot.web.guard import Guard
from tests.flow import described
from tests.flow.listeners import Reply, a_store, a_window, exchange, request, serving
from tests.flow.people import fail, lease, refuse, wait

ANA, BEA = "5215512345678", "5215587654321"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Admin:
    """The admin listener with its store, bell and reasons not to be ready."""

    def __init__(self, store: Store, port: int, bell: Bell, reasons: dict[str, str], file: Path) -> None:
        self.store, self.port, self.bell, self.reasons, self.file = store, port, bell, reasons, file

    async def get(self, path: str, **headers: str) -> Reply:
        """GET something."""
        reply = await exchange(self.port, request("GET", path, **headers))
        described.check("GET", path, reply)
        return reply

    async def post(self, path: str, fields: Any = None, **headers: str) -> Reply:
        """POST JSON, or nothing."""
        body = b"" if fields is None else json.dumps(fields).encode()
        reply = await exchange(self.port, request("POST", path, body, **{"Content_Type": "application/json"} | headers))
        described.check("POST", path, reply)
        return reply

    async def press(self, path: str, form: str = "", *, referer: str = "/", **headers: str) -> Reply:
        """Press a button of the page, as a browser does."""
        host = f"127.0.0.1:{self.port}"
        return await exchange(
            self.port,
            request(
                "POST",
                path,
                form.encode(),
                **{
                    "Host": host,
                    "Origin": f"http://{host}",
                    "Sec_Fetch_Site": "same-origin",
                    "Referer": f"http://{host}{referer}",
                    "Accept": HTML,
                    "Content_Type": "application/x-www-form-urlencoded",
                }
                | headers,
            ),
        )


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    """An admin listener on loopback, without a token, over a new store."""
    bell, reasons = Bell(), dict[str, str]()
    async with a_store(tmp_path) as store:
        app = a_window(store, bell=bell, reasons=reasons)
        async with serving(app) as port:
            yield Admin(store, port, bell, reasons, tmp_path / "bot.db")


async def state_of(admin: Admin, user: str = "u1") -> dict[str, Any]:
    """Read one user over HTTP."""
    return json.loads((await admin.get(f"/api/users/{user}")).body)["user"]


# -- reading


async def test_queue_stats_of_an_empty_and_of_a_busy_queue(admin: Admin) -> None:
    """totalMessages is pending and leased together, activeUsers who has any."""
    empty = json.loads((await admin.get("/queue-stats")).body)
    assert (empty["totalMessages"], empty["activeUsers"]) == (0, 0)
    await wait(admin.store, ANA, "one", "two")
    await wait(admin.store, BEA, "three")
    await lease(admin.store)
    reply = await admin.get("/queue-stats")
    busy = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert (busy["totalMessages"], busy["activeUsers"], busy["leased"], busy["pending"]) == (3, 2, 1, 2)
    assert busy["timestamp"].endswith("Z")


async def test_users_are_listed_deepest_first_and_paged(admin: Admin) -> None:
    """Each page carries the cursor of the next one, the last carries null."""
    for n in range(1, 6):
        await wait(admin.store, f"521550000000{n}", *(f"text {i}" for i in range(n)))
    seen, path = [], "/api/users?limit=2&after="
    while path:
        page = json.loads((await admin.get(path)).body)
        assert len(page["users"]) <= 2
        seen += [user["depth"] for user in page["users"]]
        path = f"/api/users?limit=2&after={page['next']}" if page["next"] else ""
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("path", ["/api/users", "/api/failures", "/"])
@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=", "limit=5.0", "after=x", "after=1-2-3", "after=%00"],
)
async def test_malformed_paging_is_400(admin: Admin, path: str, query: str) -> None:
    """With words that say what it should be."""
    reply = await admin.get(f"{path}?{query}")
    assert reply.status == 400
    assert "must be" in json.loads(reply.body)["error"]


@pytest.mark.parametrize("after", ["9" * 18, f"{'9' * 18}-{'9' * 18}", "0", "7"])
async def test_a_cursor_that_is_none_of_ours_does_no_harm(admin: Admin, after: str) -> None:
    """200, or 400 where it is the other list's; never 500."""
    for path in ("/api/users", "/api/failures"):
        assert (await admin.get(f"{path}?after={after}")).status in {200, 400}


@pytest.mark.parametrize("name", ["u1", ANA, f"+{ANA}", f"%2B{ANA}"])
async def test_a_user_is_found_by_any_id(admin: Admin, name: str) -> None:
    """u17, a phone with or without plus, also URL-encoded."""
    await wait(admin.store, ANA, "hola")
    found = json.loads((await admin.get(f"/api/users/{name}")).body)
    assert found["user"]["user_id"] == "u1"
    assert [message["body"] for message in found["queue"]] == ["hola"]
    assert [line["body"] for line in found["conversation"]] == ["hola"]
    assert found["failures"] == []


UNKNOWN = ["u2", "5215500000000", "u" + "9" * 30, "u" + "9" * 5000, "ñ", "%ED%A0%80", "%00", "u-1", "u1 ", "'"]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_an_unknown_user_is_404_wherever_it_is_named(admin: Admin, name: str) -> None:
    """As JSON for programs; nothing is done."""
    await wait(admin.store, ANA, "hola")
    path = f"/api/users/{quote(name, safe='%')}"
    replies = [await admin.get(path)]
    replies += [await admin.post(f"{path}/{verb}") for verb in ("pause", "resume", "clear")]
    assert [reply.status for reply in replies] == [404] * 4
    assert all("error" in json.loads(reply.body) for reply in replies)
    assert (await state_of(admin))["state"] == "waiting"


async def test_failures_are_listed_newest_first_with_their_reason(admin: Admin) -> None:
    """Id, user, words, error, tries, time, and whether a retry is possible."""
    first = await fail(admin.store, ANA, "what time is it?", "the model broke")
    second = await fail(admin.store, BEA, "hello?", "expired")
    listed = json.loads((await admin.get("/api/failures")).body)
    assert [failure["id"] for failure in listed["failures"]] == [second, first]
    assert listed["failures"][1] | {"failed_at": ""} == listed["failures"][1] | {
        "id": first, "user_id": "u1", "body": "what time is it?", "error": "the model broke", "retryable": True,
        "failed_at": "",
    }  # fmt: skip
    assert listed["next"] is None
    assert len(json.loads((await admin.get("/api/failures?limit=1")).body)["failures"]) == 1


# -- acting


async def test_a_failed_message_is_retried_and_the_bell_rings(admin: Admin) -> None:
    """It waits again; the scheduler is woken."""
    message = await fail(admin.store, ANA, "hola")
    reply = await admin.post(f"/api/messages/{message}/retry")
    assert (reply.status, json.loads(reply.body)) == (200, {"retried": 1})
    assert (await state_of(admin))["depth"] == 1
    assert await admin.bell.wait(0)


async def test_a_retry_of_what_has_not_failed_is_409_and_of_nothing_404(admin: Admin) -> None:
    """With the reason; malformed ids are 400."""
    await wait(admin.store, ANA, "hola")
    waiting = await admin.post("/api/messages/1/retry")
    assert waiting.status == 409
    assert "pending" in json.loads(waiting.body)["error"]
    assert (await admin.post("/api/messages/99/retry")).status == 404
    assert (await admin.post(f"/api/messages/{'9' * 18}/retry")).status == 404
    for malformed in ("x", "-1", "1.0", "9" * 40, "%C2%B2", "0x1"):
        assert (await admin.post(f"/api/messages/{malformed}/retry")).status == 400


async def test_of_named_failures_what_can_be_is_put_back_and_the_rest_is_told(admin: Admin) -> None:
    """404 where all are unknown, 409 where none of them can be."""
    one, two, three = [await fail(admin.store, ANA, text) for text in ("one", "two", "three")]
    assert (await admin.post("/api/failures/retry", {"ids": [98, 99]})).status == 404
    assert json.loads((await admin.post("/api/failures/retry", {"ids": [one]})).body)["retried"] == 1
    await admin.store.settle(await lease(admin.store), Done(), claim=False)
    refused = await admin.post("/api/failures/retry", {"ids": [one, 99]})
    assert refused.status == 409
    assert "1 was answered meanwhile; 1 was not found" in json.loads(refused.body)["detail"]
    told = json.loads((await admin.post("/api/failures/retry", {"ids": [one, two, three, 99]})).body)
    assert told == {"retried": 2, "skipped": 2, "why": {"was answered meanwhile": 1, "was not found": 1}}


async def test_an_answer_that_could_not_be_delivered_is_no_failure_to_retry(admin: Admin) -> None:
    """Its message was answered; the list says that it can't be retried."""
    await wait(admin.store, ANA, "hola")
    await admin.store.settle(await lease(admin.store), Done(), claim=False)
    row = "INSERT INTO replies (user_id, outbox_id, part, kind, body, state, delivery, planned_at)"
    await admin.store._db.write(
        lambda db: db.execute(f"{row} VALUES (1, 1, 1, 'answer', 'hi', 'sent', 'failed', datetime('now'))")
    )
    refused = await admin.post("/api/messages/1/retry")
    assert (refused.status, "couldn't be delivered" in json.loads(refused.body)["detail"]) == (409, True)


@pytest.mark.parametrize("field", ["cause", "user", "search"])
async def test_an_empty_filter_retries_nothing(admin: Admin, field: str) -> None:
    """A script whose variable was empty doesn't mean everything."""
    await fail(admin.store, ANA, "one")
    assert (await admin.post("/api/failures/retry", {field: ""})).status == 400
    assert (await admin.press("/api/failures/retry", f"{field}=")).status == 400


async def test_what_a_filter_means_is_retried(admin: Admin) -> None:
    """The same filter as the list's; JSON and a form alike."""
    await fail(admin.store, ANA, "one", "bad")
    await fail(admin.store, BEA, "two", "worse")
    await fail(admin.store, BEA, "three", "bad")
    assert (
        json.loads((await admin.post("/api/failures/retry", {"cause": "bad", "user": f"+{ANA}"})).body)["retried"] == 1
    )
    reply = await admin.press("/api/failures/retry", "search=TWO")
    assert reply.headers["location"] == "/?done=retried-1"
    assert (await admin.post("/api/failures/retry", {"user": "nobody"})).status == 404
    left = json.loads((await admin.get("/api/failures")).body)
    assert [failure["body"] for failure in left["failures"]] == ["three"]


async def test_lists_are_filtered_as_the_page_asks(admin: Admin) -> None:
    """What a filter doesn't know is 400, with its name."""
    await fail(admin.store, ANA, "one", "bad")
    await wait(admin.store, BEA, "two", name="Bea")
    users = json.loads((await admin.get("/api/users?search=bea&state=waiting&sort=oldest")).body)["users"]
    assert [user["user_id"] for user in users] == ["u2"]
    failures = json.loads((await admin.get("/api/failures?cause=bad&user=u1&search=on")).body)
    assert [failure["body"] for failure in failures["failures"]] == ["one"]
    assert (failures["total"], failures["retryable"]) == (1, 1)
    assert json.loads((await admin.get("/api/failures?cause=good")).body)["total"] == 0
    assert json.loads((await admin.get("/api/causes")).body) == {
        "causes": [{"error": "bad", "count": 1, "retryable": 1}]
    }
    malformed = ["state=asleep", "sort=name", f"search={'x' * 201}", "search=%00", "after=1-2-3"]
    for query in malformed:
        reply = await admin.get(f"/api/users?{query}")
        assert (reply.status, json.loads(reply.body)["field"]) == (400, query.partition("=")[0])
    assert (await admin.get("/api/failures?user=nobody")).status == 404


async def test_what_the_model_was_sent_is_told(admin: Admin) -> None:
    """Instructions with time and name filled in, the history, the words."""
    message = await fail(admin.store, ANA, "hola")
    asked = json.loads((await admin.get(f"/api/messages/{message}/model")).body)
    assert "«Ana»" in asked["instructions"]
    del asked["instructions"]
    assert asked == {"user_id": "u1", "history": [], "quotes": None, "text": "hola"}
    assert (await admin.get("/api/messages/99/model")).status == 404
    assert (await admin.get("/api/messages/x/model")).status == 400


async def test_the_owner_answers_by_the_same_way(admin: Admin) -> None:
    """Long texts are split as answers are; an empty one is 400, an unknown person 404, a silent one 409."""
    await wait(admin.store, ANA, "hola")
    reply = await admin.post(f"/api/users/{ANA}/reply", {"text": " ¡Hola!\r\n¿Qué tal? "})
    assert json.loads(reply.body) == {"replies": 1}
    assert json.loads((await admin.post("/api/users/u1/reply", {"text": "x" * 5000})).body) == {"replies": 2}
    for malformed in ({}, {"text": ""}, {"text": " \n"}, {"text": 7}, {"text": "x" * 16_385}):
        assert (await admin.post("/api/users/u1/reply", malformed)).status == 400
    assert (await admin.post("/api/users/u9/reply", {"text": "hola"})).status == 404
    await wait(admin.store, BEA, "hola", minutes_ago=25 * 60)
    assert (await admin.post("/api/users/u2/reply", {"text": "hola"})).status == 409
    told = json.loads((await admin.get("/api/users/u1")).body)["conversation"][1:]
    assert [(line["kind"], line["body"][:7], line["message_id"]) for line in told] == [
        ("human", "¡Hola!\n", None), ("human", "xxxxxxx", None), ("human", "xxxxxxx", None),
    ]  # fmt: skip
    acts = json.loads((await admin.get("/api/audit")).body)["audit"]
    assert [(act["action"], act["user_id"], act["messages"]) for act in acts] == [
        ("reply", "u1", 2),
        ("reply", "u1", 1),
    ]


async def test_a_reply_with_a_key_may_be_sent_twice(admin: Admin) -> None:
    """JSON and the page's form alike: the answer is the first one's, nothing is planned again; other words are 409."""
    await wait(admin.store, ANA, "hola")
    for _ in range(2):
        assert json.loads((await admin.post("/api/users/u1/reply", {"text": "one", "key": "k" * 200})).body) == {
            "replies": 1
        }
        clicked = await admin.press("/api/users/u1/reply", "text=two&key=page", referer="/users/u1")
        assert clicked.headers["location"] == "/users/u1?done=replied-1"
    refused = await admin.post("/api/users/u1/reply", {"text": "three", "key": "page"})
    assert (refused.status, "key" in json.loads(refused.body)["detail"]) == (409, True)
    for malformed in ("", "k" * 201, 7, None, "\ud800", "\0"):
        reply = await admin.post("/api/users/u1/reply", {"text": "four", "key": malformed})
        assert (reply.status, json.loads(reply.body)["field"]) == (400, "key")
    told = json.loads((await admin.get("/api/users/u1")).body)["conversation"][1:]
    assert [line["body"] for line in told] == ["one", "two"]


async def test_the_audit_tells_who_did_what_from_where(admin: Admin) -> None:
    """Newest first, paged; what changed nothing is no act."""
    await wait(admin.store, ANA, "one", "two")
    for _ in range(2):
        assert json.loads((await admin.post("/api/users/u1/pause")).body) == {"users": 1}
    for skipped in (2, 0):
        told = json.loads((await admin.press("/api/users/u1/resume", "waiting=skip", Accept="*/*")).body)
        assert told == {"users": 1, "messages": skipped}
    first = json.loads((await admin.get("/api/audit?limit=1")).body)
    (resumed,) = first["audit"]
    del resumed["at"], resumed["id"]
    assert resumed == {"who": "api", "address": "127.0.0.1", "action": "resume", "user_id": "u1", "messages": 2}
    rest = json.loads((await admin.get(f"/api/audit?after={first['next']}")).body)
    assert [act["action"] for act in rest["audit"]] == ["pause"]
    assert rest["next"] is None


async def test_without_ids_every_failure_is_retried_but_an_empty_list_is_none(admin: Admin) -> None:
    """`{"ids": []}` names nothing; a program that selected nothing must not retry everything."""
    for text in ("one", "two", "three"):
        await fail(admin.store, ANA if text == "one" else BEA, text)
    assert json.loads((await admin.post("/api/failures/retry", {"ids": []})).body)["retried"] == 0
    assert (await admin.press("/api/failures/retry", "ids=")).headers["location"] == "/?done=retried-0"
    assert json.loads((await admin.post("/api/failures/retry")).body) == {"retried": 3}
    assert json.loads((await admin.post("/api/failures/retry", {})).body) == {"retried": 0}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/failures/retry", b"{"),
        ("/api/failures/retry", b"[1]"),
        ("/api/failures/retry", b"\xff"),
        ("/api/failures/retry", b"[" * 50_000),
        ("/api/failures/retry", b'{"ids": 7}'),
        ("/api/failures/retry", b'{"ids": ["x"]}'),
        ("/api/failures/retry", b'{"ids": [true]}'),
        ("/api/failures/retry", b'{"ids": [1.5]}'),
        ("/api/failures/retry", b'{"ids": [-1]}'),
        ("/api/failures/retry", b'{"ids": [1e30]}'),
        ("/api/failures/retry", b'{"id": [1]}'),
        ("/api/failures/retry", b'{"ids": null}'),
        ("/api/failures/retry", b'{"ids": [1], "cause": "x"}'),
        ("/api/failures/retry", b'{"cause": null}'),
        ("/api/failures/retry", b'{"search": "\\ud800"}'),
        ("/api/failures/retry", b'{"ids": [' + b"9" * 5000 + b"]}"),
        ("/api/resume", b'{"waiting": "skipp"}'),
        ("/api/resume", b'{"waiting": {}}'),
        ("/api/resume", b'{"waiting": []}'),
        ("/api/resume", b'{"wait": "skip"}'),
        ("/api/users/u1/resume", b"null"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_a_malformed_body_is_400_and_does_nothing(
    admin: Admin, path: str, body: bytes, content_type: str
) -> None:
    """A typing mistake in a field must not become "all"."""
    await fail(admin.store, ANA, "hola")
    await admin.store.pause(1, who=Operator("test"))
    reply = await exchange(admin.port, request("POST", path, body, Content_Type=content_type))
    assert reply.status == 400
    assert json.loads(reply.body)["field"] in {"body", "ids", "cause", "search", "waiting"}
    assert (await state_of(admin))["failed"] == 1
    assert (await state_of(admin))["paused"]


async def test_a_user_is_paused_and_resumed(admin: Admin) -> None:
    """What they wrote waits meanwhile, and is answered after; the bell rings at the resume."""
    await wait(admin.store, ANA, "one", "two")
    assert json.loads((await admin.post("/api/users/u1/pause")).body) == {"users": 1}
    assert (await state_of(admin))["state"] == "paused"
    assert json.loads((await admin.post(f"/api/users/+{ANA}/resume")).body) == {"users": 1, "messages": 0}
    assert (await state_of(admin))["state"] == "waiting"
    assert await admin.bell.wait(0)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_a_resume_can_skip_what_waits(admin: Admin, content_type: str) -> None:
    """JSON is understood under curl's default content type too."""
    await wait(admin.store, ANA, "one", "two")
    await admin.post("/api/users/u1/pause")
    reply = await admin.post("/api/users/u1/resume", {"waiting": "skip"}, Content_Type=content_type)
    assert json.loads(reply.body) == {"users": 1, "messages": 2}
    assert (await state_of(admin))["state"] == "idle"


async def test_everything_is_paused_resumed_and_cleared(admin: Admin) -> None:
    """The switch for all is one of its own: a single pause outlives it."""
    await wait(admin.store, ANA, "one", "two")
    await wait(admin.store, BEA, "three")
    await admin.post("/api/users/u2/pause")
    assert json.loads((await admin.post("/api/pause")).body) == {"users": 2}
    assert json.loads((await admin.get("/queue-stats")).body)["paused"]
    assert (await admin.get("/readyz")).status == 503
    assert json.loads((await admin.post("/api/resume")).body)["users"] == 2
    assert (await state_of(admin, "u2"))["paused"]
    assert json.loads((await admin.post("/api/clear")).body) == {"users": 2, "messages": 3}
    assert json.loads((await admin.get("/queue-stats")).body)["totalMessages"] == 0


async def test_a_clear_of_one_user_leaves_the_others_and_the_one_being_answered(admin: Admin) -> None:
    """Rows stay as `cancelled`; a message on its way to an answer is not taken away."""
    await wait(admin.store, ANA, "one", "two", "three")
    await lease(admin.store)
    await wait(admin.store, BEA, "four")
    assert json.loads((await admin.post("/api/users/u1/clear")).body) == {"users": 1, "messages": 2}
    assert json.loads((await admin.get("/queue-stats")).body)["totalMessages"] == 2


async def test_a_circuit_is_tried_now_or_says_that_it_is_not_open(admin: Admin) -> None:
    """The probe is due at once and the bell rings; 409 when nothing is wrong, 404 for what is no service."""
    assert (await admin.post("/api/circuits/model/try")).status == 409
    assert (await admin.post("/api/circuits/moodle/try")).status == 404
    await refuse(admin.store)
    reply = await admin.post("/api/circuits/model/try")
    assert reply.status == 200
    assert await admin.bell.wait(0)
    assert (await lease(admin.store)).probes


async def test_each_action_leaves_a_line_in_the_log_and_a_row_in_the_audit(admin: Admin) -> None:
    """Who was meant, how much it was, by which way it came; never a phone number, even where the path has one."""
    message = await fail(admin.store, ANA, "hola")
    await wait(admin.store, ANA, "one", "two")
    await refuse(admin.store)
    with capture_logs() as lines:
        await admin.press(f"/api/messages/{message}/retry")
        await admin.post("/api/failures/retry", {"search": ANA})
        await admin.post(f"/api/users/{ANA}/pause")
        await admin.press("/api/users/u1/resume", "waiting=skip")
        await admin.post("/api/clear")
        await admin.post("/api/circuits/model/try")
        assert (await admin.post("/api/circuits/graph/try")).status == 409
    acts = [{key: value for key, value in line.items() if key not in {"event", "log_level"}} for line in lines]
    assert {(line["event"], line["log_level"]) for line in lines} == {("operator", "info")}
    assert acts == [
        {"action": "retried", "ids": [message], "retried": 1, "who": "page", "route": "/api/messages/{id}/retry"},
        {"action": "retried", "filter": ["search"], "retried": 0, "who": "api", "route": "/api/failures/retry"},
        {"action": "paused", "user": "u1", "users": 1, "who": "api", "route": "/api/users/{user_id}/{verb}"},
        {"action": "resumed", "user": "u1", "users": 1, "messages": 3, "who": "page",
         "route": "/api/users/{user_id}/{verb}"},
        {"action": "cleared", "user": "everybody", "users": 1, "messages": 1, "who": "api", "route": "/api/{verb}"},
        {"action": "trying", "user": "everybody", "service": "model", "circuits": 1, "who": "api",
         "route": "/api/circuits/{service}/try"},
    ]  # fmt: skip
    with contextlib.closing(sqlite3.connect(admin.file)) as file:
        rows = [row[0] for row in file.execute("SELECT action FROM audit ORDER BY id")]
    assert rows == ["retry", "pause", "resume", "clear", "try model"]  # the second retry changed nothing


async def test_a_verb_is_no_link(admin: Admin) -> None:
    """No GET changes anything: 405 says how it would go."""
    for path in ("/api/pause", "/api/failures/retry", "/api/users/u1/clear"):
        reply = await admin.get(path)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert json.loads(reply.body)["title"] == "Method Not Allowed"
    assert (await admin.get("/nothing")).status == 404


async def test_errors_are_problem_details(admin: Admin) -> None:
    """RFC 9457; `error` says what `detail` does, for older programs."""
    reply = await admin.get("/api/users/nobody")
    assert reply.headers["content-type"].startswith("application/problem+json")
    problem = json.loads(reply.body)
    assert problem["error"] == problem["detail"]
    assert problem | {"error": "", "detail": ""} == {
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "", "error": "",
    }  # fmt: skip
    assert json.loads((await admin.get("/api/users?limit=x")).body)["field"] == "limit"


# -- probes


async def test_readyz_says_why_not(admin: Admin) -> None:
    """What the process knows and what the file knows, in words."""
    assert json.loads((await admin.get("/readyz")).body) == {"ready": True}
    admin.reasons["stop"] = "stopping"
    await refuse(admin.store)
    reply = await admin.get("/readyz")
    answer = json.loads(reply.body)
    assert (reply.status, answer["ready"]) == (503, False)
    assert answer["reasons"][0] == "stopping"
    assert "Incorrect API key" in answer["reasons"][1]
    assert (await admin.get("/healthz")).status == 200


async def test_a_store_that_cannot_be_written_is_503_and_a_reason(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another program holds the write lock for long, reading goes on and writing says why not."""
    monkeypatch.setattr("bot.store.store.WEBHOOK_PATIENCE_SECONDS", 0.1)
    await wait(admin.store, ANA, "hola")
    holder = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute('begin immediate'); print(flush=True); input()"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", holder, str(admin.file), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    await other.stdout.readline()
    try:
        reply = await admin.post("/api/users/u1/pause")
        assert reply.status == 503
        assert "lock" in json.loads(reply.body)["error"]
        ready = json.loads((await admin.get("/readyz")).body)
        assert "can't be written" in ready["reasons"][0]
        assert (await admin.get("/queue-stats")).status == 200
    finally:
        await other.communicate(b"\n")


# -- the forms of the page


async def test_a_button_leads_back_to_its_page_which_tells_what_was_done(admin: Admin) -> None:
    """303 to where it was pressed; the page says it in words."""
    message = await fail(admin.store, ANA, "hola")
    reply = await admin.press(f"/api/messages/{message}/retry")
    assert (reply.status, reply.headers["location"]) == (303, "/?done=retried-1")
    assert "back in the queue: 1" in (await admin.get(reply.headers["location"])).body
    reply = await admin.press("/api/users/u1/pause", referer="/users/u1?done=resumed-1-0")
    assert reply.headers["location"] == "/users/u1?done=paused-1"
    reply = await admin.press("/api/users/u1/pause", referer=f"/users/+{ANA}")
    assert reply.headers["location"] == f"/users/+{ANA}?done=paused-1"
    reply = await admin.press("/api/users/u1/resume", "waiting=skip", referer="/users/u1")
    assert reply.headers["location"] == "/users/u1?done=resumed-1-1"
    reply = await admin.press("/api/failures/retry")
    assert reply.headers["location"] == "/?done=retried-0"
    again = await fail(admin.store, BEA, "again")
    reply = await admin.press("/api/failures/retry", f"ids=&ids={message}&ids={again}")
    assert "1 of 2 put back; 1 was cancelled." in (await admin.get(reply.headers["location"])).body


@pytest.mark.parametrize(
    "referer",
    ["http://evil.example/", "http://evil.example/users/u1", "//evil.example", "javascript:alert(1)", "", "/../x"],
)
async def test_a_button_never_leads_to_another_site(admin: Admin, referer: str) -> None:
    """Whatever Referer says, the way back is a path of ours."""
    reply = await admin.press("/api/pause", Referer=referer)
    assert (reply.status, reply.headers["location"]) == (303, "/?done=paused-0")


async def test_a_button_that_could_not_be_pressed_shows_the_reason_on_a_page(admin: Admin) -> None:
    """The status is the same as for programs, the words stand on a page with a way back."""
    await wait(admin.store, ANA, "hola")
    reply = await admin.press("/api/messages/1/retry")
    assert reply.status == 409
    assert "only a failed one can be retried" in reply.body
    assert reply.headers["content-type"].startswith("text/html")


async def test_a_form_names_ids_as_often_as_it_likes(admin: Admin) -> None:
    """`ids=1&ids=2`, as checkboxes do."""
    one, two = await fail(admin.store, ANA, "one"), await fail(admin.store, BEA, "two")
    reply = await admin.press("/api/failures/retry", f"ids={one}&ids={two}")
    assert reply.headers["location"] == "/?done=retried-2"


# -- the guard


async def test_foreign_hosts_pages_and_proxies_are_turned_away_with_a_reason(admin: Admin) -> None:
    """Before anything is done or shown; the reason says what to set."""
    await wait(admin.store, ANA, "hola")
    for headers in ({"Host": "evil.example"}, {"X_Forwarded_For": "1.2.3.4"}):
        for path in ("/", "/queue-stats", "/healthz", "/static/page.css", "/nothing"):
            reply = await admin.get(path, **headers)
            assert reply.status == 403
            assert json.loads(reply.body)["error"]
    assert (await admin.post("/api/users/u1/pause", Origin="http://evil.example")).status == 403
    assert (await state_of(admin))["state"] == "waiting"


async def test_an_exposed_listener_asks_for_the_token(tmp_path: Path) -> None:
    """401 with a challenge that programs understand; with the token everything is served."""
    guard = Guard(settings.Admin(token=SecretStr("s3cret"), allowed_hosts=("bot.example.com",)), "key")
    async with a_store(tmp_path) as store:
        app = a_window(store, guard=guard)
        async with serving(app) as port:
            refused = await exchange(port, request("GET", "/queue-stats", Host="bot.example.com"))
            assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Beare")
            headers = {"Host": "bot.example.com", "Authorization": "Bearer s3cret", "X_Forwarded_For": "9.9.9.9"}
            assert (await exchange(port, request("GET", "/queue-stats", **headers))).status == 200
            posted = request("POST", "/api/pause", Origin="https://bot.example.com", **headers)
            assert (await exchange(port, posted)).status == 200


async def test_every_answer_carries_the_security_headers(admin: Admin) -> None:
    """No script, no frame, no cache, no address of ours for other sites: pages, JSON, errors and redirects alike."""
    for reply in (
        await admin.get("/"),
        await admin.get("/queue-stats"),
        await admin.get("/nothing"),
        await admin.get("/static/page.css"),
        await admin.get("/", Host="evil.example"),
        await admin.press("/api/pause"),
    ):
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "same-origin"
        assert reply.headers["cache-control"] in {"no-store", "no-cache"}


async def test_what_breaks_inside_is_500_without_words_of_users_in_the_log(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer has no trace, the log has one, neither has what the error quotes."""

    said = f"hola from {ANA}"

    async def broken() -> None:
        raise KeyError(said)

    monkeypatch.setattr(admin.store.insights, "queue_stats", broken)
    with capture_logs() as lines:
        reply = await admin.get("/queue-stats")
    assert reply.status == 500
    assert "Traceback" not in reply.body
    (line,) = lines
    assert (line["log_level"], line["error"]) == ("error", "KeyError")
    assert ANA not in json.dumps(lines) + reply.body


async def test_a_cancelled_or_answered_message_cannot_be_retried(admin: Admin) -> None:
    """409 names the state."""
    await wait(admin.store, ANA, "one")
    await admin.store.settle(await lease(admin.store), Done(), claim=False)
    reply = await admin.post("/api/messages/1/retry")
    assert (reply.status, "was answered meanwhile" in json.loads(reply.body)["error"]) == (409, True)
