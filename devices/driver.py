"""What a driver is.

A driver is pure: bytes (or pixels) and the time go in, reads come out. It opens nothing and waits for nothing, so
that a test can hand it one byte at a time or a megabyte of noise. There are two kinds, by what a port delivers.
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


class ByteDriver(Protocol):
    """Decodes a stream of bytes. Its buffer is bounded; what exceeds it becomes one `BadFrame`."""

    OPTIONS: ClassVar[tuple[Option, ...]]

    def __init__(self, device: str, **options: Any) -> None: ...

    @property
    def idle_ms(self) -> int | None:
        """After how long without a byte `idle` is to be called; None: never."""

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """What these bytes complete."""

    def idle(self, now: Moment) -> list[Read]:
        """No byte came for `idle_ms`."""

    def close(self, now: Moment) -> list[Read]:
        """The stream ended; what is half read is reported and forgotten, so that it joins nothing that follows."""

    def feedback(self, outcome: Outcome) -> bytes:
        """What to send so that the device shows the outcome; empty when it cannot or shall not."""


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


class ImageDriver(Protocol):
    """Decodes images. Called in a worker thread, one image at a time."""

    OPTIONS: ClassVar[tuple[Option, ...]]

    def __init__(self, device: str, **options: Any) -> None: ...

    def see(self, frame: Frame, now: Moment) -> list[Read]:
        """The codes in this image, each once."""


Driver = ByteDriver | ImageDriver
