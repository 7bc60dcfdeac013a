"""Alerts: what is wrong, when it is told, and what becomes of a channel that fails; by a clock that the test moves."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from bot.alerts import LOOK_SECONDS, WORDS, Alert, Alerts, Undelivered
from bot.clock import stamp
from bot.config.settings import Alerts as Limits
from bot.config.settings import Config
from bot.domain import AccountWarning, Batch, Failed, Identity, Inbound, Operator, Released
from bot.errors import Kind, ServiceError, StoreUnavailable
from bot.store.store import Store
from tests.clock import FakeClock

WHO = Operator("test")
HOUR = 3600.0
OFF = {"backlog_age_seconds": 0, "depth": 0, "failures_in_a_row": 0, "disk_free_mb": 0}


class Watched(Alerts):
    """Alerts that tell how often they looked."""

    looks = 0

    async def look(self) -> None:
        """Look, and count it."""
        try:
            await super().look()
        finally:
            self.looks += 1


class Channel:
    """A way that keeps what it was told, or fails as the test says."""

    def __init__(self) -> None:
        self.told: list[Alert] = []
        self.tried = 0
        self.fail: Exception | None = None
        self.hang: asyncio.Event | None = None

    async def __call__(self, alert: Alert) -> str:
        """Tell it."""
        self.tried += 1
        if self.hang:
            await self.hang.wait()
        if self.fail:
            raise self.fail
        self.told.append(alert)
        return "post"

    @property
    def states(self) -> list[str]:
        """Name what was told."""
        return [f"{alert.name} {alert.state}" for alert in self.told]


class Watch(NamedTuple):
    """Running alerts, and what a test does with them."""

    store: Store
    clock: FakeClock
    alerts: Watched
    one: Channel
    two: Channel
    graph: Any

    async def after(self, seconds: float, step: float = LOOK_SECONDS) -> None:
        """Let time pass, with a look every few seconds, as the daemon does it."""
        end = self.clock.now().timestamp() + seconds
        while (left := end - self.clock.now().timestamp()) > 0.001:
            looks = self.alerts.looks
            self.clock.advance(min(left, step))
            if left >= step:
                await until(lambda before=looks: self.alerts.looks > before)
                await self.clock.until_sleeping()

    async def say(self, *bodies: str, phone: str = "34600111222") -> None:
        """Let somebody write."""
        sent = self.clock.now()
        messages = [
            Inbound("1", f"wamid.{body}", Identity(phone), "text", body, "{}", sent, answerable=True) for body in bodies
        ]
        await self.store.append(Batch(messages=tuple(messages)))

    async def fail(self) -> None:
        """Let the next turn fail."""
        (lease,), _ = await self.store.claim(1)
        await self.store.settle(lease, Failed("bad"), claim=False)


async def until(check: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0)


Start = Callable[..., Awaitable[Watch]]


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@asynccontextmanager
async def running(folder: Path, clock: FakeClock, **limits: Any) -> AsyncIterator[Watch]:
    """Run alerts on a file; doing it again is a restart."""
    store, graph, one, two = await Store.open(folder / "bot.db", clock=clock), SimpleNamespace(), Channel(), Channel()
    graph.clock_off = None
    config = Config(alerts=Limits(**(OFF | limits)), store={"url": f"sqlite:///{folder / 'bot.db'}"})
    channels: Any = SimpleNamespace(clock=clock, graph=graph, config=config, ways=lambda: {"one": one, "two": two})
    alerts = Watched(store, channels)
    task = asyncio.create_task(alerts.run())
    try:
        await until(lambda: alerts.looks)
        await clock.until_sleeping()
        yield Watch(store, clock, alerts, one, two, graph)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


# -- when ---------------------------------------------------------------------------------------------------------


async def test_an_alert_is_raised_once_and_cleared_with_a_note(tmp_path: Path, clock: FakeClock) -> None:
    """After it held for 30 seconds, and after it was gone for 60; each channel hears of both."""
    async with running(tmp_path, clock, depth=2) as watch:
        await watch.say("a", "b")
        await watch.after(30)
        assert watch.one.told == []
        await watch.after(5)
        await until(lambda: watch.one.told and watch.two.told)
        (raised,) = watch.one.told
        assert raised.text == WORDS["depth"].format(depth=2)
        assert (raised.name, raised.state, raised.raised_at) == ("depth", "raised", stamp(clock.now()))
        await watch.after(HOUR)
        assert watch.one.states == ["depth raised"]
        await watch.store.clear(None, who=WHO)
        await watch.after(60)
        assert watch.one.states == ["depth raised"]
        await watch.after(10)
        await until(lambda: len(watch.two.told) == 2)
        assert watch.one.states == watch.two.states == ["depth raised", "depth cleared"]
        assert watch.one.told[1].text == "This is over: “Many messages wait: 2”. It was told at 24 Nov 10:00:35 UTC."
        assert watch.one.told[1].raised_at == raised.raised_at
        assert await watch.store.insights.alerts() == []


async def test_what_comes_and_goes_is_not_told(tmp_path: Path, clock: FakeClock) -> None:
    """Neither before it held nor, once raised, while it is gone for less than a minute."""
    async with running(tmp_path, clock, depth=1) as watch:
        for n in range(5):
            await watch.say(f"a{n}")
            await watch.after(25)
            await watch.store.clear(None, who=WHO)
            await watch.after(5)
        assert watch.one.states == []
        await watch.say("b")
        await watch.after(40)
        for n in range(5):
            await watch.store.clear(None, who=WHO)
            await watch.after(55)
            await watch.say(f"c{n}")
            await watch.after(5)
        assert watch.one.states == ["depth raised"]


async def test_what_stays_is_told_again_after_the_pause(tmp_path: Path, clock: FakeClock) -> None:
    """With what is so by then."""
    async with running(tmp_path, clock, depth=1, remind_after_seconds=600) as watch:
        await watch.say("a")
        await watch.after(40)
        await watch.say("b")
        await watch.after(590)
        assert watch.one.states == ["depth raised"]
        await watch.after(620)
        assert watch.one.states == ["depth raised", "depth reminded", "depth reminded"]
        again = WORDS["depth"].format(depth=2)
        assert watch.one.told[-1].text == f"Still so, since 24 Nov 10:00:35 UTC. {again}"


async def test_nothing_is_told_again_where_that_is_turned_off(tmp_path: Path, clock: FakeClock) -> None:
    """0 turns it off."""
    async with running(tmp_path, clock, depth=1, remind_after_seconds=0) as watch:
        await watch.say("a")
        await watch.after(60)
        await watch.after(3 * HOUR, step=60)
        assert watch.one.states == ["depth raised"]


# -- over a restart -----------------------------------------------------------------------------------------------


async def test_a_restart_raises_nothing_again(tmp_path: Path, clock: FakeClock) -> None:
    """What was told before is known after, also when to remind and to clear."""
    async with running(tmp_path, clock, depth=1, remind_after_seconds=600) as watch:
        await watch.say("a")
        await watch.after(40)
    async with running(tmp_path, clock, depth=1, remind_after_seconds=600) as watch:
        await watch.after(300)
        assert watch.one.states == []
        await watch.after(300)
        assert watch.one.states == ["depth reminded"]
    async with running(tmp_path, clock, depth=1, remind_after_seconds=600) as watch:
        await watch.store.clear(None, who=WHO)
        await watch.after(70)
        assert watch.one.states == ["depth cleared"]


async def test_what_nobody_could_be_told_is_told_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """All channels were down until then."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.fail = watch.two.fail = Undelivered("no")
        await watch.say("a")
        await watch.after(40)
        assert (watch.one.told, watch.two.told) == ([], [])
    async with running(tmp_path, clock, depth=1) as watch:
        await until(lambda: watch.one.states == watch.two.states == ["depth raised"])


