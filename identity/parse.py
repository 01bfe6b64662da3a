"""From a text and its symbology to an identity.

The one idea: the symbology decides what may be tried. Element strings are looked for only where the AIM id says GS1,
or where the site says that its codes hold them anyway; a retail symbology carries a GTIN or nothing; a web address
may be a GS1 Digital Link; without an id only length and check digit speak; everything else is plain.
"""

from typing import Final

from identity.check import GTIN_LENGTHS, is_digits, sscc_of
from identity.dates import FIRST_YEAR
from identity.digital_link import SCHEMES, read_link
from identity.element_strings import read_element_strings
from identity.retail import RETAIL, bare_number
from identity.values import Identity, plain

# AIM ids that say "FNC1 in first position", so GS1 element strings follow (ISO/IEC 15424; GS1 General Specifications
# §5.1.2): GS1-128, DataBar and its composites, Data Matrix, QR, DotCode, Aztec, and PDF417 emulating GS1-128.
GS1_SYMBOLOGIES: Final = frozenset(
    {"]C1", "]e0", "]e1", "]e2", "]d2", "]d5", "]Q3", "]Q4", "]J1", "]z1", "]z4", "]L3"}
)
# The longest symbol there is holds 7,089 digits (QR version 40-L); what is longer is not a code.
MAX_TEXT: Final = 8192


def parse(
    text: str, symbology: str | None, *, year: int = FIRST_YEAR, gs1_anywhere: bool = False
) -> Identity:
    """What the text names. Never raises; whatever cannot be proved is `plain`, with a warning where one helps.

    Dates on labels have two digits for the year, which mean one near `year`, that of the reading. With
    `gs1_anywhere`, element strings are also looked for where no AIM id says GS1: whoever sets it answers for that.
    """
    if len(text) > MAX_TEXT:
        return plain(text, f"{len(text)} characters is longer than any code can be")
    if symbology in GS1_SYMBOLOGIES:
        return read_element_strings(text, year)
    if symbology is not None and symbology in RETAIL:
        return RETAIL[symbology](text)
    if text.startswith(SCHEMES):
        return read_link(text, year)
    otherwise = bare_number(text) if symbology is None else plain(text)
    return _anywhere(text, otherwise, year) if gs1_anywhere else otherwise


def _anywhere(text: str, otherwise: Identity, year: int) -> Identity:
    """Element strings in a code that is not marked. Digits as many as a GTIN has are never one: an Italian EAN may
    begin like an asset (8004). Where an SSCC could be a document (253) as well, nothing is proved.
    """
    if is_digits(text) and len(text) in GTIN_LENGTHS:
        return otherwise
    found = read_element_strings(text, year)
    if found.kind == "plain":
        return otherwise
    if sscc_of(text) is not None:
        return plain(text, "may be an SSCC, or what its first digits say: let the scanner send AIM ids")
    return found
