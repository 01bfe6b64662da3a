"""The dashboard in a real browser: sign-in, live changes, hostile texts, and no breach of the content policy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.async_api import Browser, BrowserContext, Page, expect

from central import tables
from central.api.tokens import hashed
from central.database import now_us, writing
from tests.support.central import Central, central

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
WATCH = """
window.breaches = [];
document.addEventListener("securitypolicyviolation", (event) => window.breaches.push(event.violatedDirective));
"""


@asynccontextmanager
async def a_page(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page that must not complain: no script error, no console error, no breach of the policy."""
    context = await browser.new_context(**options)
    await context.add_init_script(WATCH)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    try:
        yield page
        assert await page.evaluate("window.breaches") == []
        # What the browser says of an answer that a test asked for is no complaint of the page.
        assert [one for one in complaints if not one.startswith("Failed to load resource")] == []
    finally:
        await context.close()


async def sign_in(page: Page, c: Central, role: str = "read") -> None:
    await page.goto(c.url + "/")
    assert page.url.endswith("/sign-in")
    await page.get_by_label("Access token").fill(c.tokens[role])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#live")).to_have_attribute("data-status", "online")


async def cookie_of(context: BrowserContext) -> Any:
    [cookie] = [one for one in await context.cookies() if one["name"] == "tallyman_session"]
    return cookie


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Central]:
    async with central(f"sqlite:///{tmp_path}/central.db") as c:
        yield c


async def test_signing_in_and_out(served: Central, browser: Browser) -> None:
    async with a_page(browser) as page:
        await page.goto(served.url + "/")
        await page.get_by_label("Access token").fill("tly_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not known")
        await sign_in(page, served)
        cookie = await cookie_of(page.context)
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
        with served.engine.connect() as connection:
            [stored] = connection.execute(sa.select(tables.session)).all()
        assert stored.hash == hashed(cookie["value"])
        assert stored.expires_us - stored.created_us == 12 * 3600 * 1_000_000
        await expect(page.get_by_text("Nothing is in stock yet.")).to_be_visible()
        await expect(page.get_by_text("No agent has said hello yet.")).to_be_visible()

        second = await page.context.new_page()
        await second.goto(served.url + "/")
        await expect(second.locator("#live")).to_have_attribute("data-status", "online")
        await page.get_by_role("button", name="Sign out").click()
        assert page.url.endswith("/sign-in")
        assert await page.context.cookies() == []
        await second.reload()
        assert second.url.endswith("/sign-in"), "every tab is signed out"


async def test_what_is_booked_appears_by_itself(served: Central, browser: Browser) -> None:
    c = served
    async with a_page(browser, viewport={"width": 1280, "height": 800}) as page:
        await sign_in(page, c)
        await c.item("SKU-1", 40)
        row = page.locator('#stock tr[data-sku="SKU-1"]')
        await expect(row).to_contain_text("Item SKU-1")
        await expect(row.locator("td").nth(1)).to_have_text("40")
        await expect(page.locator("#movements tbody tr").first).to_contain_text("Adjusted")
        order = {
            "id": "PO-1",
            "site": "lej1",
            "supplier": "Farm",
            "lines": [{"sku": "SKU-1", "quantity": 10}],
        }
        assert (await c.post("/v1/purchase-orders", order)).status_code == 201
        hold = {"sku": "SKU-1", "quantity": 7, "channel": "web", "ttl_s": 600}
        assert (await c.post("/v1/reservations", hold)).status_code == 201
        await expect(row.locator("td").nth(1)).to_have_text("33")
        await expect(row.locator("td").nth(2)).to_have_text("7")
        await c.book(("received", {"sku": "SKU-1", "quantity": 4, "to_location": "A-1", "document": "PO-1"}))
        progress = page.locator('#purchase_orders li[data-document="PO-1"]')
        await expect(progress).to_contain_text("4 of 10 received")
        newest = page.locator("#movements tbody tr").first
        await expect(newest).to_contain_text("Received")
        await expect(newest).to_contain_text("supplier → A-1")
        await c.book(("picked", {"sku": "SKU-1", "quantity": 50, "from_location": "A-1"}))
        await expect(row).to_have_attribute("data-alarm", "")
        await expect(row).to_contain_text("6 owed")
        await expect(row).to_contain_text("13 overpromised")
        await expect(page.locator("#discrepancies")).to_contain_text("Stock below zero")
        await expect(page.locator("#discrepancies")).to_contain_text("due in 23 h")
        await expect(page.locator("#figure-discrepancies .value")).to_have_text("2")
        await page.get_by_label("Filter by SKU or name").fill("nothing like it")
        await expect(page.get_by_text("No item matches.")).to_be_visible()


