"""The checksums of the wire protocols, at the speed of C.

The one idea: every 16-bit CRC here has the polynomial 1021 (hex), which `binascii.crc_hqx` computes; the variants
differ in their start value, in the order of the bits and in how the last bytes enter.
"""

from binascii import crc_hqx
from zlib import adler32

# Each byte with its bits in reverse order, for the CRCs that take the lowest bit first.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# The start value FFFF after sixteen zero bits: what a CRC without appended zeros starts from (CRC-16/SPI-FUJITSU).
_AUGMENTED = crc_hqx(b"\xff\xff", 0)


def crc_mcrf4xx(data: bytes) -> int:
    """CRC-16/MCRF4XX: polynomial 1021 reflected (8408), start FFFF. Sent low byte first, it makes the whole zero.

    Source: the user's manuals of UHFReader18 and UHFReader288; the catalogue of parametrised CRC algorithms.
    """
    crc = crc_hqx(data.translate(_REVERSED), 0xFFFF)
    return _REVERSED[crc & 0xFF] << 8 | _REVERSED[crc >> 8]


def holds_genibus(data: bytes) -> bool:
    """Whether the last two bytes are the CRC-16/GENIBUS of those before, as a Gen2 tag sends it after PC and EPC.

    Over data with its own CRC behind it, it leaves 1D0F. Source: EPC Gen2 Air Interface, annex F.
    """
    return crc_hqx(data, 0xFFFF) == _AUGMENTED


def crc_mercury(data: bytes) -> int:
    """The CRC of ThingMagic's serial protocol: start FFFF, and the message enters at the low end, no zeros behind it.

    Source: the maker's published host code, which takes four bits at a time. `data` has at least two bytes.
    """
    return crc_hqx(data[:-2], _AUGMENTED) ^ (data[-2] << 8 | data[-1])


def sum_8(data: bytes) -> int:
    """The low byte of the sum of at most 256 bytes.

    The low half of Adler-32 is the sum and one, as long as that is below 65,521 (RFC 1950, §9).
    """
    return adler32(data) - 1 & 0xFF


def negative_sum_8(data: bytes) -> int:
    """The byte that makes the sum of all zero, modulo 256."""
    return -sum(data) & 0xFF


def negative_sum_16(data: bytes) -> int:
    """The 16-bit number that makes the sum of all bytes zero, modulo 65536."""
    return -sum(data) & 0xFFFF
