"""Looking with ZBar, in a process of its own (`devices.child`), because that library crashes on real pictures.

The one idea: it is a guest. It has until its deadline and is killed then; a crash costs one look. It is started again
later and later while it fails; where it cannot be had, the camera works without it and says so once. Only one picture
at a time is with it: who asks waits for the answer, so nothing queues.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Sequence

from devices.child import Child, Lost, Parent
from devices.vision.pixels import Image
from devices.vision.sighting import Point, Sighting
from devices.vision.symbologies import SYMBOLOGIES

# Loading it takes a few tenths of a second, once; this is the bound for a machine that is slow and busy.
START_S = 10.0
# No frame of a moving picture waits for that, nor any other after a failure: it is left to load for so long, and for
# twice as long after each further one, up to START_S.
LOADING_NS = 1_000_000_000
# After a failure: the first restart soon, for one bad picture; later ones seldom, for a library that does not fit.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 300.0
_HEAD = struct.Struct("!II")  # width, height

# ZBar's names, with the family and the AIM id that zxing-cpp gives the same symbol.
_FAMILIES = {
    "EAN13": ("EAN/UPC", "]E0"),
    "EAN8": ("EAN/UPC", "]E4"),
    "I25": ("ITF", "]I0"),
    "CODE39": ("Code 39", "]A0"),
}


class SecondOpinion:
    """ZBar, kept running. For one thread."""

    def __init__(
        self,
        wanted: Iterable[str],
        *,
        clock_ns: Callable[[], int],
        module: str = __name__,
    ) -> None:
        """`module` has the `main` that runs in the child."""
        self._wanted = _names(frozenset(wanted))
        self._module = module
        self._clock_ns = clock_ns
        self._child: Child | None = None
        self._greeted = False
        self._failures = 0
        self._not_before_ns = self._loaded_ns = 0
        self._missing = not self._wanted
        self.warning: str | None = None
        """Why there is none, and what to do."""

    def start(self) -> None:
        """Have it started, if it is not running; does not wait for it."""
        if self._child is not None or self._missing or self._clock_ns() < self._not_before_ns:
            return
        try:
            self._child = Child(self._module, what="zbar")
            self._greeted = False
            loading_ns = LOADING_NS << min(16, max(0, self._failures - 1))
            self._loaded_ns = self._clock_ns() + min(int(START_S * 1e9), loading_ns)
        except Lost as problem:
            self._fail(problem)

    def look(self, image: Image, *, timeout_s: float, patient: bool = True) -> list[Sighting]:
        """What it finds, in pixels of this image; nothing where it cannot be asked. Never raises. `patient`: wait
        until it is loaded, if this is its first picture.
        """
        self.start()
        waits = patient and not self._failures
        if self._child is None or not (waits or self._greeted or self._clock_ns() >= self._loaded_ns):
            return []
        try:
            if not self._greeted and not self._greet(self._child, START_S if waits else timeout_s):
                return []
            height, width = image.shape
            answer = bytes(self._child.ask(_HEAD.pack(width, height), _flat(image), timeout_s=timeout_s))
            found = _sightings(answer)
        except Lost as problem:
            self._fail(problem)
            return []
        if self._failures:
            self._failures, self.warning = 0, None
        return found

    def _greet(self, child: Child, timeout_s: float) -> bool:
        """Tell it what is wanted; False: it cannot be had on this machine."""
        reason = bytes(child.ask(json.dumps(self._wanted).encode(), timeout_s=timeout_s)).decode()
        self._greeted, self._missing = True, bool(reason)
        if self._missing:
            self.warning = (
                f"the camera works without its second opinion, ZBar ({reason}): install pyzbar, with"
                " pip install 'tallyman[camera]', and the system's libzbar (Debian: apt-get install libzbar0)"
            )
            self.close()
        return not self._missing

    def _fail(self, problem: Lost) -> None:
        delay_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._not_before_ns = self._clock_ns() + int(delay_s * 1e9)
        self.warning = f"no second opinion by ZBar for now: {problem}; it is started again"
        self.close()

    def close(self) -> None:
        """Let go of it. It is started again when it is asked again."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _names(wanted: frozenset[str]) -> list[str]:
    """What ZBar is asked for: names that stand for nothing but what is wanted."""
    behind: dict[str, set[str]] = {}
    for name, row in SYMBOLOGIES.items():
        if row.zbar is not None:
            behind.setdefault(row.zbar, set()).add(name)
    return [zbar for zbar, names in behind.items() if names <= wanted]


def _flat(image: Image) -> memoryview:
    import numpy as np  # noqa: PLC0415 - only sites with cameras have it installed

    return np.ascontiguousarray(image).reshape(-1).data


def _sightings(answer: bytes) -> list[Sighting]:
    """Raises `Lost`: who has run wild once answers anything."""
    try:
        return [_sighting(*row) for row in json.loads(answer)]
    except (ValueError, TypeError, KeyError):
        raise Lost(f"its process answers nonsense ({answer[:40]!r})") from None


def _sighting(kind: str, content: str, points: Sequence[Sequence[float]]) -> Sighting:
    family, aim = _FAMILIES[kind]
    text = content
    if family == "ITF" and _check_digit_holds(text):
        aim = "]I1"
    quad = _around(points)
    return Sighting(family, False, text.encode("ascii"), text, aim, quad)


def _around(points: Sequence[Sequence[float]]) -> tuple[Point, Point, Point, Point]:
    """The smallest box around the ends of the scan lines. Upright, it would make a single line at an angle tall."""
    import cv2  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    corners = cv2.boxPoints(cv2.minAreaRect(np.array(points or [(0, 0)], np.float32)))
    first, second, third, fourth = ((float(x), float(y)) for x, y in corners)
    if math.dist(first, second) < math.dist(second, third):
        return second, third, fourth, first
    return first, second, third, fourth


def _check_digit_holds(digits: str) -> bool:
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits))) % 10 == 0


# --- in the child ----------------------------------------------------------------------------------------------


def main(parent: Parent) -> None:
    """The first request names the symbologies, each one after it is a picture."""
    wanted = json.loads(parent.wait())
    try:
        from pyzbar import pyzbar  # type: ignore[import-untyped]  # noqa: PLC0415 - loads the system's library
    except ImportError as problem:
        parent.answer(str(problem).encode())
        return
    symbols = [pyzbar.ZBarSymbol[name] for name in wanted]
    parent.answer(b"")
    while True:
        request = parent.wait()
        width, height = _HEAD.unpack_from(request)
        found = pyzbar.decode((request[_HEAD.size :], width, height), symbols=symbols)
        rows = [
            (code.type, code.data.decode("ascii"), [(point.x, point.y) for point in code.polygon])
            for code in found
            if code.data.isascii()
        ]
        parent.answer(json.dumps(rows).encode())
