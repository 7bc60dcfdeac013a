"""How the pages look: no serious finding of axe-core, nothing sticks out, pictures at both widths."""

import pytest
from playwright.async_api import Browser, expect

from bot.emulator import Emulator
from tests.browser.afternoon import fill
from tests.browser.window import DESK, PHONE, Scheme, overflow, serious, shoot, window
from tests.process.harness import Bot

# What the README shows is renewed from these by hand: docs/images.
PICTURES = {"readme-status": DESK, "readme-phone": PHONE}
PAGES = {
    "status": "/",
    "nothing-found": "/?search=nobody&failed=nothing",
    "user": "/users/u1",
    "user-hostile": "/users/u16",
    "clear": "/clear",
    "message": "/messages/2",
    "audit": "/audit",
    "error": "/users/nobody",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
async def test_every_page_can_be_read_by_everybody(
    afternoon: Bot, browser: Browser, width: int, scheme: Scheme
) -> None:
    """axe-core finds nothing serious, at both widths and in both schemes, with every detail opened."""
    async with window(browser, "about:blank", width=width, scheme=scheme, bypass_csp=True) as page:
        found = {}
        for name, path in PAGES.items():
            await page.goto(afternoon.admin_url + path)
            await shoot(page, f"{name}-{width}-{scheme}")
            await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            found[name] = [*await serious(page), *(["too wide"] if await overflow(page) > 0 else [])]
    assert {name: findings for name, findings in found.items() if findings} == {}


async def test_ten_thousand_users_are_a_page_like_any_other(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """Fifty at a time, and found by name; the pictures of the README come from the first fifteen's afternoon."""
    await fill(bot.database, emu.settings.phone_number_id, people=10_000)
    await bot.start()
    async with window(browser, bot.admin_url) as page:
        await expect(page.locator("#users tbody tr")).to_have_count(50)
        await page.get_by_role("link", name="More users").click()
        await expect(page.locator("#users tbody tr")).to_have_count(50)
        await page.get_by_role("search", name="Users").get_by_label("Search").fill("kwame 9996")
        await page.keyboard.press("Enter")
        await expect(page.locator("#users tbody tr")).to_have_count(1)
        await page.get_by_role("link", name="All users").click()
        await page.get_by_label("First").select_option("failed")
        await page.get_by_role("search", name="Users").get_by_role("button", name="Show").click()
        await expect(page.locator("#users tbody tr").first).to_contain_text("2")


async def test_the_pictures_of_the_readme_are_taken(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """A quiet look at a busy afternoon, at both widths."""
    emu.settings.model_delay_seconds = 3600
    bot.configure(queue={"concurrency": 2}, openai={"price_input_per_million": 0.25, "price_output_per_million": 2.0})
    await fill(bot.database, emu.settings.phone_number_id, people=15)
    await bot.start()
    for name, width in PICTURES.items():
        async with window(browser, bot.admin_url, width=width) as page:
            await page.set_viewport_size({"width": width, "height": 1000 if width == DESK else 800})
            await expect(page.locator("#users")).to_contain_text("answering")
            await shoot(page, name, whole=False)
