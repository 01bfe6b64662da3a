"""Names in a directory, and what they need to be durable."""

import errno
import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from sync.journal.recorded import JournalError


def sync_directory(path: Path) -> None:
    """Make new names, and names that are gone, durable.

    Raises:
        OSError: the disk does not take it.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def make_directory(path: Path) -> None:
    """Make it, and what is missing above it, durably.

    Raises:
        OSError: the disk does not take it.
    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_directory(one.parent)


def unused(path: Path, word: str) -> Path:
    """A name beside the file that nothing has yet, no log either: NAME.WORD-1, NAME.WORD-2 …"""
    number = 1
    while _is_taken(name := path.with_name(f"{path.name}.{word}-{number}")):
        number += 1
    return name


def _is_taken(name: Path) -> bool:
    return any(one.exists() for one in (name, log_of(name), index_of(name)))


def real(path: Path) -> Path:
    """The file that has this name, whatever symbolic links lead to it: its lock and its log stand beside it.

    Raises:
        JournalError: they lead nowhere.
    """
    found = Path(os.path.realpath(path))
    try:
        found.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise JournalError(f"{path}: {error.strerror}. Let this name lead to the journal") from error
    return found


def log_of(path: Path) -> Path:
    """The write-ahead log of a database."""
    return Path(f"{path}-wal")


def index_of(path: Path) -> Path:
    """The index of that log, which means nothing without the processes that use it."""
    return Path(f"{path}-shm")


def size_of(path: Path) -> int:
    """Bytes of a file; 0: it is empty, or there is none."""
    return path.stat().st_size if path.is_file() else 0


def uri_of(path: Path, mode: Literal["ro", "rw", "rwc"]) -> str:
    """A database as SQLite is asked for it (https://www.sqlite.org/uri.html), whatever characters its name has."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"
