"""`bot check --online` against the emulator: each answer of the services in words that say what to do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner
from pydantic import SecretStr

from bot.bell import Bell
from bot.check import Finding, check_model, check_online, check_public, check_whatsapp
from bot.cli import main
from bot.config import Config, OpenAI, WhatsApp
from bot.emulator import Emulator, Settings
from bot.metrics import Metrics
from bot.web.public import public_app
from tests.flow.listeners import VERIFY_TOKEN, a_number, a_store, serving


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulator of both services; the app there has a callback URL."""
    async with Emulator(Settings(callback_url="https://bot.example.com/webhook")) as running:
        yield running


def config_of(emulator: Emulator, **changes: object) -> Config:
    """Point a configuration at the emulator; changes are keys of [whatsapp], or model and api_key."""
    known = emulator.settings
    model = {key: changes.pop(key) for key in ("model", "api_key") if key in changes}
    whatsapp = {
        "base_url": emulator.graph_url,
        "phone_number_id": known.phone_number_id,
        "waba_id": known.waba_id,
        "access_token": SecretStr(known.access_token),
        "app_secret": SecretStr(known.app_secret),
    } | changes
    openai = {"base_url": emulator.model_url, "api_key": SecretStr(known.api_key)} | model
    return Config(whatsapp=WhatsApp(**whatsapp), openai=OpenAI(**openai))


async def found(config: Config) -> list[tuple[bool | None, str]]:
    """Check, and make sure that no secret is told."""
    findings = await check_online(config)
    public = findings.pop(-2)
    assert (public.good, "wants server.public_url" in public.text) == (None, True)
    told = " ".join(finding.text for finding in findings)
    assert not [secret for secret in config.secrets if secret in told]
    return [(finding.good, finding.text) for finding in findings]


async def test_when_all_is_well_each_question_says_so(emulator: Emulator) -> None:
    """Number with its name and the secret, clock, token, subscription, webhooks, model."""
    findings = await found(config_of(emulator))
    assert [good for good, _ in findings] == [True] * 6
    assert "+15550783881 as “La Tienda”" in findings[0][1]
    assert "the app secret belongs to the token's app" in findings[0][1]
    assert "clock agrees with WhatsApp's" in findings[1][1]
    assert "token doesn't expire" in findings[2][1]
    assert "go to: Emulated app. Your app is among them." in findings[3][1]
    assert findings[4][1] == "Webhooks go to https://bot.example.com/webhook, messages among them."
    assert "gpt-5.4-mini answered" in findings[5][1]


async def test_a_clock_that_is_wrong_is_told(emulator: Emulator) -> None:
    """By the date of WhatsApp's own answer."""
    emulator.settings.clock_offset_seconds = -3600
    findings = await found(config_of(emulator))
    assert [good for good, _ in findings] == [True, False, True, True, True, True]
    assert "clock is over 5 minutes off" in findings[1][1]


async def test_the_secret_of_another_app_is_told_from_a_wrong_token(emulator: Emulator) -> None:
    """Code 100 that speaks of appsecret_proof says both ways to mend it."""
    findings = await found(config_of(emulator, app_secret=SecretStr("another-apps-secret")))
    assert [good for good, _ in findings] == [False, True]
    assert "whatsapp.appsecret_proof = false" in findings[0][1]
    assert "BOT_WHATSAPP__APP_SECRET" in findings[0][1]


async def test_an_app_that_wants_signed_calls_is_told(emulator: Emulator) -> None:
    """Where "Require App Secret" is on and appsecret_proof is off."""
    emulator.settings.require_app_secret = True
    findings = await found(config_of(emulator, appsecret_proof=False))
    assert [good for good, _ in findings] == [False, True]
    assert "appsecret_proof = true" in findings[0][1]


async def test_without_appsecret_proof_the_secret_is_not_judged(emulator: Emulator) -> None:
    """It may rightly belong to another app."""
    findings = await found(config_of(emulator, appsecret_proof=False, app_secret=SecretStr("another")))
    assert [good for good, _ in findings] == [True] * 6
    assert "secret" not in findings[0][1]
    assert "can only be asked with whatsapp.appsecret_proof" in findings[4][1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"access_token": SecretStr("EAAold")}, "access token is wrong, has expired or was withdrawn"),
        ({"phone_number_id": "15550783881"}, "copy the phone number ID (not the phone number)"),
        ({"base_url": "http://127.0.0.1:9"}, "look at the network and at whatsapp.base_url"),
    ],
)
async def test_a_number_that_cannot_be_seen_says_what_to_mend(
    emulator: Emulator, changes: dict[str, object], words: str
) -> None:
    """One finding for WhatsApp is enough then; the model is asked all the same."""
    findings = await found(config_of(emulator, **changes))
    assert [good for good, _ in findings] == [False, True]
    assert words in findings[0][1]


