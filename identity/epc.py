"""From the EPC in a tag to an identity: the same one that the thing's barcode gives.

`header8 filter3 partition3 company reference serial`. The one idea: the header says the scheme, and schemes are rows
of a table; within one, a partition says how many bits the company prefix has, and the reference gets the rest. A
header that is not in the table, and a number that its scheme does not allow, keep their hex and prove nothing.

Source: GS1 EPC Tag Data Standard (TDS) 1.13, §14: headers in table 14-1, SGTIN-96 in §14.5.1, SSCC-96 in §14.5.2;
URIs in §6.3.
"""

from collections.abc import Callable
from dataclasses import dataclass

from identity.check import check_digit, is_checked
from identity.values import Identity

# Bits of the company prefix by partition; it has 12 digits in partition 0 and one less in each that follows
# (TDS tables 14-2 and 14-5, and every other scheme with a company prefix).
_COMPANY_BITS = (40, 37, 34, 30, 27, 24, 20)
# Gen2 §6.3.2.1.2.2: this bit of the protocol control word says that the tag is numbered by ISO 15961, not by GS1.
_NUMBERED_BY_ISO = 0x0100


class _NotAllowed(Exception):
    """A number that its scheme does not allow; the message says which."""


@dataclass(frozen=True, slots=True)
class Epc:
    """What an EPC says."""

    uri: str | None
    """The pure identity URI; None where the header is not known or its number is not allowed."""
    filter: int | None
    """What the tag is on, by its maker: 1 an item in a shop, 2 a full case …; no part of the identity."""
    identity: Identity


@dataclass(frozen=True, slots=True)
class _Scheme:
    name: str
    bits: int
    decode: Callable[["_Bits"], tuple[str, Identity]]
    """From what follows the filter: the URI behind `urn:epc:id:`, and the identity."""


class _Bits:
    """Takes numbers off the front."""

    def __init__(self, data: bytes, hexadecimal: str) -> None:
        self._value, self._left = int.from_bytes(data, "big"), len(data) * 8
        self.hex = hexadecimal

    def take(self, bits: int) -> int:
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def digits(self, bits: int, digits: int, what: str) -> str:
        """A number with its leading zeros."""
        number = self.take(bits)
        if number >= 10**digits:
            raise _NotAllowed(f"its {what} has more than {digits} digits")
        return str(number).zfill(digits)

    def parted(self, bits: int, digits: int, what: str) -> tuple[str, str]:
        """The company prefix and what the company numbers, which share so many bits and digits."""
        partition = self.take(3)
        if partition >= len(_COMPANY_BITS):
            raise _NotAllowed(f"there is no partition {partition}")
        company_bits, company_digits = _COMPANY_BITS[partition], 12 - partition
        company = self.digits(company_bits, company_digits, "company prefix")
        return company, self.digits(bits - company_bits, digits - company_digits, what)


def _sgtin_96(bits: _Bits) -> tuple[str, Identity]:
    # The reference begins with the indicator digit, which stands first in the GTIN (TDS §7.1).
    company, reference = bits.parted(44, 13, "item reference")
    serial = str(bits.take(38))
    gtin = _checked(reference[0] + company + reference[1:], "GTIN")
    return f"sgtin:{company}.{reference}.{serial}", Identity(
        "gtin", bits.hex, gtin=gtin, serial=serial, epc=bits.hex
    )


def _sscc_96(bits: _Bits) -> tuple[str, Identity]:
    # The reference begins with the extension digit, which stands first in the SSCC (TDS §7.2).
    company, reference = bits.parted(58, 17, "serial reference")
    if bits.take(24):
        raise _NotAllowed("its reserved bits are not zero")
    sscc = _checked(reference[0] + company + reference[1:], "SSCC")
    return f"sscc:{company}.{reference}", Identity("sscc", bits.hex, sscc=sscc, epc=bits.hex)


def _checked(payload: str, what: str) -> str:
    number = payload + check_digit(payload)
    if not is_checked(number):
        raise _NotAllowed(f"{number} is nobody's {what}")
    return number


_SCHEMES: dict[int, _Scheme] = {
    0x30: _Scheme("SGTIN-96", 96, _sgtin_96),
    0x31: _Scheme("SSCC-96", 96, _sscc_96),
}


def read_epc(epc: bytes, pc: int | None = None) -> Epc:
    """What these bytes of a tag's EPC memory say; `pc` is its protocol control word, where the reader tells it.

    Never raises: what proves nothing is `plain`, with its hex as text, and a warning where one helps.
    """
    text = epc.hex().upper()
    if not epc or (pc is not None and pc & _NUMBERED_BY_ISO):
        return _plain(text)
    scheme = _SCHEMES.get(epc[0])
    if scheme is None:
        return _plain(text)
    if len(epc) * 8 < scheme.bits or any(epc[scheme.bits // 8 :]):
        return _plain(text, f"no valid {scheme.name}: it has {len(epc) * 8} bits")
    bits = _Bits(epc[: scheme.bits // 8], text)
    bits.take(8)
    filter_value = bits.take(3)
    try:
        uri, identity = scheme.decode(bits)
    except _NotAllowed as problem:
        return _plain(text, f"no valid {scheme.name}: {problem}")
    return Epc(f"urn:epc:id:{uri}", filter_value, identity)


def identity_of_tag(epc: bytes | None, pc: int | None, text: str | None) -> Identity:
    """What a tag or card names. One without an EPC is known by what is printed on it, which is never a GTIN."""
    return read_epc(epc, pc).identity if epc is not None else Identity("plain", text or "")


def _plain(text: str, *warnings: str) -> Epc:
    return Epc(None, None, Identity("plain", text, epc=text or None, warnings=warnings))
