"""What agents are told of their streams: acks with the window of the moment, also when nobody asked.

The idea: the last answer of every incarnation is remembered, without its verdicts. Sent again it tells all that may
change between two answers: that the ledger is down (window 0), that it is open again, that more of it is safe. An
ack that is lost or forgotten here costs nothing but time, for agents ask when nothing moves.
Bounds: KEPT_ACKS incarnations; AT_ONCE messages that nobody asked for every EVERY_S seconds.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from central.windows import Windows
from sync import messages
from sync.messages import Ack, agent_topic
from sync.mqtt import Sent

KEPT_ACKS: Final = 10_000
AT_ONCE: Final = 200
EVERY_S: Final = 0.2

Publish = Callable[[str, bytes], Sent | None]
"""(topic, payload) → what became of it; None when it was not sent at all."""


class Answers:
    """Sends acks, and remembers what each incarnation was told last."""

    def __init__(self, publish: Publish, windows: Windows) -> None:
        self._publish, self._windows = publish, windows
        self._history: str | None = None
        self._last: dict[str, tuple[str, Ack]] = {}
        """(agent, ack) by incarnation, the latest last."""
        self._speaks: dict[str, str] = {}
        """The incarnation of each agent's latest ack."""

    def send(self, agent: str, ack: Ack) -> Sent | None:
        """An answer, with the window that its agent is granted now."""
        return self._tell(agent, msgspec.structs.replace(ack, window=self._windows.granted()))

    def wait(self, agent: str) -> None:
        """Ask an agent to wait, once. The answer to what it sent, or `announce`, ends that."""
        known = self._last.get(self._speaks.get(agent, ""))
        if known is not None and agent not in self._windows.shut:
            self._tell(agent, msgspec.structs.replace(known[1], window=0))

    def announce(self) -> None:
        """Tell agents that wait that there is room again, some at a time."""
        for agent in self._windows.opened(AT_ONCE):
            known = self._last.get(self._speaks.get(agent, ""))
            if known is None:  # forgotten: its own hello will be answered
                self._windows.told(agent, 1)
            else:
                self.send(agent, known[1])

    def known(self) -> list[str]:
        """The incarnations whose last answer is remembered."""
        return list(self._last)

    def moved(self, history: str, found: Iterable[tuple[str, int, int]]) -> list[tuple[str, Ack]]:
        """(agent, ack) for each of `found` (incarnation, acked, safe) of which another part is safe than was told."""
        told = []
        for incarnation, acked, safe in found:
            agent, last = self._last.get(incarnation, ("", None))
            if last is not None and last.safe != safe and history == self._history:
                told.append((agent, msgspec.structs.replace(last, acked=acked, safe=safe)))
        return told

    def _tell(self, agent: str, ack: Ack) -> Sent | None:
        if ack.history != self._history:
            self._history = ack.history
            self._last.clear()
            self._speaks.clear()
        if ack.incarnation is not None:
            bare: dict[str, Any] = {
                "nonce": None, "verdicts": [], "problem": msgspec.UNSET, "payload": msgspec.UNSET,
            }  # fmt: skip
            self._last.pop(ack.incarnation, None)
            self._last[ack.incarnation] = (agent, msgspec.structs.replace(ack, **bare))
            self._speaks[agent] = ack.incarnation
            if len(self._last) > KEPT_ACKS:
                gone = next(iter(self._last))
                past, _ = self._last.pop(gone)
                if self._speaks.get(past) == gone:
                    del self._speaks[past]
        self._windows.told(agent, ack.window)
        return self._publish(agent_topic(agent, "acks"), messages.encode(ack))