@pytest.mark.parametrize(("code", "words"), [(10, "may not use this number"), (131031, "refuses the number")])
async def test_other_refusals_are_told_with_metas_own_words(emulator: Emulator, code: int, words: str) -> None:
    """The meaning where it is known, and the answer itself in any case."""
    emulator.faults.add("error", service="graph.number", code=code)
    findings = await found(config_of(emulator))
    assert not findings[0][0]
    assert words in findings[0][1]
    assert str(code) in findings[0][1]


async def test_an_account_without_a_subscription_gets_no_messages(emulator: Emulator) -> None:
    """The most frequent silent failure of a new set-up."""
    emulator.settings.subscribed = False
    findings = await found(config_of(emulator))
    assert findings[3][0] is False
    assert "subscribed_apps" in findings[3][1]


async def test_an_account_that_sends_its_webhooks_to_another_app_is_told(emulator: Emulator) -> None:
    """What the token's app is, WhatsApp tells; where it doesn't, who reads has to know."""
    emulator.settings.subscribed, emulator.settings.other_app = False, "The old bot"
    others = (await found(config_of(emulator)))[3]
    assert (others[0], "go to: The old bot, not to your app (its id is 1234567890)" in others[1]) == (False, True)
    emulator.faults.add("error", service="graph.token", code=100)
    untold = await found(config_of(emulator))
    assert (untold[2][0], "WhatsApp answered 100" in untold[2][1]) == (None, True)
    assert (untold[3][0], "Your app must be among them" in untold[3][1]) == (True, True)


@pytest.mark.parametrize(
    ("days", "good", "words"),
    [
        (60.5, True, "lasts for 60 more days, until 2"),
        (14.5, True, "lasts for 14 more days"),
        (13.5, False, "ends in 13 days (2"),
        (0.9, False, "ends in 0 days (2"),
        (-3.0, False, "ended on 2"),
    ],
)
async def test_a_token_that_ends_soon_is_to_be_replaced(
    emulator: Emulator, days: float, good: bool, words: str
) -> None:
    """Two weeks before, with what to do."""
    emulator.settings.token_days = days
    told = (await found(config_of(emulator)))[2]
    assert (told[0], words in told[1]) == (good, True)
    assert ("permanent one (of a system user)" in told[1]) is not good


async def test_a_token_that_may_not_send_is_told(emulator: Emulator) -> None:
    """The number answers to one that may only manage it; the first send would fail."""
    emulator.settings.token_scopes = ("whatsapp_business_management",)
    good, text = (await found(config_of(emulator)))[2]
    assert (good, "lacks whatsapp_business_messaging:" in text) == (False, True)


@pytest.mark.parametrize("kind", ["object", "broken", "cut", "http"])
@pytest.mark.parametrize("service", ["token", "webhooks"])
async def test_an_answer_that_whatsapp_does_not_give_is_a_line(emulator: Emulator, service: str, kind: str) -> None:
    """Neither good nor wrong, and the other questions are asked all the same; no field at all is an answer, too."""
    emulator.faults.add(kind, service=f"graph.{service}", times=0)  # a GET that is cut off is made once more
    findings = await found(config_of(emulator))
    place, known = {"token": 2, "webhooks": 4}[service], kind == "object" and service == "webhooks"
    assert (findings[place][0], "didn't tell (" in findings[place][1]) == (False if known else None, not known)
    assert [good for good, _ in findings[:place] + findings[place + 1 :]] == [True] * 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"callback_url": ""}, "Webhooks go nowhere"),
        (
            {"callback_url": "https://old.example.com/hook?key=abc"},
            "go to https://old.example.com/hook, not to https://bot",
        ),
        (
            {"override_url": "https://test.example.com/webhook"},
            "go to https://test.example.com/webhook, not to https://bot",
        ),
        ({"webhook_fields": ()}, "messages are not among them"),
        ({"webhook_fields": ("account_update",)}, "subscribe to the field messages"),
    ],
)
async def test_webhooks_that_go_elsewhere_or_lack_messages_are_told(
    emulator: Emulator, changes: dict[str, object], words: str
) -> None:
    """By the address that counts for the number, against server.public_url; nothing of its query."""
    for name, value in changes.items():
        setattr(emulator.settings, name, value)
    config = config_of(emulator)
    server = config.server.model_copy(update={"public_url": "https://bot.example.com"})
    async with aiohttp.ClientSession() as session:
        told = (await check_whatsapp(config.model_copy(update={"server": server}), session))[4]
    assert (told.good, words in told.text) == (False, True)
    assert "abc" not in told.text


