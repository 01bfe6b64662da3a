"""What lies above a gap waits here until the gap closes: in memory, bounded, and never relied on. Pure.

The idea: parking only saves time. A batch that came too early was answered with how far central is, and taken from
the broker; its agent sends again whatever gets no verdict. So anything here may be dropped at any moment, and is: at
the bounds, when its history is gone, when the stream has passed it, and when nothing came of it for a while.
Time comes in as monotonic seconds. Source of the rules: docs/contract.md, "What a central does", 1.
"""

from dataclasses import dataclass, field
from typing import Final

from central.ledger.commands import BookBatch
from central.windows import WINDOW

MOST_BYTES: Final = 64 * 1024 * 1024  # of events, over all incarnations: a thousand full batches
RETRY_FIRST_S: Final = 0.05  # another worker is about to commit what closes the gap …
RETRY_MOST_S: Final = 1.0  # … doubling up to this
KEPT_S: Final = 10.0  # twice an agent's stall time (contract, rule 2): by then it has sent all of it again


@dataclass(slots=True)
class _Waiting:
    """The batches of one incarnation, by their first sequence."""

    retry_at: float
    drop_at: float
    retry_s: float = RETRY_FIRST_S
    batches: dict[int, BookBatch] = field(default_factory=dict)

    @property
    def lowest(self) -> BookBatch:
        return self.batches[min(self.batches)]


def last_of(batch: BookBatch) -> int:
    """The sequence of a batch's last event."""
    return batch.events[-1].number


def above_gap(batch: BookBatch, acked: int) -> bool:
    """Whether it comes too early: what lies before it is not booked yet."""
    return batch.events[0].number > acked + 1


class Parking:
    """Batches that came too early. A batch is applied when it is `ready`, or tried when it is `due`.

    Args:
        window: sequences above `acked` for which there is room in one incarnation; an agent never sends beyond.
        most_bytes: of the events' texts, over all incarnations.
    """

    def __init__(self, *, window: int = WINDOW, most_bytes: int = MOST_BYTES) -> None:
        self._window, self._most_bytes = window, most_bytes
        self._history: str | None = None
        self._waiting: dict[str, _Waiting] = {}
        self.bytes = 0
        """What is parked now."""

    def __len__(self) -> int:
        return sum(len(waiting.batches) for waiting in self._waiting.values())

    def park(self, batch: BookBatch, *, history: str, acked: int, now: float) -> bool:
        """Keep a batch for which central, at `acked` in `history`, has no place yet. False: there is no room for it,
        and its agent will send it again.
        """
        self._turn_to(history)
        incarnation, first = batch.events[0].incarnation, batch.events[0].number
        self.passed(incarnation, history=history, acked=acked)
        if not above_gap(batch, acked) or last_of(batch) > acked + self._window:
            return False
        waiting = self._waiting.get(incarnation)
        if waiting is not None and first in waiting.batches:
            if last_of(waiting.batches[first]) >= last_of(batch):
                return True  # the same again, or a shorter cut of it
            self._remove(incarnation, first)
            waiting = self._waiting.get(incarnation)
        taken = sum(len(one.events) for one in (waiting.batches.values() if waiting else ()))
        size = _size(batch)
        if taken + len(batch.events) > self._window or self.bytes + size > self._most_bytes:
            return False
        if waiting is None:
            waiting = self._waiting[incarnation] = _Waiting(now + RETRY_FIRST_S, now + KEPT_S)
        waiting.batches[first] = batch
        self.bytes += size
        return True

    def passed(self, incarnation: str, *, history: str, acked: int) -> None:
        """Central stands at `acked` of this incarnation: what is not above it needs nobody any more."""
        self._turn_to(history)
        waiting = self._waiting.get(incarnation)
        if waiting is not None:
            for first in [first for first, batch in waiting.batches.items() if last_of(batch) <= acked]:
                self._remove(incarnation, first)

    def ready(self, incarnation: str, *, history: str, acked: int) -> list[BookBatch]:
        """The batches that follow on `acked` without a hole, in order. They are no longer parked: book them."""
        self.passed(incarnation, history=history, acked=acked)
        waiting = self._waiting.get(incarnation)
        found: list[BookBatch] = []
        for first in sorted(waiting.batches) if waiting is not None else ():
            batch = waiting.batches[first]  # type: ignore[union-attr]
            if above_gap(batch, acked):
                break
            acked = max(acked, last_of(batch))
            found.append(batch)
            self._remove(incarnation, first)
        return found

    def due(self, now: float) -> list[BookBatch]:
        """The lowest batch of each incarnation whose time has come: book it, for another worker may have closed the
        gap. It stays parked until `ready` or `passed` hears of it. What waited too long is dropped.
        """
        found = []
        for incarnation, waiting in list(self._waiting.items()):
            if now >= waiting.drop_at:
                for first in list(waiting.batches):
                    self._remove(incarnation, first)
            elif now >= waiting.retry_at:
                waiting.retry_s = min(waiting.retry_s * 2, RETRY_MOST_S)
                waiting.retry_at = now + waiting.retry_s
                found.append(waiting.lowest)
        return found

    def next_due(self) -> float | None:
        """When `due` has something next, in monotonic seconds; None: nothing is parked."""
        return min((min(one.retry_at, one.drop_at) for one in self._waiting.values()), default=None)

    def _turn_to(self, history: str) -> None:
        """What was sent to another history is asked for again by its own rules."""
        if history != self._history:
            self._history, self.bytes = history, 0
            self._waiting.clear()

    def _remove(self, incarnation: str, first: int) -> None:
        waiting = self._waiting[incarnation]
        self.bytes -= _size(waiting.batches.pop(first))
        if not waiting.batches:
            del self._waiting[incarnation]


def _size(batch: BookBatch) -> int:
    return sum(len(text) for text in batch.texts)
