"""`camera://`, `rtsp://`, `mjpeg://`: live pictures.

A camera is opened by number or by path (`/dev/v4l/by-id/…` keeps its name when another camera is plugged in first).
At the path there may also be a pipe that a program writes Motion JPEG or another stream into, as `rpicam-vid` does.

The one idea: a camera that delivers nothing new is lost, whatever it says of itself. Without a picture for
`stalled_s`, or with the very same picture for `frozen_s` (sensors have noise, so no two pictures of one are alike),
the session ends with that reason, and the reader opens the camera anew. Only a picture of one shade is let be:
nothing is wrong with a camera that looks into the dark.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devices.child import Late, Lost, Stopped
from devices.driver import Frame
from devices.errors import Unavailable
from devices.ports import trust
from devices.ports.eye import End, Eye, Looks, Source
from devices.ports.link import Ending
from devices.ports.seen import Seen
from devices.ports.url import Port

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What is asked for where the URL names no size: a label fills a good part of it, and USB 2 carries it.
WIDTH, HEIGHT = 1280, 720
# A stream begins to show at its next whole picture, which may be seconds away.
FIRST_S = 15
# A picture whose grey levels differ by no more shows nothing: a cover, the dark, a white wall.
_ONE_SHADE = 16
# Frame rates are told as fractions; 29.97 is 30.
_SAME_FPS = 0.9


class Capture:
    """An open camera."""

    def __init__(
        self,
        eye: Looks,
        wishes: Source,
        *,
        what: str,
        stalled_s: int,
        frozen_s: int,
        node: str | None = None,
        caution: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`caution`: what somebody should know of it in any case."""
        self._eye, self._wishes, self._what, self._node = eye, wishes, what, node
        self._stalled_s, self._frozen_s = stalled_s, frozen_s
        self._clock = clock
        self._timeout_s: float = max(FIRST_S, stalled_s)
        self._last: NDArray[np.uint8] | None = None
        self._changed_s = clock()
        self._caution = caution
        self._refused: str | None = None
        self._blind: str | None = None

    @property
    def warning(self) -> str | None:
        """As `ImageLink`."""
        return "; ".join(filter(None, (self._refused, self._blind, self._caution))) or None

    def next(self) -> Frame | Ending | str | None:
        """The newest picture. The camera's own rate paces the calls."""
        try:
            seen = self._eye.look(self._timeout_s)
        except Stopped:
            return None
        except Late:
            return Ending(f"{self._what} has delivered no picture for {self._timeout_s:g} s{self._why()}")
        except Lost as problem:
            return Ending(f"{self._what} was lost: {problem}")
        if isinstance(seen, End):
            why = f": {seen.problem}" if seen.problem else self._why()
            delivers = "no picture" if self._last is None else "no pictures any more"
            return Ending(f"{self._what} delivers {delivers}{why}")
        self._timeout_s = self._stalled_s
        if self._last is None or self._last.shape != seen.pixels.shape:
            self._refused = self._what_was_refused(*reversed(seen.pixels.shape))
        if self._is_frozen(seen.pixels):
            return Ending(
                f"{self._what} has delivered the very same picture for {self._frozen_s} s: it hangs; if it films a"
                " screen, add frozen_s=0 to its port"
            )
        return Frame(seen.pixels, None, live=True)

    def begin(self) -> None:
        """See that it delivers at all: a camera that another program uses can be opened too. The picture is not kept,
        for there is a newer one soon. Raises `Unavailable`.
        """
        found = self.next()
        if isinstance(found, Ending):
            self.close()
            other = "; or does another program use it?" if self._wishes.kind == "device" else ""
            raise Unavailable(f"{found.reason}{other}")

    def close(self) -> None:
        """Switch it off."""
        self._eye.close()

    def _is_frozen(self, pixels: "NDArray[np.uint8]") -> bool:
        now_s, last = self._clock(), self._last
        self._last = pixels
        if last is None or last.shape != pixels.shape or bool((last != pixels).any()):
            self._changed_s, self._blind = now_s, None
            return False
        if not self._frozen_s or now_s - self._changed_s < self._frozen_s:
            return False
        if int(pixels.max()) - int(pixels.min()) <= _ONE_SHADE:
            self._blind = "it sees nothing but one shade: is it covered, or is it dark?"
            return False
        return True

    def _what_was_refused(self, width: int, height: int) -> str | None:
        """The camera chose otherwise than it was asked to: it is used as it is, and that is said."""
        wishes, facts = self._wishes, self._eye.facts
        refused = []
        if (wishes.width or width, wishes.height or height) != (width, height):
            refused.append(f"{width}×{height} instead of {wishes.width or width}×{wishes.height or height}")
        if wishes.format and facts.format and facts.format != wishes.format:
            refused.append(f"format {facts.format} instead of {wishes.format}")
        if wishes.fps and 0 < facts.fps < wishes.fps * _SAME_FPS:
            refused.append(f"{facts.fps:g} pictures a second instead of {wishes.fps}")
        return f"the camera delivers {', '.join(refused)}" if refused else None

    def _is_there(self) -> bool:
        return self._node is None or Path(self._node).exists()

    def _why(self) -> str:
        if self._node is None:
            return ": check the camera and its network"
        return ": check its cable" if self._is_there() else ": it was unplugged"


def open_link(
    port: Port, options: dict[str, Any], _seen: Seen, stopped: Callable[[], bool] = lambda: False
) -> Capture:
    """Open the camera. Raises `Unavailable` with the reason."""
    what, source = _at_a_node(port, options) if port.node is not None else _on_the_network(port, options)
    eye = Eye(source, what=what, stopped=stopped)
    asked = options if source.kind == "device" else {}
    camera = Capture(
        eye,
        Source(
            source.kind, "", asked.get("width"), asked.get("height"), asked.get("fps"), asked.get("format")
        ),
        what=what,
        stalled_s=options["stalled_s"],
        frozen_s=options["frozen_s"],
        node=port.node,
        caution=trust.warning(options),
    )
    camera.begin()
    return camera


def _at_a_node(port: Port, options: dict[str, Any]) -> tuple[str, Source]:
    path = port.node or ""
    what = f"camera {port.path}"
    try:
        mode = Path(path).stat().st_mode
    except OSError as problem:
        reason = f"there is no {path}" if isinstance(problem, FileNotFoundError) else problem.strerror
        raise Unavailable(
            f"{what} cannot be opened: {reason}: is it plugged in? See: ls -l /dev/v4l/by-id"
        ) from None
    if not os.access(path, os.R_OK | (os.W_OK if stat.S_ISCHR(mode) else 0)):
        raise Unavailable(
            f"{what} may not be opened by this user: add it to the group that owns it (often video)"
        )
    if stat.S_ISFIFO(mode):
        return what, Source("pipe", path)
    if not stat.S_ISCHR(mode):
        raise Unavailable(f"{path} is no camera; films and images are read from file://{path}")
    size = options["width"] or WIDTH, options["height"] or HEIGHT
    return what, Source("device", path, *size, options["fps"], options["format"])


def _on_the_network(port: Port, options: dict[str, Any]) -> tuple[str, Source]:
    kind = "rtsp" if port.scheme == "rtsp" else "http"
    host = f"[{port.host}]" if ":" in port.host else port.host
    path = quote(port.path or "/", safe="/?&=:;,@!$'()*+~%")
    login = trust.login_now(options)
    user = "" if login is None else f"{quote(login[0], safe='')}:{quote(login[1], safe='')}@"
    place = f"{host}:{port.number}{path}"
    return f"camera {port.scheme}://{place}", Source(kind, f"{kind}://{user}{place}")
