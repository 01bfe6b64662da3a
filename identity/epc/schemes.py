"""The schemes: which header says which key, and in which fields. One row each; nothing else knows them.

Source: GS1 EPC Tag Data Standard (TDS) 2.3: headers in table 14-1, fields in the coding tables of §14.6, which stand
in the same order. USDOD-96: United States Department of Defense Suppliers' Passive RFID Information Guide.
"""

from dataclasses import dataclass

from identity.epc import keys
from identity.epc.fields import (
    Cage,
    Company,
    Field,
    Integer,
    OneAndDigits,
    Padded,
    Reserved,
    Text6,
    Text7,
    company,
)
from identity.epc.keys import Key
from identity.epc.plus import CountedDigits, Date, DateKind, Digits, DigitsThenText, HostName, Text
from identity.epc.text import SET_39


@dataclass(frozen=True, slots=True)
class Scheme:
    """One row."""

    name: str
    """As in tag URIs; in small letters."""
    header: int
    key: Key
    fields: tuple[Field, ...]
    filter_bits: int = 3
    data: bool = False
    """Of TDS 2.0: a bit in front of the filter says whether data follows the EPC, and the fields are the key's
    values, behind a date where the scheme puts one first."""

    @property
    def parts(self) -> int:
        """How many parts its fields have."""
        return sum(field.parts for field in self.fields)


def _padded(bits: int, digits: int, what: str) -> Company:
    """A company prefix and a number with zeros in front, which share so many bits and digits."""
    return company(lambda prefix, length: Padded(bits - prefix, digits - length, what))


def _integer(bits: int, digits: int, what: str) -> Company:
    return company(lambda prefix, length: Integer(bits - prefix, what, digits - length))


_GTIN = _padded(44, 13, "item reference")
_SSCC = _padded(58, 17, "serial reference")
_GLN = _padded(41, 12, "location reference")
_GRAI = _padded(44, 12, "asset type")
_GDTI = _padded(41, 12, "document type")
_GSRN = _padded(58, 17, "service reference")
_GIAI = company(lambda bits, digits: Text7(188 - bits, 30 - digits, "asset reference"))
_CPI = company(lambda _, digits: Text6(1, 30 - digits, "part reference"))
_ADI = SET_39 - {"#"}
_PIECE = (Padded(7, 2, "piece"), Padded(7, 2, "total of pieces"))

_OLDER = (
    Scheme("sgtin-96", 0x30, keys.SGTIN, (_GTIN, Integer(38, "serial number"))),
    Scheme("sgtin-198", 0x36, keys.SGTIN, (_GTIN, Text7(140, 20, "serial number"))),
    Scheme("sscc-96", 0x31, keys.SSCC, (_SSCC, Reserved(24))),
    Scheme("sgln-96", 0x32, keys.SGLN, (_GLN, Integer(41, "extension"))),
    Scheme("sgln-195", 0x39, keys.SGLN, (_GLN, Text7(140, 20, "extension"))),
    Scheme("grai-96", 0x33, keys.GRAI, (_GRAI, Integer(38, "serial number"))),
    Scheme("grai-170", 0x37, keys.GRAI, (_GRAI, Text7(112, 16, "serial number"))),
    Scheme("giai-96", 0x34, keys.GIAI, (_integer(82, 25, "asset reference"),)),
    Scheme("giai-202", 0x38, keys.GIAI, (_GIAI,)),
    Scheme("gsrn-96", 0x2D, keys.GSRN, (_GSRN, Reserved(24))),
    Scheme("gsrnp-96", 0x2E, keys.GSRNP, (_GSRN, Reserved(24))),
    Scheme("gdti-96", 0x2C, keys.GDTI, (_GDTI, Integer(41, "serial number"))),
    Scheme("gdti-113", 0x3A, keys.GDTI, (_GDTI, OneAndDigits(58, 17, "serial number"))),
    Scheme("gdti-174", 0x3E, keys.GDTI, (_GDTI, Text7(119, 17, "serial number"))),
    Scheme("cpi-96", 0x3C, keys.CPI, (_integer(51, 15, "part reference"), Integer(31, "serial number"))),
    Scheme("cpi-var", 0x3D, keys.CPI, (_CPI, Integer(40, "serial number", 12))),
    Scheme("sgcn-96", 0x3F, keys.SGCN, (_padded(41, 12, "coupon"), OneAndDigits(41, 12, "serial number"))),
    Scheme("itip-110", 0x40, keys.ITIP, (_GTIN, *_PIECE, Integer(38, "serial number"))),
    Scheme("itip-212", 0x41, keys.ITIP, (_GTIN, *_PIECE, Text7(140, 20, "serial number"))),
    Scheme(
        "gid-96",
        0x35,
        keys.GID,
        (Integer(28, "manager"), Integer(24, "class"), Integer(36, "serial number")),
        filter_bits=0,
    ),
    Scheme("usdod-96", 0x2F, keys.USDOD, (Cage(8), Integer(36, "serial number")), filter_bits=4),
    Scheme(
        "adi-var",
        0x3B,
        keys.ADI,
        (Cage(6), Text6(0, 32, "part number", _ADI), Text6(1, 30, "serial number", _ADI, mark="#")),
        filter_bits=6,
    ),
)

