"""`camera://`: live pictures through OpenCV.

Opened by number or by path (`/dev/v4l/by-id/…` keeps its name when another camera is plugged in first).
"""

from typing import TYPE_CHECKING, Any

from devices.driver import Frame
from devices.errors import Unavailable
from devices.ports import opencv
from devices.ports.link import Ending
from devices.ports.seen import Seen
from devices.ports.url import Port

if TYPE_CHECKING:
    import cv2

# A camera drops a frame now and then; so many in a row are a camera that has stopped.
MAX_MISSED = 5


class Capture:
    """An open camera."""

    def __init__(self, capture: "cv2.VideoCapture", *, what: str) -> None:
        self._capture = capture
        self._what = what
        self._missed = 0

    def next(self) -> Frame | Ending | str | None:
        """The next picture; None when one was missed. The camera's own rate paces the calls."""
        fetched, image = self._capture.read()
        if fetched and image is not None:
            self._missed = 0
            return Frame(opencv.grey(image.astype("uint8", copy=False)), None, live=True)
        self._missed += 1
        if self._missed < MAX_MISSED:
            return None
        return Ending(f"{self._what} delivers no pictures any more: check its cable")

    def close(self) -> None:
        """Switch it off."""
        self._capture.release()


def open_link(port: Port, _options: dict[str, Any], _seen: Seen) -> Capture:
    """Open the camera. Raises `Unavailable` with the reason."""
    opencv.load()
    import cv2  # noqa: PLC0415 - imported where a camera is opened, and nowhere else

    by_number = port.path.isdigit()
    what = f"camera {port.path}"
    try:
        capture = cv2.VideoCapture(int(port.path)) if by_number else cv2.VideoCapture(port.path)
    except cv2.error as problem:
        raise Unavailable(f"{what} cannot be opened: {problem.err}") from None
    if not capture.isOpened():
        capture.release()
        raise Unavailable(
            f"{what} cannot be opened: is it plugged in and free, and is this user in the group `video`? "
            "See: ls /dev/video*"
        )
    # One picture in the driver's queue: an old picture is worth nothing. Not every driver knows this setting.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return Capture(capture, what=what)
