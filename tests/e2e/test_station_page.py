"""The station page in a real Chromium, fed by a real scanner's bytes: what a person sees, and how soon."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.agents import LAMP_GS1, MILK, MILK_CASE, AgentProgram, pick

# When the page shows an outcome, by the clock of the machine: the scanner's bytes are written by the same one.
WATCH = """
window.shown = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.shown.push(["violation", event.violatedDirective]);
});
document.addEventListener("DOMContentLoaded", () => {
  const banner = document.getElementById("banner");
  new MutationObserver(() => requestAnimationFrame(() => {
    const text = document.getElementById("text").textContent;
    window.shown.push([banner.dataset.outcome ?? null, text, performance.timeOrigin + performance.now()]);
  })).observe(document.getElementById("text"), { childList: true, characterData: true, subtree: true });
});
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProgram]:
    program = AgentProgram(tmp_path_factory.mktemp("site") / "agent", {"dock": "receive", "aisle": "pick"})
    program.know(tasks=[pick("t1", "MILK", 2, "A-01"), pick("t2", "LAMP", 1, "B-02")])
    program.start()
    yield program
    program.close()


class Watched:
    """A page, and everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # A lost connection is reported by the browser itself; it is what one of these tests is about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    async def check(self) -> None:
        violations = [entry for entry in await self.page.evaluate("window.shown") if entry[0] == "violation"]
        assert (self.wrong, violations) == ([], [])


@pytest.fixture
async def watched(browser: Browser, agent: AgentProgram) -> AsyncIterator[Watched]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.add_init_script(WATCH)
    watched = Watched(page)
    await page.goto(f"{agent.address}/stations/dock")
    await expect(page.locator("#count")).not_to_have_text("–")
    yield watched
    await watched.check()


async def scan(agent: AgentProgram, station: str, code: str) -> dict[str, Any]:
    return await asyncio.to_thread(agent.scan, station, code)


async def test_three_outcomes_that_nobody_mistakes(agent: AgentProgram, watched: Watched):
    page, banner, text = watched.page, watched.page.locator("#banner"), watched.page.locator("#text")
    await scan(agent, "dock", "]E0" + MILK)
    await expect(banner).to_have_attribute("data-outcome", "ok")
    await expect(text).to_have_text("1 × Oat milk (MILK)")
    looks = {"ok": await looks_of(page)}
    await scan(agent, "dock", "nonsense")
    await expect(banner).to_have_attribute("data-outcome", "reject")
    looks["reject"] = await looks_of(page)
    agent.send("dock", f"]E0{MILK}\r\n]E0{MILK}\r\n".encode())
    await expect(banner).to_have_attribute("data-outcome", "duplicate")
    looks["duplicate"] = await looks_of(page)
    for sense in range(3):
        assert len({look[sense] for look in looks.values()}) == 3, looks
    await expect(page.locator("#count")).to_have_text("2")
    await expect(page.locator("#recorded li")).to_have_count(2)
    await expect(page.locator("#status")).to_have_text("Offline · 2 queued")


async def looks_of(page: Page) -> tuple[str, str, str]:
    """(colour, shape, word)."""
    found = await page.evaluate(
        """() => { const banner = document.getElementById("banner"), shape = getComputedStyle(banner, "::before");
        return [getComputedStyle(banner).backgroundColor, shape.maskImage + shape.content,
        document.getElementById("word").textContent]; }"""
    )
    return found[0], found[1], found[2]


async def test_within_a_blink(agent: AgentProgram, watched: Watched, capsys: pytest.CaptureFixture[str]):
    delays_ms = []
    for number in range(20):
        before = len(await watched.page.evaluate("window.shown"))
        sent = await asyncio.to_thread(send_now, agent, f"blink {number}")
        await watched.page.wait_for_function("before => window.shown.length > before", arg=before)
        shown = (await watched.page.evaluate("window.shown"))[-1]
        assert shown[:2] == ["reject", f"Nobody knows blink {number}. Nothing was recorded."]
        delays_ms.append(shown[2] - sent)
    with capsys.disabled():
        print(
            f"\nscanner's bytes → on the screen: median {statistics.median(delays_ms):.0f} ms,"
            f" slowest {max(delays_ms):.0f} ms"
        )
    assert statistics.median(delays_ms) < 1000, "a blink is 100 to 400 ms; a busy machine gets more"


def send_now(agent: AgentProgram, code: str) -> float:
    """Scan; the time in ms since 1970."""
    agent.send("dock", code.encode() + b"\r\n")
    return time.time() * 1000


async def test_a_hostile_label_is_text(agent: AgentProgram, watched: Watched):
    label = "<img src=x onerror=alert(1)>&amp;\x01\u202e{name}"
    await scan(agent, "dock", label)
    text = await watched.page.locator("#text").text_content()
    assert text is not None
    assert "<img src=x onerror=alert(1)>&amp;\\x01\\u202e{name}" in text
    assert await watched.page.locator("main img").count() == 0
    serial = "]d20109521234543237" + "21<b>x</b>"
    await scan(agent, "dock", serial)
    await expect(watched.page.locator("#recorded li").first).to_contain_text("<b>x</b>")
    assert await watched.page.locator("#recorded b").count() == 0


async def test_choosing_and_undoing_by_hand_and_a_scan_closes_the_list(agent: AgentProgram, watched: Watched):
    page = watched.page
    await page.get_by_role("button", name="Choose").click()
    await page.locator("#chooser").get_by_role("button", name="PO-1").click()
    await expect(page.locator("#text")).to_have_text("Receiving PO-1")
    await expect(page.locator("#chooser")).to_be_hidden()
    await scan(agent, "dock", "]I1" + MILK_CASE)
    await expect(page.locator("#job")).to_contain_text("PO-1: 12 of 13")
    undo = page.locator("#undo")
    await expect(undo).to_have_text("Undo 12 × Oat milk (MILK)")
    await undo.click()
    await expect(page.locator("#text")).to_have_text("Taken back: 12 × Oat milk (MILK)")
    await expect(page.locator("#recorded li[data-undone]")).to_have_count(1)
    assert await page.evaluate("document.activeElement === document.body"), (
        "Enter from a scanner presses nothing"
    )
    await page.get_by_role("button", name="Finish").click()
    await expect(page.locator("#job")).to_contain_text("Without a purchase order")
    await page.get_by_role("button", name="Choose").click()
    await expect(page.locator("#chooser")).to_be_visible()
    await scan(agent, "dock", "nonsense")
    await expect(page.locator("#chooser")).to_be_hidden()


async def test_picking_on_a_phone(agent: AgentProgram, browser: Browser):
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    page = await context.new_page()
    await page.add_init_script(WATCH)
    watched = Watched(page)
    await page.goto(f"{agent.address}/stations/aisle")
    job = page.locator("#job")
    await expect(job).to_contain_text("Go to")
    await expect(job.locator(".target")).to_have_text("A-01")
    await expect(job).to_contain_text("Then B-02: 1 × Lamp (LAMP)")
    await scan(agent, "aisle", "A-01")
    await expect(job.locator(".target")).to_have_text("2 ×")
    await scan(agent, "aisle", "]E0" + MILK)
    await expect(job.locator(".target")).to_have_text("1 ×")
    await scan(agent, "aisle", LAMP_GS1)
    await expect(page.locator("#text")).to_have_text("This is Lamp (LAMP). Pick Oat milk (MILK).")
    await scan(agent, "aisle", "]E0" + MILK)
    await expect(job.locator(".target")).to_have_text("B-02")
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "nothing is cut off or scrolls sideways"
    assert await page.locator("#banner").is_visible()
    assert await job.is_visible()
    await watched.check()


async def test_a_dead_agent_is_shown_and_its_return_too(browser: Browser, tmp_path: Path):
    program = AgentProgram(tmp_path / "agent", {"gate": "receive"})
    try:
        program.know()
        await asyncio.to_thread(program.start)
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(program.address)
        await expect(page.locator("#word")).to_have_text("Ready")
        await scan(program, "gate", "]E0" + MILK)
        await expect(page.locator("#word")).to_have_text("OK")
        await asyncio.to_thread(program.kill)
        await expect(page.locator("#lost")).to_be_visible()
        await expect(page.locator("#status")).to_have_text("Not connected")
        await asyncio.to_thread(program.start)
        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
        await expect(page.locator("#word")).to_have_text("Recorded before the restart: 1 × Oat milk (MILK)")
        assert (await scan(program, "gate", "]E0" + MILK))["outcome"] == "ok", "the scanner is back, too"
        await expect(page.locator("#word")).to_have_text("OK")
        await expect(page.locator("#recorded li").nth(1)).to_have_text("The agent was restarted here")
        await expect(page.locator("#recorded li")).to_have_count(3)
    finally:
        program.close()
