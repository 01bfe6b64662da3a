"""What can be learned of a journal from outside, beside the agent that uses it or without one.

The idea: a connection that only reads, takes no lock of the agent's, and never looks longer than a moment in one go.
While somebody reads, the log cannot be carried into the file wholly, so long answers are made of short looks; and
each look sees the events and what is known of them (`lives.py`) as of the same commit.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sync.journal import inspection, lives, moving
from sync.journal.ballast import BALLAST_BYTES, Ballast
from sync.journal.directory import log_of, real, size_of, uri_of
from sync.journal.files import CHECKPOINT_PAGES, log_noted
from sync.journal.layout import FORMAT, OUTCOMES, SEQUENCE_BITS
from sync.journal.lives import Life
from sync.journal.recorded import JournalDamaged, JournalError

CHUNK: Final = 2_000  # events in one look: about 1 MB, some milliseconds
FEW_EVENTS: Final = 100  # with less, what an event takes is not measured but assumed:
ASSUMED_BYTES: Final = 600  # a scan with its capture block, and its share of the tree
RATE_EVENTS: Final = 1_000  # the newest ones, when the agent has not run long enough for its marks
RATE_S: Final = 60  # … and they must be so far apart
_SEQUENCE: Final = (1 << SEQUENCE_BITS) - 1


@dataclass(frozen=True, slots=True)
class Held:
    """One event as it stands in the file."""

    key: int
    incarnation: str
    text: bytes
    recorded_ms: int
    outcome: str | None
    reason: str | None
    movement: int | None
    safe: bool
    """At or below what central would still have after its worst restore."""

    @property
    def sequence(self) -> int:
        """Its place in the incarnation."""
        return self.key & _SEQUENCE


@dataclass(frozen=True, slots=True)
class Room:
    """How much scanning the disk has room for."""

    usable_bytes: int
    """Free on the disk and inside the file, without what the log may still grow by."""
    bytes_per_event: float
    measured: bool
    """False: the journal holds too little to measure it, and it is assumed."""
    mean_per_hour: float | None
    """Events in an hour in which the agent ran; None: it has not run long enough to tell."""
    busiest_per_hour: float | None
    """In the busiest stretch between two marks."""

    def hours(self, per_hour: float | None) -> float | None:
        """So many hours of scanning at that rate."""
        return self.usable_bytes / self.bytes_per_event / per_hour if per_hour else None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole picture."""

    agent: str
    format: str
    history: str | None
    in_use_by: int | None
    """The process that has the journal's lock; None: none, or it cannot be told."""
    ran_s: int
    file_bytes: int
    log_bytes: int
    unused_bytes: int
    disk_free_bytes: int
    ballast: str
    """`held` or `given up`."""
    oldest_queued_ms: int | None
    oldest_ms: int | None
    newest_ms: int | None
    room: Room
    lives: list[Life]
    kept_aside: list[Path]

    @property
    def events(self) -> int:
        """How many the file holds."""
        return sum(life.held for life in self.lives)

    @property
    def queued(self) -> int:
        """How many of them lack a verdict."""
        return sum(life.queued for life in self.lives)