_SERIAL = Text(20, "serial number")
_SGTIN = (Digits(14, "GTIN"), _SERIAL)
# Name, header, header of the same with a host name behind (`++`, TDS 2.3), key, fields.
_PLUS: tuple[tuple[str, int, int, Key, tuple[Field, ...]], ...] = (
    ("sgtin", 0xF7, 0xFD, keys.SGTIN, _SGTIN),
    ("dsgtin", 0xFB, 0xFC, keys.SGTIN, (DateKind(), Date(), *_SGTIN)),
    ("sscc", 0xF9, 0xEF, keys.SSCC, (Digits(18, "SSCC"),)),
    ("sgln", 0xF2, 0xE9, keys.SGLN, (Digits(13, "GLN"), Text(20, "extension"))),
    ("grai", 0xF1, 0xEB, keys.GRAI, (Reserved(4), Digits(13, "GRAI"), Text(16, "serial number"))),
    ("giai", 0xFA, 0xEE, keys.GIAI, (DigitsThenText(30, "GIAI"),)),
    ("gsrn", 0xF4, 0xE7, keys.GSRN, (Digits(18, "GSRN"),)),
    ("gsrnp", 0xF5, 0xE8, keys.GSRNP, (Digits(18, "GSRN"),)),
    ("gdti", 0xF6, 0xEA, keys.GDTI, (Digits(13, "GDTI"), Text(17, "serial number"))),
    ("cpi", 0xF0, 0xE6, keys.CPI, (DigitsThenText(30, "part", SET_39), CountedDigits(12, "serial number"))),
    ("sgcn", 0xF8, 0xEC, keys.SGCN, (Digits(13, "coupon"), CountedDigits(12, "serial number"))),
    (
        "itip",
        0xF3,
        0xED,
        keys.ITIP,
        (
            Digits(14, "GTIN"),
            Digits(2, "piece", checked=False),
            Digits(2, "total of pieces", checked=False),
            _SERIAL,
        ),
    ),
)

SCHEMES: tuple[Scheme, ...] = (
    *_OLDER,
    *(Scheme(f"{name}+", header, key, fields, data=True) for name, header, _, key, fields in _PLUS),
    *(
        Scheme(f"{name}++", header, key, (*fields, HostName()), data=True)
        for name, _, header, key, fields in _PLUS
    ),
)
BY_HEADER: dict[int, Scheme] = {scheme.header: scheme for scheme in SCHEMES}
BY_NAME: dict[str, Scheme] = {scheme.name: scheme for scheme in SCHEMES}
