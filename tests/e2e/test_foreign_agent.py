"""A stranger's agent against our central: what docs/contract.md says of central, on the wire."""

import base64
import json
from collections.abc import Iterator

import jsonschema
import pytest

from tests.e2e.foreign.agent import Agent, new_incarnation
from tests.e2e.foreign.hand import Hand, sha256
from tests.e2e.foreign.wire import Wire, wait_until
from tests.e2e.programs import ROOT, CentralProgram
from tests.support.broker import Broker, running

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One broker for the whole module: its central lives through all scenarios."""
    with running() as broker:
        yield broker


@pytest.fixture(scope="module")
def central(broker, tmp_path_factory) -> Iterator[CentralProgram]:
    central = CentralProgram(tmp_path_factory.mktemp("central"), broker.url)
    central.start()
    for sku in ("SKU-1", "SKU-2", "SKU-3", "SKU-4", "SKU-5", "SKU-6", "SKU-7"):
        item = {"sku": sku, "name": f"Thing {sku}", "gtins": [], "tracking": "none", "scale": 0}
        central.call("PUT", f"/v1/items/{sku}", item)
    for name in ("DOCK-1", "A-01"):
        central.call(
            "PUT", f"/v1/locations/{name}", {"id": name, "site": "lej1", "zone": "z", "walk_order": 1}
        )
    yield central
    central.stop()


@pytest.fixture
def hand(broker, central, request) -> Iterator[Hand]:
    hand = Hand(broker.host, broker.port, f"hand-{abs(hash(request.node.name)) % 10**8}", "lej1")
    yield hand
    hand.stop()
    for kind, messages in (("ack", hand.acks), ("reference", hand.reference), ("tasks", hand.tasks)):
        for message in messages:
            schema = "reference-delta" if message.get("kind") == "delta" else kind
            jsonschema.validate(message, SCHEMAS[schema])


@pytest.fixture
def agents(broker, central) -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.stop()


def on_hand(central: CentralProgram, sku: str) -> int:
    return int(central.call("GET", f"/v1/availability/{sku}")["on_hand"])


def unit(sku: str, quantity: int = 1) -> dict[str, object]:
    return {"sku": sku, "quantity": quantity, "to_location": "DOCK-1"}


def outcomes(ack) -> list[str]:
    return [verdict["outcome"] for verdict in ack["verdicts"]]


def test_hello_is_answered_for_each_incarnation(hand):
    old = {"incarnation": new_incarnation(), "first_kept": 1, "last_sequence": 0, "acked": 0}
    own = {"incarnation": hand.incarnation, "first_kept": 1, "last_sequence": 0, "acked": 0}
    answers = hand.hello(old, own)
    assert {ack["incarnation"] for ack in answers} == {old["incarnation"], own["incarnation"]}
    assert all(ack["acked"] == ack["safe"] == 0 and ack["window"] > 0 and ack["history"] for ack in answers)


def test_a_batch_is_booked_once_however_often_it_comes(hand, central):
    hand.hello()
    batch = [hand.event(n, data=unit("SKU-2", 5)) for n in (1, 2, 3)]
    first = hand.send(*batch)
    assert (first["acked"], first["safe"], outcomes(first)) == (3, 3, ["accepted"] * 3)
    movements = [verdict["movement"] for verdict in first["verdicts"]]
    assert movements == sorted(set(movements))
    again = hand.send(*batch)
    assert again["verdicts"] == [{**verdict, "duplicate": True} for verdict in first["verdicts"]]
    assert hand.send(batch[1])["verdicts"] == [{**first["verdicts"][1], "duplicate": True}]
    assert hand.hello()[0]["acked"] == 3
    assert on_hand(central, "SKU-2") == 15


def test_an_acknowledgement_never_skips_a_gap(hand):
    hand.hello()
    one, two, three = (hand.event(n) for n in (1, 2, 3))
    assert (hand.send_above_a_gap(three)["acked"], hand.send_above_a_gap(two)["acked"]) == (0, 0)
    assert hand.send(one)["acked"] >= 1
    assert hand.send(two, three)["acked"] == 3, "whether central had parked them or not"


def test_what_cannot_be_booked_blocks_no_neighbour(hand, central):
    hand.hello()
    ack = hand.send(
        hand.event(1, data=unit("SKU-3")),
        hand.event(2, data={"sku": "SKU-3", "quantity": -4, "to_location": "DOCK-1"}),
        hand.event(3, kind="levitated", data=unit("SKU-3")),
        hand.event(4, data={"sku": "SKU-3"}),
        hand.event(5, source="/sites/lej1/agents/somebody-else", data=unit("SKU-3")),
        hand.event(6, data={"gtin": "00012345678905", "quantity": 2, "to_location": "DOCK-1"}),
        hand.event(7, data=unit("SKU-3")),
    )
    assert ack["acked"] == 7
    assert outcomes(ack) == ["accepted", *["rejected"] * 4, "discrepant", "accepted"]
    assert all(verdict["reason"] for verdict in ack["verdicts"] if verdict["outcome"] != "accepted")
    assert on_hand(central, "SKU-3") == 2


@pytest.mark.parametrize(
    "broken",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 2000,
        b'[{"specversion":"1.0"}]',
        b"[" + b" " * 70_000 + b"]",
    ],
    ids=["text", "empty", "object", "utf-16", "deep", "member", "large"],
)
def test_a_payload_that_is_no_batch_is_named_by_its_hash(hand, broken):
    ack = hand.send_bytes(broken)
    assert (ack["problem"], ack["payload"], ack["verdicts"]) == ("unreadable", sha256(broken), [])


def test_a_batch_of_two_incarnations_or_with_a_hole_is_unreadable(hand):
    hand.hello()
    hole = json.dumps([hand.event(1), hand.event(3)]).encode()
    two = json.dumps([hand.event(1), hand.event(2, incarnation=new_incarnation())]).encode()
    for payload in (hole, two):
        ack = hand.send_bytes(payload)
        assert (ack["problem"], ack["payload"]) == ("unreadable", sha256(payload))


def test_a_void_and_the_event_it_replaces_are_one(hand, central):
    hand.hello()
    event = hand.event(1, data=unit("SKU-4"))
    original = base64.b64encode(json.dumps(event).encode()).decode()
    void = {**event, "type": "tallyman.void.v1", "data": {"id": event["id"], "original": original}}
    first = hand.send(void)
    assert (first["acked"], outcomes(first)) == (1, ["rejected"])
    late = hand.send(event)
    assert late["verdicts"] == [{**first["verdicts"][0], "duplicate": True}]

    booked = hand.event(2, data=unit("SKU-4"))
    accepted = hand.send(booked)
    voided = {**booked, "type": "tallyman.void.v1", "data": {"id": booked["id"], "original": original}}
    assert hand.send(voided)["verdicts"] == [{**accepted["verdicts"][0], "duplicate": True}]
    assert on_hand(central, "SKU-4") == 1


def test_one_id_with_other_content_is_a_conflict_and_both_are_kept(hand, central):
    hand.hello()
    event = hand.event(1, data=unit("SKU-5"))
    first = hand.send(event)
    other = hand.event(2, id=event["id"], data=unit("SKU-5", 7))
    assert outcomes(hand.send(other)) == ["conflict"]
    same = hand.event(
        3, id=event["id"], time=event["time"], data={**unit("SKU-5"), "lot": None, "previous": None}
    )
    moved = hand.send(same)
    assert moved["acked"] == 3
    assert outcomes(moved) == ["accepted"]
    assert moved["verdicts"][0]["duplicate"] is True
    assert moved["verdicts"][0]["movement"] == first["verdicts"][0]["movement"]
    assert on_hand(central, "SKU-5") == 1


def test_two_events_at_one_place_are_a_fork(hand, central):
    hand.hello()
    first, second = hand.event(1), hand.event(1)
    accepted = hand.send(first)
    fork = hand.send(second)
    assert (fork["problem"], fork["incarnation"], fork["acked"]) == ("fork", hand.incarnation, 1)
    assert outcomes(fork) == ["conflict"]
    assert hand.send(first)["verdicts"] == [{**accepted["verdicts"][0], "duplicate": True}]
    assert "fork" in alarms(central, hand)


def test_a_copied_or_set_back_agent_raises_an_alarm(hand, central):
    hand.hello()
    hand.send(hand.event(1), hand.event(2))
    first = hand.incarnation
    for _ in ("one life", "another that says it follows the same"):
        hand.incarnation = new_incarnation()
        previous = {"incarnation": first, "last_sequence": 2}
        hand.send({**hand.event(1), "data": {**unit("SKU-1"), "previous": previous}})
    assert "cloned_agent" in alarms(central, hand)

    past = {"incarnation": first, "first_kept": 1, "last_sequence": 1, "acked": 1}
    hand.hello(past, {"incarnation": hand.incarnation, "first_kept": 1, "last_sequence": 1, "acked": 1})
    assert "agent_set_back" in alarms(central, hand)


def test_a_lost_range_is_passed_and_told(hand, central):
    own = {"incarnation": hand.incarnation, "first_kept": 6, "last_sequence": 7, "acked": 0}
    (answer,) = hand.hello(own)
    assert answer["acked"] == 5
    assert hand.send(hand.event(6), hand.event(7))["acked"] == 7
    assert "lost_range" in alarms(central, hand)


def alarms(central: CentralProgram, hand: Hand) -> set[str]:
    """The kinds of open discrepancies that name this agent or its site's stream."""
    found = central.call("GET", "/v1/discrepancies?status=open&limit=1000")["discrepancies"]
    return {one["kind"] for one in found if hand.agent in one["detail"] or hand.incarnation in one["detail"]}


