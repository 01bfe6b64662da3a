"""A real Chromium, driven by Playwright's async API.

Each test starts its own, because Playwright belongs to the event loop that started it and every test
has its own loop.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.support.programs import find_program

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without a screen, and without the browser's own calls home: tests run on closed networks.
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser with an empty profile."""
    program = find_program(*_NAMES, package="chromium fonts-dejavu-core")
    # Chromium's sandbox refuses to work for root; what these tests open is our own pages.
    arguments = [*_ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else list(_ARGUMENTS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()
