"""A stranger's central against our agent: what docs/contract.md says of an agent, on the wire.

The agent is a real process with a scanner on a pseudo-terminal; a scan here is one unit with a serial of its own,
and counts only once the station says OK.
"""

import base64
import json
import time
from collections.abc import Iterator

import jsonschema
import pytest

from tests.e2e.foreign.agent import new_incarnation
from tests.e2e.foreign.central import Central
from tests.e2e.foreign.wire import wait_until
from tests.e2e.programs import ROOT, AgentProgram

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}


@pytest.fixture
def central(broker) -> Iterator[Central]:
    central = Central(broker.host, broker.port).start()
    wait_until(lambda: central.wire.ready, "the stranger's central subscribed")
    yield central
    central.stop()
    for _, hello in central.hellos:
        jsonschema.validate(hello, SCHEMAS["hello"])
    for _, batch in central.batches:
        jsonschema.validate(batch, SCHEMAS["events"])
        for event in batch:
            name = event["type"].split(".")[1].replace("_", "-")
            jsonschema.validate(event, SCHEMAS[f"event-{name}"])
    for state in central.states:
        jsonschema.validate(state, SCHEMAS["state"])


@pytest.fixture
def agent(broker, central, tmp_path, request) -> Iterator[AgentProgram]:
    agent = AgentProgram(tmp_path, broker.url, f"ours-{abs(hash(request.node.name)) % 10**8}")
    yield agent
    agent.close()


def booked(central: Central, *ids: str) -> bool:
    return all(one in central.booked for one in ids)


def incarnation(central: Central) -> str:
    return str(central.hellos[-1][1]["incarnations"][-1]["incarnation"])


def settled(agent: AgentProgram, *ids: str) -> bool:
    """The agent knows a verdict on each."""
    verdicts = {one["event_id"]: one.get("verdict") for one in agent.state()["recorded"]}
    return all(verdicts.get(one) for one in ids)


def test_hello_repeats_and_nothing_is_sent_before_the_window_opens(agent, central):
    central.answer_hellos = False
    agent.start()
    ids = agent.scan(3)
    wait_until(lambda: len(central.hellos) >= 2, "two hellos")
    assert central.batches == []
    central.answer_hellos, central.window = True, 0
    wait_until(lambda: len(central.hellos) >= 3, "three hellos")
    (first, hello), (second, _), (third, _) = central.hellos[:3]
    assert [one["nonce"] for _, one in central.hellos[:3]] == [hello["nonce"]] * 3
    assert second - first > 0.7
    assert third - second > 1.5
    assert (hello["agent"], hello["site"], hello["history"]) == (agent.agent, "lej1", None)
    online = central.states[-1]
    assert (online["status"], online["site"]) == ("online", "lej1")
    assert {device["status"] for device in online["devices"]} == {"online"}

    time.sleep(0.5)
    assert central.batches == [], "answered, but the window is still closed"
    central.hear_events = False
    central.tell(agent.agent, incarnation(central), window=2)
    wait_until(lambda: central.unheard, "the window is open")
    time.sleep(0.5)
    assert len(central.unheard) == 2
    central.hear_events = True
    central.window = 2
    wait_until(lambda: booked(central, *ids), "all three, two at a time", 12)
    assert max(len(batch) for _, batch in central.batches) <= 2
    assert len({one["nonce"] for _, one in central.hellos}) >= 2, "nothing moved for 5 s: a new hello"
    assert [event["id"] for event in central.events()[:3]] == ids
    wait_until(lambda: settled(agent, *ids), "verdicts at the station")


def test_a_lost_ack_is_asked_for_and_a_stale_one_is_not_believed(agent, central):
    agent.start()
    first = agent.scan(3)
    wait_until(lambda: settled(agent, *first), "the first verdicts")
    old_nonce = central.hellos[0][1]["nonce"]

    central.lose_acks = 1
    (lost,) = agent.scan()
    started = time.monotonic()
    wait_until(lambda: booked(central, lost), "booked, though nobody heard")
    wait_until(lambda: settled(agent, lost), "its verdict after the stall", 12)
    assert time.monotonic() - started > 4
    assert central.hellos[-1][1]["nonce"] != old_nonce
    assert [event["id"] for event in central.events()].count(lost) >= 2

    seen = len(central.batches)
    central.tell(agent.agent, incarnation(central), acked=0, safe=0, nonce=old_nonce)
    central.tell(agent.agent, incarnation(central), acked=0, safe=0)
    (fresh,) = agent.scan()
    wait_until(lambda: settled(agent, fresh), "the next scan")
    assert {event["id"] for _, batch in central.batches[seen:] for event in batch} == {fresh}


