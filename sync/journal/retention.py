"""What the journal may forget: which events, and which incarnations. Pure, so that a simulation decides the same.

The idea of pruning: only the oldest events of an incarnation ever go, so that what is kept of it begins at
`first_kept` and has no holes; and each of them must be settled in every sense: it has a verdict of the present
history, central has acknowledged it (a `first_kept` above `acked + 1` would be a lost range), would still have it
after its worst restore (`safe`), and is old. However old, the newest events stay: stations tell their lists and
totals from them.

No wall clock decides what is old. A battery that is empty or a clock server that is wrong would make events of this
morning ten years old. The journal counts how long the agent has run instead, and notes now and then how far it had
come by then: an event is old when the agent has run for the retention time since. While it is switched off, nothing
ages; so events are kept longer than by the calendar, never shorter.

The idea of forgetting incarnations: each start makes one, and an agent that crashes at every start makes thousands.
One that holds no event and was answered since it ended has nothing left to tell central, except that its events were
pruned, should central lose its memory of them: of those the newest are kept for that. Source of the rules:
docs/contract.md, "What an agent does", 1 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sync.journal.lives import Life

RETENTION_S: Final = 30 * 86_400.0
"""How long what is settled is kept, unless the operator says otherwise: time to notice that central lost it, and to
look up who scanned what."""
MOST_PRUNED_KEPT: Final = 100
"""Incarnations whose events all went are remembered so many; above, the oldest is forgotten. With a central that was
restored to before them, their loss would no longer be noticed."""
MOST_UNANSWERED_KEPT: Final = 100
"""Incarnations without any event that central never heard of are remembered so many; above, the newest is forgotten.
They end where a copy of this journal may have gone on: the oldest shows it."""
MARKS: Final = 1000  # notes of how far the journal had come, at most
MARK_S: Final = 600  # … and no two nearer than this: the age of an event is known to ten minutes


@dataclass(frozen=True, slots=True)
class Prune:
    """These events may go: `first … last` of an incarnation."""

    number: int
    first: int
    last: int


def next_prune(lives: Sequence[Life], *, old: tuple[int, int], keep_newest: int, most: int) -> Prune | None:
    """What may go next, `most` places at a time; None: nothing.

    Args:
        lives: what the journal holds, oldest first.
        old: (incarnation number, sequence): what lies at or before this place is older than the retention time.
        keep_newest: so many of the newest events stay.
    """
    newer = sum(life.held for life in lives)
    for life in lives:
        newer -= life.held
        last = min(_releasable(life, old), _unprotected(life, keep_newest - newer))
        if last >= life.first:
            return Prune(life.number, life.first, min(last, life.first + most - 1))
    return None


def _releasable(life: Life, old: tuple[int, int]) -> int:
    """Up to where its events are settled and old."""
    number, sequence = old
    if life.number > number:
        return 0
    settled = min(life.acked, life.safe, life.settled)
    return min(settled, sequence) if life.number == number else settled


def _unprotected(life: Life, protected: int) -> int:
    """Up to where its events are none of the newest. With places that hold none, they cannot be counted from its
    end: then all of it stays.
    """
    if protected <= 0:
        return life.last
    return 0 if life.missing else life.last - protected


def forgettable(lives: Sequence[Life]) -> list[Life]:
    """Which incarnations may be struck out when a new one begins: never the newest of these, which the first event of
    the new one names as the one before, and none that holds an event.
    """
    empty = [life for life in lives[:-1] if life.first > life.last]
    emptied = [life for life in empty if life.last]
    unused = [life for life in empty if not life.last and life.answered]
    unanswered = [life for life in empty if not life.last and not life.answered]
    return [*unused, *unanswered[MOST_UNANSWERED_KEPT:], *emptied[: max(len(emptied) - MOST_PRUNED_KEPT, 0)]]


def mark_every_s(retention_s: float) -> float:
    """How often to note how far the journal has come: more exact than the retention time is not needed."""
    return max(retention_s / MARKS, MARK_S)
