"""A real browser, headless, driven by Playwright.

One process, which is slow to start, serves all tests; each gets a profile of its own in it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = ("--disable-gpu", "--disable-quic", "--disable-sync", "--no-first-run")


def find() -> str | None:
    """Path of a Chromium, $CHROME first."""
    found = filter(None, map(shutil.which, (os.environ.get("CHROME", ""), *_NAMES)))
    return next(found, None)


@asynccontextmanager
async def started(program: str) -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright  # slow to import, and most tests need none

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield chromium
        await chromium.close()


@asynccontextmanager
async def opened(
    chromium: Browser, url: str, *, width: int = 1280, height: int = 720
) -> AsyncIterator[Page]:
    """A tab at `url`, of so many pixels, in a profile that knows nothing."""
    profile = await chromium.new_context(viewport={"width": width, "height": height})
    profile.set_default_timeout(PATIENCE * 1000)
    try:
        page = await profile.new_page()
        await page.goto(url)
        yield page
    finally:
        await profile.close()


async def until(page: Page, expression: str) -> Any:
    """Wait until the JavaScript expression is truthy, and return its value.

    Playwright's own way would evaluate it again and again as a text, which the inspector's
    Content-Security-Policy forbids.
    """
    looking = (
        "new Promise((resolve) => { const look = () => {"
        f" const found = ({expression}); found ? resolve(found) : setTimeout(look, 20);"
        " }; look(); })"
    )
    try:
        async with asyncio.timeout(PATIENCE):
            return await page.evaluate(looking)
    except TimeoutError:
        shown = await page.evaluate("document.body.innerText")
        raise AssertionError(f"never came true: {expression}\n\n{shown}") from None


async def errors(page: Page) -> list[str]:
    """What was thrown in the page, and what its console calls an error."""
    logged = [one.text for one in await page.console_messages() if one.type == "error"]
    return [*map(str, await page.page_errors()), *logged]
