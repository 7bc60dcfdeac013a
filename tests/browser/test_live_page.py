"""A page that changes under one's hands: what somebody does there is left alone, and a lost connection is no end."""

from playwright.async_api import Browser, Page, expect

from tests.browser.window import window
from tests.process.harness import Bot


async def connected(page: Page) -> None:
    """Wait until the page is kept live."""
    await expect(page.locator("#live")).to_have_attribute("data-state", "")


async def rename(bot: Bot, page: Page, name: str, *, seen: bool = True) -> None:
    """Let a user have another name, and wait until the page shows it."""
    bot.sql("UPDATE users SET name = ? WHERE id = (SELECT min(id) FROM users WHERE depth > 0)", name)
    if seen:
        await expect(page.locator("#users")).to_contain_text(name)


async def test_what_somebody_does_on_the_page_is_left_alone(afternoon: Bot, browser: Browser) -> None:
    """The row, the focus, a checked box, what is typed, what is open, and the place: while all around them changes."""
    async with window(browser, afternoon.admin_url) as page:
        await connected(page)
        await rename(afternoon, page, "Renamed once")
        row = page.locator("#users tr", has_text="Renamed once")
        first = await page.locator("#failures input[type=checkbox]").first.get_attribute("value")
        box = page.locator(f"#failures input[type=checkbox][value='{first}']")
        await box.check()
        await page.locator("#charts summary").click()
        await page.mouse.move(1, 1)  # what scrolls under the pointer would be held
        await page.get_by_role("searchbox", name="Search").first.fill("half a wo")
        await row.get_by_role("button").focus()
        await page.evaluate(
            """() => {
              window.kept = { row: document.activeElement.closest("tr"), button: document.activeElement };
              window.place = document.activeElement.getBoundingClientRect().top;
            }"""
        )
        afternoon.sql("UPDATE outbox SET error = 'another reason' WHERE state = 'failed'")
        afternoon.sql(
            "UPDATE outbox SET state = 'cancelled' WHERE id IN (SELECT max(id) FROM outbox WHERE state = 'pending')"
        )
        await rename(afternoon, page, "Renamed twice")
        await expect(page.locator("#failures")).to_contain_text("another reason")
        assert await page.evaluate("kept.row.isConnected && kept.row.textContent.includes('Renamed twice')")
        assert await page.evaluate("document.activeElement === kept.button")
        assert abs(await page.evaluate("document.activeElement.getBoundingClientRect().top - place")) < 200
        await expect(box).to_be_checked()
        await expect(page.locator("#charts details")).to_have_attribute("open", "")
        await expect(page.get_by_role("searchbox", name="Search").first).to_have_value("half a wo")


async def test_what_the_pointer_is_over_or_somebody_selects_does_not_move(afternoon: Bot, browser: Browser) -> None:
    """The part waits, the others go on; it comes as soon as the hand is away."""
    async with window(browser, afternoon.admin_url) as page:
        await connected(page)
        failures = page.locator("#failures")
        await failures.locator("li button").first.hover()
        afternoon.sql("UPDATE outbox SET error = 'reason two' WHERE state = 'failed'")
        await rename(afternoon, page, "Renamed once")
        await expect(failures).not_to_contain_text("reason two")
        await page.mouse.move(1, 1)
        await expect(failures).to_contain_text("reason two")
        await failures.locator("blockquote").first.select_text()
        afternoon.sql("UPDATE outbox SET error = 'reason three' WHERE state = 'failed'")
        await rename(afternoon, page, "Renamed twice")
        await expect(failures).not_to_contain_text("reason three")
        await page.evaluate("getSelection().removeAllRanges()")
        await expect(failures).to_contain_text("reason three")


async def test_live_updates_are_paused_and_a_lost_connection_is_found_again(afternoon: Bot, browser: Browser) -> None:
    """Both are said; after a restart of the daemon the page goes on by itself."""
    page = await browser.new_page()  # not a `window`: the browser itself tells of the lost connection on the console
    await page.goto(afternoon.admin_url)
    await connected(page)
    button, said = page.get_by_role("button", name="Pause live updates"), page.locator("#live [role=status]")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await rename(afternoon, page, "Renamed once", seen=False)
    await expect(said).to_have_text("This page stays as it is")
    await expect(page.locator("#users")).not_to_contain_text("Renamed once")
    await button.click()
    await expect(page.locator("#users")).to_contain_text("Renamed once")
    await afternoon.processes[-1].stop()
    await expect(said).to_have_text("Connection lost, trying again")
    assert (await page.title()).startswith("Connection lost")  # the sentence is how it was, and looks so
    await expect(page.locator("#headline .panel")).to_have_css("border-style", "dashed")
    await afternoon.start()
    await connected(page)
    await rename(afternoon, page, "Renamed twice")
    assert not (await page.title()).startswith("Connection lost")
    afternoon.sql("UPDATE control SET paused_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
    await expect(page.locator("h1")).to_contain_text("Paused since")
    assert (await page.title()).startswith("Paused since")
    await page.close()