async def test_a_wrong_account_and_one_that_is_not_set(emulator: Emulator) -> None:
    """A wrong waba_id is a mistake, a missing one is only said."""
    wrong = await found(config_of(emulator, waba_id="1"))
    assert (wrong[3][0], "Account 1 can't be asked" in wrong[3][1]) == (False, True)
    missing = await found(config_of(emulator, waba_id=""))
    assert (missing[3][0], "whatsapp.waba_id" in missing[3][1]) == (None, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"api_key": SecretStr("sk-wrong")}, "doesn't accept the API key"),
        ({"model": "gpt-0"}, "doesn't know the model"),
    ],
)
async def test_the_models_refusals(emulator: Emulator, changes: dict[str, object], words: str) -> None:
    """Key and name are told apart."""
    good, text = (await found(config_of(emulator, **changes)))[-1]
    assert not good
    assert words in text


async def _model_finding(handler: Callable[[web.Request], web.Response], **openai: object) -> tuple[bool | None, str]:
    async def answer(request: web.Request) -> web.Response:
        return handler(request)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with serving(app) as port:
        finding = await check_model(OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SecretStr("k"), **openai))
        return finding.good, finding.text


async def test_a_compatible_server_is_asked_by_the_api_that_is_set() -> None:
    """Local servers know no Responses API, and often have no address for each model: only an answer proves it."""

    def answered(request: web.Request) -> web.Response:
        if request.path == "/v1/chat/completions":
            return web.json_response({"choices": [{"message": {"content": "Hello"}}]})
        return web.Response(status=404, text="not found")

    assert (await _model_finding(answered, api="chat_completions", model="a/b"))[0]
    good, text = await _model_finding(answered, api="responses", model="a/b")
    assert (good, "openai.api" in text) == (False, True)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda: web.Response(text="<html>welcome</html>", content_type="text/html"), "openai.base_url"),
        (lambda: web.json_response([]), "openai.base_url"),
        (lambda: web.json_response({"error": "odd"}, status=500), "HTTP 500"),
        (lambda: web.json_response({"error": {"code": "insufficient_quota"}}, status=429), "wants to be paid"),
        (lambda: web.json_response({"error": {"code": None}}, status=403), "denies permission"),
        (lambda: web.Response(status=404), "doesn't know the model or the address"),
    ],
)
async def test_whatever_answers_there_is_judged(response: Callable[[], web.Response], words: str) -> None:
    """HTML, odd JSON, errors without a code: words, no traceback."""
    good, text = await _model_finding(lambda _: response())
    assert not good
    assert words in text


async def test_a_model_service_that_is_not_there() -> None:
    """The address is named."""
    openai = OpenAI(base_url="http://127.0.0.1:9/v1", api_key=SecretStr("k"))
    finding = await check_model(openai)
    assert finding.good is False
    assert "http://127.0.0.1:9/v1 gives no answer: no connection to the model" in finding.text


# -- our own address


async def public_finding(address: str, *, seconds: float = 10) -> tuple[bool | None, str]:
    """Ask an address, and make sure that the verify token is not told."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session:
        finding = await check_public(address, SecretStr(VERIFY_TOKEN), session)
    assert VERIFY_TOKEN not in finding.text
    assert "asked from this machine" in finding.text
    return finding.good, finding.text


@asynccontextmanager
async def a_bot(folder: Path, verify_token: str = VERIFY_TOKEN) -> AsyncIterator[str]:
    """Serve the daemon's public side; give its address."""
    async with a_store(folder) as store:
        app = public_app(a_number(verify_token=verify_token), store=store, bell=Bell(), metrics=Metrics())
        async with serving(app) as port:
            yield f"http://127.0.0.1:{port}"


