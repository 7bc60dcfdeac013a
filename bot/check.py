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
from bot.config import Config, OpenAI
from bot.domain import Message, Question
from bot.errors import Kind, ServiceError, StartError, StoreError
from bot.model.handler import OpenAIHandler
from bot.sender import NumberLimit
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

TOKEN_DAYS = 14  # a token that ends sooner is to be replaced now
MARKS = {True: "ok   ", False: "WRONG", None: "--   "}
TIMEOUT = aiohttp.ClientTimeout(total=15)
WORDS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
GRAPH, GRAPH_CODES, PUBLIC = WORDS["graph"], WORDS["graph codes"], WORDS["public"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one question came to: whether it is good (None: it was not asked), and what it means."""

    good: bool | None
    text: str

    def __str__(self) -> str:
        return (
            f"{MARKS[self.good]}  {' '.join(self.text.split())}"  # a line of its own, whatever others named themselves
        )


def told(topic: str, how: str, **known: object) -> Finding:
    """Return a finding of check.json, with what is known filled in."""
    good, words = WORDS[topic][how]
    return Finding(good, words.format(**known))


async def check_online(config: Config, *, subscribe: bool = False) -> list[Finding]:
    """Try the accounts that the configuration names; nothing is sent to anybody, all it costs is the model's answer.

    Nothing is changed, but that `subscribe` lets the business account's webhooks go to the token's app.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        findings = await check_whatsapp(config, session, subscribe=subscribe)
        findings.append(await check_public(config.server.public_url, config.whatsapp.verify_token, session))
        return [*findings, await check_model(config.openai)]


async def check_whatsapp(config: Config, session: aiohttp.ClientSession, *, subscribe: bool = False) -> list[Finding]:
    """Ask for the number, which shows whether appsecret_proof fits; then about token, subscription and webhooks."""
    whatsapp = config.whatsapp
    graph = GraphClient(session, whatsapp, Clock())
    try:
        number = await graph.phone_number()
    except ServiceError as error:
        meaning = GRAPH[GRAPH_CODES.get(re.sub("^2..$", "2xx", error.code or ""), "refused")]
        if "appsecret_proof" in error.reason:
            meaning = GRAPH["wrong secret" if whatsapp.appsecret_proof else "unsigned"]
        return [Finding(False, f"{meaning} ({error.reason})")]
    name = f"{number.get('display_phone_number', '?')} as “{number.get('verified_name', '?')}”"
    known = told("number", "signed" if whatsapp.appsecret_proof else "known", name=name)
    clock = told("clock", {None: "untold", True: "wrong", False: "right"}[graph.clock_off])
    token, app = await _check_token(graph)
    subscription = await _check_subscription(whatsapp.waba_id, graph, app, subscribe=subscribe)
    # Only the app itself is told, and the secret is known to be this app's where the number answered to a signed call.
    own = whatsapp.model_copy(update={"access_token": SecretStr(f"{app}|{whatsapp.app_secret.get_secret_value()}")})
    itself = GraphClient(session, own, Clock()) if app and whatsapp.appsecret_proof else None
    return [known, clock, token, subscription, await _check_webhooks(graph, itself, app, config.server.public_url)]


async def _check_token(graph: GraphClient) -> tuple[Finding, str]:
    """Ask how long the token lasts and what it may; also return the id of its app, "" where that isn't told."""
    try:
        app, ends, lacking = await graph.token()
    except ServiceError as error:
        return told("token", "untold", reason=error.reason), ""
    days = (ends - Clock().now()).days if ends else TOKEN_DAYS
    lasts = "over" if days < 0 else "soon" if days < TOKEN_DAYS else "long" if ends else "endless"
    how = "untold" if not app else "lacking" if lacking else lasts
    return told("token", how, reason="no app is named", days=days, ends=ends, lacking=" and ".join(lacking)), app


async def _check_subscription(waba: str, graph: GraphClient, app: str, *, subscribe: bool) -> Finding:
    try:
        apps = await graph.subscribed_apps(waba, add_ours=subscribe) if waba else []
    except ServiceError as error:
        return told("subscription", "untold", waba=waba, reason=error.reason)
    names = ", ".join(str(known.get("name") or known.get("id") or "?") for known in apps)
    ours = "ours" if app in [str(known.get("id")) for known in apps] else "others" if app else "any"
    return told("subscription", ours if apps else "none" if waba else "unasked", waba=waba, names=names, app=app)


async def _check_webhooks(graph: GraphClient, itself: GraphClient | None, app: str, public_url: str) -> Finding:
    """Ask where the number's webhooks are sent and, as the app, whether messages are among them."""
    try:
        address, fields = await graph.callback(), await itself.fields(app) if itself else []
    except ServiceError as error:
        return told("webhooks", "untold", reason=error.reason)
    ours, listed = f"{public_url}/webhook", "all" if "messages" in fields else "no messages"
    how = "elsewhere" if public_url and address != ours else listed if itself else "half"
    return told("webhooks", how if address else "nowhere", address=address.partition("?")[0], ours=ours)


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
        how = "down" if error.kind is Kind.DOWN else "silent"
        return told("model", how, model=openai.model, address=openai.base_url, reason=error.reason)
    finally:
        await handler.close()
    return told("model", "answers", model=openai.model)
