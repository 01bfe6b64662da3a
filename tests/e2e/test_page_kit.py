"""The page kit in a real browser: the policy holds, texts arrive, and a lost connection heals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from starlette.responses import HTMLResponse

from service import web
from service.config import Listen
from service.process import serve_http

TEMPLATE = """
{% extends "base.html" %}
{% block head %}<script type="module" src="/static/room.js"></script>{% endblock %}
{% block main %}
<p class="status" id="live"></p>
<p class="outcome banner" id="last" data-outcome="ok">{{ code }}</p>
<ul id="reads"></ul>
<img src="x" onerror="document.title = 'owned'"><script>document.title = "owned"</script>
{% endblock %}
"""
SCRIPT = """
import { h, listen, outcomeMark, showLive, t } from "./tallyman.js";
const reads = document.getElementById("reads");
const show = (read, name) =>
  reads.append(h("li", { "data-name": name }, outcomeMark(read.outcome), read.code));
listen("/events", ["read"], show, (live) => showLive(document.getElementById("live"), live));
try { t("common.nothing"); } catch (error) { document.body.dataset.missing = error.message; }
"""
CODE = "<b onclick=alert(1)>\x1d&\u202e"


class Kit:
    """A room of two files, served on a port that stays the same across restarts."""

    def __init__(self, folder: Path) -> None:
        (folder / "page.html").write_text(TEMPLATE)
        (folder / "room.js").write_text(SCRIPT)
        self.folder = folder
        self.listen = Listen("127.0.0.1", 0)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[web.EventStream]:
        stream = web.EventStream()
        app = web.create_app("kit", version="1", static=[self.folder], streams=[stream])

        @app.get("/")
        async def page() -> HTMLResponse:
            return web.Templates(self.folder).page("page.html", code=CODE)

        @app.get("/events")
        async def events() -> Any:
            return stream.response()

        up: asyncio.Future[Listen] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve_http(app, self.listen, announce=up.set_result))
        self.listen = await up
        yield stream
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def text_of(page: Page, selector: str, wanted: str) -> None:
    await page.wait_for_function(
        "([selector, wanted]) => document.querySelector(selector)?.textContent.includes(wanted)",
        arg=[selector, wanted],
        timeout=10_000,
    )


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def test_the_kit_in_a_browser(page: Page, tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    async with kit.serving() as stream:
        await page.goto(f"http://{kit.listen}/")
        await text_of(page, "#live", "live")
        stream.publish({"outcome": "duplicate", "code": CODE}, "read")
        await text_of(page, "#reads li[data-name=read]", CODE)
        assert await page.locator("#reads .outcome").inner_text() == "Duplicate"
        assert await page.locator("#reads b").count() == 0
        assert await page.locator("#last").inner_text() == CODE
        assert await page.get_attribute("body", "data-missing") == "no text common.nothing on this page"

        # The outcome's shape is a drawing that the policy lets through; inline script is stopped by it.
        shape = "getComputedStyle(document.getElementById('last'), '::before').maskImage"
        assert (await page.evaluate(shape)).startswith('url("data:image/svg+xml')
        assert await page.title() == "Tallyman"
        assert len([text for text in complaints if "inline" in text]) == 2

    await text_of(page, "#live", "No connection")
    async with kit.serving() as stream:
        await text_of(page, "#live", "live")
        stream.publish({"outcome": "ok", "code": "after"}, "read")
        await text_of(page, "#reads li:last-child", "after")
    policy = [text for text in complaints if "Content Security Policy" in text and "inline" not in text]
    assert policy == [], "the policy stops nothing that the kit needs"
