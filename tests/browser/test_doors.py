"""The doors as a browser sees them: sign in, look only, sign out, a link on another site, hidden data."""

from aiohttp import web
from playwright.async_api import Browser, expect

from bot.emulator import Emulator
from tests.browser.window import PHONE, shoot, window
from tests.process.harness import Bot, until

TOKEN, READ = "browser-token", "browser-read-token"


async def with_doors(bot: Bot, emu: Emulator, **admin: object) -> None:
    """Start a bot that asks who comes, and let somebody write and be answered."""
    bot.env |= {"BOT_ADMIN__TOKEN": TOKEN, "BOT_ADMIN__READ_TOKEN": READ}
    bot.configure(admin={"allowed_hosts": ["localhost"], **admin})
    await bot.start()
    await emu.say(emu.customer("Ana Torres", wa_id="5215512345678"), "mi secreto")
    await until(lambda: bot.states() == {"mi secreto": "done"})


async def test_the_owner_signs_in_acts_and_signs_out(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """A mistyped token is told on the form, the right one leads to the page that was wanted; after, nothing is left."""
    await with_doors(bot, emu)
    async with window(browser, f"{bot.admin_url}/users/u1", width=PHONE) as page:
        await shoot(page, "signin-phone")
        for token in ("mistyped", TOKEN):
            await page.get_by_label("Token").fill(token)
            await page.get_by_role("button", name="Sign in").tap()
            if token != TOKEN:
                await expect(page.get_by_role("alert")).to_contain_text("This token is wrong")
        await expect(page).to_have_url(f"{bot.admin_url}/users/u1")
        await page.get_by_role("button", name="Pause", exact=True).tap()
        await expect(page.locator("#person")).to_contain_text("paused")
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Sign out").tap()
        await expect(page.get_by_label("Token")).to_be_visible()
        await page.goto(f"{bot.admin_url}/users/u1")
        await expect(page.get_by_label("Token")).to_be_visible()
    assert bot.sql("SELECT who, address, action FROM audit") == [("page", "127.0.0.1", "pause")]


async def test_a_reader_sees_it_live_and_finds_nothing_to_press(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """Also not in the parts that come later; the way out is the one button."""
    await with_doors(bot, emu)
    async with window(browser, bot.admin_url) as page:
        await page.get_by_label("Token").fill(READ)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#users")).to_contain_text("Ana Torres")
        await emu.say(emu.customer("Bea Ruiz", wa_id="5215587654321"), "hola")
        await expect(page.locator("#users")).to_contain_text("Bea Ruiz")
        await shoot(page, "reader")
        forms = page.locator("form[method=post]")
        await expect(forms).to_have_count(1)
        await expect(forms.first).to_have_attribute("action", "/signout")


async def test_a_link_on_another_site_finds_who_is_signed_in(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """The cookie stays at home at such a click; the page asks for itself once more, and then it comes along."""
    await with_doors(bot, emu)
    app = web.Application()

    async def elsewhere(_: web.Request) -> web.Response:
        link = f'<link rel="icon" href="data:,"><a href="{bot.admin_url}/users/u1">somebody waits</a>'
        return web.Response(text=f"<!doctype html><title>elsewhere</title>{link}", content_type="text/html")

    app.router.add_get("/", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0)
    await site.start()
    try:
        async with window(browser, bot.admin_url) as page:
            await page.get_by_label("Token").fill(TOKEN)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.locator("#users")).to_contain_text("Ana Torres")
            await page.goto(f"http://localhost:{runner.addresses[0][1]}/")
            await page.get_by_role("link", name="somebody waits").click()
            await expect(page.locator("#person")).to_contain_text("Ana Torres")
            await expect(page).to_have_url(f"{bot.admin_url}/users/u1")
    finally:
        await runner.cleanup()


async def test_what_is_hidden_is_shown_by_a_button_and_hidden_again(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """On this page, this once: the next look is a masked one, and the audit has a line."""
    await with_doors(bot, emu, privacy="masked")
    async with window(browser, f"{bot.admin_url}/users/u1") as page:
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        conversation = page.locator("#conversation")
        await expect(conversation).to_contain_text("••• (a few words)")
        await expect(page.locator("#person")).to_contain_text("+52…5678")
        await expect(page.locator("body")).not_to_contain_text("secreto")
        await shoot(page, "masked")
        await page.get_by_role("button", name="Show numbers and texts").click()
        await expect(conversation).to_contain_text("mi secreto")
        await expect(page.locator("#person")).to_contain_text("+5215512345678")
        await shoot(page, "revealed")
        await page.goto(f"{bot.admin_url}/users/u1")
        await expect(conversation).to_contain_text("••• (a few words)")
    assert bot.sql("SELECT who, action, user_id FROM audit") == [("page", "reveal", 1)]
