"""Whether a journal is sound: every page, every place, every id, every text, every verdict. For `journal verify`.

The idea: each rule that the journal keeps is looked at in the events themselves, and what is known of them without
looking (`lives.py`) must say the same. It goes through them in small looks, so that an agent may go on beside
it; what an agent changes in between is no fault, because each look compares what one commit wrote.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from sync import messages
from sync.journal import lives
from sync.journal.layout import CONFLICT, OUTCOMES, SEQUENCE_BITS
from sync.journal.lives import Life
from sync.journal.survey import CHUNK, as_bytes
from sync.messages import Event

MOST_FOUND: Final = 200  # of one kind; of more, only the number is told
STEPS: Final = 100_000  # of SQLite's machine between two signs of life: some milliseconds
_SEQUENCE: Final = (1 << SEQUENCE_BITS) - 1
_event = msgspec.json.Decoder(Event)

Progress = Callable[[str], None]
"""Called often, with what is being done; it decides what a person sees of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong."""

    what: str
    where: str
    """The event's incarnation/sequence, or the incarnation, or the file."""


class Proof:
    """Looks through a journal; `faults` are found as it goes on.

    Args:
        raw: a connection that only reads.
        progress: see `Progress`.
    """

    def __init__(self, raw: sqlite3.Connection, progress: Progress) -> None:
        self._raw, self._progress = raw, progress
        self.events = 0
        """How many were looked at."""
        self._ids = sqlite3.connect("", isolation_level=None)  # a file of its own, which nobody sees
        self._ids.execute("CREATE TABLE id (hash BLOB NOT NULL, key INTEGER NOT NULL)")
        self._ids.execute("BEGIN")

    def close(self) -> None:
        """Let go of what it noted."""
        self._ids.close()

    def faults(self) -> Iterator[Fault]:
        """Everything that is wrong, as it is found; the last, when the file cannot be read to its end."""
        try:
            yield from self._everything()
        except sqlite3.DatabaseError as error:
            yield Fault(f"it cannot be read any further: {error}", "file")

    def _everything(self) -> Iterator[Fault]:
        yield from self._pages()
        yield from self._strangers()
        number = 0
        while (life := self._next(number)) is not None:
            yield from self._life(life)
            number = life.number
        yield from self._twice()

    # --- the file --------------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[Fault]:
        self._raw.set_progress_handler(lambda: self._progress("looking at every page"), STEPS)
        try:
            for (text,) in self._raw.execute(f"PRAGMA integrity_check({MOST_FOUND})"):
                if text != "ok":
                    yield Fault(f"the file is damaged: {text}", "file")
        finally:
            self._raw.set_progress_handler(None, 0)

    def _strangers(self) -> Iterator[Fault]:
        """Rows of incarnations that nobody knows."""
        for table, key in (("event", "key"), ("hole", "first"), ("voided", "key")):
            number = -1
            while True:  # one seek for each incarnation
                row = self._raw.execute(
                    f"SELECT min({key}) FROM {table} WHERE {key} >= ?", (number + 1 << SEQUENCE_BITS,)
                ).fetchone()
                if row[0] is None:
                    break
                number = row[0] >> SEQUENCE_BITS
                known = "SELECT 1 FROM incarnation WHERE number = ?"
                if self._raw.execute(known, (number,)).fetchone() is None:
                    yield Fault(
                        f"table {table} has rows of an incarnation that is not known", f"number {number}"
                    )

    def _next(self, number: int) -> Life | None:
        return next((life for life in lives.load(self._raw) if life.number > number), None)

    # --- one incarnation -----------------------------------------------------------------------------------

    def _life(self, life: Life) -> Iterator[Fault]:
        yield from self._numbers(life)
        at, expected, gaps = life.base, 0, 0
        while True:
            self._raw.execute("BEGIN")
            life = self._known(life)
            rows = self._raw.execute(
                "SELECT key, text, outcome FROM event WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
                (at, life.end, CHUNK),
            ).fetchall()
            self._raw.execute("COMMIT")
            self._progress(f"{self.events:,} events looked at")
            # What lies below the first one was pruned, perhaps a moment ago.
            expected = max(expected, life.first)
            for key, text, outcome in rows:
                sequence = key & _SEQUENCE
                if sequence > expected:
                    gaps += sequence - expected
                    if not life.left:
                        missing = (
                            f"{expected} to {sequence - 1}" if sequence > expected + 1 else f"{expected}"
                        )
                        yield Fault(f"events are missing: {missing}", life.incarnation)
                expected = sequence + 1
                yield from self._row(life, sequence, as_bytes(text), outcome)
            self.events += len(rows)
            if len(rows) < CHUNK:
                break
            at = rows[-1][0]
        gaps += max(life.last + 1 - expected, 0)
        if gaps > life.missing and life.left:
            yield Fault(f"{gaps} places hold no event, and {life.missing} were left", life.incarnation)
        if gaps and not life.left and life.last + 1 > expected:
            yield Fault(f"events are missing: {expected} to {life.last}, the last", life.incarnation)

    def _known(self, life: Life) -> Life:
        return next((one for one in lives.load(self._raw) if one.number == life.number), life)

    def _numbers(self, life: Life) -> Iterator[Fault]:
        """What is known of it must fit together."""
        rules = (
            (life.safe <= life.acked or life.acked == 0, f"safe {life.safe} is above acked {life.acked}"),
            (life.judged <= life.last, f"a verdict at {life.judged} is above its last event {life.last}"),
            (life.missing >= 0, f"{life.missing} places are missing"),
            (life.held >= 0, f"it holds {life.held} events"),
            (
                all(first <= last <= life.judged for first, last in life.holes),
                f"holes {life.holes} are not below {life.judged}",
            ),
        )
        for holds, text in rules:
            if not holds:
                yield Fault(text, life.incarnation)

    def _row(self, life: Life, sequence: int, text: bytes, outcome: Any) -> Iterator[Fault]:
        where = f"{life.incarnation}/{sequence}"
        if outcome is not None and outcome not in range(len(OUTCOMES)):
            yield Fault(f"outcome {outcome} is none", where)
        lacks = sequence in life.holes or sequence > life.judged
        if lacks != (outcome is None):
            told = "lack a verdict and has one" if lacks else "have a verdict and lacks it"
            yield Fault(f"it is counted among those that {told}", where)
        if outcome == CONFLICT and not 0 < life.conflict_from <= sequence:
            yield Fault("it is in conflict, and not counted so", where)
        try:
            event = _event.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield Fault(f"its text cannot be read: {error}", where)
            return
        if (event.incarnation, event.sequence) != (life.incarnation, messages.sequence_text(sequence)):
            yield Fault(f"its text says {event.incarnation}/{event.sequence}", where)
        if len(text) > messages.MAX_EVENT_BYTES:
            yield Fault(f"it has {len(text)} bytes, more than the {messages.MAX_EVENT_BYTES} allowed", where)
        self._ids.execute(
            "INSERT INTO id VALUES (?, ?)",
            (blake2b(event.id.encode(), digest_size=16).digest(), life.base + sequence),
        )

    # --- ids ---------------------------------------------------------------------------------------------------

    def _twice(self) -> Iterator[Fault]:
        """An id at two places that both hold it still: while this looked, it may have been entered elsewhere."""
        self._ids.set_progress_handler(lambda: self._progress("comparing ids"), STEPS)
        names = {life.number: life.incarnation for life in lives.load(self._raw)}
        for (together,) in self._ids.execute(
            f"SELECT group_concat(key) FROM id GROUP BY hash HAVING count(*) > 1 LIMIT {MOST_FOUND}"
        ):
            keys = sorted(int(key) for key in together.split(","))
            places = [
                f"{names.get(key >> SEQUENCE_BITS)}/{key & _SEQUENCE}"
                for key in keys
                if self._raw.execute("SELECT 1 FROM event WHERE key = ?", (key,)).fetchone()
            ]
            if len(places) > 1:
                yield Fault(f"the same id stands at {', '.join(places[1:])} too", places[0])
