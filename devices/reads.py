"""What a device hands over: values that say what was read, by whom and when, and nothing about what it means."""

from dataclasses import dataclass
from typing import NamedTuple

# How much of a frame that could not be read is kept for the person who looks for the reason.
MAX_SAMPLE = 64


class Moment(NamedTuple):
    """One instant on two clocks: the wall clock for people, the monotonic one for intervals."""

    unix_s: float
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class BarcodeRead:
    """One code, read once."""

    device: str
    raw: bytes
    """The frame as it came, symbology id included, terminator excluded; from a camera, the content of the symbol."""
    text: str
    """The content alone; separators are 1D hex, whatever the scanner sends for them."""
    symbology: str | None
    """The AIM id, such as `]C1`; None when the device sends none."""
    at: float
    """Unix seconds."""
    monotonic_ns: int
    source: str | None = None
    """The image file it was seen in."""
    version: str | None = None
    """Of that file: another one when it is written anew."""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Something arrived that is no read. It is shown, never turned into one."""

    device: str
    reason: str
    sample: bytes
    """Its first bytes, at most `MAX_SAMPLE`."""
    at: float


Read = BarcodeRead | BadFrame


def as_text(content: bytes) -> str:
    """UTF-8 if it is exactly that, else Latin-1, which has a character for every byte. Never raises."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
