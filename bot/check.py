"""`bot check --online` and `--alerts`: try WhatsApp, our own address, the model service and the channels of alerts.

What each answer means is said in words.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr

from bot.alerts import WORDS, Alert, Channels, Undelivered, Way
from bot.clock import Clock, stamp
from bot.config import Config, OpenAI, WhatsApp
from bot.domain import Message, Question
from bot.errors import Kind, ServiceError, StartError, StoreError
from bot.model.handler import OpenAIHandler
from bot.sender import NumberLimit
from bot.store.store import Store
from bot.whatsapp.client import GraphClient

TIMEOUT = aiohttp.ClientTimeout(total=15)
NO_TOKEN = "The access token is wrong, has expired or was withdrawn: make a new permanent one (of a system user)."
NO_RIGHT = "The access token may not use this number: it wants whatsapp_business_messaging and …_management for it."
NO_NUMBER = "No such number for this token: copy the phone number ID (not the phone number) from the app's API setup."
NO_ANSWER = "WhatsApp gave no usable answer: look at the network and at whatsapp.base_url."
WRONG_SECRET = "The app secret is another app's: mend BOT_WHATSAPP__APP_SECRET or set whatsapp.appsecret_proof = false."
WRONG_CLOCK = "This machine's clock is over 5 minutes off WhatsApp's: set it (timedatectl), then restart the bot."
NO_CHANNEL = "No test alert was sent: set whatsapp_to, webhook_url or ntfy_url under [alerts]."
UNSIGNED = "The app wants each call signed: set whatsapp.appsecret_proof = true."
GRAPH_CODES = {"190": NO_TOKEN, "": NO_ANSWER, "33": NO_NUMBER, "100": NO_NUMBER, "803": NO_NUMBER}
GRAPH_CODES |= dict.fromkeys(["3", "10", "131005", *map(str, range(200, 300))], NO_RIGHT)
PUBLIC_ERRORS: dict[type[Exception], str] = {  # the special ones first
    aiohttp.ClientConnectorDNSError: "its name is not known: look at its DNS record",
    aiohttp.ClientSSLError: "its TLS fails, and Meta wants a valid certificate: look at the reverse proxy",
    aiohttp.ClientConnectorError: "it takes no connection: look at the reverse proxy and the firewall",
    TimeoutError: "it gives no answer in time: look at the firewall and the reverse proxy",
    aiohttp.ClientError: "what answers there breaks off or speaks no HTTP: look at the reverse proxy",
}
PUBLIC_STATUSES = dict.fromkeys((502, 503, 504), "the proxy is there, the bot isn't: start it; look at server.port")
PUBLIC_STATUSES[403] = "another verify token is expected there: restart the bot, or another program has its address"
SOMETHING_ELSE = "something else answers there: the reverse proxy has to hand /webhook to this bot, without a redirect"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one question came to: whether it is good (None: it was not asked), and what it means."""

    good: bool | None
    text: str


async def check_online(config: Config) -> list[Finding]:
    """Try the accounts that the configuration names; nothing is sent to anybody and nothing is changed.

    All it costs is the model's answer to one word.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        findings = await _check_whatsapp(config.whatsapp, session)
        findings.append(await check_public(config.server.public_url, config.whatsapp.verify_token, session))
        return [*findings, await check_model(config.openai)]


async def _check_whatsapp(whatsapp: WhatsApp, session: aiohttp.ClientSession) -> list[Finding]:
    """Ask for the number, which shows whether appsecret_proof fits, and whether the account is subscribed."""
    graph = GraphClient(session, whatsapp, Clock())
    try:
        number = await graph.phone_number()
    except ServiceError as error:
        meaning = GRAPH_CODES.get(error.code or "", "WhatsApp refuses the number.")
        if "appsecret_proof" in error.reason:
            meaning = WRONG_SECRET if whatsapp.appsecret_proof else UNSIGNED
        return [Finding(False, f"{meaning} ({error.reason})")]
    name = f"{number.get('display_phone_number', '?')} as “{number.get('verified_name', '?')}”"
    signed = ", and the app secret belongs to the token's app" if whatsapp.appsecret_proof else ""
    known = Finding(True, f"WhatsApp knows the number {name}, the token may use it{signed}.")
    wrong = [Finding(False, WRONG_CLOCK)] * bool(graph.clock_off)
    return [known, *wrong, await _check_subscription(whatsapp.waba_id, graph)]


async def _check_subscription(waba_id: str, graph: GraphClient) -> Finding:
    account = f"WhatsApp Business Account {waba_id}"
    if not waba_id:
        return Finding(None, "Whether webhooks are sent was not asked: that wants whatsapp.waba_id.")
    try:
        apps = await graph.subscribed_apps(waba_id)
    except ServiceError as error:
        return Finding(False, f"The {account} can't be asked: is it this number's? ({error.reason})")
    if not apps:
        mend = f"POST /{waba_id}/subscribed_apps with the token of your app"
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
    return findings or [Finding(None, NO_CHANNEL)]


async def _try(name: str, way: Way, now: str) -> Finding:
    try:
        how = await way(Alert("test", WORDS["test"], now, now))
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
            meaning, sign = PUBLIC_STATUSES.get(response.status, SOMETHING_ELSE), f"HTTP {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        meaning = next(words for kind, words in PUBLIC_ERRORS.items() if isinstance(error, kind))
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
