"""The public listener on real sockets: what is taken, what is refused, and that nothing makes it stumble."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot.bell import Bell
from bot.domain import Appended, Batch
from bot.emulator.payloads import encode, sign, text_message, webhook
from bot.errors import StoreFull, StoreUnavailable
from bot.metrics import Metrics
from bot.store.store import Store
from bot.web.public import MOST_BYTES, public_app
from tests.flow.listeners import APP_SECRET, a_number, a_store, exchange, read_reply, request, serving


def build(store: Any, bell: Bell | None = None, *, body_seconds: float = 10.0) -> aiohttp.web.Application:
    """Build the public app over a store."""
    return public_app(a_number(), store=store, bell=bell or Bell(), metrics=Metrics(), body_seconds=body_seconds)


def signed(body: bytes, **headers: str) -> bytes:
    """Write a signed POST."""
    return request("POST", "/webhook", body, X_Hub_Signature_256=sign(APP_SECRET, body), **headers)


def said(*texts: str, wa_id: str = "5215512345678") -> bytes:
    """Write a webhook's body with texts of one user."""
    return encode(webhook(messages=[text_message(body=text, wa_id=wa_id) for text in texts]))


class Stub:
    """A store whose append does what a test wants."""

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[Batch] = []
        self._error = error

    async def append(self, batch: Batch) -> Appended:
        """Keep the batch, or raise."""
        if self._error:
            raise self._error
        self.batches.append(batch)
        return Appended(new=len(batch.messages), known=0, statuses=0, users=tuple(range(1, 8)))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A real store."""
    async with a_store(tmp_path) as opened:
        yield opened


# -- what is taken


async def test_a_signed_message_is_answered_200_and_stored_and_the_bell_rings(store: Store) -> None:
    """200 with an empty body, the message waits in the store, and the scheduler is woken."""
    bell = Bell()
    async with serving(build(store, bell)) as port:
        reply = await exchange(port, signed(said("hola")))
    assert (reply.status, reply.body) == (200, "")
    assert (await store.insights.queue_stats())["pending"] == 1
    assert await bell.wait(0)


async def test_a_redelivery_changes_nothing(store: Store) -> None:
    """The same body again, from another connection, is acknowledged and known."""
    body = said("hola")
    async with serving(build(store)) as port:
        replies = [(await exchange(port, signed(body))).status for _ in range(3)]
    assert replies == [200, 200, 200]
    assert (await store.insights.queue_stats())["totalMessages"] == 1


async def test_the_signature_is_of_the_bytes_as_they_came() -> None:
    r"""Meta's `\u00a1`, `\ud83d` and `\/` don't survive re-encoding; both published vectors pass."""
    escaped = (
        rb'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":'
        rb'{"messages":[{"id":"wamid.X","type":"text","text":{"body":"\u00a1Ol\u00e9! \ud83d\ude00 a\/b"}}]}}]}]}'
    )
    raw = json.dumps(json.loads(escaped), ensure_ascii=False, separators=(",", ":"))
    vectors = {
        escaped: "9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6d",
        raw.encode(): "3c5ee33f41792c7aebf9e0851051eaebe92a0aa02446668125e2fad638286f70",
    }
    async with serving(build(Stub())) as port:
        for body, digest in vectors.items():
            post = request("POST", "/webhook", body, X_Hub_Signature_256=f"sha256={digest}")
            assert (await exchange(port, post)).status == 200


async def test_a_body_in_many_pieces_and_chunks_is_taken(store: Store) -> None:
    """A slow but honest client, with Content-Length or chunked, is no different from a fast one."""
    body = said("a" * 1000)
    post = signed(body)
    chunked = signed(b"", Transfer_Encoding="chunked", Content_Length="").replace(
        sign(APP_SECRET, b"").encode(), sign(APP_SECRET, body).encode()
    )
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:10], body[10:500], body[500:])]
    async with serving(build(store)) as port:
        assert (await exchange(port, *(post[i : i + 97] for i in range(0, len(post), 97)))).status == 200
        assert (await exchange(port, chunked, *chunks, b"0\r\n\r\n")).status == 200
    assert (await store.insights.queue_stats())["totalMessages"] == 1


async def test_expect_100_continue_is_granted() -> None:
    """Some proxies ask before they send a large body."""
    post = signed(said("hola"), Expect="100-continue")
    head, body = post.split(b"\r\n\r\n", 1)
    async with serving(build(Stub())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_reply(reader)).status == 200
        writer.close()


async def test_a_thousand_messages_of_nearly_3_mib_are_taken_at_once(store: Store) -> None:
    """Meta's largest webhook: all of it in one transaction, then 200."""
    texts = [f"{i:04} " + "x" * 2700 for i in range(1000)]
    body = said(*texts)
    assert 2.7 * 2**20 < len(body) < MOST_BYTES
    async with serving(build(store)) as port:
        assert (await exchange(port, signed(body))).status == 200
    assert (await store.insights.queue_stats())["totalMessages"] == 1000


