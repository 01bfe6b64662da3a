"""The two strangers of this folder against each other: what they agree on, our programs are held to."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.foreign.agent import Agent, Journal
from tests.e2e.foreign.central import Central, content_hash
from tests.e2e.foreign.wire import wait_until

FOREIGN = Path(__file__).parent / "foreign"


@pytest.fixture
def central(broker) -> Iterator[Central]:
    central = Central(broker.host, broker.port).start()
    wait_until(lambda: central.wire.ready, "the stranger's central subscribed")
    yield central
    central.stop()


@pytest.fixture
def agent(broker, central) -> Iterator[Agent]:
    agent = Agent(broker.host, broker.port, "stranger-1", "lej1")
    yield agent
    agent.stop()


def settled(agent: Agent, *ids: str) -> bool:
    return all(agent.verdict(event_id) for event_id in ids)


def received(agent: Agent, quantity: int = 1) -> str:
    return agent.record("received", {"sku": "SKU-1", "quantity": quantity, "to_location": "DOCK-1"})


def test_strangers_import_nothing_of_ours():
    allowed = {*sys.stdlib_module_names, "paho"}
    for path in sorted(FOREIGN.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            for name in names:
                assert name.split(".")[0] in allowed or name.startswith("tests.e2e.foreign."), (
                    f"{path.name}: {name}"
                )


def test_content_hash_of_the_contract():
    """The example in docs/contract.md, "The same content"."""
    from docs.generator.examples import blocks, examples

    page = (FOREIGN.parents[2] / "docs" / "contract.md").read_text()
    (stated,) = blocks(page, "text")["content-hash"]
    (event,) = examples(page)["event"]
    assert content_hash(event) == stated.strip()


def test_batches_are_booked_once_through_lost_hellos_acks_and_a_restart(agent, central, broker):
    agent.lose_hellos = 1
    agent.lose_verdicts = 1
    ids = [received(agent) for _ in range(3)]
    agent.start()
    wait_until(lambda: settled(agent, *ids), "verdicts after the stall", 12)
    assert [agent.verdict(one)["outcome"] for one in ids] == ["accepted"] * 3
    assert all(agent.verdict(one)["duplicate"] for one in ids)
    assert central.movement == 3
    agent.stop()
    agent.wire.stop()
    wait_until(lambda: central.states[-1]["status"] == "offline", "the last will")

    again = Agent(broker.host, broker.port, "stranger-1", "lej1", agent.journal)
    later = received(again)
    again.start()
    try:
        wait_until(lambda: settled(again, later), "a verdict after the restart")
        assert central.events()[-1]["data"]["previous"] == {
            "incarnation": agent.journal.lives[0].name,
            "last_sequence": 3,
        }
    finally:
        again.stop()


def test_an_unreadable_event_becomes_a_void_and_blocks_nobody(agent, central):
    before, broken, after = received(agent), agent.record("received", {"sku": "X"}, time=5), received(agent)
    agent.start()
    wait_until(lambda: settled(agent, before, broken, after), "three verdicts")
    outcomes = [agent.verdict(one)["outcome"] for one in (before, broken, after)]
    assert outcomes == ["accepted", "rejected", "accepted"]


def test_a_rolled_back_central_gets_everything_again(agent, central):
    central.safe_behind = 1000
    ids = [received(agent) for _ in range(4)]
    agent.start()
    wait_until(lambda: settled(agent, *ids), "first verdicts")
    central.roll_back()
    central.tell("stranger-1", agent.life.name)
    wait_until(lambda: agent.journal.history == central.history and settled(agent, *ids), "all of it again")
    assert central.acked[agent.life.name] == 4


def test_two_copies_of_one_journal_lose_nothing(agent, central, broker):
    first = received(agent)
    agent.start()
    wait_until(lambda: settled(agent, first), "the first verdict")
    clone = Agent(broker.host, broker.port, "stranger-2", "lej1", Journal())
    clone.agent = "stranger-2"
    clone.life.name = agent.life.name
    twin = received(clone)
    clone.start()
    try:
        wait_until(lambda: len(clone.journal.lives) == 2, "a new incarnation")
        wait_until(lambda: settled(clone, twin), "a verdict at a place of its own")
        assert clone.verdict(twin)["outcome"] == "accepted"
        assert central.alarms == ["fork"]
    finally:
        clone.stop()
