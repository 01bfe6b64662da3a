"""What the journal's file holds and how it changes: the only SQL in this room.

Rows are narrow, in key order (incarnation, then sequence), and hold the event's final text once, so that a batch
is a join of texts. An event is never deleted here and changes only twice: a verdict is written beside it, and a
text that central cannot read is wrapped into a `void`. A store belongs to one thread at a time.

    incarnation   one row for each start of the agent's process, and how far central has come with it
    event         key = incarnation number × 2^40 + sequence; without an outcome it is queued
    meta          format, agent, history, connection
"""

import base64
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from sync import ids, messages
from sync.engine import Record, Stream
from sync.files import Files
from sync.messages import Event
from sync.ranges import Ranges
from sync.recorded import Draft, EventTooLarge, JournalError, Recorded

FORMAT: Final = "1"
SEQUENCE_BITS: Final = 40  # 2^40 events in one incarnation, 2^23 incarnations in SQLite's 63-bit keys
ROWS_PER_STATEMENT: Final = 200  # longer statements gain nothing and hold the interpreter longer
OUTCOMES: Final = ("accepted", "discrepant", "rejected", "conflict")

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS incarnation (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, last INTEGER NOT NULL DEFAULT 0,
        acked INTEGER NOT NULL DEFAULT 0, safe INTEGER NOT NULL DEFAULT 0, answered INTEGER NOT NULL DEFAULT 0,
        forked INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS event (
        key INTEGER PRIMARY KEY, text BLOB NOT NULL, recorded_ms INTEGER NOT NULL,
        outcome INTEGER, reason TEXT, movement INTEGER)""",
)


_event = msgspec.json.Decoder(Event)


class Store:
    """The connection that writes. `open` begins a new incarnation; everything else goes on in it."""

    def __init__(self, files: Files, *, agent: str, site: str, random_bytes: ids.RandomBytes) -> None:
        self._files, self._agent, self._random_bytes = files, agent, random_bytes
        self._source = messages.event_source(site, agent)
        self._raw: sqlite3.Connection
        self._is_open = False
        self._number = 0
        self._previous: dict[str, Any] | None = None
        self.last = 0
        """The last sequence of the current incarnation."""
        self.incarnation = ""
        self.history: str | None = None
        self.queued = 0
        """Events without a verdict."""

    @property
    def path(self) -> Path:
        """Where it is, for messages."""
        return self._files.path

    # --- the file ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open or create the file and begin a new incarnation, durably.

        Raises:
            JournalError: it belongs to another agent, or a newer program wrote it.
            sqlite3.Error: it cannot be used.
        """
        self._raw = self._files.connect()
        self._is_open = True
        with self.transaction():
            for statement in _SCHEMA:
                self._raw.execute(statement)
            if (owner := self._meta("agent", self._agent)) != self._agent:
                raise JournalError(
                    f"{self.path}: this journal belongs to agent {owner!r}. Give {self._agent!r} its own data_dir"
                )
            if (written := self._meta("format", FORMAT)) != FORMAT:
                raise JournalError(
                    f"{self.path}: this journal has format {written}, and this program knows format {FORMAT}."
                    " Start the program that wrote it, or a newer one"
                )
            self._begin_incarnation()
        self._read_totals()
        self._files.prepare_log()

    def close(self) -> None:
        """Let go of the file; the last connection checkpoints it."""
        if self._is_open:
            self._raw.close()
            self._is_open = False

    def recover(self, incarnation: str, last: int) -> None:
        """After a failed commit, what can be read proves nothing: open the file anew, take out what nobody was
        told (beyond `last` of this incarnation), and let a full checkpoint with its fsync show that the disk takes
        writes again.
        """
        self.close()
        self._raw = self._files.connect()
        self._is_open = True
        with self.transaction():
            self._adopt(self._one("SELECT max(number) FROM incarnation"))
            if self.incarnation == incarnation:  # else `reenter` was committed after all
                top = (self._number << SEQUENCE_BITS) + last
                self._raw.execute("DELETE FROM event WHERE key > ?", (top,))
                self.last = last
        self._read_totals()
        if self._one("PRAGMA wal_checkpoint(TRUNCATE)"):
            raise sqlite3.OperationalError("the write-ahead log cannot be checkpointed")
        self._files.prepare_log()

    def _read_totals(self) -> None:
        self.history = self._meta("history", "") or None
        self.queued = self._one("SELECT count(*) FROM event WHERE outcome IS NULL")

    # --- events ------------------------------------------------------------------------------------------

    def place(self, drafts: Sequence[Draft], now_ms: int, rows: list[Any]) -> list[Recorded]:
        """Give drafts the next places of the current incarnation, all of them or none; add their rows to `rows`.

        Raises:
            EventTooLarge: for one of them; no place was taken.
        """
        recorded: list[Recorded] = []
        placed: list[Any] = []
        for sequence, draft in enumerate(drafts, self.last + 1):
            event = Event(
                id=draft.id,
                source=self._source,
                type=draft.type,
                time=draft.time,
                subject=draft.subject,
                incarnation=self.incarnation,
                sequence=messages.sequence_text(sequence),
                data={**draft.data, "previous": self._previous} if sequence == 1 else draft.data,
            )
            text = messages.encode(event)
            if len(text) > messages.MAX_EVENT_BYTES:
                raise EventTooLarge(
                    f"{draft.type} {draft.id}: {len(text)} bytes, more than the {messages.MAX_EVENT_BYTES} that an"
                    " event may have. Nothing was recorded"
                )
            placed += ((self._number << SEQUENCE_BITS) + sequence, text, now_ms)
            recorded.append(Recorded(self.incarnation, sequence, event, now_ms))
        rows += placed
        self.last += len(drafts)
        return recorded

    def insert(self, rows: list[Any]) -> None:
        """Write placed rows. Up to ROWS_PER_STATEMENT are one statement, and so a transaction of their own."""
        for start in range(0, len(rows), ROWS_PER_STATEMENT * 3):
            chunk = rows[start : start + ROWS_PER_STATEMENT * 3]
            self._raw.execute(_insert_statement(len(chunk) // 3), chunk)

    def transaction(self) -> "_Transaction":
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block or the commit raises."""
        return _Transaction(self._raw)

    # --- inside a transaction ------------------------------------------------------------------------------

    def _one(self, statement: str, parameters: Iterable[Any] = ()) -> Any:
        return self._raw.execute(statement, tuple(parameters)).fetchone()[0]

    def _meta(self, name: str, default: str) -> str:
        self._raw.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, default))
        return str(self._one("SELECT value FROM meta WHERE name = ?", (name,)))

    def _begin_incarnation(self) -> None:
        number = self._one("SELECT coalesce(max(number), 0) + 1 FROM incarnation")
        incarnation = ids.incarnation_id(self._random_bytes)
        self._raw.execute("INSERT INTO incarnation (number, id) VALUES (?, ?)", (number, incarnation))
        self._adopt(number)

    def _adopt(self, number: int) -> None:
        """Go on in this incarnation, the newest."""
        streams = self.streams()
        self._number, self.last, self.incarnation = number, streams[-1].last, streams[-1].incarnation
        self._previous = (
            {"incarnation": streams[-2].incarnation, "last_sequence": streams[-2].last}
            if len(streams) > 1
            else None
        )

    def streams(self) -> list[Stream]:
        """What the file holds, oldest incarnation first, the current one last."""
        held = {
            number: (first, last)
            for number, first, last in self._raw.execute(
                f"SELECT key >> {SEQUENCE_BITS}, min(key), max(key) FROM event GROUP BY key >> {SEQUENCE_BITS}"
            )
        }
        lacking: dict[int, Ranges] = {}
        # Runs of neighbouring keys share the difference between the key and its rank.
        for number, first, last in self._raw.execute(
            f"SELECT number, min(key), max(key) FROM (SELECT key, key >> {SEQUENCE_BITS} AS number,"
            " key - row_number() OVER (ORDER BY key) AS run FROM event WHERE outcome IS NULL) GROUP BY number, run"
        ):
            lacking.setdefault(number, Ranges()).add(
                first - (number << SEQUENCE_BITS), last - (number << SEQUENCE_BITS)
            )
        streams = []
        for number, incarnation, stored, acked, safe, answered, forked in self._raw.execute(
            "SELECT number, id, last, acked, safe, answered, forked FROM incarnation ORDER BY number"
        ):
            base = number << SEQUENCE_BITS
            first_key, last_key = held.get(number, (base + stored + 1, base + stored))
            streams.append(
                Stream(
                    incarnation,
                    first_kept=first_key - base,
                    last=max(stored, last_key - base),
                    acked=acked,
                    safe=safe,
                    answered=bool(answered),
                    left=bool(forked),
                    lacking=lacking.get(number, Ranges()),
                )
            )
        return streams

    def record(self, record: Record) -> None:
        """Write down what central said."""
        if record.history is not None:
            self._raw.execute("UPDATE meta SET value = ? WHERE name = 'history'", (record.history,))
            self._raw.execute("UPDATE incarnation SET acked = 0, answered = 0")
            self.history = record.history
        for incarnation, floor in record.forget_above:
            base = self._base(incarnation)
            changed = self._raw.execute(
                "UPDATE event SET outcome = NULL, reason = NULL, movement = NULL"
                " WHERE key > ? AND key < ? AND outcome IS NOT NULL",
                (base + floor, base + (1 << SEQUENCE_BITS)),
            )
            self.queued += changed.rowcount
        for incarnation, acked, safe, answered in record.streams:
            self._raw.execute(
                "UPDATE incarnation SET acked = ?, safe = ?, answered = ? WHERE id = ?",
                (acked, safe, answered, incarnation),
            )
        if record.verdicts:
            bases = {incarnation: self._base(incarnation) for incarnation, _ in record.verdicts}
            changed = self._raw.executemany(
                "UPDATE event SET outcome = ?, reason = ?, movement = ? WHERE key = ? AND outcome IS NULL",
                [
                    (
                        OUTCOMES.index(verdict.outcome),
                        verdict.reason,
                        verdict.movement,
                        bases[inc] + verdict.sequence,
                    )
                    for inc, verdict in record.verdicts
                ],
            )
            self.queued -= changed.rowcount

    def next_connection(self) -> int:
        """A number that rises with every connect, over restarts too."""
        number = int(self._meta("connection", "0")) + 1
        self._raw.execute("UPDATE meta SET value = ? WHERE name = 'connection'", (str(number),))
        return number

    def _base(self, incarnation: str) -> int:
        number: int = self._one("SELECT number FROM incarnation WHERE id = ?", (incarnation,))
        return number << SEQUENCE_BITS

    def void(self, incarnation: str, sequence: int) -> None:
        """Put a `void` in the place of an event that central cannot read; once, and only if it is still there."""
        key = self._base(incarnation) + sequence
        row = self._raw.execute("SELECT text FROM event WHERE key = ?", (key,)).fetchone()
        event = _event.decode(text := bytes(row[0])) if row else None
        if event is None or event.type == "tallyman.void.v1":
            return
        data: dict[str, Any] = {"id": event.id, "original": base64.b64encode(text).decode()}
        if sequence == 1:
            data["previous"] = event.data.get("previous")
        void = msgspec.structs.replace(event, type="tallyman.void.v1", subject=None, data=data)
        self._raw.execute("UPDATE event SET text = ? WHERE key = ?", (messages.encode(void), key))

    def reenter(self, incarnation: str) -> list[Stream]:
        """Begin a new incarnation and enter into it, under their own ids, the events of the forked one that are
        above `safe`, lack a verdict or are `conflict`. Of those that were left before, enter what lacks a verdict
        again. Asked again for the same one, it changes nothing.
        """
        numbers = self._raw.execute(
            "SELECT number FROM incarnation WHERE forked = 1 ORDER BY number"
        ).fetchall()
        if incarnation == self.incarnation:
            number, safe = (
                self._number,
                self._one("SELECT safe FROM incarnation WHERE id = ?", (incarnation,)),
            )
            change = "UPDATE incarnation SET last = ?, forked = 1 WHERE id = ?"
            self._raw.execute(change, (self.last, incarnation))
            self._begin_incarnation()
            conflict = OUTCOMES.index("conflict")
            self._move(
                number, f"outcome = {conflict} OR key > {(number << SEQUENCE_BITS) + safe} OR outcome IS NULL"
            )
        for (number,) in numbers:
            self._move(number, "outcome IS NULL")
        self.queued = self._one("SELECT count(*) FROM event WHERE outcome IS NULL")
        return self.streams()

    def _move(self, number: int, which: str) -> None:
        """Enter these events of an incarnation into the current one, a few at a time."""
        above, last = number << SEQUENCE_BITS, (number + 1 << SEQUENCE_BITS) - 1
        held = "SELECT key, text, recorded_ms FROM event WHERE key > ? AND key <= ?"
        moving = f"{held} AND ({which}) ORDER BY key LIMIT ?"
        while rows := self._raw.execute(moving, (above, last, ROWS_PER_STATEMENT)).fetchall():
            self._raw.executemany("DELETE FROM event WHERE key = ?", [(key,) for key, _, _ in rows])
            self.insert(
                [value for _, text, recorded_ms in rows for value in self._entered(text, recorded_ms)]
            )
            above = rows[-1][0]

    def _entered(self, text: bytes, recorded_ms: int) -> tuple[int, bytes, int]:
        """The row of an event at the next place of the current incarnation."""
        self.last += 1
        event = _event.decode(text)
        event.data.pop("previous", None)
        event.incarnation, event.sequence = self.incarnation, messages.sequence_text(self.last)
        if self.last == 1:
            event.data["previous"] = self._previous
        return (self._number << SEQUENCE_BITS) + self.last, messages.encode(event), recorded_ms


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block or the commit raises."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def __enter__(self) -> None:
        self._raw.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._raw.execute("COMMIT")
        finally:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")


@lru_cache(maxsize=ROWS_PER_STATEMENT)
def _insert_statement(rows: int) -> str:
    return f"INSERT INTO event (key, text, recorded_ms) VALUES {','.join(['(?,?,?)'] * rows)}"
