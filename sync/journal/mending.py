"""What the journal does when its disk says no: what is refused, what is tried, and what has to be shown before an OK.

The rule: **after any failed commit nobody sees OK until the file was opened anew, its log written again, and
a full checkpoint with its fsync has succeeded.** What could be read before that may never have reached the
disk.

    full       scans are refused. The ballast is given up, so that verdicts can be written and what is settled can
               be pruned. Scans are taken again when more room is free than the ballast needs; then it is made anew
    failing    (an input/output error) opened anew at each attempt. When that failed several times although the
               directory takes writes, all that can be read is copied to a new file: whole and compared, or the old
               file stays in use
    read-only, missing, damaged, defect    refused at each attempt, until one succeeds

Nothing is ever deleted to make room, and no attempt is the last. Attempts are made by whoever asks next, and
every two seconds by the journal itself (`Journal`). No clock decides anything here.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

import structlog

from sync.journal.condition import Condition, Kind, advice, kind_of, words
from sync.journal.files import CHECKPOINT_PAGES, LOG_BYTES
from sync.journal.recorded import JournalError
from sync.journal.store import Store

FIRST_MOVE: Final = 3  # failed attempts; an error of the moment needs no new file
MOVE_EVERY: Final = 30  # further ones: a copy may be large, and the disk is in trouble
# While the disk is full the log must stay within the length that it has: its pages and 24 bytes before each.
FULL_CHECKPOINT_PAGES: Final = LOG_BYTES * 3 // 4 // (4096 + 24)

log = structlog.get_logger()


class Mender:
    """What is wrong with one store's disk, and how it is brought back. Belongs to the thread of its committer."""

    def __init__(self, store: Store) -> None:
        self._store, self._files = store, store.files
        self.is_suspect = False
        """The last commit failed: what nobody was told of may stand in the file, and what was told may not."""
        self._failures = 0
        self.condition: Condition | None
        """Why scans are refused, or may be soon; None: all is well."""
        self.moved_from = ""
        """The old file, when the journal got a new one since the start; empty: it did not."""

    def open(self) -> None:
        """Open the store, on a full disk in the room of the ballast.

        Raises:
            JournalError, sqlite3.Error, OSError: it cannot be used.
        """
        try:
            self._store.open()
        except (sqlite3.Error, OSError) as error:
            self._store.close()
            if self._kind(error) != "full" or not self._files.ballast.release():
                raise
            log.error("the disk is full; the ballast is given up", file=str(self._store.path))
            self._store.open()
        self._look_at_room()

    def close(self) -> None:
        """Close the store. What has lost its name since the last commit would be gone with the connection."""
        try:
            self._keep_at_last()
        except (sqlite3.Error, OSError, JournalError) as error:
            log.error(
                "the journal's file cannot get its name again", file=str(self._store.path), error=str(error)
            )
        finally:
            try:
                self._store.close()
            except OSError as error:  # what was noted before stands
                log.error("the note of a stop is not taken", file=str(self._store.path), error=str(error))

    def _keep_at_last(self) -> None:
        """There is no other attempt. Beside somebody who reads, a log cannot be carried over, but copied."""
        try:
            self._keep_what_lost_its_name()
        except (sqlite3.Error, JournalError) as error:
            log.error(
                "the log cannot be carried over: copying it", file=str(self._store.path), error=str(error)
            )
            self.moved_from = str(self._store.rescue())
            log.error("the journal has a new file", file=str(self._store.path), old=self.moved_from)

    def mend(self, incarnation: str, last: int, committed: Callable[[], None]) -> None:
        """Bring the store back, if it is in doubt, and look whether there is room.

        Args:
            incarnation, last: what somebody was told of.
            committed: called when the store is what it says it is.
        Raises:
            Exception: not yet. `failed` is told.
        """
        if self.is_suspect:
            self._keep_what_lost_its_name()
            self._recover(incarnation, last)
            self.is_suspect = False
            self._failures = 0
            committed()
            log.warning("the journal takes writes again", file=str(self._store.path))
            if self._files.has_second_name():
                log.warning(
                    "the journal's file has a second name (a hard link): delete that name, or no agent starts",
                    file=str(self._store.path),
                )
        self._look_at_room()

    def failed(self, error: Exception) -> JournalError:
        """A commit, or an attempt to mend, failed: what those who waited are told."""
        self.is_suspect = True
        kind = self._kind(error)
        if kind == "full":
            self._release()
        text = f"{self._store.path}: not recorded ({words(error)}). {advice(kind)}. Then scan again"
        if isinstance(error, JournalError):
            text = f"{error}. Not recorded. {advice(kind)}"
        if self.condition is None or self.condition.kind != kind:
            log.error("the journal refuses", file=str(self._store.path), kind=kind, error=str(error))
        self.condition = Condition(kind, text)
        return JournalError(text)

    def _release(self) -> None:
        try:
            if self._files.ballast.release():
                log.error("the disk is full; the ballast is given up", file=str(self._store.path))
        except OSError as error:
            log.error("the ballast cannot be given up", file=str(self._store.path), error=str(error))

    def _kind(self, error: Exception) -> Kind:
        return kind_of(error, self._files.free_bytes())

    # --- a store in doubt ----------------------------------------------------------------------------------

    def _keep_what_lost_its_name(self) -> None:
        """Somebody took the file or its log away from under the open connection, which still reaches both: all of it
        gets names again before the connection is let go.
        """
        if not self._files.is_in_place():
            if self._files.is_named():
                self._store.checkpoint()
                self._files.release_log()  # all of it stands in the file
            else:
                self.moved_from = str(self._store.rescue())

    def _recover(self, incarnation: str, last: int) -> None:
        try:
            self._store.recover(incarnation, last)
        except Exception as error:
            self._failures += 1
            is_due = (self._failures - FIRST_MOVE) % MOVE_EVERY == 0
            if self._kind(error) != "failing" or not is_due:
                raise
            log.error("the file keeps failing: copying it", file=str(self._store.path), error=str(error))
            self._keep_what_lost_its_name()  # an attempt may take long
            self._store.close()
            self.moved_from = str(self._files.move())
            self._store.recover(incarnation, last)
            log.error("the journal has a new file", file=str(self._store.path), old=self.moved_from)

    # --- room ----------------------------------------------------------------------------------------------

    def _look_at_room(self) -> None:
        ballast, free = self._files.ballast, self._files.free_bytes()
        if not ballast.is_there() and free >= ballast.needed_bytes:
            try:
                ballast.make()
            except OSError as error:
                if self._kind(error) != "full":
                    raise
        if ballast.is_there():
            self._store.checkpoint_every(CHECKPOINT_PAGES)
            self.condition = None
            return
        self._store.checkpoint_every(FULL_CHECKPOINT_PAGES)
        reserve = free + self._store.unused_bytes()
        text = (
            f"{self._store.path}: the disk is full: {_mb(reserve)} MB are left, and {_mb(ballast.needed_bytes)} MB"
            f" are kept for what central says. What is recorded is kept. {advice('full')}"
        )
        self.condition = Condition("full", text, refuses=reserve < ballast.needed_bytes)


def _mb(size_bytes: int) -> int:
    return size_bytes // 1_000_000
