"""Looking through OpenCV, in a process of its own (`devices.child`): cameras, streams and films.

The one idea: a picture is handed over when it is asked for, and a live source is drained all the time whether anybody
asks or not. So a slow decoder gets the newest picture there is, never one from a queue, and the processes share
nothing but a question and its answer.

Why not a thread: on real V4L2 devices `read` has been seen to wait for ever after a USB reset, a stuck thread would
keep the device open and its successor would find it busy, and FFmpeg meets files and networks here that nobody
vouches for. A hang is a killed process; so is a crash; and what FFmpeg says of a file reaches whoever asks.
"""

import ctypes
import json
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from devices.child import Child, Lost, Parent
from devices.errors import Unavailable
from devices.ports import opencv

if TYPE_CHECKING:
    import cv2
    import numpy as np
    from numpy.typing import NDArray

# How long opening may take: a USB camera needs one or two seconds, a stream its network and the next whole picture.
OPEN_S = 20
# A camera drops a picture now and then; so many in a row, this far apart, are a camera that has stopped.
MAX_MISSED, MISSED_S = 5, 0.1
# How FFmpeg opens a kind of source. What is in a file must not make it call somebody, hence the protocols; of live
# pictures it would look at five seconds before it shows one.
_FFMPEG = {
    "film": "protocol_whitelist;file",
    "pipe": "protocol_whitelist;file|analyzeduration;1000000",
    "http": "protocol_whitelist;http,tcp|analyzeduration;1000000",
    "rtsp": "protocol_whitelist;rtsp,rtp,udp,tcp|rtsp_transport;tcp",
}
# Of networks it must say more than errors: that a password is wrong is a warning (AV_LOG_WARNING, libavutil/log.h).
_MORE_WORDS = {"OPENCV_FFMPEG_DEBUG": "1", "OPENCV_FFMPEG_LOGLEVEL": "24"}
_PICTURE, _END = b"P", b"E"
_HEAD = struct.Struct("!cIId")  # what follows, width, height, position (s)


@dataclass(frozen=True, slots=True)
class Source:
    """What is looked at, and how."""

    kind: str
    """device: by V4L2; pipe, rtsp, http: a stream, by FFmpeg; film: a file, every picture in order."""
    address: str
    """The path of a device, pipe or file, or a URL; it may hold a password and goes to the child alone."""
    width: int | None = None
    height: int | None = None
    fps: int | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an open source says of itself; 0 or empty where it does not."""

    width: int
    height: int
    fps: float
    format: str
    pictures: int
    """A film's number of them. Some containers know it, of others it is an estimate."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, as grey levels."""

    pixels: "NDArray[np.uint8]"
    position_s: float
    """Its place in a film."""


@dataclass(frozen=True, slots=True)
class End:
    """There are no more pictures."""

    pictures: int = 0
    """A film's, that were handed over …"""
    damaged: int = 0
    """… and that could not be decoded."""
    said: str | None = None
    """The last thing that FFmpeg said."""
    problem: str | None = None


class Looks(Protocol):
    """What delivers pictures: an `Eye`, or a test's own."""

    facts: Facts

    def look(self, timeout_s: float) -> Picture | End:
        """The next picture of a film, the newest of a live source. Raises as `Child.ask` does."""

    def close(self) -> None:
        """Let go. May be called twice."""


class Eye:
    """An open source."""

    def __init__(self, source: Source, *, what: str, stopped: Callable[[], bool]) -> None:
        """Open it. Raises `Unavailable` with what is known of the reason, and `Stopped`."""
        self._stopped = stopped
        try:
            self._child = Child(__name__, what=what)
        except Lost as problem:
            raise Unavailable(f"{what} cannot be opened: {problem}") from None
        try:
            request = json.dumps({name: getattr(source, name) for name in source.__slots__}).encode()
            answer = json.loads(bytes(self._child.ask(request, timeout_s=OPEN_S, stopped=stopped)))
        except Lost as problem:
            self._child.close()
            raise Unavailable(f"{what} cannot be opened: {problem}") from None
        except BaseException:  # whatever it is, nobody else could end the process
            self._child.close()
            raise
        if "failed" in answer:
            # Said before the answer was written, but it may have to be read still.
            said = self._child.said or answer["failed"]
            self._child.close()
            raise Unavailable(f"{what} cannot be opened: {said}")
        self.facts = Facts(**answer)

    def look(self, timeout_s: float) -> Picture | End:
        """As `Looks`."""
        import numpy as np  # noqa: PLC0415 - only sites with cameras have it installed

        answer = self._child.ask(b"", timeout_s=timeout_s, stopped=self._stopped)
        if bytes(answer[:1]) == _END:
            return End(**json.loads(bytes(answer[1:])), said=self._child.said)
        _, width, height, position_s = _HEAD.unpack_from(answer)
        pixels = np.frombuffer(answer, np.uint8, offset=_HEAD.size).reshape(height, width)
        return Picture(pixels, position_s)

    def close(self) -> None:
        """As `Looks`."""
        self._child.close()


# --- in the child ----------------------------------------------------------------------------------------------


