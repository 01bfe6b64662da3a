"""What is written into UHF tags, from the standard alone: drivers and identities are never asked.

Source: GS1 EPC Tag Data Standard 1.13, §14.5.1 (SGTIN-96) and table 14-2 (partition 5: a company prefix of 7 digits).
"""

from typing import Final

_SGTIN_96: Final = 0x30
_PARTITION: Final = 5
FULL_CASE: Final = 2
"""The filter value of a full case for transport (§10.2)."""
SERIALS: Final = 1 << 38


def sgtin_96(gtin: str, serial: int, *, filter_value: int = 1) -> str:
    """The EPC, in hex, of a GTIN of 14 digits whose company prefix has seven, and a serial number below SERIALS."""
    company, reference = gtin[1:8], gtin[0] + gtin[8:13]
    value = 0
    for number, bits in (
        (_SGTIN_96, 8), (filter_value, 3), (_PARTITION, 3), (int(company), 24), (int(reference), 20), (serial, 38),
    ):  # fmt: skip
        value = value << bits | number
    return f"{value:024X}"
