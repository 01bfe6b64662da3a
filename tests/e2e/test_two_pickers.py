"""Two pickers, each with an agent of their own, and the tasks of one site."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from simulators.cable import Cable
from tests.integration.test_central_program import running, token
from tests.support.agents import MILK, AgentProgram
from tests.support.broker import Broker
from tests.support.wait import eventually_async

WAIT_S = 60.0  # two cores that are busy with other tests


class Site:
    """Central, its API, and two agents; the first one hangs on a cable that can be cut."""

    def __init__(self, http: httpx2.AsyncClient, cable: Cable, first: AgentProgram, second: AgentProgram):
        self.http, self.cable, self.first, self.second = http, cable, first, second

    async def put(self, path: str, body: Any) -> None:
        assert (await self.http.put(path, json=body)).status_code == 201

    async def post(self, path: str, body: Any) -> None:
        assert (await self.http.post(path, json=body)).status_code == 201

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).json()

    async def order(self, name: str, quantity: int) -> None:
        lines = [{"sku": "MILK", "quantity": quantity}]
        await self.post("/v1/orders", {"id": name, "site": "lej1", "channel": "web", "lines": lines})

    async def job(self, agent: AgentProgram) -> Any:
        return (await asyncio.to_thread(agent.state, "aisle"))["job"]

    async def sees(self, agent: AgentProgram, document: str | None) -> None:
        async def shown() -> bool:
            job = await self.job(agent)
            known = document is None or str(job.get("name")).startswith(
                "Oat milk"
            )  # its reference data has come as well
            return bool(job.get("document") == document and known)

        await eventually_async(shown, WAIT_S, f"{agent.agent} is sent to {document}")

    async def scan(self, agent: AgentProgram, *codes: str) -> None:
        for code in codes:
            said = await asyncio.to_thread(agent.scan, "aisle", code)
            assert said["outcome"] == "ok", said


@pytest.fixture
async def site(tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Site]:
    config = tmp_path / "central.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///{tmp_path}/central.db"\n[mqtt]\nurl = "{broker.url}"\n'
        '[http]\nlisten = "127.0.0.1:0"\n[tasks]\nlease_s = 2\n'
    )
    cable = Cable("127.0.0.1", broker.port)
    first, second = (
        AgentProgram(tmp_path / name, {"aisle": "pick"}, agent=name, broker=port)
        for name, port in (("picker-1", await cable.start()), ("picker-2", broker.port))
    )
    async with running(config) as url:
        bearer = {"Authorization": f"Bearer {await asyncio.to_thread(token, capsys, config)}"}
        async with httpx2.AsyncClient(base_url=url, timeout=10, headers=bearer) as http:
            found = Site(http, cable, first, second)
            item = {"name": "Oat milk", "gtins": [{"gtin": MILK, "quantity": 1}], "tracking": "none"}
            await found.put("/v1/items/MILK", item)
            await found.put("/v1/locations/A-01", {"site": "lej1", "zone": "A", "walk_order": 1})
            opening = {"sku": "MILK", "site": "lej1", "location": "A-01", "delta": 20, "reason": "opening"}
            await found.post("/v1/adjustments", opening)
            try:
                yield found
            finally:
                await asyncio.to_thread(first.close)
                await asyncio.to_thread(second.close)
                await cable.close()


async def test_a_line_that_two_agents_picked_is_booked_twice_and_told(site: Site) -> None:
    """The lease of the first passes while it is offline, and the second picks the same line."""
    await asyncio.to_thread(site.first.start)
    await site.order("O-1", 2)
    await site.sees(site.first, "O-1")
    await site.cable.cut()
    await site.scan(site.first, "A-01", MILK, MILK)
    await asyncio.to_thread(site.second.start)
    await site.sees(site.second, "O-1")
    await site.scan(site.second, "A-01", MILK, MILK)
    await site.sees(site.second, None)

    async def picked() -> bool:
        return bool((await site.get("/v1/availability/MILK"))["picked"] == 2)

    await eventually_async(picked, WAIT_S)
    assert (await site.get("/v1/discrepancies?status=open"))["discrepancies"] == []
    site.cable.heal()

    async def drained() -> bool:
        state = await asyncio.to_thread(site.first.state, "aisle")
        return bool(state["status"]["online"] and state["status"]["queued"] == 0)

    await eventually_async(drained, WAIT_S)
    await site.sees(site.first, None)
    stock = await site.get("/v1/availability/MILK")
    assert (stock["on_hand"], stock["picked"], stock["available"]) == (20, 4, 16)
    movements = (await site.get("/v1/movements?document=O-1"))["movements"]
    picks = [one for one in movements if one["event"] == "picked"]
    assert [one["quantity"] for one in picks] == [1, 1, 1, 1]
    assert sorted(one["actor"] for one in picks) == ["agent:picker-1"] * 2 + ["agent:picker-2"] * 2
    found = {one["kind"]: one for one in (await site.get("/v1/discrepancies?status=open"))["discrepancies"]}
    assert sorted(found) == ["over_picked", "task_overdone"]
    for one in found.values():
        assert (one["sku"], one["expected"], one["actual"], one["owner"]) == ("MILK", 2, 4, "site:lej1")
    notes = (await asyncio.to_thread(site.first.state, "aisle"))["notes"]
    assert [one["reason"].partition(", ")[2][:6] for one in notes] == ["4 were", "3 were"]
    # What was too much goes back, and both close.
    for _ in range(2):
        assert (await asyncio.to_thread(site.first.post, "/stations/aisle/undo", {}))[0] == 200

    async def settled() -> bool:
        return bool((await site.get("/v1/discrepancies?status=open"))["discrepancies"] == [])

    await eventually_async(settled, WAIT_S)
    assert (await site.get("/v1/availability/MILK"))["picked"] == 2


async def test_two_agents_share_the_work_and_a_person_may_choose_the_others(site: Site) -> None:
    await asyncio.to_thread(site.first.start)
    await site.order("O-1", 1)
    await site.order("O-2", 1)
    await site.sees(site.first, "O-1")
    await asyncio.to_thread(site.second.start)
    await site.sees(site.second, "O-2")
    await site.sees(site.first, "O-1")

    async def has_one() -> bool:
        return bool((await site.job(site.first))["open"] == 1)

    await eventually_async(has_one, WAIT_S, "the second order is told to be another's")
    # Somebody at the first agent takes the other order: whoever is first has it.
    await site.scan(site.first, "O-2")
    job = await site.job(site.first)
    assert (job["document"], job["holder"]) == ("O-2", "picker-2")
    await site.scan(site.first, "A-01", MILK)
    await site.sees(site.second, None)
    movements = (await site.get("/v1/movements?document=O-2"))["movements"]
    assert [one["actor"] for one in movements if one["event"] == "picked"] == ["agent:picker-1"]