async def test_a_store_that_cannot_be_written_silences_nobody(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner hears of it, and it is stored when that works again."""
    async with running(tmp_path, clock) as watch:
        kept = watch.store.keep_alerts

        async def full(_: Any) -> None:
            raise StoreUnavailable("disk full")

        monkeypatch.setattr(watch.store, "keep_alerts", full)
        monkeypatch.setattr(Store, "trouble", property(lambda _: "the disk is full"))
        await watch.after(60)
        assert watch.one.states == ["write raised"]
        assert "the disk is full. Look at the disk" in watch.one.told[0].text
        monkeypatch.setattr(watch.store, "keep_alerts", kept)
        await watch.after(10)
        assert [row["name"] for row in await watch.store.insights.alerts()] == ["write"]


# -- channels -----------------------------------------------------------------------------------------------------


async def test_a_channel_that_fails_holds_up_no_other_and_is_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    """After a while each, until it works; the log says why."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.fail = Undelivered("it answered HTTP 500")
        with capture_logs() as lines:
            await watch.say("a")
            await watch.after(40)
            assert watch.two.states == ["depth raised"]
            await watch.after(300)
            assert 3 < watch.one.tried < 20
            watch.one.fail = None
            await watch.after(300)
        assert watch.one.states == watch.two.states == ["depth raised"]
        failed = [line for line in lines if line["event"] == "alert not told"]
        assert failed[0] == {
            "event": "alert not told",
            "log_level": "warning",
            "channel": "one",
            "alert": "depth",
            "state": "raised",
            "tries": 1,
            "reason": "it answered HTTP 500",
        }


async def test_a_channel_that_hangs_holds_up_no_other(tmp_path: Path, clock: FakeClock) -> None:
    """Nor the next look."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.hang = asyncio.Event()
        await watch.say("a")
        await watch.after(40)
        await watch.store.clear(None, who=WHO)
        await watch.after(70)
        assert watch.two.states == ["depth raised", "depth cleared"]


async def test_a_defect_of_a_channel_is_no_end(tmp_path: Path, clock: FakeClock) -> None:
    """Whatever it raises; its own words may hold a secret and stay out of the log."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.fail = ValueError("https://hooks.example/SECRET")
        with capture_logs() as lines:
            await watch.say("a")
            await watch.after(40)
        assert {line["reason"] for line in lines if line["event"] == "alert not told"} == {"ValueError"}
        assert "SECRET" not in str(lines)
        watch.one.fail = None
        await watch.after(60)
        assert watch.one.states == ["depth raised"]


async def test_a_service_says_itself_when_it_may_be_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    """WhatsApp's own pause is kept."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.fail = ServiceError("graph", Kind.EVERYBODY, "busy", retry_after=900.0)
        await watch.say("a")
        await watch.after(900)
        assert watch.one.tried == 1


async def test_what_is_over_is_not_raised_any_more_by_a_channel_that_comes_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It tells the end alone: since when it was, and that it is over."""
    async with running(tmp_path, clock, depth=1) as watch:
        watch.one.fail = Undelivered("down")
        await watch.say("a")
        await watch.after(40)
        await watch.store.clear(None, who=WHO)
        await watch.after(100)
        watch.one.fail = None
        await watch.after(700)
        assert watch.one.states == ["depth cleared"]


async def test_a_channel_that_is_down_for_days_is_given_up(tmp_path: Path, clock: FakeClock) -> None:
    """What is a day old is no news; the next alert is tried anew."""
    async with running(tmp_path, clock, depth=1, remind_after_seconds=0) as watch:
        watch.one.fail = Undelivered("down")
        await watch.say("a")
        await watch.after(24 * HOUR + 900, step=150)
        tried = watch.one.tried
        assert tried > 24 * 6
        await watch.after(HOUR)
        assert watch.one.tried == tried


async def test_a_look_that_fails_is_not_the_last(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts outlive what they can't look at; the log tells."""
    async with running(tmp_path, clock, depth=1, disk_free_mb=1) as watch:
        with capture_logs() as lines, monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: 1 / 0)
            await watch.after(20)
        assert [line["error"] for line in lines] == ["ZeroDivisionError"] * 4
        await watch.say("a")
        await watch.after(40)
        assert watch.one.states == ["depth raised"]


# -- what ---------------------------------------------------------------------------------------------------------


async def raised_by(watch: Watch, seconds: float = 40) -> str:
    """Wait until one alert is raised, and return its words."""
    await watch.after(seconds)
    await until(lambda: watch.one.told)
    (alert,) = watch.one.told
    assert alert.text == watch.two.told[0].text
    return f"{alert.name}: {alert.text}"


async def test_a_backlog(tmp_path: Path, clock: FakeClock) -> None:
    """The oldest message waits for longer than the limit."""
    async with running(tmp_path, clock, backlog_age_seconds=600) as watch:
        await watch.say("a", "b")
        await watch.after(600)
        assert watch.one.told == []
        said = await raised_by(watch)
        assert said.startswith("backlog_age: Messages wait too long: the oldest since 24 Nov 10:00:00 UTC, 2 in all.")


async def test_failures_in_a_row(tmp_path: Path, clock: FakeClock) -> None:
    """So many messages, one after the other."""
    async with running(tmp_path, clock, failures_in_a_row=2) as watch:
        await watch.say("a", "b")
        await watch.fail()
        await watch.after(60)
        assert watch.one.told == []
        await watch.fail()
        assert (await raised_by(watch)).startswith("failures: Messages fail one after the other: the last 2.")


async def test_a_full_disk(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database is."""
    async with running(tmp_path, clock, disk_free_mb=500) as watch:
        asked = []
        monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=499 * 2**20))
        assert (await raised_by(watch)).startswith("disk: The disk is almost full: 499 MB are left.")
        assert set(asked) == {tmp_path}


async def test_no_webhook(tmp_path: Path, clock: FakeClock) -> None:
    """No message for so many hours, counted from the start where there was none yet."""
    async with running(tmp_path, clock, no_webhook_hours=2) as watch:
        await watch.after(1.5 * HOUR, step=60)
        await watch.say("a")
        await watch.after(2 * HOUR, step=60)
        assert watch.one.told == []
        assert "none since 24 Nov 11:30:00 UTC" in await raised_by(watch)


async def test_no_webhook_where_there_was_never_one(tmp_path: Path, clock: FakeClock) -> None:
    """The subscription is the most frequent mistake of a new set-up."""
    async with running(tmp_path, clock, no_webhook_hours=1) as watch:
        assert "none since 24 Nov 10:00:00 UTC" in await raised_by(watch, HOUR + 40)


async def test_a_user_over_the_limit(tmp_path: Path, clock: FakeClock) -> None:
    """Two bots in a loop."""
    async with running(tmp_path, clock) as watch:
        await watch.say("a")
        (lease,), _ = await watch.store.claim(1)
        await watch.store.settle(lease, Released(pause=True, error="limit_per_hour"), claim=False)
        assert "1 paused by limits.answers_per_user_per_hour" in await raised_by(watch)


async def test_a_wrong_clock(tmp_path: Path, clock: FakeClock) -> None:
    """As the Graph API's answers say."""
    async with running(tmp_path, clock) as watch:
        watch.graph.clock_off = True
        assert "clock is wrong: over 5 minutes" in await raised_by(watch)


async def test_a_circuit_that_is_open(tmp_path: Path, clock: FakeClock) -> None:
    """With the service's own reason, and what to do."""
    async with running(tmp_path, clock) as watch:
        await watch.say("a")
        (lease,), _ = await watch.store.claim(1)
        refused = Released(refused_by="graph", error="WhatsApp answered 190: the token was withdrawn", code="190")
        await watch.store.settle(lease, refused, claim=False)
        said = await raised_by(watch)
        assert said.startswith("circuit_graph: Nobody is answered: WhatsApp can't be used since 24 Nov 10:00:00 UTC: ")
        assert "the token was withdrawn. `bot check --online` says what to mend" in said


async def test_everything_paused(tmp_path: Path, clock: FakeClock) -> None:
    """Whoever paused may have forgotten it."""
    async with running(tmp_path, clock) as watch:
        await watch.store.pause(None, who=WHO)
        assert "everything is paused since 24 Nov 10:00:00 UTC. `bot resume --all`" in await raised_by(watch)


async def test_a_warning_of_whatsapp_is_told_once_each(tmp_path: Path, clock: FakeClock) -> None:
    """It is no state: neither reminded of nor cleared, but a second one is told as well. Good news are none."""
    async with running(tmp_path, clock, remind_after_seconds=600) as watch:
        at = clock.now()
        news = AccountWarning("account_update", "It was approved.", False, at)
        await watch.store.append(Batch(warnings=(AccountWarning("security", "It was changed.", True, at), news)))
        assert await raised_by(watch) == "warning_1: WhatsApp warns: It was changed."
        await watch.store.append(Batch(warnings=(AccountWarning("security", "It was reset.", True, at),)))
        await watch.after(60)
        await watch.after(48 * HOUR, step=300)
        assert watch.one.states == ["warning_1 raised", "warning_3 raised"]
        assert await watch.store.insights.alerts() == []


async def test_limits_of_0_raise_nothing(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be turned off."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    async with running(tmp_path, clock, no_webhook_hours=0) as watch:
        await watch.say("a", "b")
        await watch.fail()
        await watch.after(2 * HOUR, step=60)
        assert watch.one.told == []


def test_every_text_says_what_it_is_and_what_to_do() -> None:
    """A title before the first colon, in ASCII as ntfy's header wants it."""
    for name, text in WORDS.items():
        if ": " in text:
            title = text.partition(": ")[0]
            assert title.isascii(), name
            assert "{" not in title, name
