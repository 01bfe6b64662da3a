"""What central may ask of the agent's program, and what it is answered. Pure; nothing depends on it.

A command is a courtesy: it may be lost, and at most MOST of them are answered in PERIOD_S, so that nobody keeps an
agent busy with answers. What would change how stations work is refused with a reason, for a person is at work there.
"""

from collections import deque
from typing import Annotated, Any, Final

import msgspec

from sync.messages import Name, Reply

MOST: Final = 10
PERIOD_S: Final = 10.0
MOST_UNKNOWN: Final = 50  # characters of a command that is not known, in the answer


class Order(msgspec.Struct):
    """A command of the contract, or one of a later contract: also what is not known is answered."""

    id: Name
    command: Annotated[str, msgspec.Meta(min_length=1)]


class Orders:
    """Answers commands.

    Args:
        who: agent, site and software, as in hello.
    """

    def __init__(self, who: dict[str, str]) -> None:
        self._who = who
        self._answered: deque[float] = deque(maxlen=MOST)

    def answer(self, order: Order, facts: dict[str, Any], now: float) -> Reply | None:
        """The reply; None when too many were asked for.

        Args:
            facts: what helps to find a fault, all of it JSON.
            now: monotonic seconds.
        """
        if len(self._answered) == MOST and now - self._answered[0] < PERIOD_S:
            return None
        self._answered.append(now)
        if order.command == "identify":
            return Reply(id=order.id, ok=True, result={**self._who})
        if order.command == "diagnostics":
            return Reply(id=order.id, ok=True, result={**self._who, **facts})
        if order.command == "reload":
            reason = "an agent reads its configuration when it starts: check it, and restart the agent"
            return Reply(id=order.id, ok=False, error=reason)
        return Reply(id=order.id, ok=False, error=f"unknown command {order.command[:MOST_UNKNOWN]!r}")
