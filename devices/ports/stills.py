"""Stills: the picture in which a code was read, kept for the day when somebody disputes it.

The one idea: a still may cost anything but a read. Its name is settled when the code is read and goes with the read;
it is written later, in a thread of its own, and whatever the disk does then (slow, full, read-only, gone), the camera
goes on reading and a warning says what is missing.

Bounded three ways: so many of one camera, so many megabytes of them, and none at all while the disk has less than
`SPARE_MB` left, which belong to the journal. The oldest goes first. Other files in the directory are not touched.
"""

import hashlib
import os
import queue
import re
import shutil
import stat
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.driver import Frame
from devices.ports import opencv
from devices.reads import BarcodeRead, Read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPARE_MB = 256
# Stills that wait to be written; a disk that is slower than this misses some.
MAX_WAITING = 4
# How long the end of a session waits for them.
CLOSE_S = 2.0
# 90 of 100: about 100 KiB for 1280×720, and every bar is where it was.
_QUALITY = 90
_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    pixels: "NDArray[np.uint8]"


class Stills:
    """The stills of one camera, for one session."""

    def __init__(self, device: str, directory: Path, *, most: int, most_mb: int) -> None:
        self._device = _NO_NAME.sub("_", device)[:64]
        self._directory = directory
        self._most, self._most_bytes = most, most_mb << 20
        # Their names: time first, so that their order is that of their names; of the code, only a hash.
        self._ours = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{6}}Z-{re.escape(self._device)}-[0-9a-f]{{16}}\.jpg")
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_WAITING)
        self._writer: threading.Thread | None = None
        self._closing = False
        self._missed = 0
        self._kept: deque[tuple[str, int]] | None = None
        self._bytes = 0
        self._open_to_others = False
        self._problem: str | None = None

    @property
    def warning(self) -> str | None:
        """What somebody should look at."""
        missed = f"{self._missed} stills were not kept: the disk is too slow" if self._missed else None
        exposed = (
            f"others may look into {self._directory}: chmod 700 {self._directory}"
            if self._open_to_others
            else None
        )
        return "; ".join(filter(None, (self._problem, missed, exposed))) or None

    # --- in the reader's thread ---------------------------------------------------------------------------------

    def keep(self, frame: Frame, reads: Sequence[Read]) -> list[Read]:
        """The same reads, each with the name of the still that is being kept; without, where that is not possible."""
        codes = [read for read in reads if isinstance(read, BarcodeRead)]
        if not codes:
            return list(reads)
        path = self._directory / self._name(codes)
        try:
            self._jobs.put_nowait(_Job(path, frame.pixels))
        except queue.Full:
            self._missed += 1
            return list(reads)
        if self._writer is None:
            # A daemon: a disk that hangs must not keep the program from ending.
            self._writer = threading.Thread(
                target=self._write_all, daemon=True, name=f"{self._device}-stills"
            )
            self._writer.start()
        return [replace(read, still=str(path)) if isinstance(read, BarcodeRead) else read for read in reads]

    def close(self) -> None:
        """Let what waits be written, for `CLOSE_S` at the most."""
        self._closing = True
        if self._writer is not None:
            with suppress(queue.Full):  # then it will see that there is no more when it has written these
                self._jobs.put_nowait(None)
            self._writer.join(CLOSE_S)

    def _name(self, codes: list[BarcodeRead]) -> str:
        at = datetime.fromtimestamp(codes[0].at, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        digest = hashlib.sha256(b"\x00".join(code.raw for code in codes)).hexdigest()[:16]
        return f"{at}-{self._device}-{digest}.jpg"

    # --- in the writer's thread ---------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while not (self._closing and self._jobs.empty()) and (job := self._jobs.get()) is not None:
            try:
                self._write(job.path, opencv.encode_jpeg(job.pixels, _QUALITY))
            except (OSError, ValueError) as problem:
                reason = getattr(problem, "strerror", None) or problem
                self._problem = f"no still could be kept in {self._directory}: {reason}"
                self._kept = None  # it may have been taken away, or another one put in its place
            else:
                self._problem = None

    def _write(self, path: Path, picture: bytes) -> None:
        if len(picture) > self._most_bytes:
            raise ValueError(
                f"a picture takes more than the {self._most_bytes >> 20} MB that they may: raise stills_mb"
            )
        kept = self._kept if self._kept is not None else self._begin()
        while kept and (len(kept) >= self._most or self._bytes + len(picture) > self._most_bytes):
            name, size = kept[0]
            with suppress(FileNotFoundError):
                (self._directory / name).unlink()
            kept.popleft()
            self._bytes -= size
        if shutil.disk_usage(self._directory).free < (SPARE_MB << 20) + len(picture):
            raise ValueError(f"less than {SPARE_MB} MB are free there")
        new = path.with_name(f".{path.name}.part")
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            with os.fdopen(fd, "wb") as file:
                file.write(picture)
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise
        kept.append((path.name, len(picture)))
        self._bytes += len(picture)

    def _begin(self) -> deque[tuple[str, int]]:
        """Look what was kept before, and make the directory."""
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._open_to_others = bool(stat.S_IMODE(self._directory.stat().st_mode) & 0o077)
        found = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                name = entry.name
                if self._ours.fullmatch(name):
                    found.append((name, entry.stat(follow_symlinks=False).st_size))
                elif name.startswith(".") and self._ours.fullmatch(name[1:].removesuffix(".part")):
                    (self._directory / name).unlink()  # a power loss came in between
        self._kept = deque(sorted(found))
        self._bytes = sum(size for _, size in found)
        return self._kept


def of_options(device: str, options: dict[str, Any]) -> Stills | None:
    """As the port's options say; None: no stills, as nobody asked for any."""
    if options.get("stills") is None:
        return None
    return Stills(device, options["stills"], most=options["stills_most"], most_mb=options["stills_mb"])