def test_another_history_is_asked_about_and_then_everything_above_safe_comes_again(agent, central):
    agent.start()
    safe = agent.scan(2)
    wait_until(lambda: settled(agent, *safe), "the first verdicts")
    central.safe_behind = 2
    more = agent.scan(2)
    wait_until(lambda: settled(agent, *more), "verdicts on what is not safe")

    hellos, batches, history = len(central.hellos), len(central.batches), central.history
    central.tell(agent.agent, incarnation(central), history="somebody-else", acked=0, safe=0)
    wait_until(lambda: len(central.hellos) > hellos, "a hello that asks")
    assert central.hellos[-1][1]["history"] == history
    assert len(central.batches) == batches, "nothing else came of it"

    current, central.safe_behind = incarnation(central), 0
    central.roll_back({current: 2})
    central.tell(agent.agent, current)
    wait_until(lambda: booked(central, *more), "what was above safe, again")
    assert {event["id"] for _, batch in central.batches[batches:] for event in batch} == set(more)
    (fresh,) = agent.scan()
    wait_until(lambda: settled(agent, fresh), "life goes on")
    hello = central.hellos[-1][1]
    assert central.acked[current] == 5
    assert (
        hello["nonce"] not in {one["nonce"] for _, one in central.hellos[:-1]} or len(central.hellos) > hellos
    )


def test_an_unreadable_event_goes_singly_then_as_a_void(agent, central):
    central.window = 0
    agent.start()
    wait_until(lambda: central.hellos, "a hello")
    before, bad, after = agent.scan(3)
    central.poison = {bad}
    central.window = 1000
    central.tell(agent.agent, incarnation(central), problem="unreadable", payload="0" * 64)
    central.tell(agent.agent, incarnation(central))
    wait_until(lambda: settled(agent, before, bad, after), "three verdicts", 20)
    assert [central.booked[one][1]["outcome"] for one in (before, bad, after)] == [
        "accepted",
        "rejected",
        "accepted",
    ]
    (void,) = [event for event in central.events() if event["type"] == "tallyman.void.v1"][:1]
    assert (void["id"], int(void["sequence"]), void["data"]["id"]) == (bad, 2, bad)
    original = json.loads(base64.b64decode(void["data"]["original"]))
    assert (original["id"], original["type"]) == (bad, "tallyman.received.v1")
    assert central.acked[incarnation(central)] == 3


def test_a_fork_begins_a_new_incarnation_with_the_same_ids(agent, central):
    agent.start()
    (safe,) = agent.scan()
    wait_until(lambda: settled(agent, safe), "the first verdict")
    old = incarnation(central)
    central.tell(agent.agent, new_incarnation(), problem="fork")
    central.hear_events = False
    lost = agent.scan(2)
    wait_until(lambda: central.unheard >= set(lost), "both were sent")
    central.wire.call(lambda: central.slots.update({(old, 2): "somebody else's", (old, 3): "theirs too"}))
    central.wire.call(lambda: central.acked.update({old: 3}))
    central.hear_events = True
    central.tell(agent.agent, old, problem="fork")
    wait_until(lambda: settled(agent, *lost), "verdicts in a new incarnation", 12)
    new = incarnation(central)
    assert new != old
    assert [one["incarnation"] for one in central.hellos[-1][1]["incarnations"]].count(old) <= 1
    places = {event["id"]: (event["incarnation"], int(event["sequence"])) for event in central.events()}
    assert [places[one] for one in lost] == [(new, 1), (new, 2)]
    first = next(event for event in central.events() if event["incarnation"] == new)
    assert first["data"]["previous"]["incarnation"] == old
    assert {central.booked[one][1]["outcome"] for one in lost} == {"accepted"}
    assert "lost range" not in central.alarms


