"""`bot check --online` and `--alerts`: try WhatsApp, our own address, the model service and the channels of alerts.

What each answer means is said in words: check.json.
"""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from pydantic import SecretStr

from bot.alerts import WORDS as ALERTS
from bot.alerts import Alert, Channels, Undelivered, Way
from bot.clock import Clock, stamp
from bot.config import Config, OpenAI, WhatsApp
from bot.domain import Message, Question
from bot.errors import Kind, ServiceError, StartError, StoreError
from bot.model.handler import OpenAIHandler
from bot.sender import NumberLimit
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

MARKS = {True: "ok   ", False: "WRONG", None: "--   "}
TIMEOUT = aiohttp.ClientTimeout(total=15)
WORDS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
GRAPH, GRAPH_CODES, PUBLIC = WORDS["graph"], WORDS["graph codes"], WORDS["public"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one question came to: whether it is good (None: it was not asked), and what it means."""

    good: bool | None
    text: str


async def check_online(config: Config, *, subscribe: bool = False) -> list[Finding]:
    """Try the accounts that the configuration names; nothing is sent to anybody, all it costs is the model's answer.

    Nothing is changed, but that `subscribe` lets the business account's webhooks go to the token's app.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        findings = await _check_whatsapp(config.whatsapp, session, subscribe=subscribe)
        findings.append(await check_public(config.server.public_url, config.whatsapp.verify_token, session))
        return [*findings, await check_model(config.openai)]


async def _check_whatsapp(whatsapp: WhatsApp, session: aiohttp.ClientSession, *, subscribe: bool) -> list[Finding]:
    """Ask for the number, which shows whether appsecret_proof fits, and whether the account is subscribed."""
    graph = GraphClient(session, whatsapp, Clock())
    try:
        number = await graph.phone_number()
    except ServiceError as error:
        meaning = GRAPH[GRAPH_CODES.get(re.sub("^2..$", "2xx", error.code or ""), "refused")]
        if "appsecret_proof" in error.reason:
            meaning = GRAPH["wrong secret" if whatsapp.appsecret_proof else "unsigned"]
        return [Finding(False, f"{meaning} ({error.reason})")]
    name = f"{number.get('display_phone_number', '?')} as “{number.get('verified_name', '?')}”"
    signed = ", and the app secret belongs to the token's app" if whatsapp.appsecret_proof else ""
    known = Finding(True, f"WhatsApp knows the number {name}, the token may use it{signed}.")
    wrong = [Finding(False, GRAPH["wrong clock"])] * bool(graph.clock_off)
    return [known, *wrong, await _check_subscription(whatsapp.waba_id, graph, subscribe=subscribe)]


async def _check_subscription(waba_id: str, graph: GraphClient, *, subscribe: bool) -> Finding:
    account = f"WhatsApp Business Account {waba_id}"
    if not waba_id:
        return Finding(None, "Whether webhooks are sent was not asked: that wants whatsapp.waba_id.")
    try:
        apps = await graph.subscribed_apps(waba_id, add_ours=subscribe)
    except ServiceError as error:
        return Finding(False, f"The {account} can't be asked: is it this number's? ({error.reason})")
    if not apps:
        mend = f"`bot init --subscribe`, or POST /{waba_id}/subscribed_apps with the token of your app"
        return Finding(False, f"No app is subscribed to the {account}, so no message will ever arrive: {mend}.")
    names = ", ".join(str(app.get("name") or app.get("id") or "?") for app in apps)
    return Finding(True, f"Webhooks of the {account} go to: {names}. Your app must be among them.")


async def check_alerts(config: Config) -> list[Finding]:
    """Send a test by each channel of [alerts]."""
    clock, store = Clock(), None
    with suppress(StartError):  # before its first start the bot knows nobody
        store = await Store.open_existing(config.store.path, clock=clock)
    async with aiohttp.ClientSession() as session:
        graph, limit = GraphClient(session, config.whatsapp, clock), NumberLimit(0, clock.now())
        ways = Channels(config, clock, session, graph, limit, store).ways()
        findings = [await _try(name, way, stamp(clock.now())) for name, way in ways.items()]
    if store:
        await store.close()
    return findings or [Finding(None, WORDS["no channel"])]


async def _try(name: str, way: Way, now: str) -> Finding:
    try:
        how = await way(Alert("test", ALERTS["test"], now, now))
        return Finding(True, f"A test alert went out by {name} ({how}): look whether it arrived.")
    except (Undelivered, ServiceError, StoreError) as error:
        return Finding(False, f"No test alert went out by {name}: {error}.")


async def check_public(public_url: str, verify_token: SecretStr, session: aiohttp.ClientSession) -> Finding:
    """Ask our address as Meta does when it is subscribed: the challenge back shows that it leads to this bot."""
    if not public_url:
        return Finding(None, "Whether webhooks can arrive was not asked: that wants server.public_url.")
    address, challenge = f"{public_url}/webhook", secrets.token_hex()
    query = {"hub.mode": "subscribe", "hub.verify_token": verify_token.get_secret_value(), "hub.challenge": challenge}
    try:
        async with session.get(address, params=query, allow_redirects=False) as response:
            if await response.read() == challenge.encode():
                return Finding(True, f"{address}, asked from this machine, leads to a bot with this verify token.")
            meaning, sign = PUBLIC.get(str(response.status), PUBLIC["*"]), f"HTTP {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        meaning = next(PUBLIC[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in PUBLIC)
        sign = type(error).__name__  # its text may hold the query, with the token
    return Finding(False, f"{address}, asked from this machine: {meaning} ({sign}).")


async def check_model(openai: OpenAI) -> Finding:
    """Put a question to the model as a turn does: key, model, kind of API and credit are judged by its own answer."""
    clock = Clock()
    handler = OpenAIHandler(Config(openai=openai), clock)
    greeting = Message(0, "", "text", "Hola", clock.now(), clock.now())
    try:
        await handler.answer(Question("check", (greeting,), (), None))
    except ServiceError as error:
        meaning = f"{openai.model} at {openai.base_url} gives no answer: {error.reason}"
        look = "the network and" if error.kind is Kind.DOWN else "OPENAI_API_KEY, openai.model, openai.api and"
        return Finding(False, f"{meaning}. Look at {look} openai.base_url.")
    finally:
        await handler.close()
    return Finding(True, f"{openai.model} answered a question.")