async def test_agents_with_their_queues_and_devices(served: Central, browser: Browser) -> None:
    devices = [{"name": "scanner-1", "driver": "text-line", "port": "serial:///dev/x", "status": "failed",
                "reason": "there is no /dev/x", "since": "2026-11-20T08:00:00Z"}]  # fmt: skip
    state = {"status": "offline", "connection": 1, "incarnation": "a" * 32, "site": "lej1", "queued": 1204,
             "oldest_queued_at": "2026-01-01T00:00:00Z", "devices": devices}  # fmt: skip
    async with a_page(browser) as page:
        await sign_in(page, served)
        with writing(served.engine) as connection:
            row = {"id": "dock-2", "site": "lej1", "state": json.dumps(state), "state_us": now_us(connection)}
            connection.execute(sa.insert(tables.agent).values(row))
        served.broker_online[0] = False
        agent = page.locator('li[data-agent="dock-2"]')
        await expect(agent).to_contain_text("offline")
        await expect(agent).to_contain_text("away for")
        await expect(agent).to_contain_text("1,204 waiting, oldest")
        await expect(agent).to_contain_text("there is no /dev/x")
        await expect(page.locator("#figure-agents")).to_have_attribute("data-alarm", "")
        await expect(page.locator("#broker-away")).to_be_visible()


async def test_whatever_a_barcode_contains_is_text(served: Central, browser: Browser) -> None:
    async with a_page(browser, viewport={"width": 390, "height": 800}) as page:
        await sign_in(page, served)
        await served.book(
            ("received", {"sku": HOSTILE, "quantity": 1, "to_location": HOSTILE, "document": HOSTILE}),
            ("picked", {"sku": HOSTILE, "quantity": 9, "from_location": HOSTILE, "operator": HOSTILE}),
            ("received", {"raw": "\u202e" + HOSTILE * 3, "quantity": 1, "to_location": "DOCK"}),
        )
        body = {
            "id": HOSTILE,
            "site": HOSTILE,
            "supplier": HOSTILE,
            "lines": [{"sku": HOSTILE, "quantity": 1}],
        }
        assert (await served.put("/v1/items/H", {"name": HOSTILE})).status_code == 201
        body["lines"] = [{"sku": "H", "quantity": 1}]
        assert (await served.post("/v1/purchase-orders", body)).status_code in (201, 409)
        await expect(page.locator("#movements tbody tr")).to_have_count(3)
        await expect(page.locator("#movements .item").nth(1)).to_have_text(HOSTILE)
        await expect(page.locator("#stock tbody tr").first).to_contain_text(HOSTILE)
        await expect(page.locator("#discrepancies li").first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0
        assert "owned" not in await page.title()
        overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "long text breaks, it does not widen the page"


async def test_a_stream_that_breaks_is_taken_up_again(tmp_path: Path, browser: Browser) -> None:
    async with a_page(browser) as page:
        async with central(f"sqlite:///{tmp_path}/central.db") as c:
            await sign_in(page, c)
            c.app.state.board.stream._end(
                next(iter(c.app.state.board.stream._clients))
            )  # as a slow page is dropped
            await c.item("SKU-1", 3)
            await expect(page.locator('#stock tr[data-sku="SKU-1"]')).to_be_visible()
        await expect(page.locator("#live")).to_have_attribute("data-status", "offline")
        await expect(page.locator("#live")).to_contain_text("Trying again")


async def test_a_session_that_ends_leads_back_to_the_sign_in(served: Central, browser: Browser) -> None:
    async with a_page(browser) as page:
        await sign_in(page, served)
        with writing(served.engine) as connection:
            connection.execute(sa.update(tables.session).values(expires_us=1))
        served.app.state.board.stream._end(next(iter(served.app.state.board.stream._clients)))
        await page.wait_for_url("**/sign-in")


async def test_pages_of_other_sites_cannot_write(served: Central) -> None:
    c = served
    form = {"token": c.tokens["read"]}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/sign-in", "/sign-out"):
            answer = await c.ask("POST", path, role=None, data=form, headers=headers)
            assert answer.status_code == 403, (path, headers)
    secure = await c.ask("POST", "/sign-in", role=None, data=form, headers={"Origin": "https://127.0.0.1"})
    assert secure.status_code == 403, "another port is another site"
    behind = {"Origin": c.url.replace("http:", "https:")}  # a proxy that takes TLS off keeps the Host
    cookie = (await c.ask("POST", "/sign-in", role=None, data=form, headers=behind)).headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


async def test_without_a_session_there_is_nothing_but_the_sign_in(served: Central) -> None:
    c = served
    assert (await c.get("/", role=None)).headers["Location"] == "/sign-in"
    assert (await c.get("/dashboard/events", role=None)).status_code == 401
    assert (await c.get("/dashboard/events")).status_code == 401, "a bearer token is no session"
    assert (await c.ask("POST", "/sign-in", role=None, data={"token": ""})).status_code == 401
    refused = [
        (await c.ask("POST", "/sign-in", role=None, data={"token": "x"})).status_code for _ in range(30)
    ]
    assert 429 in refused, "guessing is slow"
