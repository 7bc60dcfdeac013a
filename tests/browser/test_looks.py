"""How the pages look: no serious finding of axe-core, nothing sticks out, pictures at both widths."""

import pytest
from playwright.async_api import Browser

from tests.browser.window import DESK, PHONE, Scheme, overflow, serious, shoot, window
from tests.process.harness import Bot

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
