"""A page as somebody sees it: how wide, how bright, with or without JavaScript; and what axe-core says of it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, ConsoleMessage, Page, expect

HERE = Path(__file__).parent
OUTPUT = HERE / "output"
PHONE, DESK = 360, 1440
HEIGHTS = {PHONE: 740, DESK: 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SERIOUS = {"serious", "critical"}

expect.set_options(timeout=15_000)  # for a loaded machine


@contextlib.asynccontextmanager
async def window(browser: Browser, url: str, *, width: int = DESK, **options: Any) -> AsyncIterator[Page]:
    """Open a page; at the end nothing may have been refused by the content policy or gone wrong in a script."""
    context = await browser.new_context(
        viewport={"width": width, "height": HEIGHTS[width]},
        has_touch=width == PHONE,
        reduced_motion="reduce",  # colours are what they are at once
        **options,
    )
    page, troubles = await context.new_page(), list[str]()
    page.on("console", lambda line: _note(troubles, line))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    await page.goto(url)
    yield page
    await context.close()
    assert not troubles, troubles


def _note(troubles: list[str], line: ConsoleMessage) -> None:
    own = line.location["url"] == (line.page.url if line.page else "")  # a page that isn't there says so itself
    if line.type in {"error", "warning"} and not (own and line.text.startswith("Failed to load resource")):
        troubles.append(line.text)


async def load_axe(page: Page) -> None:
    """Put axe-core into a page; its window wants `bypass_csp`."""
    await page.add_script_tag(path=HERE / "axe" / "axe.min.js")


async def serious(page: Page) -> list[str]:
    """Return axe-core's serious findings, each with the first elements that it means."""
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


async def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    width: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


async def shoot(page: Page, name: str, *, whole: bool = True) -> None:
    """Keep a picture under tests/browser/output/."""
    OUTPUT.mkdir(exist_ok=True)
    await page.screenshot(path=OUTPUT / f"{name}.png", full_page=whole)