def test_sigkill_keeps_every_ok_and_starts_a_new_incarnation(agent, central, broker):
    agent.start()
    (first,) = agent.scan()
    wait_until(lambda: settled(agent, first), "the first verdict")
    central.hear_events = False
    waiting = agent.scan(3)
    wait_until(lambda: central.unheard >= set(waiting), "they were sent, and nobody heard")
    old, connection = incarnation(central), central.states[-1]["connection"]
    agent.kill()
    wait_until(lambda: central.states[-1]["status"] == "offline", "the last will")
    assert central.states[-1]["connection"] == connection

    central.hear_events = True
    agent.start()
    wait_until(lambda: booked(central, *waiting), "what was OK'd before the kill")
    (after,) = agent.scan()
    wait_until(lambda: booked(central, after), "a scan of the new life")
    hello = central.hellos[-1][1]
    assert [one["incarnation"] for one in hello["incarnations"]] == [old, incarnation(central)]
    event = next(event for event in central.events() if event["id"] == after)
    assert event["data"]["previous"] == {"incarnation": old, "last_sequence": 4}
    assert event["incarnation"] == incarnation(central) != old
    assert central.states[-1]["connection"] > connection
    assert len(central.booked) == 5
    agent.stop()
    wait_until(lambda: central.states[-1]["status"] == "offline", "it says goodbye")
    late = Central(broker.host, broker.port).start()
    try:
        wait_until(lambda: late.states, "the state is retained for who comes later")
        assert late.states == [central.states[-1]]
    finally:
        late.stop()


def test_reference_and_tasks_work_after_a_start_without_network(agent, central, broker):
    agent.start()
    wait_until(lambda: central.hellos, "a hello")
    assert central.hellos[0][1]["reference"] is None
    for message in snapshot():
        central.publish(agent.agent, "reference", message)
    central.publish(agent.agent, "tasks", tasks(quantity=2))
    job = wait_until(lambda: choose(agent), "a job at the picker's station")
    assert (job["sku"], job["quantity"], job["from_location"]) == ("SKU-1", 2, "A-01-1")

    agent.kill()
    broker.stop()
    try:
        agent.start()
        assert agent.state("picker")["status"]["online"] is False
        job = wait_until(lambda: choose(agent), "the same job without network")
        assert job["sku"] == "SKU-1"
        assert "Ceramic mug" in job["name"]
        (offline,) = agent.scan()
    finally:
        broker.start()
    wait_until(lambda: booked(central, offline), "what was scanned without network", 25)
    assert central.hellos[-1][1]["reference"] == 4


def choose(agent: AgentProgram):
    """Choose the order at the picker's station; its job, if there is one."""
    status, _ = agent.request("POST", "/stations/picker/document", {"document": "SO-9"})
    return agent.state("picker").get("job") if status < 300 else None


def snapshot() -> list[dict[str, object]]:
    """Version 4, in two parts, the second one first."""
    whole = {"kind": "snapshot", "version": 4, "as_of": 12, "parts": 2}
    empty: dict[str, object] = {"items": [], "locations": [], "operators": [], "documents": []}
    item = {"sku": "SKU-1", "name": "Ceramic mug", "gtins": [{"gtin": "09521234543213", "quantity": 1}]}
    order = {"id": "SO-9", "type": "order", "site": "lej1", "lines": [{"sku": "SKU-1", "quantity": 2}]}
    locations = [{"id": name, "site": "lej1", "zone": "A", "walk_order": 1} for name in ("DOCK-1", "A-01-1")]
    return [
        {**whole, **empty, "part": 2, "locations": locations, "documents": [order]},
        {**whole, **empty, "part": 1, "items": [{**item, "tracking": "none", "scale": 0}]},
    ]


def tasks(quantity: int) -> dict[str, object]:
    task = {"task": "SO-9:1", "type": "pick", "lease_until": None, "status": "open", "document": "SO-9"}
    return {"as_of": 13, "tasks": [{**task, "sku": "SKU-1", "quantity": quantity, "from_location": "A-01-1"}]}