ODD_OBJECTS: list[Any] = [
    {},
    {"entry": None},
    {"entry": [1, None, "x", {"changes": "no"}, {"changes": [None, {"value": []}, {"field": 7, "value": {}}]}]},
    {"object": "page", "entry": [{"id": 5, "changes": [{"field": "messages", "value": {"messages": {}}}]}]},
    {"entry": {"0": {}}},
    webhook(messages=[{"id": 17, "from": 5215512345678, "timestamp": 1.5, "type": ["text"], "text": "x"}]),
    webhook(messages=[{"id": "wamid.N", "from": "521", "timestamp": "0", "type": "text", "text": {"body": 5}}]),
    webhook(messages=[text_message(body="lone \ud83d and nul \x00", wa_id="5215512345678", wamid="wamid.S")]),
    webhook(messages=[text_message(body="x", wa_id="9" * 10_000, wamid="w" * 10_000)]),
    webhook(statuses=[{"id": None, "status": {}}, {"id": "wamid.U", "status": "sent", "timestamp": "soon"}]),
    webhook("123456123", messages=[text_message(body="Meta's sample", wa_id="16315551181")]),
]


@pytest.mark.parametrize("odd", ODD_OBJECTS, ids=range(len(ODD_OBJECTS)))
async def test_a_signed_object_is_200_whatever_is_in_it(store: Store, odd: Any) -> None:
    """A 4xx would mean days of redelivery; and the good neighbour that comes next is stored all the same."""
    async with serving(build(store)) as port:
        reply = await exchange(port, signed(encode(odd)))
        before = (await store.insights.queue_stats())["totalMessages"]
        assert (await exchange(port, signed(said("neighbour")))).status == 200
    assert (reply.status, reply.body) == (200, "")
    assert (await store.insights.queue_stats())["totalMessages"] == before + 1


async def test_an_odd_message_leaves_its_neighbours_in_the_batch_alone(store: Store) -> None:
    """Of a batch of three the two good ones are stored."""
    good = [text_message(body=text, wa_id="5215512345678") for text in ("one", "two")]
    odd = {"id": {}, "from": [], "timestamp": {}, "type": 5}
    body = encode(webhook(messages=[good[0], odd, good[1]]))
    async with serving(build(store)) as port:
        assert (await exchange(port, signed(body))).status == 200
    assert (await store.insights.queue_stats())["pending"] == 2


# -- the subscription check


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("hub.mode=subscribe&hub.verify_token=the+verify+token&hub.challenge=1158201444", 200, "1158201444"),
        ("hub.mode=subscribe&hub.verify_token=the+verify+token&hub.challenge=%3Cb%3E", 200, "<b>"),
        ("hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1", 403, "wrong hub.verify_token or hub.mode\n"),
        ("hub.mode=unsubscribe&hub.verify_token=the+verify+token", 403, "wrong hub.verify_token or hub.mode\n"),
        ("hub.mode=subscribe&hub.verify_token=%ED%A0%80", 403, "wrong hub.verify_token or hub.mode\n"),
        ("", 403, "wrong hub.verify_token or hub.mode\n"),
    ],
)
async def test_the_subscription_check(query: str, status: int, body: str) -> None:
    """The challenge comes back as it is, as plain text, for the right token alone."""
    async with serving(build(Stub())) as port:
        reply = await exchange(port, request("GET", f"/webhook?{query}"))
    assert (reply.status, reply.body) == (status, body)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_without_a_verify_token_nobody_subscribes() -> None:
    """An empty token must not fit an empty configuration."""
    app = public_app(a_number(verify_token=""), store=Stub(), bell=Bell(), metrics=Metrics())
    async with serving(app) as port:
        reply = await exchange(port, request("GET", "/webhook?hub.mode=subscribe&hub.verify_token=&hub.challenge=1"))
    assert reply.status == 403


