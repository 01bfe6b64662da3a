"""From what a scanner sends for one scan to reads: prefix, symbology id, separators, two codes in one line.

The one idea: an id is taken for one only where one can stand. `]` is legal data, and a maker's letters are the
beginning of most product numbers; so an AIM id counts at the start of a scan, and within one only behind an EAN code
that is complete, and a maker's ids count only where the site says that its scanners send them.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from devices.options import Option, choice
from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read, as_text
from devices.wire.symbologies import AIM_ID, HONEYWELL, ZEBRA, Meaning, aim_id, starts
from identity import GS1_SYMBOLOGIES, gtin_of

# The longest symbol is a QR code of 7,089 digits (ISO/IEC 18004, version 40-L); beside it an AIM id and a prefix.
MAX_CODE: Final = 7089 + 3 + 16
MAX_SUBSTITUTE: Final = 8

_MAKERS: Final[Mapping[str, Mapping[bytes, Meaning]]] = {"zebra": ZEBRA, "honeywell": HONEYWELL}
_STARTS: Final = {maker: starts(table) for maker, table in _MAKERS.items()}

# An EAN or UPC is complete after so many digits (]E0: 13, a UPC-A also in 12, a UPC-E in 8, as Cino's scanners send
# them): what follows is another code of the same scan, such as the GS1-128 beside a coupon, or an add-on.
_COMPLETE: Final = re.compile(
    rb"\](?:E0(?:\d{12,13}|\d{8})|E4\d{8})(?=\][A-UXZcdehopsz][0-9A-Za-z].)", re.DOTALL
)


def _text_or_byte(part: str) -> bytes:
    byte = re.fullmatch(r"0[xX]([0-9A-Fa-f]{2})", part)
    return bytes.fromhex(byte[1]) if byte else part.encode()


def _substitutes(text: str) -> tuple[bytes, ...]:
    """`|,{GS},0xF8`: texts, or one byte in hex, that the scanner sends where the code has a separator."""
    found = []
    for part in text.split(","):
        if not part or len(part) > MAX_SUBSTITUTE:
            raise ValueError(
                f"must be a list such as |,{{GS}},0xF8 of at most {MAX_SUBSTITUTE} characters each, not {text!r}"
            )
        found.append(_text_or_byte(part))
    # Longest first, so that no substitute takes the beginning of another.
    return tuple(sorted(found, key=len, reverse=True))


def _prefix(text: str) -> bytes:
    if not 1 <= len(text.encode()) <= 16:
        raise ValueError(f"must be 1 to 16 characters, or one byte such as 0x02, not {text!r}")
    return _text_or_byte(text)


class Codes:
    """What one scanner's scans say."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "codes",
            choice("aim", *_MAKERS, "none"),
            "aim",
            "the symbology ids that it sends: AIM ids, else those of its maker, or none",
        ),
        Option(
            "gs", _substitutes, (), "what it sends for the separator of GS1 codes, such as | or 0xF8 or {GS}"
        ),
        Option("gs_in", choice("gs1", "all"), "gs1", "all: also in codes whose id does not say GS1"),
        Option("prefix", _prefix, b"", "what it puts before every code, to be taken off; a text, or 0x02"),
    )

    def __init__(
        self,
        device: str,
        *,
        codes: str = "aim",
        gs: tuple[bytes, ...] = (),
        gs_in: str = "gs1",
        prefix: bytes = b"",
    ) -> None:
        self.warning: str | None = None
        """What is wrong with how this scanner is set up, as its last code shows."""
        self._device = device
        self._aim = codes != "none"
        self._maker, self._start = _MAKERS.get(codes), _STARTS.get(codes)
        self._gs = re.compile(b"|".join(map(re.escape, gs))) if gs else None
        self._gs_everywhere = gs_in == "all"
        self._prefix = prefix
        self._separates = False

    def forget(self) -> None:
        """Another scanner may be at the other end."""
        self.warning = None
        self._separates = False

    def scan(self, scan: bytes, now: Moment) -> list[Read]:
        """The codes of one scan."""
        reads: list[Read] = []
        rest = scan.removeprefix(self._prefix)
        while self._aim and rest[:2] == b"]E" and (first := _COMPLETE.match(rest)):
            reads.append(self.code(first[0], first[0][:3].decode("ascii"), first[0][3:], now))
            rest = rest[first.end() :]
        symbology, content = self._identify(rest)
        reads.append(self.code(rest if reads else scan, symbology, content, now))
        return reads

    def code(self, raw: bytes, symbology: str | None, content: bytes, now: Moment) -> Read:
        """One code whose symbology is known."""
        if not content:
            return BadFrame(self._device, "a frame without a code in it", raw[:MAX_SAMPLE], now.unix_s)
        gs1 = symbology in GS1_SYMBOLOGIES
        if self._gs is not None and (gs1 or self._gs_everywhere):
            content = self._gs.sub(b"\x1d", content)
        text = as_text(content)
        if gs1:
            self._look_for_separators(content, text)
        return BarcodeRead(self._device, raw, text, symbology, now.unix_s, now.monotonic_ns)

    def _identify(self, scan: bytes) -> tuple[str | None, bytes]:
        if self._aim and scan[:1] == b"]" and AIM_ID.match(scan):
            return scan[:3].decode("ascii"), scan[3:]
        if self._maker is not None and self._start is not None and (code := self._start.match(scan)):
            content = scan[code.end() :]
            return aim_id(self._maker[code[0]], len(content)), content
        return None, scan

    def _look_for_separators(self, content: bytes, text: str) -> None:
        """A scanner that has sent a separator sends them; of one that has not, doubtful codes are told."""
        if self._separates:
            return
        if "\x1d" in text:
            self._separates, self.warning = True, None
            return
        foreign = _NOT_GS1.search(content)
        if foreign is not None:
            named = f"0x{foreign[0][0]:02X}" if len(foreign[0]) == 1 else as_text(foreign[0])
            self.warning = (
                f"a GS1 code has {as_text(foreign[0])!r} in it, which none can have: if the scanner sends that for"
                f" the separator, add gs={named} to the port"
            )
            return
        doubt = run_together(text)
        if doubt is not None:
            self.warning = (
                f"a GS1 code came without a separator, and seems to need one in {doubt[:40]!r}: let the scanner send"
                " the group separator (1D hex), or another character that gs= names"
            )
        elif _variable(text) is not None:
            self.warning = None