async def test_an_address_that_leads_to_this_bot_is_good(emulator: Emulator, tmp_path: Path) -> None:
    """The challenge comes back; it is asked between WhatsApp and the model."""
    config = config_of(emulator, verify_token=SecretStr(VERIFY_TOKEN))
    async with a_bot(tmp_path) as address:
        emulator.settings.callback_url = f"{address}/webhook"
        server = config.server.model_copy(update={"public_url": address})
        findings = await check_online(config.model_copy(update={"server": server}))
    assert [finding.good for finding in findings] == [True] * 7
    assert f"{address}/webhook, asked from this machine, leads to a bot with this" in findings[5].text


async def test_a_bot_with_another_verify_token_is_told(tmp_path: Path) -> None:
    """As after a change of the environment without a restart."""
    async with a_bot(tmp_path, "another word") as address:
        good, text = await public_finding(address)
    assert (good, "another verify token" in text) == (False, True)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda _: web.Response(text="ok"), "something else answers there"),
        (lambda _: web.Response(status=404, text="not found"), "something else answers there"),
        (lambda _: web.Response(status=403, text="no"), "or another program has its address"),
        (lambda _: web.Response(status=502), "the bot isn't: start it"),
        (lambda _: web.Response(status=503), "the bot isn't: start it"),
        (lambda _: web.Response(status=504), "the bot isn't: start it"),
        (lambda _: web.Response(status=302, headers={"Location": "/healthz"}), "without a redirect (HTTP 302)"),
    ],
)
async def test_whatever_else_answers_at_our_address_is_told(
    response: Callable[[web.Request], web.Response], words: str
) -> None:
    """Each with what to do, and the status itself."""

    async def answer(request: web.Request) -> web.Response:
        return response(request)

    app = web.Application()
    app.router.add_get("/webhook", answer)
    async with serving(app) as port:
        good, text = await public_finding(f"http://127.0.0.1:{port}")
    assert not good
    assert words in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://nowhere.invalid", "its name is not known"),
        ("https://127.0.0.1:9", "it takes no connection"),
        ("https://127.0.0.1:99999", "breaks off or speaks no HTTP"),
    ],
)
async def test_an_address_where_nobody_is(address: str, words: str) -> None:
    """The name, the connection, and what is no address at all are told apart."""
    good, text = await public_finding(address)
    assert not good
    assert words in text


@pytest.mark.parametrize(
    ("scheme", "says", "words"),
    [
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "its TLS fails"),
        ("http", b"", "breaks off or speaks no HTTP"),
        ("http", b"SSH-2.0-OpenSSH\r\n", "breaks off or speaks no HTTP"),
        ("http", None, "no answer in time"),
    ],
)
async def test_a_port_where_something_odd_is(scheme: str, says: bytes | None, words: str) -> None:
    """No TLS, no HTTP, no answer."""
    asked = asyncio.Event()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if says is None:
            await asked.wait()
        else:
            writer.write(says)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        good, text = await public_finding(f"{scheme}://127.0.0.1:{port}", seconds=0.3 if says is None else 10)
        asked.set()
    assert not good
    assert words in text


@pytest.mark.parametrize(
    ("good", "printed", "code"), [(True, "ok     x", 0), (None, "--     x", 0), (False, "WRONG  x", 1)]
)
def test_what_was_not_asked_is_neither_good_nor_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool | None, printed: str, code: int
) -> None:
    """A mark of its own, and no error."""

    async def answered(_: Config) -> list[Finding]:
        return [Finding(good, "x")]

    monkeypatch.setattr("bot.check.check_online", answered)
    (tmp_path / "bot.toml").write_text('[whatsapp]\nphone_number_id = "1"\n')
    secrets = dict.fromkeys(("WHATSAPP__ACCESS_TOKEN", "WHATSAPP__APP_SECRET", "WHATSAPP__VERIFY_TOKEN"), "x")
    environ = {f"BOT_{name}": value for name, value in secrets.items()} | {"OPENAI_API_KEY": "x"}
    result = CliRunner().invoke(main, ["check", "--online", "--config", str(tmp_path / "bot.toml")], env=environ)
    assert (result.exit_code, result.output.splitlines()[1:]) == (code, [printed])
