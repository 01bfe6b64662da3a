"""The other end of a draining agent, in a process of its own: it answers every batch at once and books nothing.

    python -m benchmarks.counterpart PORT AGENT WINDOW

It prints a line when it listens, and ends with its input. It takes its share of the processors from what is measured,
so it does little: C libmosquitto moves the bytes, ids are cut out of the text, and verdicts are made of text.
"""

import re
import sys
from typing import Final

from benchmarks import mosquitto
from sync import messages
from sync.messages import Ack, Hello

# What stands before the id of every event, as our journal writes it.
_ID: Final = '"id":"'
_PLACE: Final = re.compile(rb'"incarnation":"([0-9a-f]{32})","sequence":"([0-9]{20})"')
_VERDICT: Final = '{"sequence":%d,"id":"%s","outcome":"accepted","movement":%d}'


class Counterpart:
    """Takes whatever comes in sequence for booked."""

    def __init__(self, port: int, agent: str, window: int) -> None:
        self._window = window
        self._acked: dict[str, int] = {}
        self._acks = messages.agent_topic(agent, "acks").encode()
        self._client = mosquitto.Client(port, "counterpart", self._received)
        self._client.subscribe(messages.agent_topic(agent, "hello").encode())
        self._client.subscribe(messages.agent_topic(agent, "events").encode())

    def close(self) -> None:
        """Answer no more."""
        self._client.close()

    def _received(self, topic: bytes, payload: bytes) -> None:
        if topic.endswith(b"/hello"):
            hello = messages.decode(payload, Hello)
            for listed in hello.incarnations:
                self._answer(listed.incarnation, hello.nonce, [])
            return
        place = _PLACE.search(payload)
        assert place is not None
        incarnation, first = place[1].decode(), int(place[2])
        acked = self._acked.get(incarnation, 0)
        verdicts: list[str] = []
        if first <= acked + 1:
            ids = [text.partition('"')[0] for text in payload.decode().split(_ID)[1:]]
            verdicts = [_VERDICT % (number, id_, number) for number, id_ in enumerate(ids, first)]
            self._acked[incarnation] = max(acked, first + len(ids) - 1)
        self._answer(incarnation, None, verdicts)

    def _answer(self, incarnation: str, nonce: str | None, verdicts: list[str]) -> None:
        acked = self._acked.get(incarnation, 0)
        ack = Ack(
            history="bench", nonce=nonce, incarnation=incarnation, acked=acked, safe=acked,
            window=self._window, verdicts=[],
        )  # fmt: skip
        bare, _, end = messages.encode(ack).rpartition(b"]")
        self._client.publish(self._acks, bare + ",".join(verdicts).encode() + b"]" + end)


if __name__ == "__main__":
    counterpart = Counterpart(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print("listening", flush=True)
    sys.stdin.read()
    counterpart.close()
