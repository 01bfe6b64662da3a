"""A disk that fails on order, and what it holds when the power goes: the other side of `disk_shim.c`.

disk = FailingDisk(folder)
program = subprocess.Popen(…, env={**os.environ, **disk.environment})
disk.order(SYNC, errno.EIO, match="journal.db-wal")     # from now on
disk.heal()

recording = Recording(folder, watched)
program = subprocess.Popen(…, env={**os.environ, **recording.environment})
for moment in recording.moments(): moment.lay_out(somewhere)
"""

import mmap
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.shim import preloaded

WRITE, SYNC, TRUNCATE, ALLOCATE, OPEN, READ, NAMES = (1 << bit for bit in range(7))
_ORDERS = struct.Struct("<iiiiiiQ256s")
_RECORD = struct.Struct("<c3xIIQQ")
SECTOR = 512


class FailingDisk:
    """Orders for the programs that run with `environment`; none at first."""

    def __init__(self, folder: Path) -> None:
        path = folder / "orders"
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._orders = mmap.mmap(file.fileno(), 4096)
        self.environment = {**preloaded("disk_shim"), "DISK_SHIM": str(path)}

    def order(
        self,
        calls: int,
        error: int = 0,
        *,
        match: str = "",
        inode: int = 0,
        skip: int = 0,
        times: int = -1,
        delay_ms: int = 0,
    ) -> None:
        """These calls, on files whose path has `match` or that are `inode`, take longer or fail.

        Args:
            error: an errno; 0: they succeed.
            skip: so many pass before.
            times: so many are met; -1: all from then on.
        """
        self.heal()
        content = _ORDERS.pack(0, error, delay_ms, skip, times, 0, inode, match.encode())
        self._orders[4 : len(content)] = content[4:]
        self._orders[:4] = struct.pack("<i", calls)  # last: the rest counts from here

    def heal(self) -> None:
        """It is a good disk again, also for a call that is waiting."""
        self._orders[: _ORDERS.size] = bytes(_ORDERS.size)

    @property
    def hits(self) -> int:
        """How many calls were met since the last order."""
        return int(struct.unpack_from("<i", self._orders, 20)[0])


@dataclass
class _File:
    """One inode: what programs read, and what of it the disk has."""

    cached: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    dirty: list[tuple[int, int]] = field(default_factory=list)
    """Written since the last sync, as (offset, length)."""

    def write(self, offset: int, data: bytes) -> None:
        _lay(self.cached, offset, data)
        self.dirty.append((offset, len(data)))

    def cut(self, length: int) -> None:
        for content in (self.cached, self.kept):  # a journalling file system keeps its metadata in order
            del content[length:]
            content.extend(bytes(length - len(content)))

    def sync(self, *, failed: bool) -> None:
        """After a failed one the system takes all of it for written, and none of it was."""
        if not failed:
            for offset, length in self.dirty:
                _lay(self.kept, offset, self.cached[offset : offset + length])
            self.kept.extend(bytes(max(0, len(self.cached) - len(self.kept))))
        self.dirty.clear()

    def after_power_loss(self, dice: random.Random | None) -> bytes:
        """What was synced; by the dice, also some sectors of what was not."""
        content = bytearray(self.kept)
        for offset, length in self.dirty if dice is not None else ():
            for start in range(offset - offset % SECTOR, offset + length, SECTOR):
                if dice is not None and dice.random() < 0.5:
                    _lay(content, start, self.cached[start : start + SECTOR])
        return bytes(content)


def _lay(content: bytearray, offset: int, data: bytes | bytearray) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class Moment:
    """The disk between two calls of the program."""

    def __init__(self, watched: Path) -> None:
        self._watched = watched
        self._names: dict[str, _File] = {}
        self._inodes: dict[int, _File] = {}
        self.step = 0
        self.what = ""

    def text(self, name: str) -> str:
        """What a file holds for those who read it now."""
        found = self._names.get(str(self._watched / name))
        return bytes(found.cached).decode() if found else ""

    def lay_out(self, folder: Path, dice: random.Random | None = None) -> None:
        """The files as they are after the power went now."""
        for path, file in self._names.items():
            (folder / Path(path).name).write_bytes(file.after_power_loss(dice))

    def after(self, what: str, path: str, inode: int, offset: int, data: bytes) -> None:
        """Go on by one call."""
        self.step, self.what = self.step + 1, f"{what} {Path(path).name}"
        if what == "u":
            self._names.pop(path, None)
        elif what == "r":
            if path in self._names:
                self._names[data.decode()] = self._names.pop(path)
        elif what == "o":
            if path not in self._names or self._inodes.get(inode) is not self._names[path]:
                self._names[path] = self._inodes[inode] = _File()
        elif (file := self._inodes.get(inode)) is not None:
            if what == "w":
                file.write(offset, data)
            elif what == "t":
                file.cut(offset)
            else:
                file.sync(failed=what == "f")


class Recording:
    """Everything that a program does to the files of one directory, with `environment`."""

    def __init__(self, folder: Path, watched: Path, disk: FailingDisk | None = None) -> None:
        self._watched, self._trace = watched, folder / "trace"
        self._trace.touch()
        self.environment = {
            **(disk.environment if disk is not None else preloaded("disk_shim")),
            "DISK_TRACE": str(self._trace),
            "DISK_TRACED": f"{watched}/",
        }

    def moments(self) -> Iterator[Moment]:
        """The disk after each call; the same object every time."""
        content, at, moment = self._trace.read_bytes(), 0, Moment(self._watched)
        while at < len(content):
            what, path_length, data_length, inode, offset = _RECORD.unpack_from(content, at)
            at += _RECORD.size
            path = content[at : at + path_length].decode()
            data = content[at + path_length : at + path_length + data_length]
            at += path_length + data_length
            moment.after(what.decode(), path, inode, offset, data)
            yield moment
