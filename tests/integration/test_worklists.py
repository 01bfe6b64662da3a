"""What agents of one site are told of its tasks: over a real broker, on both engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from central import database, tables
from central.consumer import Consumer
from central.ledger.commands import CancelOrder, Done, OpenOrder, Present, RenewLeases
from sync.messages import DocumentLine
from sync.mqtt import Settings
from tests.support.broker import Broker
from tests.support.ledger import Books, Stream, opened
from tests.support.mqtt import Ear
from tests.support.wait import eventually_async

LEASE_S, WAIT_S = 1.5, 30.0


class Site:
    """A consumer on a ledger and a broker, and an ear that hears what each agent is told."""

    def __init__(self, books: Books, ear: Ear) -> None:
        self.books, self.ear = books, ear
        self.streams: dict[str, Stream] = {}

    def hello(
        self, agent: str, tasks: list[str] | None = None, history: str | None = None, site: str = "lej1"
    ) -> None:
        stream = self.streams.setdefault(agent, Stream(agent))
        listed = {"incarnation": stream.incarnation, "first_kept": 1, "last_sequence": 0, "acked": 0}
        body: dict[str, Any] = {
            "agent": agent, "site": site, "nonce": "n", "history": history, "reference": None,
            "software": "test", "incarnations": [listed],
        }  # fmt: skip
        if tasks is not None:
            body["tasks"] = tasks
        self.ear.say(f"tallyman/v1/agents/{agent}/hello", body)

    def state(self, agent: str, status: str, site: str = "lej1") -> None:
        body = {
            "status": status, "connection": 1, "incarnation": self.streams[agent].incarnation, "site": site,
            "queued": 0, "oldest_queued_at": None, "devices": [],
        }  # fmt: skip
        self.ear.say(f"tallyman/v1/agents/{agent}/state", body)

    def told(self, agent: str) -> list[Any]:
        return self.ear.of(f"/{agent}/tasks")

    def knows(self, agent: str) -> dict[str, tuple[str, str | None]]:
        """By document: (status, holder) as it was told last."""
        return {
            task["document"]: (task["status"], task.get("holder"))
            for message in self.told(agent)
            for task in message["tasks"]
        }

    async def heard(self, agent: str, document: str, status: str, holder: str | None = None) -> None:
        await eventually_async(lambda: self.knows(agent).get(document) == (status, holder), WAIT_S)

    async def order(self, name: str) -> None:
        line = DocumentLine(sku="SKU-1", quantity=1)
        await self.books.do(OpenOrder("t", name, "lej1", "web", (line,)))


@pytest.fixture
async def site(database_url: str, broker: Broker) -> AsyncIterator[Site]:
    async with opened(database_url) as books:
        await books.stock_the_shop()
        await books.do(Stream().said("received", sku="SKU-1", quantity=50, to_location="A-01"))
        consumer = Consumer(books.ledger, Settings(broker.url), lease_s=LEASE_S)
        running = asyncio.create_task(consumer.run())
        ear = await Ear(broker.port, "tallyman/v1/agents/+/tasks").ready()
        await eventually_async(lambda: consumer.online, WAIT_S)
        try:
            yield Site(books, ear)
        finally:
            ear.close()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_tasks_stay_with_one_who_is_there_and_go_when_it_is_not(site: Site) -> None:
    site.hello("dock-1", tasks=[])
    site.hello("picker-1")
    await eventually_async(lambda: site.told("picker-1") and site.told("dock-1"), WAIT_S)
    await site.order("O-1")
    await site.heard("picker-1", "O-1", "open")
    site.hello("picker-2", tasks=["pick"])
    await site.heard("picker-2", "O-1", "cancelled", "picker-1")
    await asyncio.sleep(2 * LEASE_S)
    assert site.knows("picker-1")["O-1"] == ("open", None), "it is there: its lease was renewed"
    site.state("picker-1", "offline")
    await site.heard("picker-2", "O-1", "open")
    site.hello("picker-1")
    await site.heard("picker-1", "O-1", "cancelled", "picker-2")
    assert site.knows("dock-1") == {}, "nobody picks there"


async def test_one_agent_keeps_its_tasks_however_long_it_is_away(site: Site) -> None:
    site.hello("picker-1")
    await eventually_async(lambda: site.told("picker-1"), WAIT_S)
    await site.order("O-1")
    await site.heard("picker-1", "O-1", "open")
    site.state("picker-1", "offline")
    await asyncio.sleep(2 * LEASE_S)
    await site.order("O-2")
    site.hello("picker-1")
    await site.heard("picker-1", "O-2", "open")
    assert set(site.knows("picker-1").values()) == {("open", None)}


async def test_a_hello_is_answered_with_all_that_is_open_also_in_a_new_history(site: Site) -> None:
    site.hello("picker-1")
    await eventually_async(lambda: site.told("picker-1"), WAIT_S)
    (empty,) = site.told("picker-1")
    assert (empty["tasks"], empty["part"], empty["parts"], empty["lease_s"]) == ([], 1, 1, 1)
    await site.order("O-1")
    await site.order("O-2")
    await site.books.do(CancelOrder("t", "O-2"))
    await site.heard("picker-1", "O-1", "open")
    with database.writing(site.books.engine) as connection:
        history = database.new_history(connection, "restored")
    site.hello("picker-1", history=empty["history"])

    def whole() -> list[Any]:
        return [one for one in site.told("picker-1") if one["history"] == history and "part" in one]

    await eventually_async(whole, WAIT_S)
    tasks = {task["document"]: task["status"] for task in whole()[-1]["tasks"]}
    assert tasks == {"O-1": "open", "O-2": "cancelled"}


async def test_a_site_of_a_strange_name_stops_nobody(site: Site) -> None:
    """PostgreSQL takes no NUL, not even to look for it."""
    site.hello("odd", site="a\x00b")
    site.state("odd", "online", site="a\x00b")
    await eventually_async(lambda: site.told("odd"), WAIT_S)
    await asyncio.sleep(LEASE_S)
    site.hello("picker-1")
    await eventually_async(lambda: site.told("picker-1"), WAIT_S)
    await site.order("O-1")
    await site.heard("picker-1", "O-1", "open")


async def test_one_site_of_a_strange_name_costs_nobody_else_a_lease(database_url: str) -> None:
    """Leases are renewed together; whatever an agent calls its site, the others keep their tasks."""
    async with opened(database_url) as books:
        sites = ("lej1", "a\x00b\n", "\N{SNOWMAN}" * 200)
        present = tuple(Present(f"dock-{n}", site, ("pick",)) for n, site in enumerate(sites))
        assert isinstance(await books.do(RenewLeases(present, 60.0)), Done)
        found = {row.agent: row.site for row in books.rows(sa.select(tables.lease))}
        assert found == {"dock-0": "lej1", "dock-1": "a%00b\n", "dock-2": "\N{SNOWMAN}" * 200}
