"""A barcode scanner in HID POS mode: reports of 64 bytes, as many as a code needs.

Facts: Access-IS LSR118 manual, page 68: report id 02, length, AIM id, 56 bytes of data, a further code id, a reserved
byte, and in the last byte whether more follows. Zebra's and Honeywell's scanners have the same shape.
"""

import random
from collections.abc import Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

REPORT: Final = 0x02
REPORT_BYTES: Final = 64
DATA_BYTES: Final = 56
_MORE: Final = 1
_NO_ID: Final = b"\0\0\0"
# The further code id, where this scanner has one: letters of Honeywell's.
_CODE_IDS: Final[Mapping[str, bytes]] = {
    "]E0": b"d",
    "]E4": b"D",
    "]C1": b"I",
    "]C0": b"j",
    "]Q1": b"s",
    "]d2": b"w",
}


def reports(code: bytes, symbology: str = "") -> list[bytes]:
    """All the reports of one code."""
    pieces = [code[at : at + DATA_BYTES] for at in range(0, len(code), DATA_BYTES)]
    return [
        bytes([REPORT, len(piece)])
        + (symbology.encode("ascii") or _NO_ID)
        + piece.ljust(DATA_BYTES, b"\0")
        + _CODE_IDS.get(symbology, b"\0")
        + bytes([0, _MORE if number < len(pieces) else 0])
        for number, piece in enumerate(pieces, 1)
    ]


class HidPos(Device):
    """The kind `hid-pos`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "code_id": "aim, or none: the bytes of the id are empty (usually aim)",
    }
    TERMINAL_URL: ClassVar[str] = "hidraw://{}"

    def __init__(self, rng: random.Random, *, code_id: str = "aim") -> None:
        super().__init__(rng)
        if code_id not in ("aim", "none"):
            raise ValueError(f"code_id is one of aim, none, not {code_id!r}")
        self._ids = code_id == "aim"

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """The trigger is pulled on a code."""
        assert thing.code is not None
        said = reports(thing.code.encode(), thing.aim or "" if self._ids else "")
        return [Frame(report, (thing,), part, len(said)) for part, report in enumerate(said, 1)]

    def spoils(self, stray: bytes) -> bool:
        """A report says where it begins and has its length; only one that says that more follows takes the next."""
        last = stray[-REPORT_BYTES:]
        return len(last) == REPORT_BYTES and last[0] == REPORT and last[-1] == _MORE

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """The further code id does not matter, and a host may do without empty bytes."""
        end = 5 + data[1]
        return damaged[:end] == data[:end] and len(damaged) == len(data)
