"""What the daemon writes: JSON lines, no secret, no person's words or number, whatever goes wrong."""

import hashlib
import hmac
import json
from urllib.parse import quote

from bot.emulator import Emulator
from tests.process.harness import Bot, Process, reserved_port, until

PHONE, WORDS = "34600111222", "my private words"


async def make_everything_fail(bot: Bot, emu: Emulator, sent: list[str]) -> None:
    """Let each service fail in the ways that quote what it was sent: secrets and number, the model the words too."""
    quoting = f"Malformed token {' or '.join(sent)}, sent to {PHONE}"
    wrong = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    assert await emu.deliveries.post({"entry": [], "text": WORDS}, headers=wrong) == 401
    for token in ("wrong", bot.env["BOT_WHATSAPP__VERIFY_TOKEN"]):
        asked = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "1"}
        async with bot.client.get(bot.public_url + "/webhook", params=asked) as response:
            assert response.status == (403 if token == "wrong" else 200)
    for kind in ("broken", "html", "cut"):
        emu.faults.add(kind, service="model", body=f"{quoting} {WORDS}" if kind == "html" else "")
    emu.faults.add("error", service="model", status=400, message=f"{quoting} {WORDS}")
    emu.faults.add("http", service="graph.read", status=500, body=quoting, times=0)
    await emu.say(PHONE, WORDS)
    await until(lambda: failed(bot) == 1)
    emu.faults.add("error", code=131051, message=quoting)
    await emu.say(PHONE, WORDS)
    await until(lambda: failed(bot) == 2)
    emu.faults.add("error", code=190, message=quoting, times=0)
    await emu.say(PHONE, WORDS)
    await until(lambda: refused(bot))


def failed(bot: Bot) -> int:
    """Count the messages that failed."""
    return int(bot.sql("SELECT count(*) FROM outbox WHERE state = 'failed'")[0][0])


def refused(bot: Bot) -> bool:
    """Whether WhatsApp's circuit is open."""
    return bot.sql("SELECT state FROM circuits WHERE service = 'graph'") == [("open",)]


async def all_that_is_shown(bot: Bot) -> str:
    """Collect what pages, the terminal's commands and the file say."""
    paths = ("/", "/api/users", "/api/users/u1", "/api/failures", "/readyz", "/queue-stats")
    shown = [str((await bot.get(path))[1]) for path in paths]
    shown += [str(await bot.command(command)) for command in ("status", "failures")]
    for table in ("outbox", "replies", "attempts", "circuits", "audit"):
        shown.append(str(bot.sql(f"SELECT * FROM {table}")))
    return "".join(shown)


def assert_lines_for_programs(process: Process) -> None:
    """See that each line is JSON, and that webhooks, sends and turns say how they ended, of whom, after how long."""
    assert len(process.events) == len(process.lines)
    for event in process.events:
        assert list(event)[:3] == ["event", "level", "timestamp"]
        assert ("ms" in event) == (event["event"] in {"webhook", "send", "turn"})
    outcomes = {
        (event["event"], event["outcome"], event["level"])
        for event in process.events
        if event.get("user") == "u1" and event.get("message") == 1
    }
    assert outcomes >= {("turn", "retry", "warning"), ("send", "sent", "info"), ("turn", "failed", "warning")}


async def test_no_secret_no_number_and_no_word_of_a_user_is_ever_written(bot: Bot, emu: Emulator) -> None:
    """Look through all that a run with failures logs, and for secrets through all that is shown and kept."""
    bot.env["BOT_ADMIN__TOKEN"] = "process-admin-token"
    secrets = [value for name, value in bot.env.items() if name.startswith("BOT_") or name == "OPENAI_API_KEY"]
    token, app_secret = emu.settings.access_token, emu.settings.app_secret
    assert len(secrets) == 5
    process = await bot.start()
    proof = hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
    await make_everything_fail(bot, emu, [token, proof, emu.settings.api_key])
    shown = await all_that_is_shown(bot)
    emu.faults.add("error", service="graph.number", code=190, message=f"not {token}")
    shown += str(await bot.command("check", "--online")) + str(await bot.command("run"))
    assert await process.stop() == 0

    with reserved_port() as closed:  # where nobody listens: the address with its proof is in aiohttp's error
        bot.configure(whatsapp={"base_url": f"http://127.0.0.1:{closed}"})
        bot.sql("UPDATE circuits SET state = 'closed', reason = NULL, probe_at = NULL")
        unreachable = await bot.start()
        await until(lambda: refused(bot))
        shown += str(await bot.get("/")) + str(bot.sql("SELECT * FROM circuits"))
        assert await unreachable.stop() == 0

    logs = process.output + unreachable.output
    for secret in (*secrets, proof):
        for form in {secret, quote(secret, ""), json.dumps(secret)[1:-1]}:
            assert form not in logs
            assert form not in shown
    assert "appsecret_proof" not in logs + shown
    assert PHONE not in logs
    assert WORDS not in logs
    assert_lines_for_programs(process)