def test_feeds_tell_everybody_of_movements_and_stock(hand, central, broker):
    sku = "SKU 1.5/ä"
    encoded = "SKU%201%2E5%2F%C3%A4"
    central.call("PUT", f"/v1/items/{encoded}", {"name": "Odd name"})
    heard: list[tuple[str, object]] = []
    topics = ["tallyman/v1/movements", f"tallyman/v1/stock/{encoded}"]
    wire = Wire(
        broker.host,
        broker.port,
        "everybody",
        topics,
        on_message=lambda topic, payload: heard.append((topic, json.loads(payload))),
    )
    wire.start()
    try:
        wait_until(lambda: wire.ready, "subscribed")
        hand.hello()
        (verdict,) = hand.send(hand.event(1, data=unit(sku, 3)))["verdicts"]
        stock = wait_until(
            lambda: next((m for t, m in heard if "/stock/" in t and m["on_hand"]), None), "stock"
        )
        batch = wait_until(
            lambda: next((m for t, m in heard if t.endswith("movements")), None), "the movement"
        )
    finally:
        wire.stop()
    jsonschema.validate(stock, SCHEMAS["stock"])
    jsonschema.validate(batch, SCHEMAS["movements"])
    assert (stock["sku"], stock["on_hand"], stock["available"]) == (sku, 3, 3)
    assert (stock["history"], batch[0]["data"]["movement"]) == (hand.history, verdict["movement"])
    for book in ("physical", "promise"):
        assert sum(entry["delta"] for entry in batch[0]["data"]["entries"] if entry["book"] == book) == 0


