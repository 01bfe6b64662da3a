"""The journal's file as the operating system has it: who may use it, how it is opened, how its log is kept long.

What stands in the file is `sync/store.py`'s. A store asks its `Files` for a connection and for nothing else, so that
a simulation can give it one that lives in memory and loses what a disk would lose.
"""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from sync.recorded import JournalError

# One checkpoint per 10,000 pages (40 MB) instead of SQLite's 1,000 takes the long commits out of the tail.
CHECKPOINT_PAGES: Final = 10_000
# A log that already has its length costs one write and one data sync per commit; a growing one also its metadata.
LOG_BYTES: Final = 16 * 1024 * 1024
SMALLEST_BYTES: Final = 512  # the smallest page (https://www.sqlite.org/fileformat2.html#pages)

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    "temp_store=MEMORY",
)


class Files:
    """The file at `path`, its write-ahead log, and the lock beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def lock(self) -> None:
        """Keep every other agent out, until `unlock` or the end of the process. Makes the directory.

        Raises:
            JournalError: another agent has it, or the directory cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{self.path}: another agent is using this journal. Stop it first") from error
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror}. Make the data directory writable") from error

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def connect(self) -> sqlite3.Connection:
        """The connection that writes and checkpoints. There is one at a time.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        self._refuse_remains()
        raw = _driver(f"file:{self.path}?mode=rwc")
        for pragma in _PRAGMAS:
            raw.execute(f"PRAGMA {pragma}").fetchall()
        return raw

    def connect_reader(self) -> sqlite3.Connection:
        """A connection that only reads."""
        return _driver(f"file:{self.path}?mode=ro")

    def prepare_log(self) -> None:
        """Give the write-ahead log its length in advance, and make the names in the directory durable. SQLite reads
        a log up to its first invalid frame, and zeros are none
        (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
        """
        _grow(Path(f"{self.path}-wal"), LOG_BYTES)
        _sync_directory(self.path.parent)

    def _refuse_remains(self) -> None:
        """SQLite takes a file that is shorter than its first page for a new database, and throws the log beside it
        away. Only an empty file with no log is one that was never used.
        """
        log = Path(f"{self.path}-wal")
        size, log_size = (file.stat().st_size if file.exists() else 0 for file in (self.path, log))
        if 0 < size < SMALLEST_BYTES or (size == 0 and log_size > 0):
            raise sqlite3.DatabaseError(f"only {size} bytes of it are left")


def _driver(uri: str) -> sqlite3.Connection:
    """SQLAlchemy sets the connection up; it then belongs to the caller, who speaks to the driver itself, in
    autocommit.
    """
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False),
        poolclass=sa.NullPool,
    )
    try:
        connection = engine.connect()
    except sa.exc.DBAPIError as error:
        assert isinstance(error.orig, sqlite3.Error)
        raise error.orig from error
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    connection.detach()
    return raw


def _grow(path: Path, size_bytes: int) -> None:
    with path.open("ab") as file:
        missing = size_bytes - file.tell()
        if missing > 0:
            file.write(bytes(missing))
            file.flush()
            os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
