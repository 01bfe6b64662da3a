"""GET /v1/events: every movement once, in order, from wherever a reader left off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from central.api import events
from central.database import new_history, writing
from tests.support.central import Central, central
from tests.support.wait import eventually_async


class Reader:
    """A follower of the feed, as any SSE client is."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.cursor: str | None = None

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            data = ""
            async for line in self._lines:
                if line.startswith("id: "):
                    self.cursor = line[4:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data:
                    found: dict[str, Any] = json.loads(data)
                    return found
        raise AssertionError("the stream ended")

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return [line async for line in self._lines if line.startswith("data")] == []


@asynccontextmanager
async def follow(c: Central, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    known = {**c.bearer("read"), **headers}
    async with c.client.stream("GET", f"{c.url}/v1/events{query}", headers=known) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Reader(answer.aiter_lines())


async def test_movements_come_as_cloud_events_while_they_are_booked(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        async with follow(c) as reader, follow(c, "?after=start") as from_the_start:
            assert (await from_the_start.next())["data"]["movement"] == 1
            hold = {"sku": "A", "quantity": 1, "channel": "web", "ttl_s": 60}
            assert (await c.post("/v1/reservations", hold)).status_code == 201
            event = await reader.next()
            assert await from_the_start.next() == event
        assert (event["specversion"], event["type"]) == ("1.0", "tallyman.movement.reserved.v1")
        data = event["data"]
        assert (data["movement"], data["event"], data["sku"], data["site"]) == (2, "reserved", "A", "lej1")
        assert {entry["account"]["state"] for entry in data["entries"]} == {"free", "reserved"}
        shown = (await c.get("/v1/movements?limit=1&after=" + (await first_cursor(c)))).json()["movements"]
        assert {**shown[0], "history": data["history"]} == data


async def first_cursor(c: Central) -> str:
    return str((await c.get("/v1/movements?limit=1")).json()["next"])


async def test_a_reader_goes_on_where_it_was(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        await c.item("B", 1)
        async with follow(c, "?after=start") as reader:
            assert (await reader.next())["data"]["movement"] == 1
            cursor = reader.cursor
        await c.item("C", 1)
        assert cursor is not None
        for query, headers in [(f"?after={cursor}", {}), ("", {"Last-Event-ID": cursor})]:
            async with follow(c, query, **headers) as reader:
                assert [(await reader.next())["data"]["movement"] for _ in range(2)] == [2, 3]
        shared = (await c.get("/v1/movements?limit=2")).json()["next"]
        async with follow(c, f"?after={shared}") as reader:
            assert (await reader.next())["data"]["movement"] == 3, "lists and the feed share their cursors"


async def test_more_than_a_page_comes_without_gap(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        facts = [("received", {"sku": "A", "quantity": 1, "to_location": "A-1"})] * 90
        for _ in range(5):
            await c.book(*facts)
        async with follow(c, "?after=start") as reader:
            numbers = [(await reader.next())["data"]["movement"] for _ in range(451)]
        assert numbers == list(range(1, 452))
        assert events.PAGE < 451


async def test_a_new_history_ends_the_stream_and_the_cursor(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        async with follow(c, "?after=start") as reader:
            await reader.next()
            with writing(c.engine) as connection:
                new_history(connection, "restored")
            await c.item("B", 1)
            assert await reader.ended()
            gone = await c.get("/v1/events", headers={"Last-Event-ID": str(reader.cursor)})
        assert gone.status_code == 410
        async with follow(c, f"?after={gone.json()['start']}") as reader:
            assert [(await reader.next())["data"]["movement"] for _ in range(2)] == [1, 2]


async def test_readers_are_bounded_and_are_ended_with_the_program(database_url: str) -> None:
    async with central(database_url) as c:
        c.app.state.commits.readers = events.READERS_MAX
        full = await c.get("/v1/events")
        assert (full.status_code, full.json()["type"]) == (503, "urn:tallyman:problem:unavailable")
        c.app.state.commits.readers = 0
        async with follow(c) as reader:
            c.app.state.commits.close()
            assert await reader.ended()
        assert c.app.state.commits.readers == 0


async def test_readers_that_come_in_one_instant_are_bounded_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "READERS_MAX", 2)
    async with central(f"sqlite:///{tmp_path}/central.db") as c:
        most, answers = 0, []

        async def read() -> None:
            nonlocal most
            async with c.client.stream("GET", f"{c.url}/v1/events", headers=c.bearer("read")) as answer:
                answers.append(answer.status_code)
                async for _ in answer.aiter_lines():
                    most = max(most, c.app.state.commits.readers)

        readers = [asyncio.create_task(read()) for _ in range(20)]
        await eventually_async(lambda: len(answers) == 20)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert set(answers) <= {200, 503}
        assert most == 2
