"""From a text and its symbology to an identity.

The one idea: the symbology decides what may be tried. Element strings are looked for only where the AIM id says
GS1; a retail symbology carries a GTIN or nothing; without an id only length and check digit speak; everything else is
plain. biip knows the application identifiers; this module checks what biip leaves to its callers: that every element
ended where it had to, that every number's own check digit is right, and that no identifier says two things.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from biip import ParseConfig, ParseError
from biip.gs1_element_strings import GS1ElementString

from identity.check import expand_upc_e, gtin_of, is_digits, sscc_of
from identity.values import Identity

# AIM ids that say "FNC1 in first position", so GS1 element strings follow (ISO/IEC 15424; GS1 General Specifications
# §5.1.2): GS1-128, DataBar and its composites, Data Matrix, QR, DotCode, Aztec, and PDF417 emulating GS1-128.
GS1_SYMBOLOGIES = frozenset(
    {"]C1", "]e0", "]e1", "]e2", "]d2", "]d5", "]Q3", "]Q4", "]J1", "]z1", "]z4", "]L3"}
)

GS = "\x1d"
# The longest symbol there is holds 7,089 digits (QR version 40-L); what is longer is not a code.
MAX_TEXT = 8192
# A GS1 Data Matrix holds 3,116 digits, a real label under 200 and about ten elements. The bounds keep hostile labels
# from costing more than a few milliseconds.
MAX_GS1_TEXT = 3200
MAX_ELEMENTS = 64

# Invariant character sets 82 and 39 (GS1 General Specifications §7.11) are printable ASCII without the space.
_GS1_TEXT = re.compile(r"[!-~\x1d]*", re.ASCII)
_STRICT = ParseConfig()
_ANY_DATE = ParseConfig(gs1_element_strings_verify_date=False)

_LOOSE_DATE = "a date in it is not a real date and was left out: check the label"


class _NotProved(Exception):
    """The text is not what its symbology promises; the message says why."""


def parse(text: str, symbology: str | None) -> Identity:
    """What the text names. Never raises; whatever cannot be proved is `plain`, with a warning where one helps."""
    if len(text) > MAX_TEXT:
        return _plain(text, f"{len(text)} characters is longer than any code can be")
    if symbology is None:
        return _unmarked(text)
    if symbology in GS1_SYMBOLOGIES:
        return _element_strings(text)
    retail = _RETAIL.get(symbology)
    return Identity("plain", text) if retail is None else retail(text)


def _plain(text: str, *warnings: str) -> Identity:
    return Identity("plain", text, warnings=warnings)


# Retail symbologies: a GTIN or nothing ------------------------------------------------------------------------------


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
    return _gtin_or_plain(text, gtin_of(text)) if len(text) == 14 else Identity("plain", text)


def _gtin_or_plain(text: str, gtin: str | None) -> Identity:
    if gtin is None:
        return _plain(text, "no GTIN: its length or its check digit is wrong; scan it again or key it in")
    return Identity("gtin", text, gtin=gtin)


_RETAIL: dict[str, Callable[[str], Identity]] = {
    "]E0": _ean,
    "]E3": _ean_with_add_on,
    "]E4": _ean_8,
    "]I0": _itf,
    "]I1": _itf,
}


def _unmarked(text: str) -> Identity:
    """No AIM id: digits of the right length with the right check digit; never element strings."""
    if not is_digits(text) or len(text) not in (8, 12, 13, 14, 18):
        return Identity("plain", text)
    if len(text) == 18:
        sscc = sscc_of(text)
        return (
            _plain(text, "18 digits, but no SSCC: its check digit is wrong")
            if sscc is None
            else _sscc(text, sscc)
        )
    gtin = gtin_of(text)
    if gtin is None:
        return _plain(text, f"{len(text)} digits, but no GTIN: its check digit is wrong")
    if expand_upc_e(text) is not None:
        # Both numbers check (they always do for the sixth digits 5 to 9), and they name different items.
        return _plain(text, "may be an EAN-8 or a UPC-E: let the scanner send AIM ids, or UPC-E as 12 digits")
    return Identity("gtin", text, gtin=gtin)


def _sscc(text: str, sscc: str) -> Identity:
    return Identity("sscc", text, sscc=sscc)


# GS1 element strings ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Element:
    ai: str
    value: str
    date: str | None
    error: str | None


def _element_strings(text: str) -> Identity:
    if len(text) > MAX_GS1_TEXT:
        return _plain(text, f"{len(text)} characters is longer than any GS1 label")
    if _GS1_TEXT.fullmatch(text) is None:
        return _plain(text, "holds characters that GS1 element strings cannot have")
    try:
        try:
            return _identity(text, _elements(text, _STRICT), ())
        except ParseError:
            return _identity(text, _elements(text, _ANY_DATE), (_LOOSE_DATE,))
    except (_NotProved, ParseError) as problem:
        return _plain(text, f"no valid GS1 element string: {str(problem)[:200]}")


def _elements(text: str, config: ParseConfig) -> dict[str, _Element]:
    """The elements by identifier. Raises `ParseError` from biip, `_NotProved` from the checks biip leaves to us."""
    found: dict[str, _Element] = {}
    count = 0
    for part in text.split(GS):
        rest = part
        while rest:
            count += 1
            if count > MAX_ELEMENTS:
                raise _NotProved(f"more than {MAX_ELEMENTS} elements")
            parsed = GS1ElementString.extract(rest, config=config)
            rest = rest[len(parsed) :]
            if rest and parsed.ai.separator_required:
                # Without this, a lot of 25 characters would become a lot of 20 and an element that nobody printed.
                raise _NotProved(f"({parsed.ai.ai}) is not closed by a separator; does the scanner send GS?")
            element = _element(parsed)
            known = found.setdefault(element.ai, element)
            if known.value != element.value:
                raise _NotProved(f"({element.ai}) says both {known.value} and {element.value}")
    return found


def _element(parsed: GS1ElementString) -> _Element:
    """One element with its own error: biip reports a bad check digit on the element, never on the message."""
    ai, value = parsed.ai.ai, parsed.value
    error = parsed.gtin_error or parsed.sscc_error or parsed.gln_error
    if error is None and ai in ("01", "02") and gtin_of(value) is None:
        error = f"{value} is nobody's GTIN"
    if error is None and ai == "00" and sscc_of(value) is None:
        error = f"{value} is nobody's SSCC"
    return _Element(ai, value, parsed.date.isoformat() if parsed.date else None, error)


def _identity(text: str, elements: dict[str, _Element], warnings: tuple[str, ...]) -> Identity:
    for element in elements.values():
        if element.error is not None:
            raise _NotProved(f"({element.ai}) {element.error}")
    if "01" in elements and "02" in elements:
        raise _NotProved("(01) an item and (02) the contents of a unit exclude each other")

    def value(ai: str) -> str | None:
        return elements[ai].value if ai in elements else None

    def quantity(ai: str) -> int | None:
        return int(elements[ai].value) if ai in elements and elements[ai].value else None

    details = Identity(
        "plain", text, lot=value("10"), serial=value("21"), expiry=_expiry(elements), warnings=warnings
    )
    if "00" in elements:
        contents = value("02") or value("01")
        count = quantity("37") if "02" in elements else None
        return replace(details, kind="sscc", sscc=value("00"), gtin=contents, count=count)
    if "01" in elements:
        return replace(details, kind="gtin", gtin=value("01"), count=quantity("30"))
    if "414" in elements:
        return Identity("location", text, gln=value("414"), gln_extension=value("254"), warnings=warnings)
    if "02" in elements:
        return _plain(text, "these are the contents of a unit: scan the label with its SSCC", *warnings)
    return _plain(text, *warnings)


def _expiry(elements: dict[str, _Element]) -> str | None:
    """Use-by date (17), or the date of (7003), which has a time besides; day 00 is the month's last day."""
    for ai in ("17", "7003"):
        if ai in elements:
            return elements[ai].date
    return None
