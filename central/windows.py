"""How many events each agent may have sent and unanswered: its window, by how much central has to do. Pure.

The idea: who sends shares one budget. Few senders get the full window; many get less each, and what already waits
here is taken from it, so that agents slow down before anything has to be dropped. Nobody is given a crumb: below
LEAST it is 0, which means wait, and whoever was told so hears when there is room again.
"""

from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 1000  # events: the most that any agent is granted (docs/contract.md, "Limits")
LEAST: Final = 20  # events: less is not worth a message
BUDGET: Final = (
    50_000  # events on their way from all agents; as full batches 500 messages, half of what is taken
)
SENDING_S: Final = 10.0  # who sent events within counts as a sender


@dataclass(slots=True)
class Windows:
    """Grants windows. `open` is whether the ledger takes anything at all; time is monotonic seconds."""

    most: int = WINDOW
    budget: int = BUDGET
    open: bool = True
    waiting: int = 0
    """Events that were received and are not answered yet."""
    shut: dict[str, None] = field(default_factory=dict)
    """Agents that were told to wait, the longest waiting first."""
    _sent: dict[str, float] = field(default_factory=dict)

    def heard(self, agent: str, now: float) -> None:
        """This agent sent events."""
        self._sent.pop(agent, None)
        self._sent[agent] = now
        while self._sent[oldest := next(iter(self._sent))] < now - SENDING_S:
            del self._sent[oldest]

    def granted(self) -> int:
        """The window for whoever is answered now."""
        if not self.open:
            return 0
        senders = len(self._sent.keys() | self.shut.keys())
        share = max(0, self.budget - self.waiting) // max(1, senders)
        return 0 if share < LEAST else min(self.most, share)

    def told(self, agent: str, window: int) -> None:
        """This agent was told that window."""
        if window == 0:
            self.shut.setdefault(agent)
        else:
            self.shut.pop(agent, None)

    def opened(self, most: int) -> list[str]:
        """Agents to be told now that they need not wait any more, at most so many at once."""
        return list(self.shut)[:most] if self.granted() else []
