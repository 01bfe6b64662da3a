"""What the journal knows of each incarnation without looking at its events; see `layout.py` for its columns.

The idea: everything that is asked of an incarnation (what lacks a verdict, how many it holds, how far it may be
pruned) follows from eight numbers and a set of holes. They are changed beside the events, in the same transaction.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from sync.journal.layout import SEQUENCE_BITS
from sync.ranges import Ranges, runs

_SELECT_EVENT = "SELECT {what}(key) FROM event WHERE key > number << {bits} AND key < number + 1 << {bits}"
_LOAD = (
    "SELECT number, id, last, acked, safe, answered, forked, judged, missing, conflict_from,"
    f" ({_SELECT_EVENT.format(what='min', bits=SEQUENCE_BITS)}),"
    f" ({_SELECT_EVENT.format(what='max', bits=SEQUENCE_BITS)})"
    " FROM incarnation ORDER BY number"
)


_HOLES = "SELECT first, last FROM hole WHERE first > ? AND first < ? ORDER BY first"


@dataclass(slots=True)
class Life:
    """One incarnation, as the journal holds it."""

    number: int
    incarnation: str
    first: int = 1
    """The lowest sequence that is held; `last + 1` when none is."""
    last: int = 0
    acked: int = 0
    safe: int = 0
    answered: bool = False
    left: bool = False
    judged: int = 0
    missing: int = 0
    conflict_from: int = 0
    holes: Ranges = field(default_factory=Ranges)
    saved: list[tuple[int, int]] = field(default_factory=list)
    """The holes as the file has them."""

    @property
    def base(self) -> int:
        """Its events have the keys above this one."""
        return self.number << SEQUENCE_BITS

    @property
    def end(self) -> int:
        """… and below this one."""
        return self.number + 1 << SEQUENCE_BITS

    @property
    def held(self) -> int:
        """How many events the journal holds of it."""
        return self.last - self.first + 1 - self.missing

    @property
    def queued(self) -> int:
        """How many of them lack a verdict."""
        return self.holes.total + self.last - self.judged

    @property
    def settled(self) -> int:
        """All that is held at or below this sequence has a verdict."""
        run = self.holes.first_run()
        return run[0] - 1 if run else self.judged

    def lacking(self) -> Ranges:
        """The sequences that lack a verdict."""
        lacking = self.holes.copy()
        lacking.add(self.judged + 1, self.last)
        return lacking

    def settle(self, sequences: Iterable[int]) -> None:
        """These have a verdict now. Of a left one, what was entered elsewhere in between changes nothing."""
        for first, last in runs(sequences):
            if last > self.judged:
                self.holes.add(self.judged + 1, last)
                self.judged = last
            self.holes.remove(first, last)

    def forget(self, floor: int, held: Iterable[tuple[int, int]]) -> None:
        """Verdicts above `floor` count no longer. `held`: of a left one, the runs that it holds above it."""
        if self.left:
            for run in held:
                self.holes.add(*run)
        elif (floor := max(floor, self.first - 1)) < self.judged:
            self.holes.remove(floor + 1, self.judged)
            self.judged = floor
        if self.conflict_from > floor:
            self.conflict_from = 0

    def begins_at(self, first: int | None, removed: int) -> None:
        """So many events were taken out; `first` is the lowest that is left, None when none is."""
        held = self.held - removed
        self.first = self.last + 1 if first is None else first
        self.missing = self.last - self.first + 1 - held


def load(raw: sqlite3.Connection) -> list[Life]:
    """Every incarnation that is still known, oldest first. Two seeks for each, however many events there are."""
    lives: list[Life] = []
    for number, id_, stored, acked, safe, answered, left, judged, missing, conflict, low, high in raw.execute(
        _LOAD
    ).fetchall():
        base, end = number << SEQUENCE_BITS, number + 1 << SEQUENCE_BITS
        last = stored if high is None else max(stored, high - base)
        holes = raw.execute(_HOLES, (base, end)).fetchall()
        lacking = [(first - base, last - base) for first, last in holes]
        lives.append(
            Life(
                number,
                id_,
                first=last + 1 if low is None else low - base,
                last=last,
                acked=acked,
                safe=safe,
                answered=bool(answered),
                left=bool(left),
                judged=judged,
                missing=missing,
                conflict_from=conflict,
                holes=Ranges(lacking),
                saved=lacking,
            )
        )
    return lives


def save(raw: sqlite3.Connection, life: Life) -> None:
    """Write down what has changed of it, but for `last`: events that were just placed may still fail."""
    raw.execute(
        "UPDATE incarnation SET acked = ?, safe = ?, answered = ?, forked = ?, judged = ?, missing = ?,"
        " conflict_from = ? WHERE number = ?",
        (
            life.acked, life.safe, life.answered, life.left, life.judged, life.missing, life.conflict_from,
            life.number,
        ),
    )  # fmt: skip
    if (holes := list(life.holes)) != life.saved:
        before, now = set(life.saved), set(holes)
        raw.executemany("DELETE FROM hole WHERE first = ?", [(life.base + a,) for a, _ in before - now])
        raw.executemany(
            "INSERT INTO hole VALUES (?, ?)", [(life.base + a, life.base + b) for a, b in now - before]
        )
        life.saved = holes


def save_last(raw: sqlite3.Connection, life: Life) -> None:
    """Write down its last sequence, which the events no longer tell once they are gone."""
    raw.execute("UPDATE incarnation SET last = ? WHERE number = ?", (life.last, life.number))


def stored_last(raw: sqlite3.Connection, life: Life) -> int:
    """Its last sequence as it was written down."""
    row = raw.execute("SELECT last FROM incarnation WHERE number = ?", (life.number,)).fetchone()
    return int(row[0])


def took_out(raw: sqlite3.Connection, life: Life, removed: int) -> None:
    """So many events of it are gone: where does it begin now?"""
    statement = "SELECT min(key) FROM event WHERE key > ? AND key < ?"
    lowest = raw.execute(statement, (life.base, life.end)).fetchone()[0]
    life.begins_at(None if lowest is None else lowest - life.base, removed)
    save(raw, life)


def forget(raw: sqlite3.Connection, lives: Iterable[Life]) -> None:
    """Strike these out: they hold nothing."""
    raw.executemany("DELETE FROM incarnation WHERE number = ?", [(life.number,) for life in lives])
