"""What can be asked of the journal's file beside its writer: a connection of its own, read-only."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from sync.journal.files import Files
from sync.journal.layout import OUTCOMES, SEQUENCE_BITS
from sync.journal.recorded import Draft, Recorded
from sync.messages import BATCH_EVENTS, MAX_UPWARD_BYTES, Batch, batch_of, cut_batches


class _Named(msgspec.Struct):
    id: str


_SEQUENCE = (1 << SEQUENCE_BITS) - 1
# CROSS JOIN: the incarnation first, then its events by their keys. The planner would look through all events.
_BETWEEN = (
    "FROM incarnation i CROSS JOIN event e ON e.key BETWEEN"
    f" (i.number << {SEQUENCE_BITS}) + ? AND (i.number << {SEQUENCE_BITS}) + ? WHERE i.id = ? ORDER BY e.key"
)
# group_concat takes a text's bytes as they are, in the order of the table: by key.
_JOINED = "SELECT count(*), CAST(group_concat(text) AS BLOB) FROM event WHERE key BETWEEN ? AND ?"
_EACH = "SELECT key - ?, text FROM event WHERE key BETWEEN ? AND ? ORDER BY key"
_event_id = msgspec.json.Decoder(_Named)
_draft = msgspec.json.Decoder(Draft)


class Reader:
    """A connection of its own beside the writer's, read-only; opened at its first use, and again after an error."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._raw: sqlite3.Connection | None = None
        self._opening = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def recent(self, limit: int) -> list[Recorded]:
        """The newest events of all incarnations, newest first."""
        rows = self._rows(
            "SELECT e.key & ?, i.id, e.text, e.recorded_ms, e.outcome, e.reason, e.movement FROM event e"
            f" JOIN incarnation i ON i.number = e.key >> {SEQUENCE_BITS} ORDER BY e.key DESC LIMIT ?",
            (_SEQUENCE, limit),
        )
        return [
            Recorded(
                incarnation,
                sequence,
                _draft.decode(text),
                recorded_ms,
                None if outcome is None else OUTCOMES[outcome],
                reason,
                movement,
            )
            for sequence, incarnation, text, recorded_ms, outcome, reason, movement in rows
        ]

    def texts(self, incarnation: str, first: int, last: int) -> list[tuple[int, str, bytes]]:
        """(sequence, id, text) of the events that are held between `first` and `last`, in order."""
        rows = self._rows(f"SELECT e.key & ?, e.text {_BETWEEN}", (_SEQUENCE, first, last, incarnation))
        return [(sequence, _event_id.decode(text).id, text) for sequence, text in rows]

    def batches(self, incarnation: str, first: int, last: int) -> list[Batch]:
        """The events that are held between `first` and `last`, as they are published. SQLite joins them: a step for
        each would take the interpreter's lock once more for each. Whole batches without a hole need no more; what
        else there is between them is cut event by event.
        """
        found = self._rows("SELECT number FROM incarnation WHERE id = ?", (incarnation,))
        if not found:
            return []
        base = found[0][0] << SEQUENCE_BITS
        batches: list[Batch] = []
        for start in range(first, last + 1, BATCH_EVENTS):
            end = min(last, start + BATCH_EVENTS - 1)
            [(count, joined)] = self._rows(_JOINED, (base + start, base + end))
            if count == end - start + 1 and len(joined) + len("[]") <= MAX_UPWARD_BYTES:
                batches.append(batch_of(start, joined))
            elif count:
                rows = self._rows(_EACH, (base, base + start, base + end))
                batches += cut_batches(rows)
        return batches

    def recorded_ms(self, incarnation: str, sequence: int) -> int | None:
        """When the event at that place was committed; None when it is not held."""
        rows = self._rows(
            "SELECT recorded_ms FROM event WHERE key = ((SELECT number FROM incarnation WHERE id = ?)"
            f" << {SEQUENCE_BITS}) + ?",
            (incarnation, sequence),
        )
        return rows[0][0] if rows else None

    def _rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        while True:
            if self._raw is None:
                self._opening = self._files.openings
                self._raw = self._files.connect_reader()
            try:
                rows = self._raw.execute(statement, tuple(parameters)).fetchall()
            except sqlite3.Error:
                self.close()  # a connection that failed once may fail for ever; the next question opens another
                if self._opening == self._files.openings:
                    raise
            else:
                if self._opening == self._files.openings:
                    return rows
                # The index of the log is shared, the log is not: what was found in one that was left is anything.
                self.close()