class Survey:
    """A journal's file, opened to be looked at. Use it as a context manager.

    Raises:
        JournalError: there is no journal, it cannot be read, or it has another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = real(path)
        self._raw, self._held = _open(self.path), contextlib.ExitStack()
        self._file = self.path.stat().st_ino

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()
        self._held.close()
        if isinstance(error, sqlite3.Error):
            raise unreadable(self.path, error) from error

    def known(self) -> list[Life]:
        """What is known of each incarnation, oldest first."""
        return lives.load(self._raw)

    def status(self) -> Status:
        """Everything that `tallyman journal status` says."""
        self._raw.execute("BEGIN")
        meta = dict(self._raw.execute("SELECT name, value FROM meta").fetchall())
        known = self.known()
        pages, unused, page_bytes = (
            self._raw.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        free_bytes = _free_bytes(self.path)
        log_bytes = size_of(log_of(self.path))
        held = sum(life.held for life in known)
        log_growth = max(CHECKPOINT_PAGES * page_bytes - log_bytes, 0)
        mean, busiest = self._rate(known, int(meta.get("ran_s", 0)))
        measured = held >= FEW_EVENTS
        room = Room(
            usable_bytes=max(free_bytes + unused * page_bytes - log_growth, 0),
            bytes_per_event=(pages - unused) * page_bytes / held if measured else ASSUMED_BYTES,
            measured=measured,
            mean_per_hour=mean,
            busiest_per_hour=busiest,
        )
        lacking = next(((life, run) for life in known if (run := life.lacking().first_run())), None)
        status = Status(
            agent=meta.get("agent", ""),
            format=meta["format"],
            history=meta.get("history") or None,
            in_use_by=_user(self.path),
            ran_s=int(meta.get("ran_s", 0)),
            file_bytes=size_of(self.path),
            log_bytes=log_bytes,
            unused_bytes=unused * page_bytes,
            disk_free_bytes=free_bytes,
            ballast=_ballast(self.path),
            oldest_queued_ms=None if lacking is None else self._recorded_ms(lacking[0].base + lacking[1][0]),
            oldest_ms=self._recorded_ms("(SELECT min(key) FROM event)"),
            newest_ms=self._recorded_ms("(SELECT max(key) FROM event)"),
            room=room,
            lives=known,
            kept_aside=moving.kept_aside(self.path),
        )
        self._raw.execute("COMMIT")
        return status

    def _recorded_ms(self, key: int | str) -> int | None:
        row = self._raw.execute(f"SELECT recorded_ms FROM event WHERE key = {key}").fetchone()
        return None if row is None else int(row[0])

    def _rate(self, known: Sequence[Life], ran_s: int) -> tuple[float | None, float | None]:
        """Events in an hour: on the whole, and in the busiest stretch."""
        if not known:
            return None, None
        marks = self._raw.execute("SELECT ran_s, key FROM mark ORDER BY ran_s").fetchall()
        marks.append((ran_s, known[-1].base + known[-1].last))
        counts = [(at, _events_up_to(known, key)) for at, key in marks]
        rates = [
            (after - before) * 3600 / (end - start)
            for (start, before), (end, after) in pairwise(counts)
            if end - start >= RATE_S
        ]
        (start, before), (end, after) = counts[0], counts[-1]
        if rates and end > start and after > before:
            return (after - before) * 3600 / (end - start), max(rates)
        newest = self._raw.execute(
            "SELECT count(*), min(recorded_ms), max(recorded_ms)"
            " FROM (SELECT recorded_ms FROM event ORDER BY key DESC LIMIT ?)",
            (RATE_EVENTS,),
        ).fetchone()
        if newest[0] < 2 or newest[2] - newest[1] < RATE_S * 1000:
            return None, None
        return newest[0] * 3_600_000 / (newest[2] - newest[1]), None

    def newest(self, limit: int) -> list[Held]:
        """The newest events, oldest of them first."""
        rows = self._raw.execute(f"{_EVENTS} ORDER BY e.key DESC LIMIT ?", (limit,)).fetchall()
        return [_held(row) for row in reversed(rows)]

    def after(self, key: int, *, unsettled: bool = False, incarnation: str = "") -> Iterator[Held]:
        """Every event above that key, in order, in small looks.

        Args:
            unsettled: only what central may lack: without a verdict, or not safe from its worst restore.
            incarnation: only of this one; the beginning of its name is enough.
        """
        condition = "e.key > ? AND substr(i.id, 1, ?) = ?"
        if unsettled:
            condition += f" AND (e.outcome IS NULL OR (e.key & {_SEQUENCE}) > i.safe)"
        while rows := self._raw.execute(
            f"{_EVENTS} WHERE {condition} ORDER BY e.key LIMIT ?", (key, len(incarnation), incarnation, CHUNK)
        ).fetchall():
            yield from map(_held, rows)
            key = rows[-1][0]

    def is_in_place(self) -> bool:
        """Whether the file still has the name: an agent whose disk fails goes on in another."""
        return self.path.exists() and self.path.stat().st_ino == self._file

    def lost(self) -> str | None:
        """What its log lacks, if no agent uses it: SQLite shows what lies before a hole and says nothing of it."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        if _user(self.path) is not None:
            return None
        log = log_of(self.path)
        noted = log_noted(lock.read_bytes()) if lock.is_file() and os.access(lock, os.R_OK) else None
        if noted is not None and size_of(log) < noted:
            return f"its log {log.name} is gone or cut short, and with it what was recorded last"
        if sum(is_commit for _, is_commit, _ in inspection.frames_behind(self.path, self._held)) > 1:
            return f"its log {log.name} has a hole in it, and what lies behind it is not shown"
        return None

    def changed(self) -> int:
        """Another number means that somebody wrote into the file."""
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])

    def connection(self) -> sqlite3.Connection:
        """For who looks closer (`proof.py`); it only reads."""
        return self._raw


