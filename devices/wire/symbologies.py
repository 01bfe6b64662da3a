"""Symbology ids: how scanners say what kind of code they read, as tables.

The one idea: everything downstream knows AIM ids only (ISO/IEC 15424). A maker's own ids and the code types of Zebra
SSI are translated here, in the one place, and only as far as they prove something: where an id covers several
symbologies that mean different things, it gives none.
"""

import re
from collections.abc import Mapping
from typing import Final

# ISO/IEC 15424: `]`, the code letter of a symbology, a modifier.
AIM_ID: Final = re.compile(rb"\][A-UXZcdehopsz][0-9A-Za-z]")

Meaning = str | None | Mapping[int, str | None]
"""An AIM id, none, or one by the number of characters (0: any other number)."""

# EAN-13 and UPC-A with 13 or 12 digits, with add-ons of 2 or 5; 8 digits may be an EAN-8 or a UPC-E.
_RETAIL: Final = {0: "]E0", 8: None, 15: "]E3", 18: "]E3"}
# A symbol that is an EAN-13; a scanner may be set to send the ten characters of the old ISBN instead.
_BOOKLAND: Final = {0: "]X0", 13: "]E0"}
_EAN_13: Final = {0: "]E0", 15: "]E3", 18: "]E3"}
# A PDF417, or an ISSN as an EAN-13 or in its old eight characters.
_PDF417_OR_ISSN: Final = {0: "]L2", 8: None, 13: None}

# Code identifiers of Zebra and Symbol scanners (product reference guides, appendix "Symbol code identifiers"). N is a
# coupon and T a composite: two symbols in one, which have no one AIM id. The ids of postal and of rare codes are here
# too: an id that is not known would become the beginning of the code.
ZEBRA: Final[Mapping[bytes, Meaning]] = {
    b"A": _RETAIL, b"B": "]A0", b"C": "]F0", b"D": "]C0", b"E": "]G0", b"F": "]I0", b"G": "]S0", b"H": "]H0",
    b"J": "]M0", b"K": "]C1", b"L": _BOOKLAND, b"M": "]X0", b"N": None, b"R": "]e0", b"S": "]X0", b"T": None,
    b"U": "]X0", b"V": "]X0", b"X": _PDF417_OR_ISSN, b"z": "]z0", b"P00": "]d1", b"P01": "]Q1", b"P02": "]U0",
    b"P0D": None, b"P0G": "]d2", b"P0H": "]h0", b"P0Q": "]Q3",
    **dict.fromkeys((b"P03", b"P04", b"P05", b"P06", b"P08", b"P09", b"P0A", b"P0B", b"P0C"), "]X0"),
}  # fmt: skip

# Code ids of Honeywell scanners (3820 and Xenon user's guides, appendix A). w, s and z do not tell a GS1 code from
# another one: it is taken for another one. T is a composite, O is OCR, q and V are Codablock F and A.
HONEYWELL: Final[Mapping[bytes, Meaning]] = {
    b"c": _EAN_13, b"E": "]E0", b"d": _EAN_13, b"D": "]E4", b"a": "]F0", b"b": "]A0", b"e": "]I0", b"g": "]M0",
    b"h": "]H0", b"i": "]G0", b"j": "]C0", b"I": "]C1", b"y": "]e0", b"{": "]e0", b"}": "]e0", b"r": "]L2",
    b"R": "]L2", b"s": "]Q1", b"w": "]d1", b"z": "]z0", b"x": "]U0", b"f": "]S0", b"m": "]X0", b"<": "]X0",
    b"t": "]B0", b"l": "]T0", b"n": "]P0", b"H": "]h0", b"T": None, b"O": None, b"q": None, b"V": None,
    **dict.fromkeys((b"=", b"?", b"A", b"B", b"C", b"J", b"K", b"L", b"M", b"N", b"P", b"Q", b"Y"), "]X0"),
}  # fmt: skip

# Code types of Zebra SSI's DECODE_DATA (Simple Serial Interface programmer's guide 72E-40451). Bit 6 or 7 of a retail
# type says that an add-on of two or five digits follows.
SSI: Final[Mapping[int, Meaning]] = {
    0x01: "]A0", 0x02: "]F0", 0x03: "]C0", 0x04: "]S0", 0x06: "]I0", 0x07: "]G0", 0x08: "]E0", 0x09: "]E0",
    0x0A: "]E4", 0x0B: "]E0", 0x0C: "]H0", 0x0E: "]M0", 0x0F: "]C1", 0x11: "]L2", 0x13: "]A4", 0x16: _BOOKLAND,
    0x1B: "]d1", 0x1C: "]Q1", 0x25: "]U0", 0x2D: "]z0", 0x2E: "]zC", 0x30: "]e0", 0x31: "]e0", 0x32: "]e0",
    0x48: "]E3", 0x4B: "]E3", 0x88: "]E3", 0x8B: "]E3", 0xC1: "]d2", 0xC2: "]Q3",
}  # fmt: skip


def aim_id(meaning: Meaning, length: int) -> str | None:
    """The AIM id of content of so many characters."""
    if isinstance(meaning, Mapping):
        return meaning.get(length, meaning[0])
    return meaning


def starts(table: Mapping[bytes, Meaning]) -> re.Pattern[bytes]:
    """Matches any id of a maker's table at the start of a line; the longest of those that fit."""
    return re.compile(b"|".join(re.escape(code) for code in sorted(table, key=len, reverse=True)))
