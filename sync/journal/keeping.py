"""Keeping house in the journal's file, in steps so small that no scan waits long for one.

What may go is decided by `retention.py`. The space that it took is used by the events to come: the file does not
shrink, because giving space back moves pages about while people scan, and it would be needed again the day after.
"""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sync.journal import lives, retention
from sync.journal.layout import SEQUENCE_BITS
from sync.journal.lives import Life

NOTE_S: Final = 60  # how long the agent has run is written down so often: so much of it a crash may forget
KEEP_ROWS: Final = 200  # deleted at once: a few milliseconds, which a scan may have to wait
MOST_LIVES: Final = 20  # … and of so many incarnations


@dataclass(frozen=True, slots=True)
class Kept:
    """What one step of keeping house did."""

    begins: tuple[tuple[str, int], ...]
    """(incarnation, first_kept) of all that have ever lost events: a step whose commit failed, and stands, has told
    nobody.
    """
    events: int
    """How many went."""
    more: bool
    """It was not all that may go."""
    held: int
    """How many events the journal holds now."""


class Keeper:
    """Keeps house while one process runs.

    Args:
        ran_before_s: for how long agents have run on this journal before, in seconds.
    """

    def __init__(self, ran_before_s: int) -> None:
        self._ran_before_s = ran_before_s
        self._noted_s = -math.inf

    def keep(
        self,
        raw: sqlite3.Connection,
        known: Sequence[Life],
        ran_s: float,
        *,
        retention_s: float,
        keep_newest: int,
        most: int,
    ) -> Kept:
        """Note how long the agent has run, and let go of some events that are settled and old; in the caller's
        transaction.

        Args:
            known: every incarnation, the current one last; all of its events are durable.
            ran_s: for how many seconds this process has run, by a clock that nobody sets.
            retention_s: how long an event is kept at least; such seconds.
            keep_newest: so many of the newest events stay, however old.
            most: so many places are let go of at once.
        """
        total_s, current = self._ran_before_s + ran_s, known[-1]
        if total_s - self._noted_s >= NOTE_S:
            raw.execute("UPDATE meta SET value = ? WHERE name = 'ran_s'", (str(int(total_s)),))
            self._noted_s = total_s
            _mark(raw, current, int(total_s), retention_s)
        old = (current.number, current.last) if retention_s <= 0 else _old(raw, total_s - retention_s)
        pruned: set[int] = set()
        events, room = 0, most
        while room and len(pruned) < MOST_LIVES:
            prune = retention.next_prune(known, old=old, keep_newest=keep_newest, most=room)
            if prune is None:
                break
            life = next(life for life in known if life.number == prune.number)
            events += _prune(raw, life, prune)
            room -= prune.last - prune.first + 1
            pruned.add(life.number)
        begins = tuple((life.incarnation, life.first) for life in known if life.first > 1)
        return Kept(begins, events, not room or len(pruned) == MOST_LIVES, sum(life.held for life in known))


def _prune(raw: sqlite3.Connection, life: Life, prune: retention.Prune) -> int:
    place = (life.base + prune.first, life.base + prune.last)
    gone = raw.execute("DELETE FROM event WHERE key BETWEEN ? AND ?", place).rowcount
    raw.execute("DELETE FROM voided WHERE key BETWEEN ? AND ?", place)
    lives.save_last(raw, life)
    lives.took_out(raw, life, gone)
    return gone


def _mark(raw: sqlite3.Connection, current: Life, total_s: int, retention_s: float) -> None:
    """Note how far the journal has come, when it is time; of the marks that are old enough one is needed."""
    newest = raw.execute("SELECT max(ran_s) FROM mark").fetchone()[0]
    if newest is None or total_s - newest >= retention.mark_every_s(retention_s):
        raw.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (total_s, current.base + current.last))
    raw.execute(
        "DELETE FROM mark WHERE ran_s < (SELECT max(ran_s) FROM mark WHERE ran_s <= ?)",
        (total_s - retention_s,),
    )


def _old(raw: sqlite3.Connection, ran_s: float) -> tuple[int, int]:
    """(incarnation number, sequence) up to which events were recorded when the agent had run for so long."""
    key = raw.execute("SELECT coalesce(max(key), 0) FROM mark WHERE ran_s <= ?", (ran_s,)).fetchone()[0]
    return key >> SEQUENCE_BITS, key & ((1 << SEQUENCE_BITS) - 1)
