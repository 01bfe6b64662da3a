"""What a driver is.

A driver is pure: bytes (or pixels) and the time go in, reads and bytes to send come out. It opens nothing, waits for
nothing and asks no clock, so that a test can hand it one byte at a time, a megabyte of noise or an hour of silence.
There are two kinds, by what a port delivers.

A byte driver that only listens overrides `feed` and nothing else. One that talks says with `due_ns` when it wants to
be woken, and tells how the conversation goes in three attributes: `ready`, `warning` and `fault`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from devices.options import Option
from devices.reads import Moment, Read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outcome = Literal["ok", "reject", "duplicate"]
"""The same three outcomes that the station's screen shows."""

MAX_OUTPUT = 4096
"""What a driver may have to send at once, in bytes. A driver sends commands, never data: more is a defect."""


class ByteDriver:
    """Decodes a stream of bytes, and talks back where its device listens. Its buffer is bounded."""

    OPTIONS: ClassVar[tuple[Option, ...]] = ()
    """What the port URL may say to this driver."""
    BAUDS: ClassVar[tuple[int, ...]] = (9600,)
    """On a serial line whose URL names no speed: what is tried, in turn, while nothing answers."""
    MAX_FRAME: ClassVar[int]
    """Bytes of the longest frame that it takes. It never holds more than twice as much."""
    ASK: ClassVar[bytes] = b""
    """A question that changes nothing in the device; its answer sets `model`. Empty: it cannot be asked."""

    def __init__(self, device: str, **_options: Any) -> None:
        self.device = device
        """The name that its reads carry."""
        self.model: str | None = None
        """What the device says it is, once it said so."""
        self.ready = True
        """Whether it can read now. A driver that must start its device first is not ready until that is done."""
        self.warning: str | None = None
        """It works, but somebody should look: why."""
        self.fault: str | None = None
        """It cannot work like this: why, and what to do. The port is closed, and opened again after a while."""
        self._output = bytearray()

    # --- what a driver does -----------------------------------------------------------------------------------

    def describe(self, description: bytes) -> None:
        """What the system knows of the device, told before `open` where a port can ask: a HID report descriptor;
        empty: nothing.
        """

    def open(self, now: Moment) -> None:
        """The port was opened on a device that may be in any state. Begin anew; what was known of it is void."""

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """What these bytes complete."""
        raise NotImplementedError

    def due_ns(self) -> int | None:
        """When `tick` wants to be called, on the monotonic clock; None: never."""
        return None

    def tick(self, now: Moment) -> list[Read]:
        """The time has come. It may be called too early or too late: only `now` counts."""
        return []

    def feedback(self, outcome: Outcome, now: Moment) -> None:
        """Let the device beep or light, if it can and is set to. What cannot be sent soon is dropped."""

    def goodbye(self) -> bytes:
        """What to send before the port is closed on purpose, such as a stop; sent if it can be sent at once."""
        return b""

    def close(self, now: Moment) -> list[Read]:
        """The stream ended; what is half read is reported and forgotten, so that it joins nothing that follows."""
        return []

    # --- what is to be sent -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Have these bytes sent, after those that wait already."""
        self._output += data
        assert len(self._output) <= MAX_OUTPUT, "a driver that sends without end"

    def output(self) -> bytes:
        """Take what is to be sent. Called by whoever owns the port, after every call of the driver."""
        if not self._output:
            return b""
        data = bytes(self._output)
        self._output.clear()
        return data


def earliest(*times_ns: int | None) -> int | None:
    """The first of these instants, those that are None left out."""
    return min((time_ns for time_ns in times_ns if time_ns is not None), default=None)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image, as grey levels."""

    pixels: "NDArray[np.uint8]"
    source: str | None
    """The file it came from."""
    live: bool = False
    """One of a moving picture: a code is reported when it comes into view, not in every frame."""
    version: str | None = None
    """Of the file: another one when it is written anew."""
    at_ns: int | None = None
    """Its place in a film, which decides what is in view; None: now."""


class ImageDriver(Protocol):
    """Decodes images. Called in a worker thread, one image at a time."""

    OPTIONS: ClassVar[tuple[Option, ...]]

    def __init__(self, device: str, **options: Any) -> None: ...

    @property
    def warning(self) -> str | None:
        """It works, but somebody should look: why."""

    def see(self, frame: Frame, now: Moment) -> list[Read]:
        """The codes in this image, each once."""

    def close(self) -> None:
        """The images ended: let go of what helps to decode them. Another one may still come."""


Driver = ByteDriver | ImageDriver
