"""An agent's disk: SQLite in memory, in two layers. What can be read is not always what survives.

A commit that returned is on the disk. One that failed may be there or not: it can be read, and after a power cut it
is gone, with everything after it, unless a checkpoint with its fsync came between. `kill` ends the program and keeps
what can be read; `cut_power` keeps only what is on the disk.
"""

import random
import sqlite3
from pathlib import Path
from typing import Any, Final, NoReturn

from sync.journal.files import Files

WRITES: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Crash(BaseException):
    """The program ends here, in the middle of what it does."""


def _connection(image: bytes | None) -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    if image is None:
        raw.execute("PRAGMA user_version=1")  # without any page there is nothing to copy
    else:
        raw.deserialize(image)
    return raw


class Disk:
    """One disk. `armed` is what happens at the next commit."""

    def __init__(self, dice: random.Random, image: bytes | None = None) -> None:
        self.dice = dice
        self.raw = _connection(image)
        self.survives: bytes | None = None
        """What a power cut would leave; None: all that can be read."""
        self.armed: str | None = None
        self.broken: str | None = None
        """Why every commit fails just now."""
        self.refusals = 0
        """How often it has refused something."""
        self._before: bytes | None = None

    def _refuse(self, why: str) -> NoReturn:
        self.refusals += 1
        raise sqlite3.OperationalError(why)

    def image(self) -> bytes:
        """A copy of all that can be read."""
        assert not self.raw.in_transaction
        return self.raw.serialize()

    def kill(self) -> None:
        """The program is gone, the machine is not."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")
        self._before = self.armed = None

    def cut_power(self) -> None:
        """The machine is gone, and what had not reached the disk."""
        self.kill()
        if self.survives is not None:
            self.raw = _connection(self.survives)
            self.survives = None

    def set_back(self, image: bytes) -> None:
        """The disk as it was."""
        self.kill()
        self.survives = None
        self.raw = _connection(image)

    def write_again(self) -> None:
        """All that can be read is written once more, and synced."""
        if self.broken:
            self._refuse(self.broken)
        self.survives = None

    def move(self) -> None:
        """All that can be read is copied to a new file; a full disk has no room for one."""
        if self.broken is not None and "full" in self.broken:
            self._refuse(self.broken)
        self.broken = self.survives = None

    # --- what the program asks -------------------------------------------------------------------

    def execute(self, statement: str, parameters: Any, *, many: bool = False) -> sqlite3.Cursor:
        """A statement as the driver runs it, with a commit where SQLite commits."""
        run = self.raw.executemany if many else self.raw.execute
        if statement == "BEGIN IMMEDIATE" and self.armed == "half":
            self._before = self.image()
        if statement.startswith("PRAGMA wal_checkpoint"):
            self.write_again()
        elif statement == "COMMIT" or (not self.raw.in_transaction and statement.startswith(WRITES)):
            return self._commit(lambda: run(statement, parameters))
        return run(statement, parameters)

    def _commit(self, do: Any) -> sqlite3.Cursor:
        armed, self.armed = self.armed, None
        if self.broken:
            self._refuse(self.broken)
        if armed == "refused":
            self._refuse("disk I/O error")
        if armed == "before":
            raise Crash
        before = self._before
        if armed == "half" and before is None:
            before = self.image()
        cursor: sqlite3.Cursor = do()
        self._before = None
        if armed == "after":
            raise Crash
        if armed == "half":
            if self.survives is None and self.dice.random() < 0.7:
                self.survives = before
            self._refuse("disk I/O error (fsync)")
        return cursor


class Handle:
    """As much of a `sqlite3.Connection` as the store asks for."""

    def __init__(self, disk: Disk) -> None:
        self._disk: Disk | None = disk

    def close(self) -> None:
        if self._disk is not None and self._disk.raw.in_transaction:
            self._disk.raw.execute("ROLLBACK")
        self._disk = None

    @property
    def in_transaction(self) -> bool:
        return self._disk is not None and self._disk.raw.in_transaction

    def cursor(self) -> "Handle":
        return self

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        if self._disk is None:
            raise sqlite3.ProgrammingError("the connection is closed")
        return self._disk.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Any) -> sqlite3.Cursor:
        if self._disk is None:
            raise sqlite3.ProgrammingError("the connection is closed")
        return self._disk.execute(statement, parameters, many=True)


class DiskFiles(Files):
    """The file port of a store, on such a disk."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(Path("/nowhere/journal.db"), ballast_bytes=0)
        self.disk = disk

    def lock(self) -> None:
        """There is one program on a disk."""

    def unlock(self) -> None:
        """As above."""

    def connect(self) -> Any:
        """The log is written again before it is believed, as the real port does: what can be read survives then."""
        self.disk.write_again()
        return Handle(self.disk)

    def connect_reader(self) -> Any:
        return Handle(self.disk)

    def inspect(self, *_: object) -> None:
        """It is sound."""

    def prepare_log(self) -> None:
        """In memory there is none."""

    def is_in_place(self) -> bool:
        return True

    def is_named(self) -> bool:
        return True

    def free_bytes(self) -> int:
        return 1 << 40

    def move(self, source: Any = None) -> Path:
        """A new file may take what the old one refuses."""
        self.disk.move()
        return self.path.with_suffix(".old")
