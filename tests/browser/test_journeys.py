"""What owners come for: to see that it answers, to mend what failed, to stop it from a phone."""

import re

from playwright.async_api import Browser, Page, expect

from bot.emulator import Emulator
from tests.browser.window import PHONE, shoot, window
from tests.process.harness import Bot

THUMB = 44  # pixels that a thumb hits


def figure(page: Page, name: str) -> str:
    """Return the selector of a figure at the top."""
    return f"#figures dl > div:has(dt:text-is('{name}')) dd"


async def test_a_burst_is_seen_to_arrive_and_to_drain(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """Without a reload: the figures and the user's row follow, and at the end nothing waits."""
    emu.settings.model_delay_seconds = 0.5
    ana = emu.customer("Ana Torres", wa_id="5215512345678")
    await bot.start()
    async with window(browser, bot.admin_url) as page:
        await expect(page.locator("#users")).to_contain_text("Nobody has written yet")
        await page.evaluate("window.unchanged = true")
        await emu.burst(ana, [f"pregunta {n}" for n in range(6)])
        row = page.locator("#users tr", has_text="Ana Torres")
        await expect(row).to_contain_text("answering")
        await expect(page.locator(figure(page, "Waiting"))).to_have_text(re.compile("[1-6]"))
        await shoot(page, "burst")
        await expect(row).to_contain_text("idle")
        await expect(page.locator(figure(page, "Waiting"))).to_have_text("0")
        assert await page.evaluate("window.unchanged")
    assert emu.sends(ana) == [f"answer to: pregunta {n}" for n in range(6)]


async def test_a_failure_appears_is_retried_and_turns_green(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """From the list to its cause, back into the queue with one button, and to an answer with its ticks."""
    ana = emu.customer("Ana Torres", wa_id="5215512345678")
    emu.fail_model(ana, status=400)
    await bot.start()
    async with window(browser, bot.admin_url) as page:
        await expect(page.locator("#failures")).to_contain_text("No failures. Good.")
        await emu.say(ana, "¿Abren el domingo?")
        failure = page.locator("#failures li", has_text="¿Abren el domingo?")
        await expect(failure).to_contain_text("HTTP 400")
        await failure.get_by_role("button", name="Retry").click()
        await expect(page.get_by_role("status").filter(has_text="back in the queue: 1")).to_be_visible()
        await expect(page.locator("#failures")).to_contain_text("No failures. Good.")
        await page.locator("#users").get_by_role("link", name="Ana Torres").click()
        answer = page.locator("#conversation .out", has_text="answer to: ¿Abren el domingo?")
        await expect(answer).to_contain_text("delivered")
        asked = page.locator("#conversation .in", has_text="¿Abren el domingo?")
        await asked.locator("summary").click()
        await expect(asked.locator(".steps li", has_text="failed")).to_contain_text(re.compile(r"\d+ ms"))
        await asked.get_by_role("link", name="What the model was sent").click()
        await expect(page.locator("main")).to_contain_text("¿Abren el domingo?")


async def test_everything_is_paused_and_resumed_from_a_phone(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """One button each, as large as a thumb; what is written meanwhile waits."""
    ana = emu.customer("Ana Torres", wa_id="5215512345678")
    await bot.start()
    async with window(browser, bot.admin_url, width=PHONE) as page:
        pause = page.get_by_role("button", name="Pause everything")
        box = await pause.bounding_box()
        assert box is not None
        assert box["height"] >= THUMB
        assert box["y"] + box["height"] < 740, "it is seen without scrolling"
        await pause.tap()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Paused")
        await emu.say(ana, "hola")
        await expect(page.locator(figure(page, "Waiting"))).to_have_text("1")
        await shoot(page, "paused-phone", whole=False)
        assert emu.sends(ana) == []
        await page.get_by_role("button", name="Resume everything").tap()
        await expect(page.locator(figure(page, "Waiting"))).to_have_text("0")
    assert emu.sends(ana) == ["answer to: hola"]


async def test_the_owner_answers_as_the_number(bot: Bot, emu: Emulator, browser: Browser) -> None:
    """Pause somebody, write to them, skip what waits: the count is said before and after."""
    ana = emu.customer("Ana Torres", wa_id="5215512345678")
    await bot.start()
    await emu.say(ana, "hola")
    await emu.wait_for(lambda: emu.sends(ana))
    async with window(browser, bot.admin_url + "/users/u1") as page:
        await page.get_by_role("button", name="Pause", exact=True).click()
        await emu.say(ana, "quiero hablar con alguien")
        await page.get_by_label("What you write").fill("Soy Paula, ¿en qué te ayudo?")
        await page.get_by_role("button", name="Send").click()
        mine = page.locator("#conversation .human", has_text="Soy Paula")
        await expect(mine).to_contain_text("delivered")
        await page.get_by_role("link", name="Cancel 1 waiting").click()
        await page.get_by_role("button", name="Cancel 1 message and resume").click()
        await expect(page.get_by_role("status").filter(has_text="skipped: 1")).to_be_visible()
        await expect(page.locator("#person")).to_contain_text("idle")
    assert emu.sends(ana) == ["answer to: hola", "Soy Paula, ¿en qué te ayudo?"]


async def test_all_of_it_works_without_javascript(afternoon: Bot, browser: Browser) -> None:
    """Forms and links: filter, page on, retry what was chosen; the page says what came of it."""
    async with window(browser, afternoon.admin_url, java_script_enabled=False) as page:
        await page.get_by_role("search", name="Users").get_by_label("Search").fill("lucía ferrer")
        await page.get_by_role("search", name="Users").get_by_role("button", name="Show").click()
        await expect(page.locator("#users tbody tr")).to_have_count(1)
        await page.get_by_role("link", name="All users").click()
        await page.get_by_role("link", name=re.compile("Message undeliverable")).click()
        await expect(page.locator("#failures li.failure")).to_have_count(3)
        for box in (await page.locator("#failures input[type=checkbox]").all())[:2]:
            await box.check()
        await expect(page.get_by_role("button", name="Retry all 3 found")).to_be_visible()
        await page.get_by_role("button", name="Retry the selected").click()
        await expect(page.get_by_role("status").filter(has_text="back in the queue: 2")).to_be_visible()
        await page.get_by_role("link", name="Audit").click()
        await expect(page.locator("tbody tr").first).to_contain_text("put back")


async def test_selected_failures_are_retried_and_the_button_counts_them(afternoon: Bot, browser: Browser) -> None:
    """What is checked stays so while the page is live; what was decided meanwhile is told."""
    async with window(browser, afternoon.admin_url) as page:
        boxes = page.locator("#failures input[type=checkbox]")
        retry = page.locator(".selected button")
        await expect(retry).to_be_hidden()
        for n in range(3):
            await boxes.nth(n).check()
        await page.mouse.move(0, 0)  # nothing moves away under a pointer that may press it
        await expect(retry).to_have_text("Retry the selected 3")
        chosen = await boxes.nth(0).get_attribute("value")
        afternoon.sql("UPDATE outbox SET state = 'cancelled' WHERE id = ?", chosen)
        await expect(boxes.nth(0)).not_to_have_attribute("value", chosen or "")
        await expect(retry).to_have_text("Retry the selected 2")
        await retry.click()
        await expect(page.get_by_role("status").filter(has_text="back in the queue: 2")).to_be_visible()
        await expect(page.locator("#failures")).to_contain_text("Retry all")


async def test_the_keyboard_gets_everywhere(afternoon: Bot, browser: Browser) -> None:
    """The first stop skips to the content, and each stop is seen."""
    async with window(browser, afternoon.admin_url) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        for _ in range(6):
            await page.keyboard.press("Tab")
            seen = "getComputedStyle(document.activeElement).outlineStyle"
            assert (
                await page.evaluate(f"document.querySelector('main').contains(document.activeElement) && {seen}")
                == "solid"
            )
