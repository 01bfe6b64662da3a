"""A stranger at the keyboard: says exactly what a test wants as one agent, and shows each answer."""

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from tests.e2e.foreign.agent import new_incarnation, now_text
from tests.e2e.foreign.wire import Wire, wait_until

Json = dict[str, Any]


class Hand:
    def __init__(self, host: str, port: int, agent: str, site: str) -> None:
        self.agent, self.site = agent, site
        self.incarnation = new_incarnation()
        self.history: str | None = None
        self.acks: list[Json] = []
        self.reference: list[Json] = []
        self.tasks: list[Json] = []
        self.works_on: list[str] = []
        """Types of tasks; none, so that central gives this hand no work of the others'."""
        topics = [self.topic(kind) for kind in ("acks", "reference", "tasks")]
        self.wire = Wire(host, port, f"hand-{secrets.token_hex(4)}", topics, on_message=self.received)
        self.wire.start()
        wait_until(lambda: self.wire.ready, "subscribed")

    def stop(self) -> None:
        self.wire.stop()

    def topic(self, kind: str) -> str:
        return f"tallyman/v1/agents/{self.agent}/{kind}"

    def received(self, topic: str, payload: bytes) -> None:
        getattr(self, topic.rsplit("/", 1)[1]).append(json.loads(payload))

    def event(self, sequence: int, kind: str = "received", data: Json | None = None, **members: Any) -> Json:
        """An event at that place, by default one of SKU-1 received; `members` override the envelope's."""
        about = {"sku": "SKU-1", "quantity": 1, "to_location": "DOCK-1"} if data is None else data
        return {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"/sites/{self.site}/agents/{self.agent}",
            "type": f"tallyman.{kind}.v1",
            "time": now_text(),
            "incarnation": self.incarnation,
            "sequence": f"{sequence:020d}",
            "data": {**about, "previous": None} if sequence == 1 else about,
            **members,
        }

    def hello(
        self, *incarnations: Json, history: str | None = None, reference: int | None = None
    ) -> list[Json]:
        """The answers to a hello that lists these, by default the own incarnation; and their history is believed."""
        own = {"incarnation": self.incarnation, "first_kept": 1, "last_sequence": 0, "acked": 0}
        nonce = secrets.token_hex(12)
        listed = list(incarnations) or [own]
        hello = {
            "agent": self.agent,
            "site": self.site,
            "nonce": nonce,
            "history": history or self.history,
            "reference": reference,
            "software": "stranger 1",
            "tasks": self.works_on,
            "incarnations": listed,
        }
        self.wire.call(lambda: self.wire.publish(self.topic("hello"), hello))
        answers = wait_until(
            lambda: (
                len(found := [ack for ack in self.acks if ack["nonce"] == nonce]) == len(listed) and found
            ),
            f"an answer for each of {len(listed)} incarnations",
        )
        self.history = answers[-1]["history"]
        return list(answers)

    def send(self, *events: Json) -> Json:
        """The answer to one batch of these events: the next ack with a verdict on each of them. Others may come
        before it, about what was parked.
        """
        ids = {event["id"] for event in events}
        return self._publish(
            json.dumps(events).encode(), lambda ack: ids <= {verdict["id"] for verdict in ack["verdicts"]}
        )

    def send_above_a_gap(self, *events: Json) -> Json:
        """The answer to a batch of these events, which cannot be judged yet."""
        return self._publish(json.dumps(events).encode(), lambda ack: not ack["verdicts"])

    def send_bytes(self, payload: bytes) -> Json:
        """The answer to this on `events`, which central cannot read."""
        return self._publish(payload, lambda ack: ack.get("payload") == sha256(payload))

    def _publish(self, payload: bytes, answers: Callable[[Json], bool]) -> Json:
        before = len(self.acks)
        self.wire.call(lambda: self.wire.publish(self.topic("events"), payload))

        def answer() -> Json | None:
            return next((ack for ack in self.acks[before:] if ack["nonce"] is None and answers(ack)), None)

        return dict(wait_until(answer, "an answer"))


def sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
