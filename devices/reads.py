"""What a device hands over: values that say what was read, by whom and when, and nothing about what it means."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

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
    still: str | None = None
    """The file that the picture is kept in, for disputes."""


class TagRead(msgspec.Struct, frozen=True, gc=False):
    """One sighting of a tag. Fifty tags in a field give hundreds of them a second, hence a struct: it is made in a
    fraction of the time that a dataclass takes.
    """

    device: str
    raw: bytes
    """The frame, or the part of a report, as it came."""
    epc: bytes | None
    """The EPC as it is stored in the tag, 4 to 62 bytes; None: a tag of another kind, which has `text`."""
    at: float
    """Unix seconds, when it arrived here."""
    monotonic_ns: int
    antenna: int | None = None
    """Counted from 1."""
    rssi_dbm: float | None = None
    rssi_raw: int | None = None
    """Signal strength where the reader's scale is not documented: more is stronger, and there is no unit."""
    pc: int | None = None
    """The protocol control word (Gen2 §6.3.2.1.2.2)."""
    tid: bytes | None = None
    text: str | None = None
    """What is printed on a card or tag that has no EPC."""
    frequency_khz: int | None = None
    phase_deg: float | None = None
    count: int = 1
    """How many sightings the reader put into this one."""
    seen_at: float | None = None
    """Unix seconds by the reader's own clock, which may be wrong by decades."""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Something arrived that is no read. It is shown, never turned into one."""

    device: str
    reason: str
    sample: bytes
    """Its first bytes, at most `MAX_SAMPLE`."""
    at: float


Read = BarcodeRead | TagRead | BadFrame


def as_text(content: bytes) -> str:
    """UTF-8 if it is exactly that, else Latin-1, which has a character for every byte. Never raises."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
