"""Whether a file is a journal and sound, asked before anything is written into it; bounded in time.

What is checked, in this order:

1. it is an empty database, or one with a journal's tables: that of another program is not touched;
2. the newest events can be read, and each is what its place says: what central could still lose is mostly there;
3. SQLite's own `quick_check` of the whole file: every page is where it belongs, every row in its order. It ends
   when its time is over, and says so: a file that takes longer is used all the same, and a damaged page stops
   the journal when it is met.
"""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Final, Self

import msgspec
import structlog

from sync.messages import sequence_text
from sync.recorded import JournalDamaged, JournalError

TABLES: Final = frozenset({"meta", "incarnation", "event"})
NEWEST_EVENTS: Final = 10_000  # about 0.1 s
# 20 s are about 10 GB on an SSD and 1 GB on an SD card, and less than the 90 s after which systemd calls a
# start hung.
CHECK_S: Final = 20.0
PROGRESS_S: Final = 5.0  # between lines in the log
AGAIN_S: Final = 0.05  # a check that had not begun when it was ended is ended again
_SEQUENCE: Final = (1 << 40) - 1  # of an event's key, see `sync/store.py`

log = structlog.get_logger()


class _Placed(msgspec.Struct):
    id: str
    sequence: str


_placed = msgspec.json.Decoder(_Placed)


def inspect(raw: sqlite3.Connection, path: Path, *, limit_s: float = CHECK_S) -> bool:
    """Look at a file that was opened and not yet written; whether the check came to its end.

    Raises:
        JournalDamaged: it is a journal, and not sound.
        JournalError: it belongs to another program.
        sqlite3.Error: it cannot be read.
    """
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return True
    if not tables >= TABLES:
        raise JournalError(
            f"{path}: this is the database of another program, with the tables {', '.join(sorted(tables))}."
            " Nothing was changed. Give the agent a data_dir of its own"
        )
    _read_newest(raw, path)
    with _Watch(raw, path, limit_s) as watch:
        try:
            found = [text for (text,) in raw.execute("PRAGMA quick_check(10)")]
        except sqlite3.OperationalError:
            if not watch.ended:
                raise
            log.warning("the journal is too large to be checked whole", file=str(path), seconds=limit_s)
            return False
    if found != ["ok"]:
        raise JournalDamaged(f"{path}: the journal is damaged ({'; '.join(found)[:400]})")
    return True


def _read_newest(raw: sqlite3.Connection, path: Path) -> None:
    rows = raw.execute(
        "SELECT key & ?, text FROM event ORDER BY key DESC LIMIT ?", (_SEQUENCE, NEWEST_EVENTS)
    )
    for sequence, text in rows:
        try:
            wrong = _placed.decode(text).sequence != sequence_text(sequence)
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
            wrong = True
        if wrong:
            raise JournalDamaged(f"{path}: the journal is damaged (event {sequence} cannot be read)")


class _Watch:
    """Says in the log that a check goes on, and ends it when its time is over."""

    def __init__(self, raw: sqlite3.Connection, path: Path, limit_s: float) -> None:
        self._raw, self._path, self._limit_s = raw, path, limit_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-check", daemon=True)
        self.ended = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        ends_at = time.monotonic() + self._limit_s
        while not self._done.wait(max(0.0, min(PROGRESS_S, ends_at - time.monotonic()))):
            if time.monotonic() >= ends_at:
                self.ended = True
                self._raw.interrupt()
                ends_at = time.monotonic() + AGAIN_S
            else:
                size_mb = self._path.stat().st_size // 1_000_000
                log.info("checking the journal", file=str(self._path), megabytes=size_mb)
