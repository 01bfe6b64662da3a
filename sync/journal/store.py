"""What the journal's file holds and how it changes: the only SQL in this room.

Rows are narrow, in key order (incarnation, then sequence), and hold the event's final text once, so that a batch
is a join of texts. An event changes only twice: a verdict is written beside it, and a text that central cannot read
is wrapped into a `void`. It is deleted when it was settled long ago (`keep`). What is known of each incarnation is
held in memory too (`lives.py`). The tables: `layout.py`. A store belongs to one thread at a time.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from sync import ids, messages, voids
from sync.engine import Record
from sync.journal import layout, lives, retention
from sync.journal.files import Files
from sync.journal.keeping import KEEP_ROWS, Keeper, Kept
from sync.journal.layout import CONFLICT, FORMAT, OUTCOMES
from sync.journal.lives import Life
from sync.journal.recorded import JournalDamaged, JournalError
from sync.messages import Event, Verdict
from sync.stream import Stream

ROWS_PER_STATEMENT: Final = 200  # longer statements gain nothing and hold the interpreter longer
EVENTS_PER_STATEMENT: Final = 512  # SQLite takes ever longer to understand longer ones


class _Said(msgspec.Struct):
    """A draft of which only what is added has to be understood."""

    id: msgspec.Raw
    type: msgspec.Raw
    time: msgspec.Raw
    data: dict[str, msgspec.Raw]
    subject: msgspec.Raw


_said = msgspec.json.Decoder(_Said)
_event = msgspec.json.Decoder(Event)


class Store:
    """The connection that writes. `open` begins a new incarnation; everything else goes on in it."""

    def __init__(self, files: Files, *, agent: str, site: str, random_bytes: ids.RandomBytes) -> None:
        self.files, self._agent, self._random_bytes = files, agent, random_bytes
        self._source = messages.event_source(site, agent)
        self._raw: sqlite3.Connection
        self._is_open = False
        # What follows is known once it is open.
        self._lives: dict[str, Life]
        self._life: Life
        self._previous: dict[str, Any] | None
        self._head: str
        """How the text of each event of the current incarnation begins, up to its sequence."""
        self._keeper: Keeper
        self.incarnation: str
        self.history: str | None
        self.queued: int
        """Events without a verdict."""

    @property
    def path(self) -> Path:
        """Where it is, for messages."""
        return self.files.path

    @property
    def last(self) -> int:
        """The last sequence of the current incarnation."""
        return self._life.last

    @last.setter
    def last(self, last: int) -> None:
        self._life.last = last

    # --- the file ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open or create the file and begin a new incarnation, durably.

        Raises:
            JournalError: it belongs to another agent, or a newer program wrote it.
            sqlite3.Error: it cannot be used.
        """
        self.files.inspect()
        self._raw = self.files.connect()
        self._is_open = True
        with self.transaction():
            for statement in layout.SCHEMA:
                self._raw.execute(statement)
            if (owner := self._meta("agent", self._agent)) != self._agent:
                raise JournalError(
                    f"{self.path}: this journal belongs to agent {owner!r}. Give {self._agent!r} its own data_dir"
                )
            if not layout.upgrade(self._raw, written := self._meta("format", FORMAT)):
                raise JournalError(
                    f"{self.path}: this journal has format {written}, and this program knows format {FORMAT}."
                    " Start the program that wrote it, or a newer one"
                )
            self._keeper = Keeper(int(self._meta("ran_s", "0")))
            self._load()
            self._end_incarnation()
            self._begin_incarnation()
        self._read_totals()
        self.files.prepare_log()

    def close(self) -> None:
        """Let go of the file; the last connection checkpoints it."""
        if self._is_open:
            self._is_open = False
            try:
                self.files.let_go()
            finally:
                self._raw.close()

    def recover(self, incarnation: str, last: int) -> None:
        """After a failed commit, what can be read proves nothing: open the file anew, take out what nobody was
        told (beyond `last` of this incarnation), and let a full checkpoint with its fsync show that the disk takes
        writes again.

        Raises:
            JournalDamaged: the file has lost what somebody was told.
        """
        self.close()
        self._raw = self.files.connect()
        self._is_open = True
        with self.transaction():
            # A checkpoint with nothing to carry over would sync nothing, and prove nothing.
            self._raw.execute(_COUNT_RECOVERED)
            self._load()
            self._refuse_lost(incarnation, last)
            self._adopt()
            if self.incarnation == incarnation:  # else `reenter` was committed after all
                # What was entered here out of another incarnation was told there, and stands nowhere else any more.
                last = max(last, lives.stored_last(self._raw, self._life))
                self._raw.execute("DELETE FROM event WHERE key > ?", (self._life.base + last,))
                self.last = last
        self._read_totals()
        self.files.release_log()
        self.checkpoint("TRUNCATE")
        self.files.prepare_log()

    def _refuse_lost(self, incarnation: str, last: int) -> None:
        life = self._lives.get(incarnation)
        if life is None or life.last < last:
            raise JournalDamaged(
                f"{self.path}: the file has lost what it had taken: {last} scans were recorded since the start, and"
                f" {life.last if life else 0} are there"
            )

    def checkpoint(self, how: Literal["FULL", "TRUNCATE"] = "FULL") -> None:
        """Carry all of the log into the file, while this connection still reaches both.

        Raises:
            JournalError: somebody still reads what the file held before.
        """
        if self._one(f"PRAGMA wal_checkpoint({how})"):
            raise JournalError(
                f"{self.path}: another program reads the journal, and its log cannot be carried into the file. End it"
                " (tallyman journal …)"
            )

    def rescue(self) -> Path:
        """A new file with all that this connection still reaches, in the place of what is there now, which is kept
        aside: its new name.
        """
        return self.files.move(self._raw)

    def checkpoint_every(self, pages: int) -> None:
        """How long the log may get before it is carried into the file."""
        self._raw.execute(f"PRAGMA wal_autocheckpoint={pages}").fetchall()

    def unused_bytes(self) -> int:
        """Room inside the file that rows have left."""
        return int(self._one("PRAGMA freelist_count")) * int(self._one("PRAGMA page_size"))

    def _read_totals(self) -> None:
        self.history = self._meta("history", "") or None
        self.queued = self._count_queued()

    def _count_queued(self) -> int:
        return sum(life.queued for life in self._lives.values())

    # --- events ------------------------------------------------------------------------------------------

    def place(self, bodies: Sequence[str]) -> list[str]:
        """Give drafts, written down by `recorded.body_of`, the next places of the current incarnation: the texts
        of the events.
        """
        first, head = self.last + 1, self._head
        digits = len(str(first))
        if digits == len(str(self.last + len(bodies))):  # nearly always, and it takes half the time
            head += "0" * (20 - digits)
            texts = [f'{head}{sequence}",{body}' for sequence, body in enumerate(bodies, first)]
        else:
            texts = [f'{head}{sequence:020d}",{body}' for sequence, body in enumerate(bodies, first)]
        if first == 1 and bodies:
            said = _said.decode("{" + bodies[0])
            said.data["previous"] = msgspec.Raw(msgspec.json.encode(self._previous))
            texts[0] = f'{self._head}{1:020d}",{msgspec.json.encode(said).decode()[1:]}'
        self.last += len(texts)
        return texts

    def insert(self, texts: Sequence[str], now_ms: int) -> None:
        """Write the texts that were placed last. Up to EVENTS_PER_STATEMENT are one statement, and so a transaction
        of their own.
        """
        first = self._life.base + self.last - len(texts) + 1
        for start in range(0, len(texts), EVENTS_PER_STATEMENT):
            chunk = texts[start : start + EVENTS_PER_STATEMENT]
            places = _places(len(chunk))
            values = (first + start, now_ms, *chunk, *((None,) * (places - len(chunk))))
            self._raw.execute(_insert_statement(places), values)

    def transaction(self) -> "_Transaction":
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block or the commit raises."""
        return _Transaction(self._raw)

    # --- inside a transaction ------------------------------------------------------------------------------

    def _one(self, statement: str, parameters: Iterable[Any] = ()) -> Any:
        return self._raw.execute(statement, tuple(parameters)).fetchone()[0]

    def _meta(self, name: str, default: str) -> str:
        self._raw.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, default))
        return str(self._one("SELECT value FROM meta WHERE name = ?", (name,)))

    def _load(self) -> None:
        self._lives = {life.incarnation: life for life in lives.load(self._raw)}

    def _end_incarnation(self) -> None:
        """The newest has ended with the process that wrote it. It is answered once more: should this be a copy of the
        journal, central knows more of it than stands here, and nothing but this shows it if it is empty.
        """
        known = list(self._lives.values())
        for gone in (forgettable := retention.forgettable(known)):
            del self._lives[gone.incarnation]
        lives.forget(self._raw, forgettable)
        if known:
            known[-1].answered = False
            lives.save(self._raw, known[-1])
            lives.save_last(self._raw, known[-1])

    def _begin_incarnation(self) -> None:
        number = max((life.number for life in self._lives.values()), default=0) + 1
        incarnation = ids.incarnation_id(self._random_bytes)
        self._raw.execute("INSERT INTO incarnation (number, id) VALUES (?, ?)", (number, incarnation))
        self._lives[incarnation] = Life(number, incarnation)
        self._adopt()

    def _adopt(self) -> None:
        """Go on in the newest incarnation."""
        *before, self._life = self._lives.values()
        self.incarnation = self._life.incarnation
        self._previous = (
            {"incarnation": before[-1].incarnation, "last_sequence": before[-1].last} if before else None
        )
        self._begin_text()

    def _begin_text(self) -> None:
        number = messages.sequence_text(0)
        event = Event(
            source=self._source,
            incarnation=self.incarnation,
            sequence=number,
            id="",
            type="",
            time="",
            data={},
        )
        self._head = messages.encode(event).decode().rpartition(number)[0]

    def streams(self) -> list[Stream]:
        """What the file holds, oldest incarnation first, the current one last."""
        return [
            Stream(
                life.incarnation,
                first_kept=life.first,
                last=life.last,
                acked=life.acked,
                safe=life.safe,
                answered=life.answered,
                left=life.left,
                lacking=life.lacking(),
            )
            for life in self._lives.values()
        ]

    def record(self, record: Record) -> None:
        """Write down what central said."""
        changed: dict[str, Life] = {}
        if record.history is not None:
            self._raw.execute("UPDATE meta SET value = ? WHERE name = 'history'", (record.history,))
            self.history, changed = record.history, dict(self._lives)
            for life in changed.values():
                life.acked, life.answered = 0, False
        for incarnation, floor in record.forget_above:
            changed[incarnation] = life = self._lives[incarnation]
            self._forget(life, floor)
        for incarnation, acked, safe, answered in record.streams:
            changed[incarnation] = life = self._lives[incarnation]
            life.acked, life.safe, life.answered = acked, safe, answered
        if record.verdicts:
            changed |= self._settle(record.verdicts)
        for life in changed.values():
            lives.save(self._raw, life)

    def _forget(self, life: Life, floor: int) -> None:
        queued, above = life.queued, life.base + floor
        self._raw.execute(
            "UPDATE event SET outcome = NULL, reason = NULL, movement = NULL"
            " WHERE key > ? AND key < ? AND outcome IS NOT NULL",
            (above, life.end),
        )
        held = layout.lacking_runs(self._raw, above, life.end) if life.left else []
        life.forget(floor, [(first - life.base, last - life.base) for first, last in held])
        self.queued += life.queued - queued

    def _settle(self, verdicts: Sequence[tuple[str, Verdict]]) -> dict[str, Life]:
        sequences: dict[str, list[int]] = {}
        for incarnation, one in verdicts:
            sequences.setdefault(incarnation, []).append(one.sequence)
            if one.outcome == "conflict":
                life = self._lives[incarnation]
                life.conflict_from = min(life.conflict_from or one.sequence, one.sequence)
        for incarnation, first, last in _runs(verdicts):
            life = self._lives[incarnation]
            offset = None if first.movement is None else first.movement - life.base - first.sequence
            self._raw.execute(
                "UPDATE event SET outcome = ?, reason = ?, movement = key + ?"
                " WHERE key BETWEEN ? AND ? AND outcome IS NULL",
                (
                    OUTCOMES.index(first.outcome),
                    first.reason,
                    offset,
                    life.base + first.sequence,
                    life.base + last,
                ),
            )
        settled = {incarnation: self._lives[incarnation] for incarnation in sequences}
        for incarnation, life in settled.items():
            queued = life.queued
            life.settle(sequences[incarnation])
            self.queued += life.queued - queued
        return settled

    def enter(self, rows: Sequence[tuple[bytes, int]]) -> None:
        """Enter events of another journal into the current incarnation, under their own ids: (text, recorded_ms)."""
        self._raw.executemany(_MOVED, [self._entered(text, recorded_ms) for text, recorded_ms in rows])
        self.queued += len(rows)

    def connect_after(self, number: int) -> None:
        """`next_connection` begins above this number."""
        self._raw.execute("INSERT OR REPLACE INTO meta VALUES ('connection', ?)", (str(number),))

    def next_connection(self) -> int:
        """A number that rises with every connect, over restarts too."""
        number = int(self._meta("connection", "0")) + 1
        self._raw.execute("UPDATE meta SET value = ? WHERE name = 'connection'", (str(number),))
        return number

    def void(self, incarnation: str, sequence: int) -> None:
        """Put a `void` in the place of an event that central cannot read; once, and only if it is still there."""
        key = self._lives[incarnation].base + sequence
        row = self._raw.execute("SELECT text FROM event WHERE key = ?", (key,)).fetchone()
        event = _event.decode(text := bytes(row[0])) if row else None
        if event is None or event.type == voids.TYPE:
            return
        void, whole = voids.void_of(event, text)
        if not whole:
            self._raw.execute("INSERT OR IGNORE INTO voided VALUES (?, ?)", (key, text))
        self._raw.execute("UPDATE event SET text = ? WHERE key = ?", (void, key))

    def reenter(self, incarnation: str) -> list[Stream]:
        """Leave a forked incarnation, the current one for a new one: its events that are above `safe`, lack a verdict
        or are `conflict` are entered into the current one, under their own ids. Of those that were left before, enter
        what lacks a verdict again. Asked again for the same one, it changes nothing.
        """
        left = [life for life in self._lives.values() if life.left]
        life = self._lives[incarnation]
        if not life.left:
            life.left = True
            if life is self._life:
                lives.save_last(self._raw, life)
                self._begin_incarnation()
            unsettled = [life.safe, life.settled, *([life.conflict_from - 1] if life.conflict_from else [])]
            which = f"outcome IS NULL OR outcome = {CONFLICT} OR key > {life.base + life.safe}"
            self._move(life, min(unsettled), which)
        for life in left:
            self._move(life, life.settled, "outcome IS NULL")
        lives.save_last(
            self._raw, self._life
        )  # for `recover`: should this commit fail, it may stand all the same
        self.queued = self._count_queued()
        return self.streams()

    def _move(self, life: Life, above: int, which: str) -> None:
        """Enter these events of an incarnation, above that sequence, into the current one, a few at a time."""
        key, moved = life.base + above, 0
        held = "SELECT key, text, recorded_ms FROM event WHERE key > ? AND key < ?"
        moving = f"{held} AND ({which}) ORDER BY key LIMIT ?"
        while rows := self._raw.execute(moving, (key, life.end, ROWS_PER_STATEMENT)).fetchall():
            self._raw.executemany("DELETE FROM event WHERE key = ?", [(key,) for key, _, _ in rows])
            entered = [self._entered(text, recorded_ms) for _, text, recorded_ms in rows]
            self._raw.executemany(_MOVED, entered)
            self._raw.executemany(
                "UPDATE voided SET key = ? WHERE key = ?",
                [(new[0], old[0]) for old, new in zip(rows, entered, strict=True)],
            )
            key, moved = rows[-1][0], moved + len(rows)
        life.judged = life.last
        life.holes.remove(1, life.last)
        lives.took_out(self._raw, life, moved)

    def keep(self, ran_s: float, *, retention_s: float, keep_newest: int, most: int = KEEP_ROWS) -> Kept:
        """One small step of keeping house; see `keeping.py`."""
        known = list(self._lives.values())
        return self._keeper.keep(
            self._raw, known, ran_s, retention_s=retention_s, keep_newest=keep_newest, most=most
        )

    def _entered(self, text: bytes, recorded_ms: int) -> tuple[int, bytes, int]:
        """The row of an event at the next place of the current incarnation."""
        self.last += 1
        event = _event.decode(text)
        event.data.pop("previous", None)
        event.incarnation, event.sequence = self.incarnation, messages.sequence_text(self.last)
        if self.last == 1:
            event.data["previous"] = self._previous
        return self._life.base + self.last, messages.encode(event), recorded_ms


_COUNT_RECOVERED: Final = (
    "INSERT OR REPLACE INTO meta"
    " SELECT 'recovered', coalesce(max(value), 0) + 1 FROM meta WHERE name = 'recovered'"
)
_MOVED: Final = "INSERT INTO event (key, text, recorded_ms) VALUES (?, ?, ?)"


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


def _places(rows: int) -> int:
    """How many rows the statement has that takes so many: at most a quarter more."""
    step = 1 << max(0, rows.bit_length() - 3)
    return -(-rows // step) * step


@lru_cache(maxsize=64)
def _insert_statement(places: int) -> str:
    """One of few statements: SQLite needs longer to understand a new one (3 µs a row) than to run it. Its parameters
    are the first key, the time, and the texts; what is NULL is left out.
    """
    if places == 1:
        return "INSERT INTO event (key, text, recorded_ms) VALUES (?1, CAST(?3 AS BLOB), ?2)"
    rows = ",".join(f"(?1+{row},?)" for row in range(places))
    return (
        "INSERT INTO event (key, text, recorded_ms) SELECT column1, CAST(column2 AS BLOB), ?2"
        f" FROM (VALUES {rows}) WHERE column2 IS NOT NULL"
    )


def _runs(verdicts: Sequence[tuple[str, Verdict]]) -> Iterator[tuple[str, Verdict, int]]:
    """(incarnation, first verdict, last sequence) of neighbours that say the same, their movements neighbours too:
    nearly always a whole batch, which is then written in one step.
    """
    incarnation, first = verdicts[0]
    outcome, reason, sequence, movement = first.outcome, first.reason, first.sequence, first.movement
    for name, one in verdicts[1:]:
        sequence += 1
        movement = None if movement is None else movement + 1
        if (
            one.sequence != sequence
            or one.movement != movement
            or one.outcome != outcome
            or one.reason != reason
            or name != incarnation
        ):
            yield incarnation, first, sequence - 1
            incarnation, first = name, one
            outcome, reason, sequence, movement = one.outcome, one.reason, one.sequence, one.movement
    yield incarnation, first, sequence
