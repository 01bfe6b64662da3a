"""One incarnation, as the engine follows it: what lacks a verdict, and what of that is on its way. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from sync.messages import Batch, Verdict
from sync.ranges import Ranges, runs


@dataclass(slots=True)
class Stream:
    """One incarnation, as the journal holds it and as central has answered."""

    incarnation: str
    first_kept: int = 1
    last: int = 0
    acked: int = 0
    safe: int = 0
    answered: bool = False
    """Central has answered a hello that listed it, in this history; an empty one is then no longer listed."""
    left: bool = False
    """It was forked, and its unsettled events were entered into another: empty, it is no longer listed. It has holes,
    which central would wait for, so nothing is sent of it again: what lacks a verdict once more is entered elsewhere.
    """
    lacking: Ranges = field(default_factory=Ranges)
    todo: Ranges = field(init=False)
    ids: dict[int, str] = field(init=False, default_factory=dict)
    """Of what was sent and lacks a verdict: verdicts are matched by id."""
    single: set[int] = field(init=False, default_factory=set)
    """Sequences of a batch that central could not read: each is sent alone, when nothing else is on its way."""
    voiding: int | None = field(init=False, default=None)
    """The journal is putting a `void` in this place; what follows would only meet a gap."""
    voided: set[int] = field(init=False, default_factory=set)
    """Sequences that hold a `void`: when even that is not read, the stall timer decides when to try again."""
    echoed: bool = field(init=False, default=False)
    """The latest nonce was echoed for it."""
    may_send: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.todo = self.lacking.copy()

    @property
    def in_flight(self) -> int:
        """How many events are sent and unanswered."""
        return self.lacking.total - self.todo.total

    def is_in_flight(self, sequence: int) -> bool:
        """This event is sent and unanswered."""
        return sequence in self.lacking and sequence not in self.todo

    def put_back(self) -> None:
        """Whatever was on its way is to be sent again."""
        self.todo = self.lacking.copy()

    def lack(self, first: int, last: int) -> None:
        """These sequences need a verdict (again)."""
        self.lacking.add(first, last)
        self.todo.add(first, last)

    def lack_again(self, first: int, last: int) -> bool:
        """Those of these that had a verdict need one again; what is on its way stays so. Tells whether any had."""
        before, on_its_way = self.lacking.total, self.lacking.copy()
        for run in self.todo:
            on_its_way.remove(*run)
        self.lack(first, last)
        for run in on_its_way:
            self.todo.remove(*run)
        return self.lacking.total > before

    def ask_again(self, acked: int) -> None:
        """Up to here central has judged all, and may have said so: what lacks its verdict is to be sent again."""
        for first, last in self.lacking:
            self.todo.add(first, min(last, acked))

    def sent(self, batch: Batch) -> None:
        """These are on their way."""
        self.todo.remove(batch.first, batch.last)
        self.ids.update(zip(range(batch.first, batch.last + 1), batch.ids, strict=True))

    def settle(self, sequences: Iterable[int]) -> None:
        """These sequences need nothing more."""
        for first, last in runs(sequences):
            self.settle_run(first, last)

    def asked_for(self, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        """Those of the verdicts that are on what was sent and lacks one."""
        given = {one.sequence: one.id for one in verdicts}
        if len(given) == len(verdicts) and given.items() <= self.ids.items():
            return verdicts  # nearly always, and it takes a fraction of the time
        return [one for one in verdicts if self.ids.get(one.sequence) == one.id]

    def settle_run(self, first: int, last: int) -> None:
        """These neighbouring sequences need nothing more; none of them when `last` is below `first`."""
        self.lacking.remove(first, last)
        self.todo.remove(first, last)
        # A loop that is not Python's.
        deque(map(self.ids.pop, range(first, last + 1), repeat(None)), maxlen=0)
        if self.single or self.voided:
            settled = range(first, last + 1)
            self.single.difference_update(settled)
            self.voided.difference_update(settled)
