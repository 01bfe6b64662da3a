"""The uplink between a real journal and a real broker; central's part is played by hand."""

import asyncio
import contextlib
import hashlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from structlog.testing import capture_logs

from sync import engine as engine_module
from sync import mqtt as mqtt_module
from sync import network
from sync import uplink as uplink_module
from sync.journal import Draft, Journal, JournalError
from sync.messages import Device, Reference, Tasks, Verdict
from sync.mqtt import Incoming, Link, Settings, Will
from sync.uplink import Uplink
from tests.support.broker import Broker
from tests.support.wait import eventually_async

A = "tallyman/v1/agents/dock-1"


class Hand:
    """Central, played by hand: hears everything the agent says, says what the test wants."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, bool]] = []
        self.link: Link
        self.up = False

    async def will(self) -> Will | None:
        return None

    def connected(self) -> None:
        self.up = True

    def received(self, message: Incoming) -> None:
        message.acknowledge()
        self.heard.append((message.topic.rsplit("/", 1)[1], json.loads(message.payload), message.retained))

    def disconnected(self, reason: str) -> None:
        self.up = False

    def of(self, kind: str) -> list[Any]:
        return [payload for topic, payload, _ in self.heard if topic == kind]

    def say(self, kind: str, payload: bytes | dict[str, Any]) -> None:
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        assert self.link.publish(f"{A}/{kind}", text)

    def ack(self, hello: Any, acked: int = 0, verdicts: list[Any] | None = None, **more: Any) -> None:
        incarnation = hello["incarnations"][-1]["incarnation"]
        body = {
            "history": "H1",
            "nonce": hello["nonce"],
            "incarnation": incarnation,
            "acked": acked,
            "safe": acked,
        }
        self.say("acks", {**body, "window": 100, "verdicts": verdicts or [], **more})


class Site:
    """An agent's journal and uplink, and what they told."""

    def __init__(self, journal: Journal, url: str) -> None:
        self.journal = journal
        self.verdicts: list[Verdict] = []
        self.references: list[Reference] = []
        self.tasks: list[Tasks] = []
        self.devices: list[Device] = []
        self.uplink = Uplink(
            journal,
            Settings(url),
            agent="dock-1",
            site="lej1",
            software="test",
            devices=lambda: self.devices,
            reference_version=lambda: 7,
            on_verdict=self.verdicts.append,
            on_reference=self.references.append,
            on_tasks=self.tasks.append,
            on_change=lambda: None,
        )


@contextlib.asynccontextmanager
async def running(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def hand(broker: Broker) -> AsyncIterator[Hand]:
    hand = Hand()
    hand.link = Link(
        Settings(broker.url), "hand", (f"{A}/hello", f"{A}/events", f"{A}/state", f"{A}/replies"), hand
    )
    async with running(hand.link.run()):
        await eventually_async(lambda: hand.up)
        yield hand


@pytest.fixture
async def site(broker: Broker, tmp_path: Path) -> AsyncIterator[Site]:
    journal = await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1")
    yield Site(journal, broker.url)
    await journal.close()


def draft(id_: str) -> Draft:
    return Draft(id_, "tallyman.received.v1", "2026-11-20T08:15:30Z", {"sku": "A", "to_location": "D"})


async def test_from_append_to_verdict(hand: Hand, site: Site) -> None:
    await site.journal.append([draft("e1")])
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        assert not site.uplink.online and site.uplink.reason == "connected; central has not answered yet"
        hello = hand.of("hello")[0]
        assert (hello["reference"], hello["history"]) == (7, None)
        hand.ack(hello)
        await eventually_async(lambda: hand.of("events"))
        await site.journal.append([draft("e2")])
        await eventually_async(lambda: len(hand.of("events")) == 2)
        assert [[e["id"] for e in batch] for batch in hand.of("events")] == [["e1"], ["e2"]]
        outcomes = [{"sequence": n, "id": f"e{n}", "outcome": "accepted", "movement": n} for n in (1, 2)]
        hand.ack(hello, 2, outcomes, nonce=None)
        await eventually_async(lambda: site.journal.queued == 0)
        assert [v.id for v in site.verdicts] == ["e1", "e2"] and site.uplink.online
        assert [r.outcome for r in await site.journal.recent(2)] == ["accepted", "accepted"]


async def test_a_central_that_falls_silent_is_told_although_the_broker_is_there(
    hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink_module, "SILENCE_S", 0.3)
    monkeypatch.setattr(engine_module, "STALL_FIRST_S", 0.3)
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: site.uplink.online)
        await site.journal.append([draft("e1")])
        await eventually_async(lambda: not site.uplink.online)
        assert site.uplink.reason == "connected to the broker, but central does not answer"
        hand.ack(hand.of("hello")[-1])
        await eventually_async(lambda: site.uplink.online)


