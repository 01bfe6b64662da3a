"""Central's end of the protocol over a real broker, on both engines."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from central.consumer import Consumer
from central.ledger.commands import OpenOrder, PutItem, PutOperator
from central.ledger.service import Ledger
from sync import messages
from sync.messages import DocumentLine, Gtin
from sync.mqtt import Settings
from tests.support.broker import Broker
from tests.support.ledger import Books, Stream, opened
from tests.support.mqtt import Ear
from tests.support.wait import eventually_async

HEARD = (
    "tallyman/v1/agents/+/acks",
    "tallyman/v1/agents/+/reference",
    "tallyman/v1/agents/+/tasks",
    "tallyman/v1/movements",
    "tallyman/v1/stock/+",
)


class Central:
    """A consumer on a ledger and a broker, and an ear that is the agent `dock-2`."""

    def __init__(self, books: Books, consumer: Consumer, ear: Ear) -> None:
        self.books, self.consumer, self.ear = books, consumer, ear

    def say(self, kind: str, payload: Any, agent: str = "dock-2") -> None:
        self.ear.say(f"tallyman/v1/agents/{agent}/{kind}", payload)

    def hello(self, stream: Stream, **more: Any) -> None:
        listed = {
            "incarnation": stream.incarnation,
            "first_kept": 1,
            "last_sequence": stream.last,
            "acked": 0,
        }
        body = {
            "agent": "dock-2",
            "site": "lej1",
            "nonce": "n-1",
            "history": None,
            "reference": None,
            "software": "test",
            "incarnations": [listed],
        }
        self.say("hello", {**body, **more})

    async def acks(self, count: int) -> list[Any]:
        await eventually_async(lambda: len(self.ear.of("/acks")) >= count, 10)
        return self.ear.of("/acks")


@pytest.fixture
async def central(database_url: str, broker: Broker) -> AsyncIterator[Central]:
    async with opened(database_url) as books:
        await books.stock_the_shop()
        consumer = Consumer(books.ledger, Settings(broker.url))
        running = asyncio.create_task(consumer.run())
        ear = await Ear(broker.port, *HEARD).ready()
        await eventually_async(lambda: consumer.online, 30)
        try:
            yield Central(books, consumer, ear)
        finally:
            ear.close()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_a_batch_is_committed_then_acknowledged(central: Central) -> None:
    stream = Stream()
    received = {"sku": "SKU-1", "quantity": 3, "to_location": "DOCK-2"}
    events = [stream.event("received", received) for _ in range(3)]
    central.say("events", messages.join_batch([messages.encode(event) for event in events]))
    (ack,) = await central.acks(1)
    assert ack["acked"] == ack["safe"] == 3
    assert ack["nonce"] is None
    assert ack["window"] == 1000
    assert [(v["sequence"], v["id"], v["outcome"], v["movement"]) for v in ack["verdicts"]] == [
        (n + 1, event.id, "accepted", n + 1) for n, event in enumerate(events)
    ]
    assert "problem" not in ack
    assert central.books.available() == {"on_hand": 9, "available": 9}


async def test_the_feeds_tell_of_it(central: Central) -> None:
    stream = Stream()
    await central.books.do(stream.said("received", sku="SKU-1", quantity=3, to_location="DOCK-2"))
    await eventually_async(lambda: central.ear.of("/movements"), 10)
    ((event,),) = central.ear.of("/movements")
    assert event["type"] == "tallyman.movement.received.v1"
    assert event["data"]["movement"] == 1
    assert {entry["book"] for entry in event["data"]["entries"]} == {"physical", "promise"}
    await eventually_async(lambda: central.ear.of("/stock/SKU-1"), 10)
    assert central.ear.of("/stock/SKU-1")[-1]["available"] == 3
    assert central.ear.of("/stock/SKU-1")[-1]["as_of"] == 1


async def test_a_hello_is_answered_with_everything_an_agent_needs(central: Central) -> None:
    stream = Stream()
    await central.books.do(stream.said("received", sku="SKU-1", quantity=3, to_location="A-01"))
    order = OpenOrder("t", "O-1", "lej1", "shop", (DocumentLine(sku="SKU-1", quantity=2),))
    await central.books.do(order)
    central.hello(stream)
    (ack,) = await central.acks(1)
    assert (ack["nonce"], ack["incarnation"], ack["acked"]) == ("n-1", stream.incarnation, 1)
    await eventually_async(lambda: central.ear.of("/tasks") and central.ear.of("/reference"), 10)
    (snapshot,) = central.ear.of("/reference")
    assert [item["sku"] for item in snapshot["items"]] == ["SKU-1", "SKU-2"]
    assert [location["id"] for location in snapshot["locations"]] == ["DOCK-2", "A-01", "A-02"]
    assert [document["id"] for document in snapshot["documents"]] == ["O-1"]
    (task,) = central.ear.of("/tasks")[0]["tasks"]
    assert (task["type"], task["from_location"], task["quantity"], task["status"]) == (
        "pick",
        "A-01",
        2,
        "open",
    )
    central.hello(stream, nonce="n-2", reference=snapshot["version"], history=ack["history"])
    await central.acks(2)
    await asyncio.sleep(0.2)
    assert len(central.ear.of("/reference")) == 1, "it has that version already"
    await central.books.do(PutItem("t", "SKU-3", "Bowl", (Gtin(gtin="9521234543213", quantity=1),)))
    await eventually_async(lambda: len(central.ear.of("/reference")) == 2, 10)
    delta = central.ear.of("/reference")[-1]
    assert (delta["kind"], delta["from"]) == ("delta", snapshot["version"])
    assert [item["sku"] for item in delta["upsert"]["items"]] == ["SKU-3"]
    assert set(delta["upsert"]) == {"items"} and delta["remove"] == {}
    central.hello(stream, nonce="n-3", reference=snapshot["version"], history=ack["history"])
    await eventually_async(lambda: central.ear.of("/reference")[2:] == [delta], 10, "it is told again")
    central.hello(stream, nonce="n-4", reference=delta["version"], history="H-of-another")
    await eventually_async(lambda: len(central.ear.of("/reference")) == 4, 10)
    assert central.ear.of("/reference")[-1]["kind"] == "snapshot"


async def test_an_unreadable_batch_is_named_by_its_hash(central: Central) -> None:
    stream = Stream()
    garbage = b'[{"incarnation": "' + stream.incarnation.encode() + b'", "id": 5}]'
    for payload, incarnation in ((b"\xff\x00 no JSON", None), (garbage, stream.incarnation), (b"[]", None)):
        before = len(central.ear.of("/acks"))
        central.say("events", payload)
        ack = (await central.acks(before + 1))[-1]
        assert ack["problem"] == "unreadable"
        assert ack["payload"] == hashlib.sha256(payload).hexdigest()
        assert (ack["incarnation"], ack["acked"], ack["verdicts"]) == (incarnation, 0, [])
    central.say("events", messages.join_batch([messages.encode(stream.event("received", {}))]))
    ack = (await central.acks(4))[-1]
    assert ack["verdicts"][0]["outcome"] == "rejected"
    assert central.consumer.counts["unreadable"] == 3


async def test_data_nested_too_deep_is_rejected_and_holds_nobody_up(central: Central) -> None:
    stream = Stream()
    data = {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"}
    text = messages.encode(stream.event("received", data))
    deep = text.replace(b'"sku"', b'"more":' + b'{"a":' * 700 + b"1" + b"}" * 700 + b',"sku"')
    central.say("events", messages.join_batch([deep, messages.encode(stream.event("received", data))]))
    [ack] = await central.acks(1)
    assert [verdict["outcome"] for verdict in ack["verdicts"]] == ["rejected", "accepted"]


async def test_a_sequence_that_no_number_can_hold_is_unreadable(central: Central) -> None:
    event = Stream().event("received", {"sku": "SKU-1", "to_location": "DOCK-2"}, sequence=2**62 + 1)
    central.say("events", messages.join_batch([messages.encode(event)]))
    [ack] = await central.acks(1)
    assert ack["problem"] == "unreadable"


async def test_malformed_hellos_and_states_cost_nothing(central: Central) -> None:
    stream = Stream()
    central.say("hello", b"{}")
    central.hello(stream, agent="other")
    central.say("state", b"[]")
    central.hello(stream, incarnations=[{"incarnation": stream.incarnation, "first_kept": 2**63, "last_sequence": 0, "acked": 0}])  # fmt: skip  # noqa: E501
    await eventually_async(lambda: central.consumer.counts["malformed"] == 4, 10)
    central.hello(stream)
    await central.acks(1)


async def test_an_old_connection_is_not_believed(central: Central) -> None:
    def state(connection: int, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "connection": connection,
            "incarnation": "0" * 32,
            "site": "lej1",
            "queued": 7,
            "oldest_queued_at": None,
            "devices": [],
        }

    central.say("state", state(5, "online"))
    await eventually_async(lambda: "dock-2" in central.consumer.agents, 10)
    central.say("state", state(4, "offline"))
    await eventually_async(lambda: central.consumer.counts["states"] == 2, 10)
    seen = central.consumer.agents["dock-2"].state
    assert seen is not None
    assert (seen.status, seen.queued) == ("online", 7)


async def test_a_batch_waits_for_the_database(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger is down nothing is acknowledged, and the agent is asked to wait."""
    from central.ledger.service import LedgerDown

    stream = Stream()
    event = stream.event("received", {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"})
    central.say("events", messages.join_batch([messages.encode(event)]))
    await central.acks(1)
    ledger, down = central.books.ledger, True
    submit = ledger.submit

    async def fails(command: Any, **more: Any) -> Any:
        if down:
            raise LedgerDown("the disk is full")
        return await submit(command, **more)

    monkeypatch.setattr(ledger, "submit", fails)
    for _ in range(3):
        event = stream.event("received", {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-2"})
        central.say("events", messages.join_batch([messages.encode(event)]))
    acks = await central.acks(2)
    assert (acks[-1]["window"], acks[-1]["acked"], acks[-1]["verdicts"]) == (0, 1, [])
    down = False
    await eventually_async(lambda: central.ear.of("/acks")[-1]["acked"] == 4, 10)
    assert central.ear.of("/acks")[-1]["window"] == 1000


async def test_the_broker_may_forget_everything(central: Central, broker: Broker) -> None:
    stream = Stream()
    await central.books.do(stream.said("received", sku="SKU-1", quantity=3, to_location="DOCK-2"))
    await eventually_async(lambda: central.ear.of("/stock/SKU-1"), 10)
    broker.stop()
    await central.books.do(stream.said("received", sku="SKU-1", quantity=4, to_location="DOCK-2"))
    broker.start()
    ear = await Ear(broker.port, *HEARD).ready()
    try:
        await eventually_async(lambda: ear.of("/stock/SKU-1"), 15)
        assert ear.of("/stock/SKU-1")[-1]["available"] == 7
        await eventually_async(lambda: ear.of("/movements"), 15)
    finally:
        ear.close()


async def test_what_another_process_registers_reaches_agents_too(central: Central) -> None:
    central.hello(Stream())
    await eventually_async(lambda: central.ear.of("/reference"), 10)
    other = Ledger(central.books.ledger.engine)  # as the command line does while central runs
    await other.start()
    await other.submit(PutOperator("cli", "op-9", "Grace", "OP-9"))
    await other.close()
    await eventually_async(lambda: len(central.ear.of("/reference")) == 2, 15)
    assert [one["id"] for one in central.ear.of("/reference")[-1]["upsert"]["operators"]] == ["op-9"]
