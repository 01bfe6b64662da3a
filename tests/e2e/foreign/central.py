"""A stranger's central, written from docs/contract.md alone: its memory is a few dictionaries.

It follows the five rules of "What a central does"; its switches make it forget, wait and stumble.
"""

import hashlib
import json
import secrets
import time
from typing import Any

from tests.e2e.foreign.wire import MAX_PAYLOAD_BYTES, Wire

Json = dict[str, Any]
ENVELOPE = {"specversion", "id", "source", "type", "time", "incarnation", "sequence", "data"}
TYPES = {
    "received",
    "put_away",
    "moved",
    "picked",
    "unpicked",
    "shipped",
    "sighted",
    "corrected",
    "void",
    "pick_short",
}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value]
    return value


def content_hash(event: Json) -> str:
    data = {name: member for name, member in event["data"].items() if name != "previous"}
    content = {"type": event["type"], "time": event["time"], "data": without_nulls(data)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Central:
    def __init__(self, host: str, port: int) -> None:
        # Its memory.
        self.history = secrets.token_hex(4)
        self.histories = {self.history}
        self.acked: dict[str, int] = {}  # incarnation → the highest n without a hole
        self.slots: dict[tuple[str, int], str] = {}  # (incarnation, sequence) → event id
        self.booked: dict[str, tuple[str, Json, bool]] = {}  # id → (content, verdict, was a void)
        self.kept_aside: list[Json] = []
        self.alarms: list[str] = []
        self.movement = 0
        # Its switches.
        self.window = 1000
        self.answer_hellos = True
        self.lose_acks = 0
        self.hear_events = True
        self.poison: set[str] = set()  # ids of events that it cannot read
        self.safe_behind = 0
        # What a test looks at.
        self.hellos: list[tuple[float, Json]] = []
        self.batches: list[tuple[float, list[Json]]] = []
        self.states: list[Json] = []
        self.unheard: set[str] = set()  # events that came while it did not hear
        self.wire = Wire(
            host,
            port,
            f"stranger-{secrets.token_hex(4)}",
            [f"tallyman/v1/agents/+/{kind}" for kind in ("hello", "events", "state", "replies")],
            on_message=self.received,
        )

    def start(self) -> "Central":
        self.wire.start()
        return self

    def stop(self) -> None:
        self.wire.stop()

    # --- what a test does with it ---

    def publish(self, agent: str, kind: str, value: Any) -> None:
        self.wire.call(lambda: self.wire.publish(f"tallyman/v1/agents/{agent}/{kind}", value))

    def tell(self, agent: str, incarnation: str, **members: Any) -> None:
        """An ack that answers nothing, with any member overridden."""
        self.wire.call(lambda: self.send(agent, {**self.ack(incarnation), **members}))

    def roll_back(self, to: dict[str, int] | None = None) -> None:
        """Forget what is above `to` and take a new history, as after a restore."""

        def forget() -> None:
            kept = to or {}
            for place, event_id in list(self.slots.items()):
                if place[1] > kept.get(place[0], 0):
                    del self.slots[place]
                    self.booked.pop(event_id, None)
            self.acked = dict(kept)
            self.new_history()

        self.wire.call(forget)

    def events(self) -> list[Json]:
        """Every event that arrived, in order of arrival, repeats too."""
        return [event for _, batch in self.batches for event in batch]

    # --- rule by rule ---

    def received(self, topic: str, payload: bytes) -> None:
        agent, kind = topic.split("/")[3:5]
        if kind == "hello":
            hello = json.loads(payload)
            self.hellos.append((time.monotonic(), hello))
            if self.answer_hellos:
                self.answer(agent, hello)
        elif kind == "state":
            self.states.append(json.loads(payload))
        elif kind == "events" and self.hear_events:
            self.take(agent, payload)
        elif kind == "events":
            self.unheard.update(event["id"] for event in json.loads(payload))

    def ack(self, incarnation: str, nonce: str | None = None) -> Json:
        acked = self.acked.get(incarnation, 0)
        return {
            "history": self.history,
            "nonce": nonce,
            "incarnation": incarnation,
            "acked": acked,
            "safe": max(0, acked - self.safe_behind),
            "window": self.window,
            "verdicts": [],
        }

    def send(self, agent: str, ack: Json) -> None:
        if self.lose_acks > 0 and ack["nonce"] is None:
            self.lose_acks -= 1
            return
        self.wire.publish(f"tallyman/v1/agents/{agent}/acks", ack)

    def new_history(self) -> None:
        self.history = secrets.token_hex(4)
        self.histories.add(self.history)

    def answer(self, agent: str, hello: Json) -> None:
        """Rule 4, then one ack for each listed incarnation."""
        listed = hello["incarnations"]
        ahead = any(one["acked"] > self.acked.get(one["incarnation"], 0) for one in listed)
        if hello["history"] not in {None, *self.histories} or (hello["history"] == self.history and ahead):
            self.new_history()
        for one in listed:
            name = one["incarnation"]
            if one["first_kept"] > self.acked.get(name, 0) + 1:
                self.alarms.append("lost range")
                self.acked[name] = one["first_kept"] - 1
            if one is not listed[-1] and one["last_sequence"] < self.acked.get(name, 0):
                self.alarms.append("rolled back")
            self.send(agent, self.ack(name, hello["nonce"]))

    def take(self, agent: str, payload: bytes) -> None:
        """Rules 1 to 3."""
        events = self.read(payload)
        if events is None:
            unreadable = {"incarnation": None, "acked": 0, "safe": 0, "problem": "unreadable"}
            self.send(agent, {**self.ack(""), **unreadable, "payload": hashlib.sha256(payload).hexdigest()})
            return
        self.batches.append((time.monotonic(), events))
        incarnation = events[0]["incarnation"]
        verdicts, fork = [], False
        for event in events:
            sequence = int(event["sequence"])
            acked = self.acked.get(incarnation, 0)
            if sequence > acked + 1:
                break
            owner = self.slots.setdefault((incarnation, sequence), event["id"])
            if owner != event["id"]:
                fork = True
            if sequence == acked + 1:
                self.acked[incarnation] = sequence
            verdicts.append(
                {"sequence": sequence, "id": event["id"], **self.book(event, forked=owner != event["id"])}
            )
        ack = {**self.ack(incarnation), "verdicts": verdicts}
        self.send(agent, {**ack, "problem": "fork"} if fork else ack)

    def read(self, payload: bytes) -> list[Json] | None:
        try:
            events = json.loads(payload)
            numbers = [int(event["sequence"]) for event in events]
            whole = len(payload) <= MAX_PAYLOAD_BYTES and len(events) > 0
            whole = whole and numbers == list(range(numbers[0], numbers[0] + len(events)))
            whole = whole and len({event["incarnation"] for event in events}) == 1
            for event in events:
                text = all(isinstance(event[name], str) for name in ENVELOPE - {"data"})
                whole = whole and text and isinstance(event["data"], dict)
                whole = whole and not (event["id"] in self.poison and event["type"] != "tallyman.void.v1")
            return events if whole else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def book(self, event: Json, *, forked: bool) -> Json:
        content, is_void = content_hash(event), event["type"] == "tallyman.void.v1"
        if event["id"] in self.booked:
            first, verdict, was_void = self.booked[event["id"]]
            if first == content or was_void or is_void:
                return {**verdict, "duplicate": True}
            self.kept_aside.append(event)
            return {"outcome": "conflict", "reason": "this id has other content"}
        name = event["type"].removeprefix("tallyman.").removesuffix(".v1")
        if forked:  # not booked: at a place of its own it will be
            self.alarms.append("fork")
            self.kept_aside.append(event)
            return {"outcome": "conflict", "reason": "another event has this sequence"}
        if is_void or name not in TYPES:
            verdict = {"outcome": "rejected", "reason": "cannot be booked"}
        else:
            self.movement += 1
            verdict = {"outcome": "accepted", "movement": self.movement}
        self.booked[event["id"]] = (content, verdict, is_void)
        return verdict
