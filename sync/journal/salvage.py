"""A damaged journal is put aside on the operator's word, and a new one begins with all that can still be read.

The one idea: central knows every event by its id for ever. So what is unsettled in the damaged file, or may
be, is entered into the new one under its own id, as after a fork: what central has already gets the verdict
that it had, and the rest is booked. Nothing depends on how much of the old file can be read, and nothing of
it is changed: it is opened for reading only, and kept.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from sync import ids
from sync.journal import carving, inspection, moving
from sync.journal.directory import log_of, uri_of
from sync.journal.files import Files
from sync.journal.layout import CONFLICT, SEQUENCE_BITS
from sync.journal.recorded import JournalDamaged, JournalError
from sync.journal.store import ROWS_PER_STATEMENT, Store
from sync.messages import Event

# Above what any journal reaches; a new one must count on from the old one's, which may not be readable.
CONNECTIONS_AHEAD: Final = 1_000_000
_FAR: Final = (1 << 63) - 1

_ROWS: Final = "SELECT key, text, recorded_ms, outcome FROM event"

_event = msgspec.json.Decoder(Event)


@dataclass(frozen=True)
class Replaced:
    """What became of a damaged journal."""

    aside: Path | None
    """Where it is kept, or what was left of it; None: nothing was."""
    entered: int
    """Events that the new journal begins with."""
    settled: int
    """Events that central has for certain: they are in the old file only."""
    unreadable: int
    """Stretches of it that cannot be read, of one event or many; what the file has lost altogether counts nowhere."""


def replace(path: Path, *, agent: str, site: str, random_bytes: ids.RandomBytes) -> Replaced:
    """Put a damaged journal aside and start a new one in its place, for the same agent.

    Raises:
        JournalError: it is in use, it is sound, there is none, or another program's. Nothing was changed.
        sqlite3.Error, OSError: the disk does not take the new one. The old one stays where it is.
    """
    files = Files(path, ballast_bytes=0)
    files.lock()
    try:
        _refuse_sound(files)
        return _replace(files, agent, site, random_bytes)
    finally:
        files.unlock()


def _refuse_sound(files: Files) -> None:
    try:
        files.inspect(limit_s=math.inf)  # what an agent met may stand where its own check did not come
    except (JournalDamaged, sqlite3.Error, OSError):
        return
    if not files.path.exists():
        raise JournalError(f"{files.path}: there is no journal. `tallyman agent` starts a new one by itself")
    raise JournalError(f"{files.path}: this journal is sound. Nothing was changed")


def _replace(files: Files, agent: str, site: str, random_bytes: ids.RandomBytes) -> Replaced:
    made, old = moving.copy_for(files.path), _Old(files.path)
    store = Store(Files(made, ballast_bytes=0), agent=agent, site=site, random_bytes=random_bytes)
    try:
        try:
            entered = _enter(store, old)
        finally:
            old.close()
        aside = files.take(made, "damaged")
    except BaseException:
        moving.discard(made)
        raise
    left = next((file for file in (aside, log_of(aside)) if file.exists()), None)
    return Replaced(left, entered, old.settled, old.unreadable)


def _enter(store: Store, old: "_Old") -> int:
    """Enter all that is unsettled into a new journal: so many events."""
    try:
        store.open()
        with store.transaction():
            store.connect_after(old.connections() + CONNECTIONS_AHEAD)
        for rows in old.unsettled():
            with store.transaction():
                store.enter(rows)
        store.checkpoint("TRUNCATE")  # whoever closes it does so too, and says nothing when the disk is full
        return store.last
    finally:
        store.close()


def _look_into(path: Path) -> sqlite3.Connection:
    uri = ":memory:" if inspection.is_empty(path) else uri_of(path, "ro")  # only its log is left, or nothing
    raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    # Else a file that is shorter than its first page says gives nothing at all.
    raw.execute("PRAGMA writable_schema=ON")
    return raw


class _Old:
    """What can still be read of a damaged file."""

    def __init__(self, path: Path) -> None:
        self._path, self._raw, self._held = path, _look_into(path), ExitStack()
        self.settled = self.unreadable = 0

    def close(self) -> None:
        self._raw.close()
        self._held.close()

    def connections(self) -> int:
        """How often it has connected, as far as that can be read."""
        rows = self._try("SELECT value FROM meta WHERE name = 'connection'")
        return int(rows[0][0]) if rows and str(rows[0][0]).isdecimal() else 0

    def unsettled(self) -> Iterator[list[tuple[bytes, int]]]:
        """(text, recorded_ms) of what central may not have, some hundred at a time, nearly in order."""
        stored = self._try("SELECT number, safe FROM incarnation") or ()
        safe = {number: last for number, last in stored if isinstance(last, int)}
        newer = carving.events_behind_hole(self._path, self._held)
        for rows in self._rows():
            yield self._unsettled([newer.pop(row[0], row) for row in rows], safe)
        rest = [newer[key] for key in sorted(newer)]
        for start in range(0, len(rest), ROWS_PER_STATEMENT):
            yield self._unsettled(rest[start : start + ROWS_PER_STATEMENT], safe)

    def _unsettled(self, rows: list[Any], safe: dict[int, int]) -> list[tuple[bytes, int]]:
        kept = []
        for key, text, recorded_ms, outcome in rows:
            above = key & (1 << SEQUENCE_BITS) - 1 > safe.get(key >> SEQUENCE_BITS, 0)
            if outcome is not None and outcome != CONFLICT and not above:
                self.settled += 1
            elif _is_event(text) and isinstance(recorded_ms, int):
                kept.append((text, recorded_ms))
            else:
                self.unreadable += 1
        return kept

    def _rows(self) -> Iterator[list[Any]]:
        """Every row that can be reached, in order. Behind a damaged page the next whole one is looked for 1, 3, 7 …
        places further on, and then its beginning: the search ends soon, however much is lost.
        """
        key, most = 0, ROWS_PER_STATEMENT
        while key <= _FAR:
            rows = self._from(key, most)
            if rows:
                yield rows
                key, most = max(key, rows[-1][0]) + 1, ROWS_PER_STATEMENT
            elif rows is not None:
                return
            elif most > 1:
                most //= 2
            else:
                self.unreadable += 1
                key = self._behind(key)

    def _behind(self, damaged: int) -> int:
        """The first place behind a damaged one from which something can be read, or that nothing can."""
        step = 1
        while (whole := damaged + step) <= _FAR and self._from(whole, 1) is None:
            damaged, step = whole, step * 2
        while whole - damaged > 1 and whole <= _FAR:
            middle = (damaged + whole) // 2
            if self._from(middle, 1) is None:
                damaged = middle
            else:
                whole = middle
        return whole

    def _from(self, key: int, most: int) -> list[Any] | None:
        return self._try(f"{_ROWS} WHERE key >= ? ORDER BY key LIMIT ?", key, most)

    def _try(self, statement: str, *parameters: int) -> list[Any] | None:
        try:
            return self._raw.execute(statement, parameters).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            return None


def _is_event(text: object) -> bool:
    try:
        return isinstance(text, bytes) and bool(_event.decode(text).id)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
