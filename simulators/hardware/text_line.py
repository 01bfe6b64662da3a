"""A barcode scanner on a serial line: symbology id, code, terminator. It beeps on BEL and answers set-up commands.

Facts: scanner manuals (Zebra DS9808: BEL beeps; Newland HR52: commands `~ SOH 0000 @ … ; ETX` and their replies);
ISO/IEC 15424 for AIM ids; the code ids of Zebra and Honeywell scanners from their product guides.
"""

import random
import re
from collections.abc import Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

BEL: Final = 0x07
GS: Final = "\x1d"
TERMINATORS: Final[Mapping[str, bytes]] = {
    "crlf": b"\r\n",
    "cr": b"\r",
    "lf": b"\n",
    "tab": b"\t",
    "etx": b"\x03",
    "none": b"",
}
# A host may take CR and LF each for an end.
_EITHER: Final = (b"\r\n", b"\r", b"\n")
# AIM id → the maker's own letter; what is not here is sent without one.
_ZEBRA: Final[Mapping[str, str]] = {
    "]E0": "A", "]E4": "A", "]A0": "B", "]F0": "C", "]C0": "D", "]G0": "E", "]I1": "F", "]C1": "K",
    "]e0": "R", "]L2": "X", "]z0": "z", "]d1": "P00", "]Q1": "P01", "]d2": "P0G", "]Q3": "P0Q",
}  # fmt: skip
_HONEYWELL: Final[Mapping[str, str]] = {
    "]E0": "d", "]E4": "D", "]F0": "a", "]A0": "b", "]I1": "e", "]G0": "i", "]C0": "j", "]C1": "I",
    "]e0": "y", "]L2": "r", "]Q1": "s", "]d1": "w", "]d2": "w", "]z0": "z",
}  # fmt: skip
_CODE_IDS: Final[Mapping[str, Mapping[str, str] | None]] = {
    "aim": None, "none": {}, "zebra": _ZEBRA, "honeywell": _HONEYWELL,
}  # fmt: skip

# `~ SOH 0000`, `@` for good or `#` until power is lost, the command, `; ETX`.
_COMMAND: Final = re.compile(rb"~\x01(0000[@#][^;\x03]*);\x03")
_HEARD_MOST_BYTES: Final = 256
"""The longest command that is waited for."""


def line(code: str, symbology: str = "", terminator: bytes = TERMINATORS["crlf"]) -> bytes:
    """One scan as it goes over the wire; text in UTF-8."""
    return f"{symbology}{code}".encode() + terminator


class TextLine(Device):
    """The kind `text-line`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "terminator": f"what ends a line: {', '.join(TERMINATORS)} (usually crlf)",
        "prefix": "a text before each line",
        "code_id": f"how it says the symbology: {', '.join(_CODE_IDS)} (usually aim)",
        "gs": "what it sends for the separator of GS1 codes, such as | (usually 1D hex, as it is)",
    }

    def __init__(
        self,
        rng: random.Random,
        *,
        terminator: str = "crlf",
        prefix: str = "",
        code_id: str = "aim",
        gs: str = GS,
    ) -> None:
        super().__init__(rng)
        if terminator not in TERMINATORS:
            raise ValueError(f"terminator is one of {', '.join(TERMINATORS)}, not {terminator!r}")
        if code_id not in _CODE_IDS:
            raise ValueError(f"code_id is one of {', '.join(_CODE_IDS)}, not {code_id!r}")
        self._terminator, self._prefix, self._gs = TERMINATORS[terminator], prefix, gs
        self._code_ids = _CODE_IDS[code_id]
        self._heard = b""
        self.beeps = 0
        """BEL characters that the host sent."""

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """The trigger is pulled on a code."""
        assert thing.code is not None
        symbology = thing.aim or ""
        if self._code_ids is not None:
            symbology = self._code_ids.get(symbology, "")
        code = thing.code.replace(GS, self._gs)
        return [Frame(line(code, self._prefix + symbology, self._terminator), (thing,))]

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Beeps, and commands: each is answered with its own text and ACK, on the channel of the codes."""
        self.beeps += data.count(BEL)
        self._heard += data
        answers = [
            Frame(b"\x02\x01" + command[1] + b"\x06;\x03") for command in _COMMAND.finditer(self._heard)
        ]
        # Keep what may be the beginning of a command.
        self._heard = self._heard[self._heard.rfind(b"~") :] if b"~" in self._heard else b""
        if len(self._heard) > _HEARD_MOST_BYTES or _COMMAND.match(self._heard):
            self._heard = b""
        return answers

    def unplugged(self) -> None:
        """A half command is gone."""
        self._heard = b""

    def spoils(self, stray: bytes) -> bool:
        """A line has no beginning: whatever has no end becomes part of the next one."""
        if self._terminator in _EITHER:
            return not stray.endswith((b"\r", b"\n"))
        return not (self._terminator and stray.endswith(self._terminator))

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """Where CR LF ends a line, one of them is enough."""
        code = data.removesuffix(self._terminator)
        return self._terminator in _EITHER and damaged.startswith((code + b"\r", code + b"\n"))