def main(parent: Parent) -> None:
    """The first request names the source, each one after it asks for a picture."""
    source = Source(**json.loads(parent.wait()))
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _FFMPEG.get(source.kind, "")
    if source.kind in ("http", "rtsp"):
        os.environ.update(_MORE_WORDS)
    opencv.load()
    opened = _open(source)
    if isinstance(opened, str):
        ctypes.CDLL(None).fflush(None)  # these words wait in the buffer of C's standard output
        parent.answer(json.dumps({"failed": opened}).encode())
        parent.wait()
        return
    capture, facts = opened
    retrieve = (
        _packets(capture) if source.kind != "device" and facts["format"] == "MJPG" else _pictures(capture)
    )
    parent.answer(json.dumps(facts).encode())
    if source.kind == "film":
        play(capture, retrieve, parent)
    else:
        watch(capture, retrieve, parent)
    parent.wait()


_NOT_OPENED = (
    "it is no camera, it delivers something else than pictures (of a camera's nodes, take index0), or another program"
    " uses it"
)


def _open(source: Source) -> "tuple[cv2.VideoCapture, dict[str, Any]] | str":
    import cv2  # noqa: PLC0415 - imported in the process that looks, and nowhere else

    asked: list[int] = []
    if source.kind == "device":
        backend = cv2.CAP_V4L2
        # The format first: it decides which sizes there are, and both which speeds.
        wishes = (
            (cv2.CAP_PROP_FOURCC, source.format and cv2.VideoWriter.fourcc(*source.format)),
            (cv2.CAP_PROP_FRAME_WIDTH, source.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, source.height),
            (cv2.CAP_PROP_FPS, source.fps),
        )
        asked = [int(number) for name, value in wishes if value for number in (name, value)]
    else:
        backend = cv2.CAP_FFMPEG
    try:
        capture = cv2.VideoCapture(source.address, backend)
    except cv2.error as problem:
        return str(problem.err)
    if not capture.isOpened():
        return _NOT_OPENED if source.kind == "device" else "nothing there that FFmpeg knows as pictures"
    for name, value in zip(asked[::2], asked[1::2], strict=True):
        capture.set(name, value)  # what came of it is seen in the pictures
    code = max(0, int(capture.get(cv2.CAP_PROP_FOURCC)))
    text = code.to_bytes(8, "little")[:4].decode("latin-1").strip("\x00 ")
    numbers = {
        "width": capture.get(cv2.CAP_PROP_FRAME_WIDTH),
        "height": capture.get(cv2.CAP_PROP_FRAME_HEIGHT),
        "pictures": capture.get(cv2.CAP_PROP_FRAME_COUNT),
    }
    facts = {name: int(value) if 0 < value < 1 << 31 else 0 for name, value in numbers.items()}
    fps = capture.get(cv2.CAP_PROP_FPS)
    return capture, {
        **facts,
        "fps": fps if 0 < fps < 1000 else 0.0,
        "format": text.upper() if text.isprintable() else "",
    }


Retrieve = Callable[[], "NDArray[np.uint8] | None"]


def _pictures(capture: "cv2.VideoCapture") -> Retrieve:
    def retrieve() -> "NDArray[np.uint8] | None":
        fetched, image = capture.retrieve()
        return opencv.grey(image.astype("uint8", copy=False)) if fetched and image is not None else None

    return retrieve


def _packets(capture: "cv2.VideoCapture") -> Retrieve:
    """Motion JPEG, taken apart by ourselves: OpenCV would scale every picture to the size of the first, and decode
    those that nobody asks for.
    """
    import cv2  # noqa: PLC0415 - see above

    capture.set(cv2.CAP_PROP_FORMAT, -1)

    def retrieve() -> "NDArray[np.uint8] | None":
        fetched, packet = capture.retrieve()
        return opencv.decode(packet.tobytes()) if fetched and packet is not None else None

    return retrieve


def watch(capture: "cv2.VideoCapture", retrieve: Retrieve, parent: Parent) -> None:
    """Drain a live source until it stops; answer with what was fetched last."""
    missed, wanted = 0, False
    while missed < MAX_MISSED:
        if not capture.grab():
            missed += 1
            time.sleep(MISSED_S)
            continue
        missed = 0
        wanted = wanted or parent.asked() is not None
        image = retrieve() if wanted else None
        if image is not None:
            wanted = False
            if not _hand_over(image, 0.0, parent):
                return
    if not wanted:
        parent.wait()
    _end(parent, {})


def play(capture: "cv2.VideoCapture", retrieve: Retrieve, parent: Parent) -> None:
    """A film, picture by picture, to its end."""
    import cv2  # noqa: PLC0415 - see above

    pictures = damaged = 0
    position_s = 0.0
    fps = capture.get(cv2.CAP_PROP_FPS)
    parent.wait()
    while capture.grab():
        image = retrieve()
        # Where a file has no times, its pictures are counted; time never runs back.
        told_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        counted_s = (pictures + damaged) / (fps if 0 < fps < 1000 else 25.0)
        position_s = max(position_s, told_s if told_s > 0 else counted_s)
        if image is None:
            damaged += 1
            continue
        pictures += 1
        if not _hand_over(image, position_s, parent):
            return
        parent.wait()
    _end(parent, {"pictures": pictures, "damaged": damaged})


def _hand_over(image: "NDArray[np.uint8]", position_s: float, parent: Parent) -> bool:
    height, width = image.shape
    if height * width > opencv.MAX_PIXELS:
        _end(parent, {"problem": f"pictures of {width}×{height} are more than {opencv.MAX_PIXELS:,} pixels"})
        return False
    parent.answer(_HEAD.pack(_PICTURE, width, height, position_s), image.reshape(-1).data)
    return True


def _end(parent: Parent, what: dict[str, Any]) -> None:
    parent.answer(_END + json.dumps(what).encode())
