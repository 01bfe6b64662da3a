"""A stranger's agent, written from docs/contract.md alone: MQTT, JSON, SHA-256, and a list as its journal."""

import base64
import hashlib
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.e2e.foreign.wire import MAX_PAYLOAD_BYTES, Wire

Json = dict[str, Any]


def new_incarnation() -> str:
    return secrets.token_hex(16)


def now_text() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Life:
    """One incarnation: its events by sequence, and where central stands."""

    name: str
    events: dict[int, Json] = field(default_factory=dict)
    last: int = 0
    acked: int = 0
    safe: int = 0
    answered: bool = False  # in this history
    left: bool = False  # its unsettled events were entered into another


@dataclass
class Journal:
    """What survives a restart of the agent (in this test's memory)."""

    lives: list[Life] = field(default_factory=list)
    verdicts: dict[str, Json] = field(default_factory=dict)  # by event id, of this history
    history: str | None = None
    connection: int = 0


class Agent:
    """Follows the six rules of "What an agent does". `lose_…` and `deaf_to` make the network worse than it is."""

    def __init__(self, host: str, port: int, agent: str, site: str, journal: Journal | None = None) -> None:
        self.agent, self.site = agent, site
        self.journal = journal or Journal()
        self.new_life()
        self.window = 0
        self.nonce = ""
        self.unanswered: set[str] = set()
        self.in_flight: dict[str, int] = {}  # event id → sequence
        self.single: set[str] = set()  # events that go alone
        self.batches: dict[str, list[str]] = {}  # SHA-256 of a payload → its event ids
        self.hello_at = self.hello_said = self.moved_at = 0.0
        self.hello_wait_s, self.stall_s = 1.0, 5.0
        self.lose_hellos = 0
        self.lose_verdicts = 0
        self.hellos: list[Json] = []
        self.acks: list[Json] = []
        self.reference: list[Json] = []
        self.tasks: dict[str, Json] = {}
        topics = [self.topic(kind) for kind in ("acks", "reference", "tasks", "commands")]
        self.wire = Wire(
            host,
            port,
            agent,
            topics,
            on_message=self.received,
            on_ready=self.connected,
            on_tick=self.tick,
            before_connect=self.leave_a_will,
        )

    # --- what a test does with it ---

    def start(self) -> "Agent":
        self.wire.start()
        return self

    def stop(self) -> None:
        self.wire.stop()

    def record(self, kind: str, data: Json, **envelope: Any) -> str:
        """Write an event to the journal; `envelope` overrides members of its envelope, to break it."""

        def write() -> str:
            event = {"id": str(uuid.uuid4()), "type": f"tallyman.{kind}.v1", "time": now_text(), "data": data}
            return self.enter({**event, "broken": envelope})

        return str(self.wire.call(write)) if self.wire.thread.is_alive() else write()

    def verdict(self, event_id: str) -> Json | None:
        return self.journal.verdicts.get(event_id)

    def publish(self, kind: str, value: Any) -> bytes:
        """Say something of one's own beside the rules."""
        return bytes(self.wire.call(lambda: self.wire.publish(self.topic(kind), value)))

    # --- journal ---

    @property
    def life(self) -> Life:
        return self.journal.lives[-1]

    def new_life(self) -> None:
        self.journal.lives.append(Life(new_incarnation()))

    def enter(self, event: Json) -> str:
        life = self.life
        life.last += 1
        data = {name: value for name, value in event["data"].items() if name != "previous"}
        if life.last == 1:
            before = self.journal.lives[-2] if len(self.journal.lives) > 1 else None
            data["previous"] = before and {"incarnation": before.name, "last_sequence": before.last}
        life.events[life.last] = {**event, "data": data}
        return str(event["id"])

    def envelope(self, life: Life, sequence: int) -> Json:
        event = life.events[sequence]
        return {
            "specversion": "1.0",
            "id": event["id"],
            "source": f"/sites/{self.site}/agents/{self.agent}",
            "type": event["type"],
            "time": event["time"],
            "datacontenttype": "application/json",
            "incarnation": life.name,
            "sequence": f"{sequence:020d}",
            "data": event["data"],
            **event.get("broken", {}),
        }

    def lacking(self, life: Life) -> list[int]:
        """What is above `acked`, or below it without a verdict in this history."""
        known = self.journal.verdicts
        return [n for n, event in sorted(life.events.items()) if n > life.acked or event["id"] not in known]

    # --- rule 1: hello ---

    def topic(self, kind: str) -> str:
        return f"tallyman/v1/agents/{self.agent}/{kind}"

    def state(self, status: str) -> Json:
        queued = [life.events[n]["time"] for life in self.journal.lives for n in self.lacking(life)]
        return {
            "status": status,
            "connection": self.journal.connection,
            "incarnation": self.life.name,
            "site": self.site,
            "queued": len(queued),
            "oldest_queued_at": min(queued, default=None),
            "devices": [],
        }

    def leave_a_will(self, wire: Wire) -> None:
        self.journal.connection += 1
        wire.mqtt.will_set(self.topic("state"), json.dumps(self.state("offline")), qos=1, retain=True)

    def connected(self) -> None:
        self.window = 0
        self.hello_wait_s, self.stall_s = 1.0, 5.0
        self.wire.publish(self.topic("state"), self.state("online"), retain=True)
        self.new_hello()

    def new_hello(self) -> None:
        self.nonce = secrets.token_hex(12)
        listed = [
            life for life in self.journal.lives if life.events or not life.answered or life is self.life
        ]
        self.listed = listed if len(listed) <= 200 else [*listed[:199], listed[-1]]
        self.unanswered = {life.name for life in self.listed}
        self.in_flight.clear()
        self.hello_wait_s = 1.0
        self.moved_at = time.monotonic()
        self.say_hello()

    def say_hello(self) -> None:
        hello = {
            "agent": self.agent,
            "site": self.site,
            "nonce": self.nonce,
            "history": self.journal.history,
            "reference": max((part["version"] for part in self.reference), default=None),
            "software": "stranger 1",
            "incarnations": [
                {
                    "incarnation": life.name,
                    "first_kept": min(life.events, default=life.last + 1),
                    "last_sequence": life.last,
                    "acked": life.acked,
                }
                for life in self.listed
            ],
        }
        self.hello_said = time.monotonic()
        self.hello_at = self.hello_said + self.hello_wait_s
        self.hello_wait_s = min(60.0, self.hello_wait_s * 2)
        if self.lose_hellos > 0:
            self.lose_hellos -= 1
            return
        self.hellos.append(hello)
        self.wire.publish(self.topic("hello"), hello)

    def tick(self, now: float) -> None:
        if self.unanswered:
            if now >= self.hello_at:
                self.say_hello()
        elif now - self.hello_said > 270:
            self.new_hello()
        elif any(self.lacking(life) for life in self.journal.lives) and now - self.moved_at > self.stall_s:
            self.stall_s = min(60.0, self.stall_s * 2)
            self.new_hello()
        elif not any(self.lacking(life) for life in self.journal.lives):
            self.moved_at = now
        self.publish_events()

    # --- rule 2: publish ---

    def publish_events(self) -> None:
        for life in self.journal.lives:
            if not life.answered:
                continue
            waiting = [n for n in self.lacking(life) if life.events[n]["id"] not in self.in_flight]
            while waiting and len(self.in_flight) < self.window:
                if self.in_flight and self.single & {life.events[waiting[0]]["id"], *self.in_flight}:
                    return  # what goes alone also waits for its answer, or all behind it would meet a gap
                batch = [waiting.pop(0)]
                alone = life.events[batch[0]]["id"] in self.single
                while (
                    waiting
                    and not alone
                    and waiting[0] == batch[-1] + 1
                    and len(self.in_flight) + len(batch) < self.window
                    and life.events[waiting[0]]["id"] not in self.single
                    and len(json.dumps([self.envelope(life, n) for n in [*batch, waiting[0]]]))
                    < MAX_PAYLOAD_BYTES
                ):
                    batch.append(waiting.pop(0))
                payload = self.wire.publish(self.topic("events"), [self.envelope(life, n) for n in batch])
                self.in_flight.update({life.events[n]["id"]: n for n in batch})
                self.batches[hashlib.sha256(payload).hexdigest()] = [life.events[n]["id"] for n in batch]

    # --- rules 3 to 6: what comes back ---

    def received(self, topic: str, payload: bytes) -> None:
        message = json.loads(payload)
        kind = topic.rsplit("/", 1)[1]
        if kind == "acks":
            if message["verdicts"] and self.lose_verdicts > 0:
                self.lose_verdicts -= 1
                return
            self.acks.append(message)
            self.acknowledged(message)
        elif kind == "reference" and message["kind"] == "snapshot":
            kept = [part for part in self.reference if part["version"] == message["version"]]
            self.reference = [part for part in kept if part["part"] != message["part"]] + [message]
        elif kind == "tasks":
            self.tasks.update({task["task"]: task for task in message["tasks"]})
        elif kind == "commands":
            self.wire.publish(
                self.topic("replies"), {"id": message["id"], "ok": False, "error": "unknown command"}
            )

    def acknowledged(self, ack: Json) -> None:
        if ack.get("problem") == "unreadable":
            self.send_singly(ack["payload"])
            return
        fresh = ack["nonce"] is not None and ack["nonce"] == self.nonce
        if ack["history"] != self.journal.history:
            if not fresh:
                self.new_hello()
                return
            self.change_history(ack)
        life = next((life for life in self.journal.lives if life.name == ack["incarnation"]), None)
        if life is None:
            return
        if fresh:
            life.acked = ack["acked"]
            life.answered = True
            self.unanswered.discard(life.name)
        elif ack["acked"] > life.acked:
            life.acked = ack["acked"]
            self.moved()
        life.safe = ack["safe"]
        self.window = ack["window"]
        for verdict in ack["verdicts"]:
            self.journal.verdicts[verdict["id"]] = verdict
            self.in_flight.pop(verdict["id"], None)
            self.moved()
        if ack.get("problem") == "fork" and not life.left:
            self.fork(life)

    def moved(self) -> None:
        self.moved_at = time.monotonic()
        self.stall_s = 5.0

    def change_history(self, ack: Json) -> None:
        self.journal.history = ack["history"]
        for life in self.journal.lives:
            safe = min(life.safe, ack["safe"]) if life.name == ack["incarnation"] else life.safe
            for sequence, event in life.events.items():
                if sequence > safe:
                    self.journal.verdicts.pop(event["id"], None)
            life.acked, life.answered = 0, False
        self.unanswered = {life.name for life in self.listed}
        self.in_flight.clear()

    def send_singly(self, payload_hash: str) -> None:
        ids = self.batches.pop(payload_hash, [])
        for event_id in ids:
            self.in_flight.pop(event_id, None)
            self.moved()
        if len(ids) > 1:
            self.single.update(ids)
            return
        for life in self.journal.lives:
            for sequence, event in life.events.items():
                if ids == [event["id"]] and event["type"] != "tallyman.void.v1":
                    original = json.dumps(self.envelope(life, sequence)).encode()
                    life.events[sequence] = {
                        "id": event["id"],
                        "type": "tallyman.void.v1",
                        "time": now_text(),
                        "data": {"id": event["id"], "original": base64.b64encode(original).decode()},
                    }

    def fork(self, old: Life) -> None:
        again = [
            sequence
            for sequence, event in sorted(old.events.items())
            if sequence > old.safe
            or self.journal.verdicts.get(event["id"], {}).get("outcome", "conflict") == "conflict"
        ]
        old.left = True
        if old is self.life:
            self.new_life()
        for sequence in again:
            event = old.events.pop(sequence)
            self.journal.verdicts.pop(event["id"], None)
            self.enter(event)
        self.new_hello()
