"""Whether a file is a journal and sound, asked before anything is written into it; bounded in time.

What is checked, in this order:

1. the log has no commits behind the place where SQLite stops reading it. A power loss leaves at most one there, whose
   fsync nobody had seen; two mean that a frame in the middle is damaged, and what follows would be lost in silence.
   One may also be what damage has left of the last two, or of more if it is large: no byte tells which, as only the
   frames before it could prove that a page is whole. So it is said in the log, and not refused;
2. it is an empty database, or one with a journal's tables: that of another program is not touched;
3. the newest events can be read, and each is what its place says: what central could still lose is mostly there;
4. SQLite's own `quick_check` of the whole file: every page is where it belongs, every row in its order. It ends
   when its time is over, and says so: a file that takes longer is used all the same, and a damaged page stops
   the journal when it is met.
"""

import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
import structlog

from sync.journal.directory import index_of, log_of, size_of
from sync.journal.recorded import JournalDamaged, JournalError
from sync.messages import sequence_text

TABLES: Final = frozenset({"meta", "incarnation", "event"})
NEWEST_EVENTS: Final = 10_000  # about 0.1 s
# 20 s are about 10 GB on an SSD and 1 GB on an SD card, and less than the 90 s after which systemd calls a
# start hung.
CHECK_S: Final = 20.0
PROGRESS_S: Final = 5.0  # between lines in the log
AGAIN_S: Final = 0.05  # a check that had not begun when it was ended is ended again
SMALLEST_BYTES: Final = 512  # the smallest page (https://www.sqlite.org/fileformat2.html#pages)
EMPTY_BYTES: Final = 1  # SQLite writes a first byte into an empty file, and takes such a one for empty
_SEQUENCE: Final = (1 << 40) - 1  # of an event's key, see `layout.py`

_LOG_MAGIC: Final = 0x377F0682
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24

log = structlog.get_logger()


class _Placed(msgspec.Struct):
    id: str
    sequence: str


_placed = msgspec.json.Decoder(_Placed)


def refuse_remains(path: Path) -> None:
    """Asked before SQLite looks at the file. It takes one that is shorter than its first page for a new database, and
    throws the log beside it away, even if it may only read. Only an empty file with no log was never used.

    Raises:
        JournalDamaged: it is what is left of a journal.
    """
    size, log_size = size_of(path), size_of(log_of(path))
    if 0 < size < SMALLEST_BYTES or (size == 0 and log_size > 0):
        raise JournalDamaged(f"{path}: only {size} bytes of it are left")


def is_empty(path: Path) -> bool:
    """Whether nothing is there for SQLite, which must then not see it: a log beside it would be gone."""
    return not path.exists() or (path.is_file() and path.stat().st_size <= EMPTY_BYTES)


def inspect(raw: sqlite3.Connection, path: Path, held: ExitStack, *, limit_s: float = CHECK_S) -> bool:
    """Look at a file that was opened and not yet written; whether the check came to its end.

    Args:
        held: closed after `raw`, see `frames_behind`.
    Raises:
        JournalDamaged: it is a journal, and not sound.
        JournalError: it belongs to another program.
        sqlite3.Error: it cannot be read.
    """
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    commits_behind = sum(is_commit for _, is_commit, _ in frames_behind(path, held))
    if commits_behind > 1:
        raise JournalDamaged(f"{path}: the journal is damaged (its log {log_of(path).name} has a hole in it)")
    if commits_behind:
        log.warning(
            "the last commit of the log is not whole and is left out: a power loss, or damage", file=str(path)
        )
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


def frames_behind(path: Path, held: ExitStack) -> Iterator[tuple[int, bool, bytes]]:
    """(page number, whether it ends a commit, page) of the frames in the log behind the last one that SQLite reads.

    It has just read the log, and notes in the index how far: https://www.sqlite.org/walformat.html says where, and
    where frames keep salts and sizes. Of a file that is gone or empty it has read nothing.

    Args:
        held: keeps the index open, and is closed after every connection that this process has to the file. To close a
            file gives up all locks that the process has on it (fcntl(2)), SQLite's among them: whoever opened the
            journal next would take itself for the first and begin the index anew.
    """
    log_path, index = log_of(path), index_of(path)
    if not log_path.exists() or (not is_empty(path) and not index.exists()):
        return
    frames_read = 0 if is_empty(path) else _frames_read(held.enter_context(index.open("rb")))
    with log_path.open("rb") as file:
        header = file.read(_LOG_HEADER).ljust(_LOG_HEADER, b"\0")
        first_frame = file.read(_FRAME_HEADER).ljust(_FRAME_HEADER, b"\0")
        # A damaged header hides the whole log. It never reaches the disk after a frame that it is for.
        page_bytes, salts = (4096, first_frame[8:16]) if not _is_log(header) else _of_log(header)
        file.seek(_LOG_HEADER + frames_read * (_FRAME_HEADER + page_bytes))
        while len(frame := file.read(_FRAME_HEADER + page_bytes)) == _FRAME_HEADER + page_bytes:
            number, pages_after_commit, frame_salts = struct.unpack_from(">II8s", frame)
            if frame_salts == salts and number:
                yield number, pages_after_commit > 0, frame[_FRAME_HEADER:]


def _frames_read(index: BinaryIO) -> int:
    (frames_read,) = struct.unpack("=16xI", index.read(20).ljust(20, b"\0"))
    return int(frames_read)


def _of_log(header: bytes) -> tuple[int, bytes]:
    """(bytes of a page, salts)."""
    page_bytes, salts = struct.unpack(">8xI4x8s8x", header)
    return page_bytes, salts


def _is_log(header: bytes) -> bool:
    """Whether the header of a log is whole, by its own checksum."""
    magic, *_ = struct.unpack(">I28x", header)
    words = struct.unpack(">6I" if magic & 1 else "<6I", header[:24])
    sums = [0, 0]
    for word in range(0, 6, 2):
        sums[0] = sums[0] + words[word] + sums[1] & 0xFFFFFFFF
        sums[1] = sums[1] + words[word + 1] + sums[0] & 0xFFFFFFFF
    return magic & ~1 == _LOG_MAGIC and sums == list(struct.unpack(">24x2I", header))


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