def test_reference_and_tasks_reach_an_agent_of_the_site(hand, central):
    sku = {"sku": "SKU-PICK", "name": "Pickable", "gtins": [{"gtin": "09521234543213", "quantity": 1}]}
    central.call("PUT", "/v1/items/SKU-PICK", {**sku, "tracking": "none", "scale": 0})
    hand.works_on = ["pick"]
    hand.hello()
    wait_until(lambda: "SKU-PICK" in json.dumps(hand.reference), "the item, in a snapshot or as a change")
    if whole_snapshot(hand.reference, "SKU-PICK") is None:  # the snapshot was made a moment before the item
        hand.hello()
    parts = wait_until(lambda: whole_snapshot(hand.reference, "SKU-PICK"), "a snapshot with the item")
    assert {part["as_of"] for part in parts} == {parts[0]["as_of"]}
    assert "DOCK-1" in {location["id"] for part in parts for location in part["locations"]}

    adjustment = {"sku": "SKU-PICK", "site": "lej1", "location": "A-01", "delta": 9, "reason": "opening"}
    central.call("POST", "/v1/adjustments", adjustment)
    order = {"id": "SO-F1", "site": "lej1", "channel": "web", "lines": [{"sku": "SKU-PICK", "quantity": 4}]}
    central.call("POST", "/v1/orders", order)
    task = wait_until(lambda: find_task(hand.tasks, "SO-F1"), "a pick task")
    assert (task["type"], task["sku"], task["quantity"], task["status"]) == ("pick", "SKU-PICK", 4, "open")
    picked = {
        "sku": "SKU-PICK",
        "quantity": 4,
        "from_location": "A-01",
        "document": "SO-F1",
        "task": task["task"],
    }
    assert outcomes(hand.send(hand.event(1, kind="picked", data=picked))) == ["accepted"]
    stock = central.call("GET", "/v1/availability/SKU-PICK?site=lej1")
    assert (stock["on_hand"], stock["picked"], stock["available"], stock["committed"]) == (9, 4, 5, 0)