# -- what is refused


BODY = said("hola")
REFUSED: dict[str, tuple[bytes, int]] = {
    "no signature": (request("POST", "/webhook", BODY), 401),
    "a wrong signature": (request("POST", "/webhook", BODY, X_Hub_Signature_256="sha256=" + "0" * 64), 401),
    "a signature of other bytes": (
        request("POST", "/webhook", BODY + b" ", X_Hub_Signature_256=sign(APP_SECRET, BODY)),
        401,
    ),
    "an odd signature": (request("POST", "/webhook", BODY, X_Hub_Signature_256="sha256=ä"), 401),
    "unsigned and unparseable": (request("POST", "/webhook", b"{"), 401),
    "unsigned and empty": (request("POST", "/webhook"), 401),
    "not JSON": (signed(b"hello"), 400),
    "empty": (signed(b""), 400),
    "a list": (signed(b"[]"), 400),
    "a number": (signed(b"17"), 400),
    "not UTF-8": (signed(b'{"a": "\xff"}'), 400),
    "100,000 nested brackets": (signed(b"[" * 100_000 + b"]" * 100_000), 400),
    "100,000 nested objects": (signed(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400),
    "compressed": (signed(gzip.compress(BODY), Content_Encoding="gzip"), 400),
    "8 MiB": (request("POST", "/webhook", b" " * (8 * 2**20)), 413),
    "8 MiB, signed": (signed(b" " * (8 * 2**20)), 413),
    "another path": (request("GET", "/"), 404),
    "the admin's path": (request("GET", "/queue-stats"), 404),
    "another method": (request("PUT", "/webhook", BODY), 405),
    "HEAD": (request("HEAD", "/webhook"), 405),
    "DELETE of healthz": (request("DELETE", "/healthz"), 405),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400),
    "a broken header": (b"POST /webhook HTTP/1.1\r\nno colon here\r\n\r\n", 400),
    "two lengths": (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    "a negative length": (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
    "a header of 20 kB": (request("POST", "/webhook", BODY, X_Long="x" * 20_000), 400),
    "a broken chunk": (b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 4xx with a short reason in plain text; nothing reaches the store; no error and no traceback in the log."""
    store = Stub()
    sent, status = REFUSED[name]
    with capture_logs() as lines:
        async with serving(build(store)) as port:
            reply = await exchange(port, sent)
    assert reply.status == status
    assert "Traceback" not in reply.body
    assert len(reply.body) < 500
    assert reply.headers["content-type"].startswith("text/plain")
    assert store.batches == []
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_without_end_is_413_when_it_passes_3_mib() -> None:
    """Chunked bodies declare no length; it is counted as it comes."""
    head = request("POST", "/webhook", Transfer_Encoding="chunked", Content_Length="")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    async with serving(build(Stub())) as port:
        assert (await exchange(port, head, *[chunk] * 60)).status == 413


async def test_a_body_of_exactly_3_mib_is_taken_and_one_byte_more_is_not() -> None:
    """The limit is Meta's own."""
    async with serving(build(Stub())) as port:
        for size, status in ((MOST_BYTES, 200), (MOST_BYTES + 1, 413)):
            body = b"{}".ljust(size)
            assert (await exchange(port, signed(body))).status == status


async def test_slow_clients_by_the_hundred_get_a_408_and_stall_nobody() -> None:
    """Who never finishes is let go after the body's own time limit; others are served meanwhile as ever."""
    async with serving(build(Stub(), body_seconds=1.0)) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        for _, writer in slow:
            writer.write(signed(BODY)[:-10])
        async with asyncio.timeout(0.9):  # before the first of them is let go
            for _ in range(20):
                assert (await exchange(port, signed(BODY))).status == 200
        replies = [await read_reply(reader) for reader, _ in slow]
        for _, writer in slow:
            writer.close()
    assert {reply.status for reply in replies} == {408}
    assert {reply.headers["connection"] for reply in replies} == {"close"}


async def test_unfinished_bodies_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large bodies that don't arrive must not fill the memory; small ones are taken all the while."""
    monkeypatch.setattr("bot.web.public.MOST_BYTES_ARRIVING", 2**20)
    async with serving(build(Stub(), body_seconds=5.0)) as port:
        hoarder = await asyncio.open_connection("127.0.0.1", port)
        hoarder[1].write(signed(b" " * 2**21)[: 2**20 + 2**19])
        hoarded = await read_reply(hoarder[0])
        assert hoarded.status == 503
        assert hoarded.headers["retry-after"]
        hoarder[1].close()
        assert (await exchange(port, signed(BODY))).status == 200
        assert (await exchange(port, signed(b"{}".ljust(2**19)))).status == 200


async def test_clients_that_vanish_leave_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Cut in the middle of headers, of the body, or before the answer: none is an error of ours."""
    post = signed(BODY)
    with capture_logs() as lines:
        async with serving(build(Stub())) as port:
            for end in (10, len(post) - 10, len(post)):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(post[:end])
                await writer.drain()
                writer.transport.abort()
            assert (await exchange(port, post)).status == 200
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# -- what can't be stored


@pytest.mark.parametrize(
    "error",
    [StoreFull("full"), StoreUnavailable("disk full"), RuntimeError("hola, 5215512345678"), RecursionError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_what_cannot_be_stored_is_503_with_retry_after(error: Exception) -> None:
    """Whatever the reason, Meta delivers again; the log holds no user's words and no number."""
    with capture_logs() as lines:
        async with serving(build(Stub(error))) as port:
            reply = await exchange(port, signed(BODY))
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert (lines[-1]["log_level"], lines[-1]["outcome"]) == ("warning", "not stored")
    assert "5215512345678" not in json.dumps(lines, default=str)
    assert "hola" not in json.dumps(lines, default=str)


async def test_a_full_store_takes_no_new_message_and_says_when_to_come_back(tmp_path: Path) -> None:
    """Over max_depth_total the real store refuses: 503, and what was there stays."""
    from bot.store.inbox import Door

    async with a_store(tmp_path, door=Door(max_depth_total=2)) as store, serving(build(store)) as port:
        assert (await exchange(port, signed(said("one", "two")))).status == 200
        assert (await exchange(port, signed(said("three")))).status == 503
        assert (await store.insights.queue_stats())["totalMessages"] == 2


# -- what is told


async def test_one_line_per_batch_without_words_or_numbers() -> None:
    """Counts, at most five users as u17, milliseconds and the outcome."""
    with capture_logs() as lines:
        async with serving(build(Stub())) as port:
            await exchange(port, signed(BODY))
    (line,) = lines
    assert line.pop("ms") >= 0
    assert line == {
        "event": "webhook",
        "log_level": "info",
        "outcome": "stored",
        "new": 1,
        "known": 0,
        "statuses": 0,
        "users": ["u1", "u2", "u3", "u4", "u5"],
    }


async def test_remarks_are_warned_of() -> None:
    """A skipped part is acknowledged, and somebody can find out that it was."""
    with capture_logs() as lines:
        async with serving(build(Stub())) as port:
            await exchange(port, signed(encode({"entry": ["odd"]})))
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert "entry" in lines[0]["remark"]


async def test_healthz_says_that_the_process_serves() -> None:
    """200 on the public listener too."""
    async with serving(build(Stub())) as port:
        assert (await exchange(port, request("GET", "/healthz"))).status == 200