# The join is by key, so that the planner goes through the events in their order and looks up the incarnation.
_EVENTS: Final = (
    "SELECT e.key, i.id, e.text, e.recorded_ms, e.outcome, e.reason, e.movement,"
    f" (e.key & {_SEQUENCE}) <= i.safe FROM event e CROSS JOIN incarnation i ON i.number = e.key >> {SEQUENCE_BITS}"
)


def _held(row: Sequence[Any]) -> Held:
    key, incarnation, text, recorded_ms, outcome, reason, movement, safe = row
    named = None if outcome is None else OUTCOMES[outcome]
    return Held(key, incarnation, as_bytes(text), recorded_ms, named, reason, movement, bool(safe))


def _events_up_to(known: Sequence[Life], key: int) -> int:
    """How many events were recorded up to this key, since the oldest incarnation that is known."""
    number = key >> SEQUENCE_BITS
    return sum(life.last for life in known if life.number < number) + (key & _SEQUENCE)


_DAMAGED: Final = (
    "It is damaged. Copy its directory to a safe place; the agent says at its start what can be done"
)


# --- opening it -----------------------------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    try:
        there = path.exists()
    except OSError as error:
        raise JournalError(
            f"{path}: the journal cannot be looked at ({error.strerror}). {_as_its_user()}"
        ) from error
    if not there:
        raise JournalError(
            f"{path}: there is no journal. An agent makes it at its first start; is this its data directory?"
        )
    try:
        inspection.refuse_remains(path)
    except JournalDamaged as error:
        raise JournalError(f"{error}. {_DAMAGED}") from error
    try:
        raw = sqlite3.connect(uri_of(path, "ro"), uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    try:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            what = f"nothing is in it: its log {log_of(path).name} is gone or has a hole"
            raise JournalError(f"{path}: the journal cannot be read ({what}). {_DAMAGED}")
        if not tables >= {"meta", "incarnation", "event"}:
            raise JournalError(f"{path}: this is no journal, but another program's database")
        row = raw.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        written = "" if row is None else row[0]
    except sqlite3.Error as error:
        raw.close()
        raise unreadable(path, error) from error
    except JournalError:
        raw.close()
        raise
    if written != FORMAT:
        raw.close()
        raise JournalError(
            f"{path}: this journal has format {written}, and this program reads format {FORMAT}."
            + (
                " It is brought up when this program's agent starts"
                if written == "1"
                else " Use the program that wrote it"
            )
        )
    return raw


def unreadable(path: Path, error: sqlite3.Error) -> JournalError:
    """What is said when SQLite cannot read it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        advice = _as_its_user()
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        advice = _DAMAGED
    else:
        advice = "Check the disk"
    return JournalError(f"{path}: the journal cannot be read ({error}). {advice}")


def _as_its_user() -> str:
    return f"Run this as the user that the agent runs as (this is uid {os.geteuid()})"


def as_bytes(text: object) -> bytes:
    """An event's text; a damaged cell may hold anything."""
    return text if isinstance(text, bytes) else str(text).encode()


def _free_bytes(path: Path) -> int:
    state = os.statvfs(path.parent)
    return state.f_bavail * state.f_frsize


def _ballast(path: Path) -> str:
    ballast = path.with_name(f"{path.name}.ballast")
    return "held" if Ballast(ballast, BALLAST_BYTES).is_there() else "given up"


def _user(path: Path) -> int | None:
    """The process that uses this journal. It locks the directory too: somebody may have deleted the lock's file."""
    return _holder(path.with_name(f"{path.name}.lock")) or _holder(path.parent)


def _holder(lock: Path) -> int | None:
    """The process that has this lock, as Linux tells it (proc_locks(5)); it is not tried, which would take it."""
    try:
        state = lock.stat()
        held = Path("/proc/locks").read_text()
    except OSError:
        return None
    wanted = (f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}", str(state.st_ino))
    for line in held.splitlines():
        words = line.split()
        if words[1:2] != ["FLOCK"]:
            continue
        device, _, inode = words[5].rpartition(":")
        if inode == wanted[1] and (device == wanted[0] or _has_open(int(words[4]), state)):
            return int(words[4])
    return None


def _has_open(process: int, file: os.stat_result) -> bool:
    """Whether that process has this file open: where file systems lie upon each other (overlayfs, btrfs), a lock is
    told with another device than the file's.
    """
    with contextlib.suppress(OSError):  # it has ended, or is somebody else's
        for one in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(one.stat(), file):
                    return True
    return False
