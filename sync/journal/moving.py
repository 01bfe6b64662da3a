"""A journal gets a new file: the old one's disk blocks fail, or the operator gave his word for a damaged one.

The one idea: at every moment exactly one file counts, and which one is told by names alone, so that a power
loss in between is finished at the next start.

    journal.db.moving  a copy that is being made; means nothing, and is thrown away
    journal.db.moved   the whole copy, synced. It counts from now on, whatever is called journal.db: nothing was
                       recorded there since, and somebody may have put another file in its place
    journal.db.old-1   the old file, kept aside with its log; never used again. A damaged one: damaged-1

The log goes after its file and before the new one comes: SQLite would play the log of the old file into the new.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from sync.journal.directory import index_of, log_of, sync_directory, unused, uri_of
from sync.journal.recorded import JournalDamaged

WORDS: Final = ("old", "damaged")

# Both files must agree on this after a copy: one row for each start of the agent (of whose keys the upper
# bits are the number, see `layout.py`), and in it every way to lose an event or a part of one. Other
# tables are small.
_EVENTS: Final = (
    "SELECT key >> 40, count(*), min(key), max(key), sum(key & 0xFFFFFF), sum(length(text)), sum(recorded_ms),"
    " count(outcome), sum(outcome) FROM event GROUP BY 1 ORDER BY 1"
)


def copy_for(path: Path) -> Path:
    """Where a copy of this journal is made. What is left of an earlier one is thrown away."""
    discard(moving := path.with_name(f"{path.name}.moving"))
    return moving


def discard(moving: Path) -> None:
    """Throw away a copy that does not count, with its log: on a full disk their room is needed."""
    for remains in (moving, log_of(moving), index_of(moving)):
        remains.unlink(missing_ok=True)


def copy(source: sqlite3.Connection, path: Path) -> Path:
    """A copy of all that the connection can read, in a new file in the same directory, synced and compared.

    Raises:
        sqlite3.Error, OSError: the old file cannot be read, or the directory takes no writes.
        JournalDamaged: the copy is not the same.
    """
    moving = copy_for(path)
    try:
        source.execute("VACUUM INTO ?", (str(moving),))
        _sync(moving)
        _compare(source, moving)
    except BaseException:
        discard(moving)
        raise
    return moving


def announce(moving: Path, path: Path) -> None:
    """The copy counts from now on. `finish` gives it the journal's name.

    Raises:
        OSError: the directory takes no writes.
    """
    _sync(moving)
    moving.replace(_moved(path))
    sync_directory(path.parent)


def is_announced(path: Path) -> bool:
    """Whether a copy counts that has not the journal's name yet."""
    return _moved(path).exists()


def finish(path: Path, word: str = WORDS[0], aside: Path | None = None) -> None:
    """Give the copy that counts the journal's name, and keep the old file aside; nothing to do when none counts.
    After a power loss or an error it is done again, and goes on from there.

    Args:
        aside: an unused name for the old file, or for what is left of it; None: it is not known who began.
    Raises:
        OSError: the directory takes no writes.
    """
    moved = _moved(path)
    if not moved.exists():
        return
    if path.exists():  # else somebody took it away, and left its log
        aside = aside or unused(path, word)
        path.replace(aside)
        sync_directory(path.parent)
    if log_of(path).exists():
        log_of(path).replace(log_of(aside or _owner_of_log(path, word)))
    index_of(path).unlink(missing_ok=True)
    sync_directory(path.parent)
    moved.replace(path)
    sync_directory(path.parent)


def kept_aside(path: Path) -> list[Path]:
    """Old files of this journal that are kept aside, newest last."""
    found = [
        file
        for file in path.parent.iterdir()
        for word in WORDS
        if file.name.startswith(f"{path.name}.{word}-") and file.name.rpartition("-")[2].isdigit()
    ]
    return sorted(found, key=lambda file: file.stat().st_ctime_ns)


def _moved(path: Path) -> Path:
    return path.with_name(f"{path.name}.moved")


def _owner_of_log(path: Path, word: str) -> Path:
    """The file that was put aside last; one that has a log already is not it."""
    aside = kept_aside(path)
    return aside[-1] if aside and not log_of(aside[-1]).exists() else unused(path, word)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _compare(source: sqlite3.Connection, moving: Path) -> None:
    made = sqlite3.connect(uri_of(moving, "ro"), uri=True, isolation_level=None)
    try:
        same = _totals(source) == _totals(made)
    finally:
        made.close()
    if not same:
        raise JournalDamaged(f"{moving}: the copy differs from the journal. The old file stays in use")


def _totals(raw: sqlite3.Connection) -> list[object]:
    tables = raw.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    small = [name for name, _ in tables if name != "event" and not name.startswith("sqlite_")]
    return [
        tables,
        *(sorted(raw.execute(f'SELECT * FROM "{name}"')) for name in small),
        raw.execute(_EVENTS).fetchall(),
    ]