def whole_snapshot(told, sku: str):
    parts = [part for part in told if part["kind"] == "snapshot"]
    for version in sorted({part["version"] for part in parts}, reverse=True):
        found = {part["part"]: part for part in parts if part["version"] == version}
        first = next(iter(found.values()))
        if len(found) == first["parts"] and any(
            i["sku"] == sku for part in found.values() for i in part["items"]
        ):
            return list(found.values())
    return None


def find_task(messages, document: str):
    return next((t for m in messages for t in m["tasks"] if t["document"] == document), None)


def test_a_whole_agent_through_lost_messages_a_bad_event_and_a_killed_central(agents, broker, central):
    """Lost hello, lost ack, an event nobody can read, SIGKILL of central between two batches: each event once."""
    agent = Agent(broker.host, broker.port, "stranger-whole", "lej1")
    agents.append(agent)
    agent.lose_hellos = agent.lose_verdicts = 1
    ids = [agent.record("received", unit("SKU-6", 3)) for _ in range(5)]
    broken = agent.record("received", unit("SKU-6"), time=["no", "time"])
    ids.append(agent.record("received", unit("SKU-6", 3)))
    agent.start()
    wait_until(lambda: all(agent.verdict(one) for one in [*ids, broken]), "all verdicts", 60)
    assert {agent.verdict(one)["outcome"] for one in ids} == {"accepted"}
    assert agent.verdict(broken)["outcome"] == "rejected"

    central.kill()
    ids += [agent.record("received", unit("SKU-6", 3)) for _ in range(3)]
    central.start()
    wait_until(lambda: all(agent.verdict(one) for one in ids), "verdicts after the restart", 60)
    assert on_hand(central, "SKU-6") == 3 * len(ids)
    assert agent.life.acked == len(ids) + 1


def test_a_forked_agent_begins_a_new_incarnation_and_nothing_is_lost(agents, hand, broker, central):
    """Somebody else wrote at the agent's next place: its own event is booked in a new incarnation."""
    agent = Agent(broker.host, broker.port, "stranger-forked", "lej1")
    agents.append(agent)
    first = agent.record("received", unit("SKU-7"))
    agent.start()
    wait_until(lambda: agent.verdict(first), "the first verdict")
    hand.agent, hand.incarnation = "stranger-forked", agent.life.name
    before = len(agent.acks)
    agent.publish("events", [hand.event(2, data=unit("SKU-7"))])
    wait_until(lambda: any(ack["verdicts"] for ack in agent.acks[before:]), "the copy's event is booked")

    ids = [agent.record("received", unit("SKU-7")) for _ in range(3)]
    wait_until(lambda: len(agent.journal.lives) == 2, "a new incarnation")
    wait_until(lambda: all(accepted(agent, one) for one in ids), "verdicts in it")
    assert on_hand(central, "SKU-7") == 5


def accepted(agent: Agent, event_id: str) -> bool:
    return (agent.verdict(event_id) or {}).get("outcome") == "accepted"


def test_a_central_that_was_rolled_back_says_so_by_a_new_history(hand, central):
    hand.hello()
    event = hand.event(1)
    first = hand.send(event)
    own = {"incarnation": hand.incarnation, "first_kept": 1, "last_sequence": 9, "acked": 9}
    (ahead,) = hand.hello(own)
    assert ahead["history"] != first["history"]
    assert ahead["acked"] == 1
    (unknown,) = hand.hello({**own, "acked": 1}, history="a-history-that-never-was")
    assert unknown["history"] not in (first["history"], ahead["history"])
    (past,) = hand.hello({**own, "acked": 1}, history=first["history"])
    assert past["history"] == unknown["history"]
    assert outcomes(hand.send(event)) == ["accepted"]
