"""Readers of 125 kHz cards: RDM6300, RDM630, ID-12, ID-20 and their kin, which only talk.

`STX, ten hex digits, two hex digits of checksum, ETX`, 9600 8N1; ID-12 and ID-20 put CR LF before the ETX. The one
idea: the reader says the same card over and over while it lies on the coil, about every 65 ms, and a worker means it
once. So a card is a read when it comes, and again only after nothing was heard of it for `again_ms`.

Sources: data sheets of RDM6300 (Seeed) and of ID-12/ID-20 (ID Innovations). The ten digits are a version byte and the
32-bit number of an EM4100 card; the checksum is the exclusive or of these five bytes. Firmware differs in the case of
the digits, and some lose the first byte after power-up: what has no STX is no read, the next repetition is.
"""

from functools import reduce
from operator import xor
from typing import ClassVar

from devices.options import Option, choice, number
from devices.reads import Moment, Read, TagRead
from devices.wire.framing import NS_PER_MS, FramedDriver

_STX, _ETX = 0x02, 0x03
_DIGITS = 12
# What may follow the digits.
_ENDS = (b"\x03", b"\r\n\x03")
_HEX = frozenset(b"0123456789ABCDEFabcdef")


class Rdm6300(FramedDriver):
    """The driver `rdm6300`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "again_ms",
            number(0, 60_000),
            300,
            "a card is read again after it was away so long; 0: every repetition is a read",
        ),
        Option(
            "number",
            choice("32", "24"),
            "32",
            "how many bits of the card make the number that is printed on it, in ten decimal digits",
        ),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (9600,)
    MAX_FRAME: ClassVar[int] = 1 + _DIGITS + 3

    def __init__(self, device: str, *, again_ms: int = 300, number: str = "32") -> None:
        super().__init__(device)
        self._again_ns = again_ms * NS_PER_MS
        self._mask = (1 << int(number)) - 1
        self._card = b""
        self._heard_ns = 0

    def open(self, now: Moment) -> None:
        """Forget what lay there: whoever opened the port has not read it."""
        super().open(now)
        self._card = b""

    def measure(self, data: bytes, at: int) -> int:
        """STX, digits, the end; what can be judged is judged at once, so that a half frame holds up nothing."""
        if data[at] != _STX:
            return -1
        digits = data[at + 1 : at + 1 + _DIGITS]
        if not _HEX.issuperset(digits):
            return -1
        tail = data[at + 1 + _DIGITS : at + 1 + _DIGITS + 3]
        for end in _ENDS:
            if tail.startswith(end):
                return 1 + _DIGITS + len(end) if _sum_of(digits) == 0 else -1
            if end.startswith(tail):
                return 0
        return -1

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A card, if it was not there a moment ago."""
        card = bytes.fromhex(frame[1:11].decode("ascii"))
        away_ns = now.monotonic_ns - self._heard_ns
        if card != self._card or away_ns >= self._again_ns:
            # The version byte is the maker's; what is printed is the number.
            text = f"{int.from_bytes(card[1:], 'big') & self._mask:010d}"
            reads.append(TagRead(self.device, frame, None, now.unix_s, now.monotonic_ns, text=text))
        self._card, self._heard_ns = card, now.monotonic_ns


def _sum_of(digits: bytes) -> int:
    """The exclusive or of all bytes, checksum included: zero if it is right."""
    return reduce(xor, bytes.fromhex(digits.decode("ascii")))
