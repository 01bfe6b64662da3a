"""`file://` for the camera driver: a film, as fast as it is decoded.

The one idea: a film has its own time. Every picture of it is looked at, in order, and carries its place in the film,
so that "in view" means the same as it did when it was filmed. A film that holds less than it promises says so at its
end: what was read of it stands, and how far that was.
"""

import os
from collections.abc import Callable
from pathlib import Path

from devices.child import Lost, Stopped
from devices.driver import Frame
from devices.errors import Unavailable
from devices.ports.eye import End, Eye, Looks, Source
from devices.ports.link import Ending

# By these names a file is a film, and is no image.
SUFFIXES = (
    ".avi",
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".mjpeg",
    ".mjpg",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".3gp",
    ".wmv",
    ".ogv",
)
# The longest that the next picture may take to come from a disk; a network share may be slow to wake up.
PICTURE_S = 30
# How much of its time a film may lack at its end without being called cut short: what a container tells is rounded,
# and may be an estimate.
_LACKING_S, _LACKING_SHARE = 0.25, 0.02


def is_film(path: str) -> bool:
    """Whether the file of this name is a film."""
    return path.lower().endswith(SUFFIXES)


class Film:
    """A film, from its beginning to its end."""

    warning = None

    def __init__(self, eye: Looks, name: str) -> None:
        self._eye, self._name = eye, name
        self._position_s = 0.0
        self._over: Ending | None = None

    def next(self) -> Frame | Ending | str | None:
        """The next picture."""
        if self._over is not None:
            return self._over
        try:
            seen = self._eye.look(PICTURE_S)
        except Stopped:
            return None
        except Lost as problem:
            self._over = self._broken(f"cannot be read beyond {self._position_s:.1f} s: {problem}")
            return self._over
        if isinstance(seen, End):
            self._over = self._end(seen)
            return self._over
        self._position_s = seen.position_s
        place = f"{self._name}#t={seen.position_s:.2f}"  # W3C Media Fragments 4.2.1: temporal, in seconds
        return Frame(seen.pixels, place, live=True, at_ns=round(seen.position_s * 1e9))

    def close(self) -> None:
        """Let go of the file."""
        self._eye.close()

    def _end(self, end: End) -> Ending:
        if end.problem is not None:
            return self._broken(f"cannot be read beyond {self._position_s:.1f} s: {end.problem}")
        facts = self._eye.facts
        length_s = facts.pictures / facts.fps if facts.fps else 0.0
        one_s = 1 / facts.fps if facts.fps else 0.0
        lacking_s = length_s - self._position_s - one_s
        all_of_it = facts.pictures or end.pictures + end.damaged
        cut = lacking_s > max(_LACKING_S, one_s, _LACKING_SHARE * length_s)
        # Only an index counts exactly; but what FFmpeg complains of is lost indeed.
        lost = end.said is not None and end.pictures < facts.pictures
        if not (cut or lost or end.damaged) and end.pictures:
            of = f" of about {facts.pictures}" if end.pictures < facts.pictures else ""
            length = f"{self._position_s + one_s:.1f} s"
            return Ending(f"{self._name} was read: {end.pictures}{of} pictures, {length}", finished=True)
        where = f", the last one at {self._position_s:.1f} s" if end.pictures else ""
        of = f" of {length_s:.1f} s" if cut else ""
        return self._broken(
            f"is {'cut short' if cut else 'damaged'}: {end.pictures} of its {all_of_it} pictures could be decoded"
            f"{where}{of}{f' ({end.said})' if end.said else ''}"
        )

    def _broken(self, how: str) -> Ending:
        return Ending(f"{self._name} {how}", finished=True, complete=False)


def open_film(path: Path, name: str, stopped: Callable[[], bool]) -> Film:
    """Open it. Raises `Unavailable` with the reason. `name` is the path as it can be shown."""
    try:
        # OpenCV does not tell why it cannot open a file.
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as problem:
        raise Unavailable(f"{name} cannot be opened: {problem.strerror or problem}") from None
    try:
        return Film(Eye(Source("film", str(path)), what=name, stopped=stopped), name)
    except Unavailable as problem:
        raise Unavailable(f"{problem}: it is damaged, cut short, or no film") from None
