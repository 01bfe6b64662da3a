"""A gate, whole: a reader's bytes, the agent, the broker and central; and what people see, in a real Chromium."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from simulators.hardware.rig import Rig
from tests.e2e.programs import CentralProgram
from tests.support.agents import LAMP, MILK, MILK_CASE, SSCC, AgentProgram
from tests.support.broker import Broker
from tests.support.gates import OUTSIDE, gate_agent, hear, pass_through, start
from tests.support.tags import sgtin, sscc
from tests.support.wait import eventually

PILL = "09521234543220"
CRATE = bytes.fromhex("3374257BF40000C0000000FF")  # a GRAI
JACKET = bytes.fromhex("E2801160600002073A15C0DE")  # no number of GS1
CASES = [sgtin(MILK_CASE, serial) for serial in range(1, 4)]
STRAY = sgtin(MILK_CASE, 99)


def count(program: AgentProgram) -> int:
    return int(program.state("gate")["count"])


def concerns(program: AgentProgram) -> set[tuple[str, str, int]]:
    """What waits to be looked at: what it is, which goods, how many tags."""
    return {(one["tally"], one["what"], one["count"]) for one in program.state("gate")["concerns"]}


def set_up(central: CentralProgram) -> None:
    """Two cases of milk are ordered, lamps are not; pills need their lot."""
    call = central.call
    call("PUT", "/v1/locations/DOCK-1", {"site": "lej1"})
    gtins = [{"gtin": MILK, "quantity": 1}, {"gtin": MILK_CASE, "quantity": 12}]
    call("PUT", "/v1/items/MILK", {"name": "Oat milk", "gtins": gtins})
    call("PUT", "/v1/items/LAMP", {"name": "Lamp", "gtins": [{"gtin": LAMP, "quantity": 1}]})
    pills = {"name": "Pills", "gtins": [{"gtin": PILL, "quantity": 1}], "tracking": "lot"}
    call("PUT", "/v1/items/PILL", pills)
    for order, quantity in (("PO-9", 12), ("PO-10", 12)):
        body = {
            "id": order,
            "site": "lej1",
            "supplier": "Dairy",
            "lines": [{"sku": "MILK", "quantity": quantity}],
        }
        call("POST", "/v1/purchase-orders", body)


def movements(central: CentralProgram) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = central.call("GET", "/v1/movements?limit=100")["movements"]
    return [one for one in found if one["event"] in ("received", "sighted", "corrected")]


def test_what_passes_is_received_against_open_orders_once(broker: Broker, tmp_path: Path):
    central = CentralProgram(tmp_path, broker.url)
    with gate_agent(tmp_path, broker=broker.port) as (program, rig):
        try:
            central.start()
            set_up(central)
            start(program)
            eventually(lambda: len(program.state("gate")["job"]["orders"]) == 2, 20, "the orders are known")
            hear(rig, [STRAY], OUTSIDE)
            pass_through(rig, *CASES, sgtin(LAMP, 1), sgtin(PILL, 1), CRATE, JACKET)
            eventually(lambda: count(program) == 4, 10)
            hear(rig, [STRAY], OUTSIDE)
            assert concerns(program) == {
                ("over", "Oat milk (MILK)", 1),
                ("not_ordered", "Lamp (LAMP)", 1),
                ("rejected", "Pills (PILL)", 1),
                ("rejected", JACKET.hex().upper(), 1),
            }
            eventually(lambda: program.state("gate")["status"]["queued"] == 0, 20)
            _as_one_pass_left_it(central)

            program.kill()
            start(program)
            pass_through(rig, *CASES, outward=True)
            eventually(lambda: ("outward", "Oat milk (MILK)", 3) in concerns(program), 10)
            pass_through(rig, *CASES)
            eventually(lambda: ("duplicate", "Oat milk (MILK)", 3) in concerns(program), 10)
            assert count(program) == 4
            eventually(lambda: program.state("gate")["status"]["queued"] == 0, 20)
            _as_one_pass_left_it(central)
        finally:
            central.stop()


def _as_one_pass_left_it(central: CentralProgram) -> None:
    """Each case once: the oldest order first, then the next; the third is too many, and the lamp on no order."""
    booked = movements(central)
    received = sorted(
        (one["sku"], one["document"] or "", one["quantity"], one["outcome"])
        for one in booked
        if one["event"] == "received"
    )
    assert received == [
        ("LAMP", "", 1, "accepted"),
        ("MILK", "PO-10", 12, "accepted"),
        ("MILK", "PO-10", 12, "discrepant"),
        ("MILK", "PO-9", 12, "accepted"),
    ]
    assert [one["outcome"] for one in booked if one["event"] == "sighted"] == ["accepted"]
    stock = central.call("GET", "/v1/availability/MILK")
    assert stock["on_hand"] == 36


# --- what people see -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AgentProgram, Rig]]:
    """Without broker and central: PO-1 expects 13 of MILK."""
    with gate_agent(tmp_path_factory.mktemp("site")) as (program, rig):
        program.know()
        start(program)
        yield program, rig


async def opened(browser: Browser, program: AgentProgram, **screen: Any) -> Page:
    page = await (await browser.new_context(**screen)).new_page()
    await page.goto(f"{program.address}/stations/gate")
    await expect(page.locator("#count")).not_to_have_text("–")
    return page


async def test_a_pallet_is_one_message_and_what_is_not_ok_waits(
    gate: tuple[AgentProgram, Rig], browser: Browser
):
    program, rig = gate
    page = await opened(browser, program, viewport={"width": 1280, "height": 800})
    await expect(page.locator("#text")).to_have_text("Drive through. Tags are read by themselves.")
    singles = [sgtin(MILK, serial) for serial in range(13)]
    await asyncio.to_thread(pass_through, rig, *singles)
    await expect(page.locator("#word")).to_have_text("13 OK", timeout=10_000)
    await expect(page.locator("#text")).to_have_text("Nothing to look at")
    await expect(page.locator("#banner")).to_have_attribute("data-outcome", "ok")
    await expect(page.locator("#concerns")).to_be_hidden()
    await expect(page.locator("[data-document='PO-1'] .order-head")).to_contain_text("13 / 13")

    late = [
        *(sgtin(LAMP, serial) for serial in range(48)),
        sgtin(MILK, 100),
        sscc(SSCC),
        sgtin(PILL, 1),
        JACKET,
    ]
    await asyncio.to_thread(time.sleep, 3.1)
    await asyncio.to_thread(pass_through, rig, *late)
    await expect(page.locator("#word")).to_have_text("2 rejected", timeout=10_000)
    await expect(page.locator("#text")).to_have_text("1 OK · 1 too many · 48 not ordered")
    await expect(page.locator("#banner")).to_have_attribute("data-outcome", "reject")
    rows = page.locator("#concerns li")
    await expect(rows).to_have_count(4)
    await expect(page.locator("#concerns li[data-tally='not_ordered']")).to_contain_text("48 × Lamp (LAMP)")
    await expect(page.locator("#concerns")).to_contain_text(
        "Pills (PILL) needs its lot, and its tag has none."
    )
    await expect(page.locator("#count")).to_have_text("63")

    await page.get_by_role("button", name="Looked at").hover()
    await page.mouse.down()
    await asyncio.to_thread(pass_through, rig, sgtin(MILK, 101))
    await expect(page.locator("#count")).to_have_text("64")
    await page.mouse.up()
    await expect(page.locator("#concerns")).to_be_hidden()
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("#count")).to_have_text("63")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("#count")).to_have_text("62")
    await page.get_by_role("button", name="Finish").click()
    await expect(page.locator("#count")).to_have_text("0")


async def test_on_a_phone_and_what_waits_survives_a_restart(gate: tuple[AgentProgram, Rig], browser: Browser):
    program, rig = gate
    page = await opened(
        browser, program, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    await asyncio.to_thread(pass_through, rig, sgtin(MILK, 200), outward=True)
    await expect(page.locator("#word")).to_have_text("1 going OUT", timeout=10_000)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing scrolls sideways"
    await asyncio.to_thread(program.kill)
    await expect(page.locator("#lost")).to_be_visible()
    await asyncio.to_thread(start, program)
    await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    await expect(page.locator("#concerns li")).to_have_count(1)
    await expect(page.locator("#concerns")).to_contain_text("Oat milk (MILK) goes OUT. Nothing was recorded")
