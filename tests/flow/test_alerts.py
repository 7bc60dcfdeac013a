"""Alerts on real sockets: raised and cleared by a whole daemon, by every channel, whatever becomes of the others."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from bot import alerts
from bot.emulator import Customer
from tests.flow.conftest import World, assert_discreet
from tests.flow.owner import Owner

RESTRICTED = {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": "RESTRICTED_ALL"}]}


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let what takes seconds and minutes take less; gives the time of each look."""
    shorter = {"LOOK": 0.02, "HOLD": 0.1, "GONE": 0.15, "AGAIN": 0.05, "AGAIN_MOST": 0.1}
    for name, seconds in shorter.items():
        monkeypatch.setattr(alerts, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(alerts, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    look, times = alerts.Alerts.look, []

    async def counted(watch: alerts.Alerts) -> None:
        await look(watch)
        times.append(time.monotonic())

    monkeypatch.setattr(alerts.Alerts, "look", counted)
    return times


async def looked_for_long(world: World, looks: list[float]) -> None:
    """Wait until there was a look long after whatever holds now would have been raised or cleared."""
    since = time.monotonic() + 3 * (alerts.HOLD_SECONDS + alerts.GONE_SECONDS)
    await world.eventually(lambda: looks[-1:] > [since])


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    """Whoever is told."""
    async with Owner().listening() as listening:
        yield listening


def told(owner: Owner, **further: Any) -> dict[str, Any]:
    """Configure both addresses, and nothing that the machine's own disk could raise."""
    tokens = {"webhook_token": SecretStr("hook-token"), "ntfy_token": SecretStr("tk_ntfy")}
    return {"disk_free_mb": 0, "webhook_url": owner.hook, "ntfy_url": owner.topic, **tokens, **further}


async def refuse_model(world: World) -> int:
    """Let the model refuse our key until the fault is removed, and see its circuit open."""
    fault = world.emu.faults.add("error", service="model", times=0, status=401, message="Incorrect API key")
    await world.emu.say(world.ana, "hello")
    await world.eventually(lambda: world.opened("model"))
    return fault


async def answer_again(world: World, fault: int, service: str = "model") -> None:
    """Take the fault away."""
    world.emu.faults.remove(fault)
    assert (await world.post(f"/api/circuits/{service}/try"))[0] == 200
    await world.sent(1, timeout_seconds=15)


# -- the two formats ----------------------------------------------------------------------------------------------


async def test_a_circuit_that_opens_is_raised_and_cleared_in_both_formats(world: World, owner: Owner) -> None:
    """As JSON with its five members and the bot, and as ntfy wants it; each with its token, none in the log."""
    async with world.running(alerts=told(owner)):
        fault = await refuse_model(world)
        await world.eventually(lambda: owner.got("/hook") and owner.got("/topic"))
        await answer_again(world, fault)
        await world.eventually(lambda: len(owner.posts) == 4)
    assert owner.got("/hook") == ["circuit_model raised", "circuit_model cleared"]
    raised, cleared = (post for post in owner.posts if post.path == "/hook")
    assert raised.body.keys() == {"name", "state", "text", "since", "at", "bot"}
    assert "Nobody is answered: the model can't be used since" in raised.body["text"]
    assert "doesn't accept the API key" in raised.body["text"]
    assert raised.body["since"] == cleared.body["since"] <= raised.body["at"] < cleared.body["at"]
    assert raised.body["bot"]["phone_number_id"] == world.emu.settings.phone_number_id
    assert raised.headers["Authorization"] == "Bearer hook-token"
    assert cleared.body["text"].startswith("This is over: “Nobody is answered: ")
    first, second = (post for post in owner.posts if post.path != "/hook")
    assert first.headers["Title"] == "Nobody is answered"
    assert (first.headers["Priority"], first.headers["Tags"]) == ("high", "rotating_light")
    assert (second.headers["Priority"], second.headers["Tags"]) == ("low", "white_check_mark")
    assert (first.body, first.headers["Authorization"]) == (raised.body["text"], "Bearer tk_ntfy")
    assert world.rows("SELECT * FROM alerts") == []
    log = str(world.lines)
    assert not [secret for secret in ("hook-token", "tk_ntfy", "KEY-IN-THE-ADDRESS") if secret in log]


async def test_without_a_channel_alerts_stand_in_the_log_and_the_file(world: World) -> None:
    """Where the page and `bot status` find them."""
    async with world.running(alerts={"disk_free_mb": 0}):
        await refuse_model(world)
        await world.eventually(lambda: world.logged("alert", alert="circuit_model", state="raised"))
        await world.eventually(lambda: world.rows("SELECT name, told_at FROM alerts") == [("circuit_model", None)])


# -- channels that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["500", "301", "hang", "gone"])
async def test_a_channel_that_fails_is_tried_again_and_hurts_nobody(world: World, owner: Owner, trouble: str) -> None:
    """Refused, sent elsewhere, hanging or not there: the other channel and the customers don't notice."""
    async with Owner().listening() as other:
        way = told(owner, ntfy_url=other.topic)
        if trouble == "gone":
            way["webhook_url"] = "http://127.0.0.1:9/hook"
        owner.hang, owner.status = trouble == "hang", int(trouble) if trouble.isdecimal() else 200
        async with world.running(alerts=way):
            fault = await refuse_model(world)
            await world.eventually(lambda: other.got("/topic"))
            await world.eventually(lambda: len(world.logged("alert not told", channel="webhook")) >= 3)
            await answer_again(world, fault)
            await world.emu.say(world.bea, "and me?")
            await world.sent(1, world.bea)
            assert owner.posts == []
            if trouble != "gone":
                owner.hang, owner.status = False, 200
                await world.eventually(lambda: owner.got("/hook")[-1:] == ["circuit_model cleared"])
    reasons = {line["reason"] for line in world.logged("alert not told")}
    said = {
        "500": "it answered HTTP 500: look at the address and the token",
        "301": "it answered HTTP 301: look at the address and the token",
        "hang": "it gave no whole answer in time (TimeoutError)",
        "gone": "it can't be reached (ClientConnectorError)",
    }
    assert said[trouble] in reasons
    assert "KEY-IN-THE-ADDRESS" not in str(world.lines)


async def test_a_channel_that_hangs_does_not_hold_up_the_end(world: World, owner: Owner) -> None:
    """SIGTERM waits for turns, not for an owner's server."""
    owner.hang = True
    async with world.running(alerts=told(owner)):
        await refuse_model(world)
        await world.eventually(lambda: owner.asked)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 3


# -- over a restart -----------------------------------------------------------------------------------------------


async def test_a_restart_in_the_middle_raises_nothing_again(world: World, owner: Owner, looks: list[float]) -> None:
    """The circuit is still open, and the owner knows; the end is told by whoever sees it."""
    async with world.running(alerts=told(owner)):
        fault = await refuse_model(world)
        await world.eventually(lambda: world.rows("SELECT 1 FROM alerts WHERE told_at IS NOT NULL"))
        await world.eventually(lambda: len(owner.posts) == 2)
    for _ in range(2):
        async with world.running(alerts=told(owner)):
            await looked_for_long(world, looks)
    assert owner.got("/hook") == ["circuit_model raised"]
    async with world.running(alerts=told(owner)):
        await answer_again(world, fault)
        await world.eventually(lambda: owner.got("/hook") == ["circuit_model raised", "circuit_model cleared"])


# -- a WhatsApp number --------------------------------------------------------------------------------------------


@pytest.fixture
def boss(world: World) -> Customer:
    """The owner's own phone; WhatsApp lets texts go only within 24 hours of what it wrote."""
    world.emu.settings.window_hours = 24
    return world.emu.customer("Olga", wa_id="34699999999")


def by_whatsapp(boss: Customer, **further: Any) -> dict[str, Any]:
    """Configure the number."""
    return {"disk_free_mb": 0, "whatsapp_to": boss.wa_id, **further}


async def test_within_24_hours_an_alert_is_free_text(world: World, boss: Customer) -> None:
    """As short a way as there is; its statuses are nobody's reply."""
    async with world.running(alerts=by_whatsapp(boss, whatsapp_template="alert")):
        await world.emu.say(boss, "good morning")
        await world.sent(1, boss)
        fault = await refuse_model(world)
        raised = (await world.sent(2, boss))[1]
        assert raised.startswith("Nobody is answered: the model can't be used since")
        await answer_again(world, fault)
        assert (await world.sent(3, boss))[2].startswith("This is over: “Nobody is answered: ")
        await world.eventually(lambda: len(world.logged("alert told", channel="whatsapp", by="free text")) == 2)
    sent = [entry.request for entry in world.emu.log.of("graph.send", boss.ids)]
    assert [(body["type"], body["to"]) for body in sent] == [("text", "+34699999999")] * 3
    assert len({body["biz_opaque_callback_data"] for body in sent}) == 3
    assert world.rows("SELECT count(*) FROM replies JOIN users u ON u.id = user_id WHERE u.phone = ?", boss.wa_id) == [
        (1,)
    ]


@pytest.mark.parametrize("wrote", ["never", "long ago"])
async def test_outside_of_24_hours_it_is_the_template(world: World, boss: Customer, wrote: str) -> None:
    """Without a text being tried that WhatsApp would refuse; the words fill in its one parameter."""
    async with world.running(alerts=by_whatsapp(boss, whatsapp_template="alert")):
        if wrote == "long ago":
            await world.emu.say(boss, "good morning")
            await world.sent(1, boss)
            world.write("UPDATE users SET last_message_at = '2026-01-01T00:00:00.000Z' WHERE phone = ?", boss.wa_id)
        await refuse_model(world)
        texts = await world.sent(2 if wrote == "long ago" else 1, boss)
        assert texts[-1].startswith("Nobody is answered: the model can't be used since")
        assert await world.eventually(lambda: world.logged("alert told", channel="whatsapp", by="template alert"))
    (template,) = [entry.request for entry in world.emu.log.of("graph.send") if entry.request["type"] == "template"]
    assert template["template"]["language"] == {"code": "en"}
    assert world.logged("alert not told") == []


async def test_where_whatsapp_counts_the_24_hours_otherwise_the_template_goes(world: World, boss: Customer) -> None:
    """131047 is the answer to a text; nobody waits for the next try."""
    async with world.running(alerts=by_whatsapp(boss, whatsapp_template="alert")):
        await world.emu.say(boss, "good morning")
        await world.sent(1, boss)
        world.emu.settings.window_hours = 1e-9
        await refuse_model(world)
        await world.eventually(lambda: world.logged("alert told", channel="whatsapp", by="template alert"))
    assert [entry.code for entry in world.emu.log.of("graph.send", boss.ids)] == [0, 131047, 0]


async def test_where_neither_can_go_the_log_says_why(world: World, boss: Customer, owner: Owner) -> None:
    """And the other channels do it."""
    async with world.running(alerts=by_whatsapp(boss, ntfy_url=owner.topic)):
        await refuse_model(world)
        (first, *_) = await world.eventually(lambda: world.logged("alert not told", channel="whatsapp"))
        await world.eventually(lambda: owner.got("/topic"))
    why = "that number wrote nothing to us for 24 hours, and alerts.whatsapp_template is empty"
    assert first["reason"] == why
    assert world.emu.sends(boss) == []


async def test_a_template_that_does_not_exist_is_told_in_whatsapps_words(world: World, boss: Customer) -> None:
    """So is one that was paused or isn't approved yet."""
    async with world.running(alerts=by_whatsapp(boss, whatsapp_template="no_such")):
        await refuse_model(world)
        (first, *_) = await world.eventually(lambda: world.logged("alert not told", channel="whatsapp"))
    assert "132001" in first["reason"]
    assert "does not exist" in first["reason"]


async def test_while_whatsapp_is_down_the_other_channels_do_it(world: World, boss: Customer, owner: Owner) -> None:
    """Nothing is asked of it for an alert's sake; when it is back, the number hears that it is over."""
    fault = world.emu.faults.add("error", times=0, code=190)
    async with world.running(alerts=by_whatsapp(boss, whatsapp_template="alert", ntfy_url=owner.topic)):
        await world.emu.say(world.ana, "hello")
        await world.eventually(lambda: world.opened("graph"))
        await world.eventually(lambda: owner.got("/topic"))
        assert "WhatsApp answered 190" in owner.posts[0].body
        await world.eventually(lambda: world.logged("alert not told", reason="WhatsApp itself can't be used now"))
        assert world.emu.log.of("graph.send", boss.ids) == []
        await answer_again(world, fault, "graph")
        (over,) = await world.sent(1, boss)
    assert over.startswith("This is over: “Nobody is answered: ")


async def test_alerts_keep_the_limit_of_the_number(world: World, boss: Customer) -> None:
    """They take their place among the answers."""
    limit = {"sends_per_second": 1}
    async with world.running(whatsapp=limit, alerts=by_whatsapp(boss, whatsapp_template="alert", depth=1)):
        fault = await refuse_model(world)
        await world.sent(2, boss, timeout_seconds=10)
        world.emu.faults.remove(fault)
    first, second = (entry.began_at for entry in world.emu.log.of("graph.send", boss.ids)[:2])
    assert second - first > 0.9


# -- through the front door ---------------------------------------------------------------------------------------


async def test_a_warning_of_whatsapp_comes_by_the_webhook_and_goes_to_the_owner(
    world: World, owner: Owner, looks: list[float]
) -> None:
    """Signed, stored, told in plain words; redelivered it is neither stored nor told again."""
    async with world.running(alerts=told(owner), whatsapp={"waba_id": world.emu.settings.waba_id}):
        payload = await world.emu.warn("account_update", **RESTRICTED)
        assert await world.emu.deliveries.post(payload) == 200
        await world.emu.warn("message_template_status_update", event="APPROVED", message_template_name="alert")
        await world.eventually(lambda: owner.got("/topic"))
        await looked_for_long(world, looks)
        assert [row["kind"] for row in (await world.bot.insights.trends())["warnings"]] == [
            "message_template_status_update",
            "account_update",
        ]
    assert owner.got("/hook") == ["warning_1 raised"]
    assert owner.got("/topic") == ["WhatsApp warns"]
    (said,) = (post.body for post in owner.posts if post.path != "/hook")
    assert said.startswith("WhatsApp warns: WhatsApp restricts the account")
    assert len(world.logged("webhook remark", log_level="warning")) == 3


async def test_a_user_over_the_limit_and_failures_are_told_without_saying_who(world: World, owner: Owner) -> None:
    """Counts and what to do, never a number, a name or a text."""
    emu = world.emu
    emu.faults.add("error", service="model", times=0, status=400, contains="bad")
    limits = {"answers_per_user_per_hour": 1}
    async with world.running(alerts=told(owner, failures_in_a_row=2), limits=limits):
        for text in ("one", "two"):
            await emu.say(world.ana, text)
        for who in (world.bea, world.cora):
            await emu.say(who, "bad")
        await world.eventually(lambda: {"limited raised", "failures raised"} <= set(owner.got("/hook")))
        world.write("UPDATE users SET paused_at = NULL")
        await world.eventually(lambda: "limited cleared" in owner.got("/hook"))
    assert_discreet(emu, [{"log_level": "error", "text": str(post.body)} for post in owner.posts])
