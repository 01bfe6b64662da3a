"""Room that is kept for hard times: a file of real blocks beside the journal, given up when the disk is full.

A full disk stops more than scans. Central's verdicts could not be written down, what is settled could not be
pruned, and the write-ahead log could not be carried into the file: the journal would be stuck with what it
has. So the room for that is taken in advance. Once it is given up, it is for these alone; scans are taken
again when there is more room than it needs.
"""

import os
from pathlib import Path
from typing import Final

from sync.journal.directory import sync_directory

# Enough for a write-ahead log that is as long as it gets before it is carried over (`files.LOG_BYTES`, 24 MB),
# and for a file that has to grow by all of it.
BALLAST_BYTES: Final = 48 * 1024 * 1024
_BLOCK_BYTES: Final = 512  # the unit of st_blocks, whatever the file system's own is (stat(2))


class Ballast:
    """The file `path`, of `size_bytes`; 0: there is none, and nothing is kept free."""

    def __init__(self, path: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._path, self.size_bytes = path, size_bytes
        self._is_made = False
        """By this process: some file systems (ZFS) set no blocks aside, and then their word is all there is."""

    @property
    def needed_bytes(self) -> int:
        """So much must be free before it is made again, or before scans may use what is free: a quarter more than it
        takes itself, lest it comes and goes with every scan.
        """
        return self.size_bytes + self.size_bytes // 4

    def is_there(self) -> bool:
        """Whether its blocks are held, all of them."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return self.size_bytes == 0
        blocks_bytes = state.st_size if self._is_made else state.st_blocks * _BLOCK_BYTES
        return min(state.st_size, blocks_bytes) >= self.size_bytes

    def make(self) -> None:
        """Take the room, durably; nothing is done when it is held already.

        Raises:
            OSError: the disk has not so much, or takes no writes. Nothing of it is left then.
        """
        if self.is_there():
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size_bytes)
            os.fsync(descriptor)
        except OSError:
            self._path.unlink()
            raise
        finally:
            os.close(descriptor)
        sync_directory(self._path.parent)
        self._is_made = True

    def release(self) -> bool:
        """Give the room back; False: it was given already."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        sync_directory(self._path.parent)
        return True
