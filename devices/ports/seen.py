"""Which images were read already, also before the last restart.

The one idea: an image is noted when everything that was read in it has come to its end (recorded, refused or shown as
a duplicate), never before: an image that was not dealt with is read again, one that was is not. Between the end and
the note lies a moment; a program that died in it says at its start what it has recorded (`recall`).

Images are taken and notes written in the reader's worker thread; hand-over and ends are told on the event loop.
"""

import json
import os
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path

from devices.errors import Unavailable


class Seen:
    """Path → version of each image that was read. Without a file it lasts as long as the program."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._versions: dict[str, str] = {}
        self._recalled: frozenset[tuple[str, str]] = frozenset()
        self._loaded = False
        self._taken: deque[str] = deque()
        self._handed: list[str] = []
        self._settled: deque[str] = deque()
        self._unsettled = 0

    def __len__(self) -> int:
        return len(self._versions)

    # --- in the reader's thread ----------------------------------------------------------------------------

    def load(self) -> bool:
        """Read the file, once; whether this was the time. Raises `Unavailable`: without it, everything would be read
        again.
        """
        if self._loaded:
            return False
        try:
            lines = self._file.read_bytes().splitlines() if self._file and self._file.exists() else []
        except OSError as problem:
            raise self._unusable(problem) from None
        for line in lines:
            try:
                path, version = json.loads(line)
            except (ValueError, TypeError):
                continue  # cut short by a power loss: that image was not noted
            self._versions[path] = version
        self._loaded = True
        return True

    def knows(self, path: str, version: str) -> bool:
        """Whether this image was read as it is. One that was recorded and not noted is noted with the next ones."""
        if self._versions.get(path) == version:
            return True
        if (path, version) not in self._recalled:
            return False
        self._versions[path] = version
        self._settled.append(path)
        return True

    @property
    def all_dealt_with(self) -> bool:
        """Nothing that was taken is still on its way, or nobody keeps account of it."""
        return self._file is None or not (self._taken or self._handed or self._settled)

    def take(self, path: str, version: str) -> None:
        """It is being read now."""
        self._versions[path] = version
        self._taken.append(path)

    def skip(self, path: str, version: str) -> None:
        """It is not to be read."""
        self._versions[path] = version

    def write(self) -> None:
        """Note durably what was dealt with since. Raises `Unavailable`; it is then tried again."""
        if self._file is None or not self._settled:
            self._settled.clear()
            return
        paths = list(self._settled)
        # A line of its own, whatever the last power loss left at the end of the file.
        text = "".join(f"\n{json.dumps([path, self._versions.get(path)])}\n" for path in paths)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise self._unusable(problem) from None
        for _ in paths:
            self._settled.popleft()

    def forget_all_but(self, present: Collection[str]) -> None:
        """Make room: what is not there any more need not be remembered. Raises `Unavailable`."""
        kept = {path: version for path, version in self._versions.items() if path in present}
        if self._file is not None:
            new = self._file.with_name(self._file.name + ".new")
            try:
                with new.open("wb") as file:
                    file.writelines(f"{json.dumps(item)}\n".encode() for item in kept.items())
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._file)
            except OSError as problem:
                raise self._unusable(problem) from None
        self._versions = kept

    def _unusable(self, problem: OSError) -> Unavailable:
        return Unavailable(
            f"{self._file}, which says what was read already, cannot be used: {problem.strerror or problem};"
            " check the disk"
        )

    # --- on the event loop ---------------------------------------------------------------------------------

    def recall(self, recorded: Iterable[tuple[str, str]]) -> None:
        """At start: what was read in these images (path, version) is recorded."""
        self._recalled = frozenset(recorded)

    def handed_over(self, reads: int) -> None:
        """So many reads of what was taken are on their way to whoever deals with them."""
        self._handed.extend(self._taken)
        self._taken.clear()
        self._unsettled += reads

    def settled(self) -> None:
        """One of them came to its end."""
        self._unsettled = max(0, self._unsettled - 1)
        if not self._unsettled:
            self._settled.extend(self._handed)
            self._handed.clear()
