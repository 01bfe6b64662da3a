"""What an error of the disk means, and what a person is told of it. Pure.

The one idea: whatever went wrong is one of a few kinds, and each kind has one text that says what happened, what is
kept, and what to do. What the journal does about a kind is `mending.py`'s.
"""

import errno
import sqlite3
from pathlib import Path
from typing import Final, Literal

import msgspec

from sync.journal.recorded import JournalDamaged, JournalError

Kind = Literal["full", "read-only", "missing", "failing", "damaged", "defect"]

# A disk with less room than this is full, whatever an error calls it: SQLite reports a shared-memory file that cannot
# grow as an input/output error (SQLITE_IOERR_SHMSIZE).
NO_ROOM_BYTES: Final = 256 * 1024

_BY_SQLITE: Final[dict[int, Kind]] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CANTOPEN: "missing",
    sqlite3.SQLITE_IOERR: "failing",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
_BY_ERRNO: Final[dict[int | None, Kind]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
}
PRIMARY_CODE: Final = 0xFF  # of an extended result code (https://www.sqlite.org/rescode.html)

REPLACE: Final = "tallyman journal replace --config agent.toml"
"""The operator's word."""

_ADVICE: Final[dict[Kind, str]] = {
    "full": "Make room on this disk; it goes on by itself",
    "read-only": "Make its directory writable again; it goes on by itself",
    "missing": "Bring its directory back; it goes on by itself",
    "failing": "Check the disk; it is tried again by itself",
    "damaged": f"It is kept as it is. To put it aside and start a new one with all that can be read: {REPLACE}",
    "defect": "Check the disk; it is tried again by itself",
}

_AT_START: Final[dict[Kind, str]] = {
    "full": "Make room on this disk, and start the agent again",
    "read-only": "Make the data directory writable, and start the agent again",
    "missing": "Look whether the data directory is there, and start the agent again",
    "failing": "Check the disk, and start the agent again",
    "defect": "Check the disk, and start the agent again",
}


class Condition(msgspec.Struct, frozen=True):
    """Why the journal does not record now, or that it soon may not; for people, and for programs by its kind."""

    kind: Kind
    text: str
    refuses: bool = True
    """Whether scans are refused."""


def kind_of(error: BaseException, free_bytes: int) -> Kind:
    """What kind of trouble an error is, on a disk with so much room left."""
    if isinstance(error, JournalDamaged):
        return "damaged"
    if isinstance(error, sqlite3.Error):
        # An error that SQLite itself did not number comes from its driver: the connection is of no use any more.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
        kind = _BY_SQLITE.get(code & PRIMARY_CODE, "defect")
    elif isinstance(error, OSError):
        kind = _BY_ERRNO.get(error.errno, "failing")
    else:
        return "defect"
    return "full" if kind == "failing" and free_bytes < NO_ROOM_BYTES else kind


def words(error: BaseException) -> str:
    """What the system says of it, without its number: it stands on a page."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def advice(kind: Kind) -> str:
    """What to do about it."""
    return _ADVICE[kind]


def cannot_open(path: Path, error: Exception, free_bytes: int) -> JournalError:
    """What is said when a journal cannot be opened, as JournalDamaged or JournalError."""
    kind = kind_of(error, free_bytes)
    if isinstance(error, JournalDamaged):
        return JournalDamaged(f"{error}. {advice(kind)}")
    if isinstance(error, JournalError):
        return error
    if kind == "damaged":
        return JournalDamaged(f"{path}: the journal is damaged ({words(error)}). {advice(kind)}")
    return JournalError(
        f"{path}: the journal cannot be used ({words(error)}). What is recorded is kept. {_AT_START[kind]}"
    )
