"""`file://` for the camera driver: one image, a film, or a directory that images are dropped into.

A directory is read in name order and then watched. The one idea: an image is read when it has stopped changing, so
that a half-written one is never taken for an empty label; what was read is remembered (`devices.ports.seen`) by name,
size, time and inode, so that a file written anew is a new image and one that lies there is not, also when a share was
away for a while.
"""

import itertools
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from devices.driver import Frame
from devices.errors import Unavailable
from devices.ports import opencv
from devices.ports.film import Film, is_film, open_film
from devices.ports.link import Ending
from devices.ports.seen import Seen
from devices.ports.url import Port

SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".bmp", ".tif", ".tiff")
MAX_FILE_BYTES = 64 << 20
# More would make every look at the directory slow and the memory of it large: the port fails and says so.
MAX_FILES = 100_000
# How often a file that looks unfinished is looked at again (0.2 s apart) before it is given up.
PATIENCE = 10

# How a finished file ends: PNG's IEND chunk, JPEG's end-of-image marker. Some writers append a little.
_ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
_END_WITHIN = 4096


class OneImage:
    """A single image file: read, then at its end."""

    warning = None

    def __init__(self, path: Path, seen: Seen) -> None:
        self._path = path
        self._seen = seen
        self._done = False

    def next(self) -> Frame | Ending | str | None:
        """The image, then the end. Raises `Unavailable` if the file cannot be read or is no image."""
        name = printable(self._path)
        if self._done:
            self._seen.write()
            return Ending(f"{name} was read", finished=True) if self._seen.all_dealt_with else None
        try:
            version = _version(self._path.stat())
            self._done = True
            if self._seen.knows(name, version):
                return None
            data = _content(self._path)
        except (OSError, ValueError) as problem:
            raise Unavailable(f"{name} cannot be read: {_reason(problem)}") from None
        pixels = opencv.decode(data)
        if pixels is None:
            raise Unavailable(
                f"{name} is no image that can be decoded (PNG, JPEG, PGM), and its name is no film's"
            )
        self._seen.take(name, version)
        return Frame(pixels, name, version=version)

    def close(self) -> None:
        """Nothing is open between calls."""


class Directory:
    """A directory of images. With `once`, its end is the last image that is there; else it is watched for ever."""

    warning = None

    def __init__(self, path: Path, *, once: bool, seen: Seen) -> None:
        """`seen` is what was read of it already; it grows as more is."""
        self._path = path
        self._once = once
        self._seen = seen
        self._waiting: deque[tuple[str, str]] = deque()
        self._before: dict[str, str] = {}
        self._tries: dict[str, int] = {}
        self._looked, self._count = False, 0

    def next(self) -> Frame | Ending | str | None:
        """The next image, or why a file is none (text), or None when nothing new has settled."""
        self._seen.write()
        if not self._waiting and not (self._once and self._looked):
            self._look()
        while self._waiting:
            found = self._take(*self._waiting.popleft())
            if found is not None:
                return found
        return self._end() if self._once else None

    def close(self) -> None:
        """Nothing is open between calls."""

    def _end(self) -> Ending:
        shown = printable(self._path)
        if self._count:
            return Ending(f"every image in {shown} was read ({self._count})", finished=True)
        others = _others(self._path)
        return Ending(
            f"there is no image in {shown}: names must end in {', '.join(SUFFIXES)}"
            + (f"; passed over: {others}" if others else ""),
            finished=True,
            complete=False,
        )

    def _look(self) -> None:
        """Queue, in name order, what is new and the same as at the last look."""
        now = dict(_scan(self._path))
        self._looked, self._count = True, len(now)
        if len(self._seen) > 2 * MAX_FILES:
            self._seen.forget_all_but({printable(self._path / name) for name in now})
        fresh = {
            name: version
            for name, version in now.items()
            if not self._seen.knows(printable(self._path / name), version)
        }
        self._tries = {name: count for name, count in self._tries.items() if name in fresh}
        settled = [name for name in sorted(fresh) if self._once or self._before.get(name) == fresh[name]]
        self._waiting.extend((name, fresh[name]) for name in settled)
        self._before = fresh

    def _take(self, name: str, version: str) -> Frame | str | None:
        path = self._path / name
        shown = printable(path)
        try:
            data = _content(path)
        except FileNotFoundError:
            return None  # moved away since: not ours any more
        except (OSError, ValueError) as problem:
            self._seen.take(shown, version)
            return f"{shown} cannot be read: {_reason(problem)}"
        patient = not self._once and self._tries.get(name, 0) < PATIENCE
        pixels = opencv.decode(data) if _looks_whole(data) or not patient else None
        if pixels is None and patient:
            self._tries[name] = self._tries.get(name, 0) + 1
            return None
        self._seen.take(shown, version)
        self._tries.pop(name, None)
        if pixels is None:
            return f"{shown} is no image that can be decoded (PNG, JPEG, PGM): check the file"
        return Frame(pixels, shown, version=version)


def open_link(
    port: Port, options: dict[str, Any], seen: Seen, stopped: Callable[[], bool] = lambda: False
) -> OneImage | Directory | Film:
    """Find the image, the film or the directory. Raises `Unavailable` with the reason.

    `seen` outlives the link: a directory that went away and came back is not read again.
    """
    opencv.load()
    path = Path(port.path)
    shown = printable(path)
    first = seen.load()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise Unavailable(f"there is no {shown}: {_NEEDED}") from None
    except OSError as problem:
        raise Unavailable(f"{shown} cannot be opened: {_reason(problem)}") from None
    if stat.S_ISDIR(mode):
        if first and options["existing"] == "skip":
            for name, version in _scan(path):
                seen.skip(printable(path / name), version)
        return Directory(path, once=bool(options["once"]), seen=seen)
    if not stat.S_ISREG(mode):
        raise Unavailable(f"{shown} is no file: {_NEEDED}")
    return open_film(path, shown, stopped) if is_film(port.path) else OneImage(path, seen)


_NEEDED = "the path of an image, of a film, or of a directory of images is needed"


def _reason(problem: OSError | ValueError) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _others(path: Path) -> str:
    """What a directory without images holds instead, in a few words."""
    try:
        with os.scandir(path) as entries:
            names = sorted(
                entry.name for entry in itertools.islice(entries, MAX_FILES) if entry.name[0] != "."
            )
    except OSError:
        return ""
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    films = "; a film is given by its own path" if any(is_film(name) for name in names) else ""
    return f"{printable(Path(names[0]))}{more}{films}"


def printable(path: Path) -> str:
    """The path as text that can be stored and shown, also where a name is no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _version(found: os.stat_result) -> str:
    """What changes when a file is written anew."""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def _scan(path: Path) -> Iterator[tuple[str, str]]:
    """Image files by name; hidden ones are what tools write before they rename. A pipe would never end."""
    count = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count > MAX_FILES:
                    raise Unavailable(
                        f"{printable(path)} holds more than {MAX_FILES:,} files: move away those that were read"
                    )
                if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield entry.name, _version(found)
    except OSError as problem:
        raise Unavailable(f"{printable(path)} cannot be listed: {_reason(problem)}") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


def _looks_whole(data: bytes) -> bool:
    for start, end in _ENDS.items():
        if data.startswith(start):
            return end in data[-_END_WITHIN:]
    return bool(data)
