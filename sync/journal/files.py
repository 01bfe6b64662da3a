"""The journal's file as the operating system has it: who may use it, how it is opened, what is believed of it.

After a failed fsync the system may show bytes that are not on the disk: it marks them as written, and the
next fsync succeeds without writing them. That goes on until the machine restarts, also for the next process.
So the log is believed only after every byte of it was written again and synced (`_settle_log`), and that is
done before SQLite may read it: a commit that is appended to it would else be lost with what it stands on.
Pages of the file itself need no such care: SQLite forgets the log only after the file's fsync succeeded, and
until then plays all of it into the file again.

What stands in the file is `store.py`'s. A store asks its `Files` for a connection and for nothing else,
so that a simulation can give it one that lives in memory and loses what a disk would lose.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from sync.journal import inspection, moving
from sync.journal.ballast import BALLAST_BYTES, Ballast
from sync.journal.directory import log_of, make_directory, real, size_of, sync_directory, unused, uri_of
from sync.journal.recorded import JournalDamaged, JournalError

# One checkpoint per 6,000 pages (some 35,000 scans that come at once) instead of SQLite's 1,000 takes the long
# commits out of the tail.
CHECKPOINT_PAGES: Final = 6_000
# A log that already has its length costs one write and one data sync per commit; a growing one also its metadata.
# So it holds all pages up to the checkpoint, each with its 24 bytes.
LOG_BYTES: Final = 24 * 1024 * 1024
CHUNK_BYTES: Final = 1024 * 1024  # of the log, when it is written again
# What the lock's file says while an agent uses the journal: a number, so many bytes its log has at least.
WITHOUT_LOG: Final = "0"
NOT_IN_USE: Final = ""
NOTE_BYTES: Final = 20  # always so many, so that it is written over in place: that needs no room on the disk

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    "temp_store=MEMORY",
)


class Files:
    """The file at `path`, its write-ahead log, and the lock and the ballast beside them."""

    def __init__(self, path: Path, *, ballast_bytes: int = BALLAST_BYTES) -> None:
        self.path = path = real(path)
        self.ballast = Ballast(path.with_name(f"{path.name}.ballast"), ballast_bytes)
        self.openings = 0
        """How often it was opened for writing: who opened it before may have a file, or a log, that lost its name."""
        self._lock: int | None = None
        self._directory: int | None = None
        self._names = threading.Lock()
        """Held while names change, and while a file is opened by its name."""
        self._file: int | None = None
        """The inode of the file, while a connection that writes is open."""
        self._used: tuple[int, int] | None = None
        """… and that of its log, while what was told may stand there alone."""
        self._is_lost = False
        """It was let go of while something of it had no name: who comes next must miss that."""
        self._is_made = False
        """It was in use already, so when it is away no other one is made in its place."""

    def lock(self) -> None:
        """Keep every other agent out, until `unlock` or the end of the process. Makes the directory.

        Raises:
            JournalError: another agent has it, or the directory cannot be written.
        """
        try:
            make_directory(self.path.parent)
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have deleted the lock's file while its agent runs.
            self._directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _lock_where_it_can_be(self._directory)
        except BlockingIOError as error:
            raise JournalError(f"{self.path}: another agent is using this journal. Stop it first") from error
        except OSError as error:
            advice = _LOCK_ADVICE.get(error.errno or 0, "Make the data directory writable")
            raise JournalError(f"{self.path}: {error.strerror}. {advice}") from error

    def unlock(self) -> None:
        """Let others in. A file that was used and is not there now is missed by whoever comes next."""
        if self._lock is not None:
            if self._is_made and size_of(self.path) and not self._is_lost:
                # Beside somebody who reads, or on a full disk, the log is still there when all is closed.
                left = size_of(log_of(self.path))
                with contextlib.suppress(OSError):  # it stays noted as used, which matters only if it goes
                    self._note(str(left) if left else NOT_IN_USE)
            for held in (self._directory, self._lock):
                if held is not None:
                    os.close(held)
            self._lock = self._directory = None

    def connect(self) -> sqlite3.Connection:
        """The connection that writes and checkpoints. There is one at a time.

        Raises:
            JournalDamaged: it is what is left of a journal.
            sqlite3.Error, OSError: the file cannot be used.
        """
        self._make_ready()
        self._is_made = self._is_made or (size_of(self.path) > 0 and not self._is_being_made())
        self.release_log()  # also when this fails: whoever opened it for writing takes the log away when it closes
        self.openings += 1
        raw = _driver(uri_of(self.path, "rw" if self._is_made else "rwc"))
        try:
            for pragma in _PRAGMAS:
                raw.execute(f"PRAGMA {pragma}").fetchall()
            self._file = self.path.stat().st_ino
        except BaseException:
            raw.close()  # else whoever drops the error does, when the journal is noted as closed
            raise
        return raw

    def connect_reader(self) -> sqlite3.Connection:
        """A connection that only reads.

        Raises:
            JournalDamaged: it is what is left of a journal.
            sqlite3.Error, OSError: the file cannot be read.
        """
        with self._names:
            if self.path.exists():
                inspection.refuse_remains(self.path)
            raw = _driver(uri_of(self.path, "ro"))
            try:
                raw.execute("SELECT count(*) FROM sqlite_master").fetchall()  # opens the log beside it, too
            except sqlite3.Error:
                raw.close()
                raise
            return raw

    def inspect(self, limit_s: float = inspection.CHECK_S) -> None:
        """Ask whether it is a journal and sound, before anything is written into it: see `inspection.py`. By a
        connection that only reads: whoever may write takes the log away when it closes, damaged or not.

        Args:
            limit_s: a check of every page that takes longer is ended, and finds nothing.
        Raises:
            JournalDamaged, JournalError: it is not; it is left as it is.
            sqlite3.Error, OSError: the file cannot be used.
        """
        self._make_ready()
        self._refuse_second_name()
        if self.path.exists() and not self._is_being_made():
            with contextlib.ExitStack() as held, contextlib.closing(_driver(uri_of(self.path, "ro"))) as raw:
                inspection.inspect(raw, self.path, held, limit_s=limit_s)

    def _is_being_made(self) -> bool:
        """A rollback journal is left by a power loss while the file was made, before anything was recorded in it."""
        return Path(f"{self.path}-journal").exists()

    def _make_ready(self) -> None:
        with self._names:
            self._finish_move()
        inspection.refuse_remains(self.path)
        self._refuse_lost()
        _settle_log(log_of(self.path))

    def prepare_log(self) -> None:
        """Give the write-ahead log its length in advance, and make the names in the directory durable. SQLite reads
        a log up to its first invalid frame, and zeros are none
        (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).

        Raises:
            JournalError: the file has lost its name since it was opened.
            OSError: the disk does not take it, or the log is gone.
        """
        _grow(log_of(self.path), LOG_BYTES)
        sync_directory(self.path.parent)
        found = self._found()
        if found is None or not self.is_named():
            raise JournalError(f"{self.path}: somebody took the journal's file away while it was opened")
        self._used, self._is_made = found, True
        self._note(str(LOG_BYTES))

    def release_log(self) -> None:
        """The log is about to be carried into the file: from now on it may be gone, and the file may not."""
        self._used, self._is_lost = None, False
        self._note_without_log()

    def let_go(self) -> None:
        """The connection that writes is about to be closed, and the last one takes the log away. What has no name
        then may be gone with it: it stays noted.
        """
        is_lost = not self.is_in_place()
        self._file = self._used = None
        if is_lost:
            self._is_lost = True
        else:
            self.release_log()

    def is_in_place(self) -> bool:
        """Whether what is written still has its names, as far as it had them: somebody may have deleted the file or
        its log, and what is written then would be gone with this process.
        """
        return self.is_named() if self._used is None else self._found() == self._used

    def is_named(self) -> bool:
        """Whether the file itself still has its name, whatever became of its log."""
        return self._file is None or (self.path.exists() and self.path.stat().st_ino == self._file)

    def _found(self) -> tuple[int, int] | None:
        try:
            return os.stat(self.path).st_ino, os.stat(f"{self.path}-wal").st_ino  # noqa: PTH116 (once per commit)
        except FileNotFoundError:
            return None

    def free_bytes(self) -> int:
        """Room on the disk, for this user; 0 where that cannot be told."""
        try:
            state = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return state.f_bavail * state.f_frsize

    def move(self, source: sqlite3.Connection | None = None) -> Path:
        """Copy all that can be read to a new file, which takes the name; where the old one is kept.

        Args:
            source: reads the old file, also when it has no name any more; None: it is opened by its name.
        Raises:
            sqlite3.Error, OSError, JournalDamaged: the old file stays in use.
        """
        reader = source if source is not None else self.connect_reader()
        try:
            copy = moving.copy(reader, self.path)
        finally:
            if source is None:
                reader.close()
        return self.take(copy, "old")

    def take(self, copy: Path, word: str) -> Path:
        """Let this copy, which has no log, be the journal from now on; where the old one is kept (NAME.WORD-1)."""
        with self._names:
            aside = unused(self.path, word)
            moving.announce(copy, self.path)
            self._finish_move(word, aside)
        self._file = self._used = None  # what a connection still has stands in the copy
        return aside

    def _finish_move(self, word: str = moving.WORDS[0], aside: Path | None = None) -> None:
        """From the moment when a copy counts, the log of the old file is not missed any more, and the copy is."""
        if moving.is_announced(self.path):
            self._note(WITHOUT_LOG)
            moving.finish(self.path, word, aside)

    def _note_without_log(self) -> None:
        self._note(WITHOUT_LOG if self._is_made else NOT_IN_USE)

    def _note(self, text: str) -> None:
        """Into the lock's file, durably. When that fails, what was noted before stands, or this."""
        if self._lock is not None:
            full = text.zfill(NOTE_BYTES) if text else " " * NOTE_BYTES
            os.pwrite(self._lock, full.encode(), 0)
            os.fsync(self._lock)

    def _refuse_lost(self) -> None:
        """Whoever was killed left the file, and its log as long as it was. SQLite would take what is there for whole,
        and nothing at all for a new journal.
        """
        if self._is_made and not size_of(self.path):  # it may come back
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        if self._lock is None:
            return
        noted, log = log_noted(os.pread(self._lock, NOTE_BYTES, 0)), log_of(self.path)
        if noted is not None and not size_of(self.path):
            what = "is gone or empty, and an agent was using it"
            raise JournalDamaged(f"{self.path}: the journal {what}. Bring it back")
        size = size_of(log)
        if noted is not None and size < noted:
            what = "is gone" if size == 0 else f"is cut short to {size} bytes"
            raise JournalDamaged(
                f"{self.path}: its log {log.name} {what}, and with it what was recorded last"
            )

    def has_second_name(self) -> bool:
        """Under another name it would have another lock and another log: two agents would write into one file, and
        each would lose what the other wrote.
        """
        return self.path.is_file() and self.path.stat().st_nlink > 1

    def _refuse_second_name(self) -> None:
        """At the start alone: of an agent that runs, whoever made the name would stop every scan."""
        if self.has_second_name():
            raise JournalError(
                f"{self.path}: the journal's file has a second name (a hard link). Nothing was changed. Delete that"
                " name, or make it a copy (cp)"
            )


def log_noted(note: bytes) -> int | None:
    """So many bytes a journal's log has at least, by what its lock's file says; None: it is not in use."""
    return int(note) if note.strip().isdigit() else None


_LOCK_ADVICE: Final = {
    errno.EACCES: "Run it as the agent's user, or make the data directory writable",
    errno.ENOSPC: "Make room on this disk, and start the agent again",
    errno.ENOLCK: "This file system cannot lock files: give the agent a data_dir on a disk of its own",
}


def _lock_where_it_can_be(directory: int) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a network's file system locks no directories; the lock's file is locked all the same


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
    with path.open("r+b") as file:  # one that SQLite did not make would be another one than it writes
        missing = size_bytes - file.seek(0, os.SEEK_END)
        if missing > 0:
            file.write(bytes(missing))
            file.flush()
            os.fsync(file.fileno())


def _settle_log(path: Path) -> None:
    """Write every byte of the log again where it stands, and sync it: see above. What cannot be read stops here."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        while chunk := file.read(CHUNK_BYTES):
            file.seek(-len(chunk), os.SEEK_CUR)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