# All but the invariant character set 82 (GS1 General Specifications, 7.11): `{GS}` and the like, foreign letters, or
# one byte.
_NOT_GS1: Final = re.compile(rb"""\{[A-Za-z0-9]{1,6}\}|[\x80-\xFF]{1,4}|[^!"%-?A-Z_a-z]""")
# GS1 General Specifications, figure 7.8.5-2: element strings of predefined length, which need no separator.
_FIXED: Final = re.compile(
    r"(?:00\d{18}|0[123]\d{14}|04\d{16}|1[1-9]\d{6}|20\d{2}|3[1-6]\d{8}|41\d{14})*", re.ASCII
)
# The common ones of variable length, and their most characters (figure 3.2-1).
_MOST: Final = {"10": 20, "21": 20, "22": 20, "30": 8, "37": 8}
# A date, or a number with a check digit, at the very end of a lot or serial number.
_DATED: Final = re.compile(r".+(?:11|13|15|17)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])", re.ASCII)
_NUMBERED: Final = re.compile(r".+0[12](\d{14})", re.ASCII)
# Lot and serial number in one, where a letter begins the second: of digits alone nobody could tell.
_LOT_AND_SERIAL: Final = {"10": re.compile(r"..+21[A-Za-z]."), "21": re.compile(r"..+10[A-Za-z].")}


def _variable(text: str) -> tuple[str, str] | None:
    """The first element of variable length: its identifier and all that follows."""
    fixed = _FIXED.match(text)
    rest = text[fixed.end() if fixed else 0 :]
    return (rest[:2], rest[2:]) if rest[:2] in _MOST else None


def run_together(text: str) -> str | None:
    """The part of a GS1 element string without separators that looks like two elements run together."""
    found = _variable(text)
    if found is None:
        return None
    identifier, value = found
    most = _MOST[identifier]
    numbered = _NUMBERED.fullmatch(value)
    doubtful = (
        len(value) > most
        or (most == 8 and not value.isdigit())
        or _DATED.fullmatch(value) is not None
        or (numbered is not None and gtin_of(numbered[1]) is not None)
        or (identifier in _LOT_AND_SERIAL and _LOT_AND_SERIAL[identifier].match(value) is not None)
    )
    return identifier + value if doubtful else None
