"""The other end of a draining agent, in a process of its own: it answers every batch at once and books nothing.

    python -m benchmarks.counterpart URL AGENT WINDOW

It prints a line when it listens, and ends with its input.
"""

import asyncio
import sys

import msgspec
import uvloop

from service import log
from sync import messages
from sync.messages import Ack, Hello, Verdict
from sync.mqtt import Incoming, Link, Settings


class _Placed(msgspec.Struct):
    id: str
    incarnation: str
    sequence: str


_batch = msgspec.json.Decoder(list[_Placed])


class Counterpart:
    """Takes whatever comes in sequence for booked."""

    def __init__(self, url: str, agent: str, window: int) -> None:
        self._acks, self._window = messages.agent_topic(agent, "acks"), window
        self._acked: dict[str, int] = {}
        topics = (messages.agent_topic(agent, "hello"), messages.agent_topic(agent, "events"))
        self._link = Link(Settings(url), "counterpart", topics, self)

    async def run(self) -> None:
        """Answer for ever."""
        await self._link.run()

    async def will(self) -> None:
        """None."""

    def connected(self) -> None:
        """Ready."""
        print("listening", flush=True)

    def disconnected(self, reason: str) -> None:
        """The benchmark ends with an error of its own."""

    def received(self, message: Incoming) -> None:
        """A hello or a batch."""
        if message.topic.endswith("/hello"):
            hello = messages.decode(message.payload, Hello)
            for listed in hello.incarnations:
                self._answer(listed.incarnation, hello.nonce, [])
        else:
            events = _batch.decode(message.payload)
            incarnation = events[0].incarnation
            first, acked = int(events[0].sequence), self._acked.get(incarnation, 0)
            verdicts = []
            if first <= acked + 1:
                self._acked[incarnation] = max(acked, first + len(events) - 1)
                verdicts = [
                    Verdict(sequence=sequence, id=event.id, outcome="accepted", movement=sequence)
                    for sequence, event in enumerate(events, first)
                ]
            self._answer(incarnation, None, verdicts)
        message.acknowledge()

    def _answer(self, incarnation: str, nonce: str | None, verdicts: list[Verdict]) -> None:
        acked = self._acked.get(incarnation, 0)
        ack = Ack(
            history="bench", nonce=nonce, incarnation=incarnation, acked=acked, safe=acked,
            window=self._window, verdicts=verdicts,
        )  # fmt: skip
        self._link.publish(self._acks, messages.encode(ack))


async def _main(url: str, agent: str, window: int) -> None:
    running = asyncio.create_task(Counterpart(url, agent, window).run())
    await asyncio.to_thread(sys.stdin.read)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    log.configure(level="warning")
    uvloop.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
