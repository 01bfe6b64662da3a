"""What a person sees of a disk that is slow, or fails. The promise: the page stays alive and says why it waits; the
scan that waits is neither lost nor counted twice; nothing is OK that is not durable.
"""

import asyncio
import errno
import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.agents import MILK, AgentProgram
from tests.support.disk import SYNC, FailingDisk
from tests.support.wait import eventually_async

LONG_MS = 30_000  # two cores that are busy with other tests


@pytest.fixture
def disk(tmp_path: Path) -> FailingDisk:
    return FailingDisk(tmp_path)


@pytest.fixture
def agent(tmp_path: Path, disk: FailingDisk) -> Iterator[AgentProgram]:
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"})
    program.environment = disk.environment
    program.know()
    program.start()
    yield program
    disk.heal()
    program.close()


async def test_a_person_sees_that_the_disk_is_waited_for_and_that_it_fails(
    agent: AgentProgram, disk: FailingDisk, browser: Browser, tmp_path: Path
) -> None:
    page = await (await browser.new_context(viewport={"width": 1280, "height": 800})).new_page()
    await page.goto(f"{agent.address}/stations/dock")
    word, text, notice = page.locator("#word"), page.locator("#text"), page.locator("#disk")
    await asyncio.to_thread(agent.scan, "dock", "]E0" + MILK)
    await expect(word).to_have_text("OK")
    await expect(notice).to_be_hidden()

    disk.order(SYNC, match="journal.db-wal", delay_ms=600_000, times=1)
    agent.send("dock", f"]E0{MILK}\r\n".encode())
    await expect(notice).to_contain_text("The disk has not answered for 2 s", timeout=LONG_MS)
    await expect(word).to_have_text("Waiting for the disk")
    await expect(text).to_contain_text(f"{MILK} is not counted yet")
    await expect(page.locator("#banner")).not_to_have_attribute("data-outcome", "ok")
    await expect(page.locator("#lost")).to_be_hidden()
    await expect(page.locator("#count")).to_have_text("1")
    await page.screenshot(path=tmp_path / "waiting.png")
    assert b"tallyman_journal_waiting_seconds" in await asyncio.to_thread(agent.get, "/metrics")
    disk.heal()
    await expect(word).to_have_text("OK", timeout=LONG_MS)
    await expect(notice).to_be_hidden(timeout=LONG_MS)
    await expect(page.locator("#count")).to_have_text("2")

    disk.order(SYNC, errno.EIO, match="journal.db")
    agent.send("dock", f"]E0{MILK}\r\n".encode())
    await expect(text).to_contain_text("NOT recorded", timeout=LONG_MS)
    await expect(notice).to_contain_text("Nothing can be recorded now", timeout=LONG_MS)
    await page.screenshot(path=tmp_path / "failing.png")
    with pytest.raises(urllib.error.HTTPError) as refused:
        await asyncio.to_thread(agent.get, "/healthz")
    with refused.value as answer:
        assert (answer.code, json.loads(answer.read())["status"]) == (503, "refusing")
    disk.heal()
    await expect(notice).to_be_hidden(timeout=LONG_MS)
    assert (await asyncio.to_thread(agent.scan, "dock", "]E0" + MILK))["outcome"] == "ok"
    await expect(page.locator("#count")).to_have_text("3")
    await eventually_async(lambda: asyncio.to_thread(agent.get, "/healthz"), 10)
