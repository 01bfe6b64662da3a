"""Codes that are one bare number: those of the retail symbologies, and digits that came without an AIM id.

The one idea: there is nothing but the length and the check digit, so both have to be right, and a number that could
be two is neither.
"""

from collections.abc import Callable, Mapping
from typing import Final

from identity.check import GTIN_LENGTHS, SSCC_LENGTH, expand_upc_e, gtin_of, is_digits, sscc_of
from identity.values import Identity, plain


def _ean(text: str) -> Identity:
    """]E0: EAN-13, UPC-A in 13 or 12 digits, UPC-E expanded or in 8 digits. EAN-8 has an id of its own."""
    if len(text) == 8:
        gtin = expand_upc_e(text)
        return _gtin_or_plain(text, gtin and gtin.zfill(14))
    return _gtin_or_plain(text, gtin_of(text) if len(text) in (12, 13) else None)


def _ean_8(text: str) -> Identity:
    return _gtin_or_plain(text, gtin_of(text) if len(text) == 8 else None)


def _ean_with_add_on(text: str) -> Identity:
    """]E3: 13 digits and an add-on of 2 or 5, which numbers the issue of a periodical, not another item."""
    fits = len(text) in (15, 18) and is_digits(text)
    return _gtin_or_plain(text, gtin_of(text[:13]) if fits else None)


def _itf(text: str) -> Identity:
    """]I0, ]I1: ITF-14 where it has 14 digits; other lengths are somebody's own numbers."""
    return _gtin_or_plain(text, gtin_of(text)) if len(text) == 14 else plain(text)


def _gtin_or_plain(text: str, gtin: str | None) -> Identity:
    if gtin is None:
        return plain(text, "no GTIN: its length or its check digit is wrong; scan it again or key it in")
    return Identity("gtin", text, gtin=gtin)


RETAIL: Final[Mapping[str, Callable[[str], Identity]]] = {
    "]E0": _ean,
    "]E3": _ean_with_add_on,
    "]E4": _ean_8,
    "]I0": _itf,
    "]I1": _itf,
}
"""Retail symbologies: a GTIN or nothing."""


def bare_number(text: str) -> Identity:
    """Without an AIM id: a GTIN or an SSCC, if its length and its check digit say so."""
    if not is_digits(text) or len(text) not in (*GTIN_LENGTHS, SSCC_LENGTH):
        return plain(text)
    if len(text) == SSCC_LENGTH:
        sscc = sscc_of(text)
        if sscc is None:
            return plain(text, "18 digits, but no SSCC: its check digit is wrong")
        return Identity("sscc", text, sscc=sscc)
    gtin = gtin_of(text)
    if gtin is None:
        return plain(text, f"{len(text)} digits, but no GTIN: its check digit is wrong")
    if expand_upc_e(text) is not None:
        # Both numbers check (they always do for the sixth digits 5 to 9), and they name different items.
        return plain(text, "may be an EAN-8 or a UPC-E: let the scanner send AIM ids, or UPC-E as 12 digits")
    return Identity("gtin", text, gtin=gtin)
