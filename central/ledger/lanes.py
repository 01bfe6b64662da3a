"""What waits for the writer: live work first, and backlogs in turn. Pure.

The idea: two lanes. Calls of the API and what stations are doing now take the fast one. An agent that comes back with
a backlog sends long batches, or many: they take the slow one, where agents take turns, a command each. Once something
of an agent waits there, all that it sends later waits behind it, and it waits for what came before it in the fast
one: the order within an agent is never broken.

Bounds: the lanes hold so many commands together, the slow one half of them, so that a backlog never shuts out the
API. Where both wait, every second transaction takes of both: the slow lane goes on however busy the fast one is. And
it takes little of a backlog while people are at work: who scans next waits for the transaction that runs.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from central.ledger import writer
from central.ledger.commands import AnswerHello, BookBatch, Command

T = TypeVar("T")

LIVE_EVENTS: Final = 20
"""More of one agent at once is a backlog: people scan one by one, and while one transaction runs it is a few."""


QUIET: Final = 20
"""After so many transactions without live work a backlog fills them whole."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """A command, and what its caller gave beside it."""

    command: Command
    beside: T

    @property
    def agent(self) -> str | None:
        """Whose commands keep their order; None where there is no order to keep."""
        match self.command:
            case BookBatch(agent=agent):
                return agent
            case AnswerHello(hello=hello):
                return hello.agent
        return None

    @property
    def events(self) -> int:
        """How many events it books."""
        return len(self.command.events) if isinstance(self.command, BookBatch) else 0


class Lanes(Generic[T]):
    """Commands that wait to be begun.

    Args:
        most: how many.
        batch_events: a transaction takes commands until it holds as many events and lines.
    """

    def __init__(self, most: int, batch_events: int) -> None:
        self._most, self._batch_events = most, batch_events
        self._share = max(1, batch_events // 3)  # of a transaction: the slow lane's, while people are at work
        self._fast: deque[Waiting[T]] = deque()
        self._slow: OrderedDict[str, deque[Waiting[T]]] = OrderedDict()
        self._in_slow = 0
        self._in_fast: Counter[str] = Counter()  # commands, by agent
        self._events_in_fast: Counter[str] = Counter()
        self._quiet = QUIET
        self._owed = False
        """The last transaction took nothing of the slow lane although something waited there."""

    def __len__(self) -> int:
        return len(self._fast) + self._in_slow

    def put(self, command: Command, beside: T) -> bool:
        """Let it wait; False: there is no room, and nothing was done."""
        if len(self) >= self._most:
            return False
        one = Waiting(command, beside)
        agent = one.agent
        if agent is None:
            self._fast.append(one)
            return True
        if agent not in self._slow and self._events_in_fast[agent] + one.events <= LIVE_EVENTS:
            self._fast.append(one)
            self._in_fast[agent] += 1
            self._events_in_fast[agent] += one.events
            return True
        if self._in_slow >= self._most // 2:
            return False
        self._slow.setdefault(agent, deque()).append(one)
        self._in_slow += 1
        return True

    def take(self) -> list[Waiting[T]]:
        """What goes into the next transaction: what is live, alone; where the slow lane was left out the time
        before, a third is its own. As far as they may be carried out together.
        """
        taken: list[Waiting[T]] = []
        if self._owed or not self._fast:
            room = self._batch_events if self._quiet >= QUIET and not self._fast else self._share
            self._take_slow(taken, room)
        slow = len(taken)
        self._take_fast(taken)
        self._quiet = 0 if len(taken) > slow else self._quiet + 1
        self._owed = bool(self._in_slow) and not slow
        return taken

    def _take_fast(self, taken: list[Waiting[T]]) -> None:
        weight = sum(writer.weight(one.command) for one in taken)
        while self._fast and weight < self._batch_events and _may_join(taken, self._fast[0]):
            one = self._fast.popleft()
            taken.append(one)
            weight += writer.weight(one.command)
            if one.agent is not None:
                self._in_fast[one.agent] -= 1
                self._events_in_fast[one.agent] -= one.events
        self._in_fast, self._events_in_fast = +self._in_fast, +self._events_in_fast

    def _take_slow(self, taken: list[Waiting[T]], events: int) -> None:
        """An agent after the other, a command each, until there are so many events of them."""
        while events > 0:
            agent = next((name for name in self._slow if not self._in_fast[name]), None)
            if agent is None or not _may_join(taken, self._slow[agent][0]):
                return
            one = self._slow[agent].popleft()
            taken.append(one)
            self._in_slow -= 1
            events -= max(1, writer.weight(one.command))
            if self._slow[agent]:
                self._slow.move_to_end(agent)
            else:
                del self._slow[agent]


def _may_join(taken: list[Waiting[T]], one: Waiting[T]) -> bool:
    return not taken or writer.may_join(taken[0].command, one.command)