async def test_state_is_retained_counts_the_queue_and_ends_offline(hand: Hand, site: Site) -> None:
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("state"))
        await site.journal.append([draft("e1")])
        site.devices.append(Device(name="s", driver="text-line", port="p", status="online", since="now"))
        site.uplink.publish_state()
        await eventually_async(lambda: hand.of("state")[-1]["oldest_queued_at"])
        state = hand.of("state")[-1]
        assert (state["status"], state["connection"], state["queued"]) == ("online", 1, 1)
        assert state["devices"][0] == {
            "name": "s", "driver": "text-line", "port": "p", "status": "online", "since": "now",
        }  # fmt: skip
    await eventually_async(lambda: hand.of("state")[-1]["status"] == "offline")


async def test_the_broker_says_offline_when_the_agent_dies_and_connections_are_numbered(
    hand: Hand, site: Site, broker: Broker
) -> None:
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("state"))
        client = site.uplink._link._client
        assert client is not None
        client.socket().shutdown(socket.SHUT_RDWR)
        await eventually_async(
            lambda: [s["status"] for s in hand.of("state")] == ["online", "offline", "online"]
        )
        assert [s["connection"] for s in hand.of("state")] == [1, 1, 2]


async def test_the_downlink_is_handed_on_and_what_cannot_be_read_is_ignored(hand: Hand, site: Site) -> None:
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        for kind in ("acks", "reference", "tasks"):
            hand.say(kind, b"\xff not JSON")
            hand.say(kind, b"{}")
        empty: dict[str, Any] = {"items": [], "locations": [], "operators": [], "documents": []}
        hand.say("reference", {"kind": "snapshot", "version": 8, "as_of": 1, "part": 1, "parts": 1, **empty})
        hand.say("tasks", {"as_of": 3, "tasks": []})
        await eventually_async(lambda: site.tasks)
        assert [r.version for r in site.references] == [8] and site.tasks[0].as_of == 3


async def test_an_unreadable_event_is_replaced_by_a_void(hand: Hand, site: Site) -> None:
    await site.journal.append([draft("e1")])
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: hand.of("events"))
        [row] = await site.journal.read(site.journal.incarnation, 1, 1)
        digest = hashlib.sha256(b"[" + row[2] + b"]").hexdigest()
        hand.ack(hand.of("hello")[0], nonce=None, problem="unreadable", payload=digest)
        await eventually_async(lambda: len(hand.of("events")) == 2)
        [void] = hand.of("events")[1]
        assert (void["id"], void["type"]) == ("e1", "tallyman.void.v1")


async def test_a_fork_begins_a_new_incarnation_with_the_same_events(hand: Hand, site: Site) -> None:
    await site.journal.append([draft("e1")])
    old = site.journal.incarnation
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: hand.of("events"))
        hand.ack(hand.of("hello")[0], 1, nonce=None, problem="fork")
        await eventually_async(lambda: len(hand.of("hello")) == 2)
        assert site.journal.incarnation != old
        hand.ack(hand.of("hello")[1])
        await eventually_async(lambda: len(hand.of("events")) == 2)
        [event] = hand.of("events")[1]
        assert (event["id"], event["incarnation"]) == ("e1", site.journal.incarnation)


async def test_a_journal_that_fails_for_a_while_is_tried_again(
    hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink_module, "RETRY_S", 0.05)
    monkeypatch.setattr(uplink_module, "STATE_S", 0.0)
    await site.journal.append([draft("e1")])
    failures = {"streams": 1, "next_connection": 1, "batches": 1, "look_at_oldest": 1, "record": 1}
    for name in list(failures):
        real = getattr(site.journal, name)

        async def flaky(*arguments: Any, name: str = name, real: Any = real) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise JournalError("disk I/O error") from sqlite3.OperationalError()
            return await real(*arguments)

        monkeypatch.setattr(site.journal, name, flaky)
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: hand.of("events"))
        verdict = {"sequence": 1, "id": "e1", "outcome": "accepted", "movement": 1}
        failures["record"] += 1
        hand.ack(hand.of("hello")[0], 1, [verdict], nonce=None)
        await eventually_async(lambda: not any(failures.values()))
        await eventually_async(lambda: site.journal.queued == 0, what="the verdict is written down after all")
        assert site.journal.history == "H1"


