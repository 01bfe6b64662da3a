"""An agent with a backlog that nobody takes hears central all the same, and says how it stands."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sync.journal import Journal
from sync.mqtt import Link, Settings
from tests.integration.test_uplink import A, Hand, Site, draft, running
from tests.support.broker import Broker
from tests.support.wait import eventually_async

BACKLOG = 3000
WAIT_S = 30.0


@pytest.fixture
async def hand(broker: Broker) -> AsyncIterator[Hand]:
    hand = Hand()
    hand.link = Link(Settings(broker.url), "hand", (f"{A}/hello", f"{A}/events", f"{A}/state"), hand)
    async with running(hand.link.run()):
        await eventually_async(lambda: hand.up, WAIT_S)
        yield hand


async def test_tasks_and_reference_data_do_not_wait_for_a_backlog(
    hand: Hand, broker: Broker, tmp_path: Path
) -> None:
    journal = await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1")
    site = Site(journal, broker.url)
    await journal.append([draft(f"e{number}") for number in range(BACKLOG)])
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"), WAIT_S)
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: hand.of("events"), WAIT_S, "it drains as far as the window goes")
        hand.say("tasks", {"as_of": 1, "tasks": []})
        hand.say("tasks", {"as_of": 2, "history": "of-another", "tasks": []})
        lists: dict[str, list[str]] = {}
        hand.say("reference", {"kind": "delta", "from": 7, "version": 8, "upsert": lists, "remove": lists})
        await eventually_async(lambda: site.references and site.tasks, WAIT_S)
        assert [told.as_of for told in site.tasks] == [1], "tasks of another history are not believed"
        await eventually_async(lambda: any(s["queued"] == BACKLOG for s in hand.of("state")), WAIT_S)
        assert sum(len(json.loads(json.dumps(batch))) for batch in hand.of("events")) <= 100
    await journal.close()