async def test_the_log_says_that_central_has_another_history(hand: Hand, site: Site) -> None:
    with capture_logs() as said:
        async with running(site.uplink.run()):
            await eventually_async(lambda: hand.of("hello"))
            hand.ack(hand.of("hello")[0])
            await eventually_async(lambda: site.journal.history == "H1")
            assert not [one for one in said if "another history" in one["event"]], "the first is no other"
            hand.ack(hand.of("hello")[0], nonce=None, history="H2")
            await eventually_async(lambda: len({one["nonce"] for one in hand.of("hello")}) == 2)
            hand.ack(hand.of("hello")[-1], history="H2")
            await eventually_async(lambda: site.journal.history == "H2")
    [told] = [one for one in said if "another history" in one["event"]]
    assert (told["before"], told["now"], told["queued"]) == ("H1", "H2", 0)


async def test_an_agent_whose_journal_refuses_is_heard_of_all_the_same(
    hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Central would give its tasks to others; and what it is told meanwhile must not pile up."""

    async def refuse(*_: Any) -> Any:
        raise JournalError("disk I/O error")

    monkeypatch.setattr(engine_module, "STALL_FIRST_S", 0.3)
    monkeypatch.setattr(site.journal, "batches", refuse)
    await site.journal.append([draft("e1")])
    async with running(site.uplink.run()):
        for said in range(3):
            await eventually_async(lambda said=said: len(hand.of("hello")) > said)  # type: ignore[misc]
            hand.ack(hand.of("hello")[-1])
        assert site.journal.queued == 1 and hand.of("events") == []


async def test_what_was_scanned_in_any_script_arrives_as_it_was(hand: Hand, site: Site) -> None:
    """A batch is cut by the bytes of its events, and these have more bytes than characters."""
    names = ["Becher, weiß", "茶碗 🍵", "plain", "кружка"]
    scans = [
        Draft(f"e{n}", "tallyman.received.v1", "t", {"sku": names[n % 4] * (n % 7), "to_location": "D"})
        for n in range(1, 251)
    ]
    await site.journal.append(scans)
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0], window=1000)
        await eventually_async(lambda: sum(map(len, hand.of("events"))) == 250, 30)
    told = [(event["id"], event["data"]["sku"]) for batch in hand.of("events") for event in batch]
    assert told == [(scan.id, scan.data["sku"]) for scan in scans]


async def test_commands_are_answered_and_what_is_not_known_is_too(hand: Hand, site: Site) -> None:
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        for number, command in enumerate(("identify", "diagnostics", "reload", "dance"), 1):
            hand.say("commands", {"id": f"c{number}", "command": command, "arguments": {}})
        hand.say("commands", b"no JSON")
        await eventually_async(lambda: len(hand.of("replies")) == 4)
        who, facts, reload, unknown = hand.of("replies")
        assert who == {
            "id": "c1",
            "ok": True,
            "result": {"agent": "dock-1", "site": "lej1", "software": "test"},
        }
        assert facts["result"]["incarnation"] == site.journal.incarnation and facts["result"]["queued"] == 0
        assert (reload["ok"], unknown["ok"]) == (False, False) and "'dance'" in unknown["error"]


async def test_a_thread_that_hangs_in_the_middle_of_it_all_loses_nothing(
    hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "WATCH_S", 0.1)
    monkeypatch.setattr(mqtt_module, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(network, "POLL_MS", 20)
    hold = threading.Event()
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: site.uplink.online)
        [thread] = [one for one in threading.enumerate() if one.name == "mqtt-dock-1"]
        real = paho.Client.loop_write
        monkeypatch.setattr(
            paho.Client,
            "loop_write",
            lambda client: hold.wait(60) if threading.current_thread() is thread else real(client),
        )
        await site.journal.append([draft("e1"), draft("e2")])
        await eventually_async(lambda: len(hand.of("hello")) == 2, 30)
        assert site.uplink.reason == "connected; central has not answered yet"
        hand.ack(hand.of("hello")[-1])
        await eventually_async(lambda: hand.of("events"), 30)
        assert [event["id"] for event in hand.of("events")[-1]] == ["e1", "e2"]
        verdicts = [{"sequence": n, "id": f"e{n}", "outcome": "accepted", "movement": n} for n in (1, 2)]
        hand.ack(hand.of("hello")[-1], 2, verdicts, nonce=None)
        await eventually_async(lambda: site.journal.queued == 0, 30)
    hold.set()


async def test_while_another_program_speaks_in_its_name_the_reason_stays_also_between_the_turns(
    hand: Hand, site: Site, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(mqtt_module, "RETRY_MOST_S", 0.2)
    other = Link(Settings(broker.url), "dock-1", (), Hand())
    async with running(site.uplink.run()):
        async with running(other.run()):
            await eventually_async(lambda: "'dock-1'" in (site.uplink.reason or ""), 30)
        seen = len(hand.of("hello"))
        await eventually_async(lambda: len(hand.of("hello")) > seen, 30)
        hand.ack(hand.of("hello")[-1])
        await eventually_async(lambda: site.uplink._engine.answered, 30)
        assert "does another program speak as 'dock-1'" in (site.uplink.reason or ""), (
            "told while it works too"
        )
        monkeypatch.setattr(mqtt_module, "STEADY_S", 0.5)
        await eventually_async(lambda: site.uplink.online, 30)


@contextlib.asynccontextmanager
async def only_3_1_1(broker: Broker) -> AsyncIterator[tuple[str, list[int]]]:
    """The broker behind a door that refuses MQTT 5.0, as brokers of 3.1.1 do; the levels that were asked for."""
    levels: list[int] = []

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(1024)
        levels.append(connect[connect.index(b"MQTT") + 4])
        if levels[-1] != 4:
            writer.write(b"\x20\x02\x00\x01")  # CONNACK: unacceptable protocol version (MQTT 3.1.1 §3.2.2.3)
            writer.close()
            return
        from_broker, to_broker = await asyncio.open_connection(broker.host, broker.port)
        to_broker.write(connect)
        await asyncio.gather(pass_on(reader, to_broker), pass_on(from_broker, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", levels


async def test_all_that_matters_works_with_a_broker_of_3_1_1(
    hand: Hand, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "RETRY_FIRST_S", 0.02)
    journal = await Journal.open(tmp_path / "journal.db", agent="dock-1", site="lej1")
    async with only_3_1_1(broker) as (url, levels):
        site = Site(journal, url)
        async with running(site.uplink.run()):
            await eventually_async(lambda: hand.of("hello"), 30)
            hand.ack(hand.of("hello")[0])
            await journal.append([draft(f"e{n}") for n in range(1, 301)])
            await eventually_async(lambda: sum(map(len, hand.of("events"))) == 100, 30, "the window holds")
            seen = [event["id"] for batch in hand.of("events") for event in batch]
            verdicts = [{"sequence": n, "id": id_, "outcome": "accepted"} for n, id_ in enumerate(seen, 1)]
            hand.ack(hand.of("hello")[0], 100, verdicts, nonce=None)
            await eventually_async(lambda: journal.queued == 200, 30)
            hand.say("tasks", {"as_of": 3, "tasks": []})
            await eventually_async(lambda: site.tasks, 30)
            client = site.uplink._link._client
            assert client is not None
            client.socket().shutdown(socket.SHUT_RDWR)
            await eventually_async(
                lambda: "offline" in [one["status"] for one in hand.of("state")], 30, "its will"
            )
            await eventually_async(lambda: len(hand.of("hello")) == 2, 30)
    await journal.close()
    assert levels[:2] == [5, 4] and set(levels[2:]) == {4}


async def test_what_is_recorded_while_the_uplink_starts_is_sent(hand: Hand, site: Site) -> None:
    async with running(site.uplink.run()):
        await asyncio.sleep(0)  # it has asked what the journal holds
        time.sleep(0.1)  # the journal answers, and then commits, while the loop is busy
        append = asyncio.ensure_future(site.journal.append([draft("e1")]))
        append.get_loop().call_soon(time.sleep, 0.1)
        await append
        await eventually_async(lambda: hand.of("hello"))
        hand.ack(hand.of("hello")[0])
        await eventually_async(lambda: hand.of("events"))


async def test_what_is_settled_and_old_is_let_go_of_and_the_next_hello_says_so(
    hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink_module, "KEEP_S", 0.05)
    site.uplink._retention_s, site.uplink._keep_newest = 0.0, 1
    await site.journal.append([draft(f"e{n}") for n in range(1, 6)])
    async with running(site.uplink.run()):
        await eventually_async(lambda: hand.of("hello"))
        hello = hand.of("hello")[0]
        assert hello["incarnations"][0]["first_kept"] == 1
        hand.ack(hello)
        await eventually_async(lambda: hand.of("events"))
        verdicts = [{"sequence": n, "id": f"e{n}", "outcome": "accepted"} for n in range(1, 6)]
        hand.ack(hello, 5, verdicts, nonce=None, safe=3)
        await eventually_async(lambda: site.journal.pruned == 3)
        assert site.journal.held == 2, "what is not safe stays"
        hand.ack(hello, 5, nonce=None)
        await eventually_async(lambda: site.journal.pruned == 4)
        assert site.journal.held == 1, "and the newest stays"
        site.journal._store.keep = _refuse  # type: ignore[method-assign]
        await asyncio.sleep(0.2)  # a disk that refuses is asked again, and the rest goes on
        hand.ack(hello, 5, nonce=None, history="H2")
        await eventually_async(lambda: len({said["nonce"] for said in hand.of("hello")}) == 2)
        said = hand.of("hello")[-1]["incarnations"][0]
        assert (said["first_kept"], said["last_sequence"], said["acked"]) == (5, 5, 5)


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError("no")
