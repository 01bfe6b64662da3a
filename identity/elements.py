"""GS1 elements, whether they stood in an element string or in a link, and what they name together.

The one idea: biip knows the application identifiers (AIs) and what may stand behind each; this module checks what
biip leaves to its callers: every number's own check digit, that no identifier says two things, and that together they
name one thing.

Source: GS1 General Specifications, §3 (each AI), §4.13 (which go together); GS1 Barcode Syntax Dictionary.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from biip import ParseConfig
from biip.gs1_element_strings import GS1ElementString

from identity.check import is_checked
from identity.dates import DATED, date_of
from identity.values import Identity, plain

MAX_TEXT: Final = 3200
"""A GS1 Data Matrix holds 3,116 digits, a real label under 200 and about ten elements. The bounds keep hostile labels
from costing more than a few milliseconds."""
MAX_ELEMENTS: Final = 64

# biip would judge dates by this machine's clock, and takes the second date of (7007) for a time: `identity.dates`
# judges them. A date that is none costs the label only that date, and is said.
BIIP: Final = ParseConfig(gs1_element_strings_verify_date=False)

# Invariant character sets 82 and 39 (GS1 General Specifications §7.11) are printable ASCII without the space.
VALUE: Final = re.compile(r"[!-~]*", re.ASCII)
# AI → how many digits there are up to and with the check digit.
_CHECKED: Final[Mapping[str, int]] = {
    **dict.fromkeys(("00", "8017", "8018"), 18),
    **dict.fromkeys(("01", "02", "03", "8003", "8006", "8026"), 14),
    **dict.fromkeys(("253", "255", "410", "411", "412", "413", "414", "415", "416", "417"), 13),
    "402": 17,
}
# The company prefix, with which an asset's number begins, has at least so many digits (§1.4.4).
_COMPANY_DIGITS: Final = re.compile(r"\d{4}", re.ASCII)
NO_EXTENSION: Final = "0"
"""As the extension of a GLN: it has none (EPC Tag Data Standard, SGLN)."""

# What (01) excludes (GS1 Barcode Syntax Dictionary), since it would be another thing. (37) it excludes as well; that
# costs the label only the count.
_NEVER_WITH_AN_ITEM: Final = {
    "02": "the contents of a unit",
    "255": "a coupon",
    "8006": "a piece of an item",
}

_LOOSE_DATE: Final = "a date in it is not a real date and was left out: check the label"
_TWO_EXPIRIES: Final = "(17) and (7003) say different days, and no expiry was taken: check the label"


class NotProved(Exception):
    """The text is not what its symbology promises; the message says why."""


@dataclass(frozen=True, slots=True)
class Element:
    """One identifier and its value, which is right by itself."""

    ai: str
    value: str


def checked(parsed: GS1ElementString) -> Element:
    """biip reports a wrong number on its element, never on the message, and of some numbers not at all.

    Raises:
        NotProved: something is wrong with it.
    """
    ai, value = parsed.ai.ai, parsed.value
    error = parsed.gtin_error or parsed.sscc_error or parsed.gln_error
    digits = _CHECKED.get(ai)
    if VALUE.fullmatch(value) is None:
        error = "holds characters that no element can have"
    elif error is None and digits is not None and not is_checked(value[:digits]):
        error = f"{value[:digits]} has a wrong check digit, or is nobody's number"
    elif ai == "8004" and _COMPANY_DIGITS.match(value) is None:
        error = "an asset's number begins with the digits of its owner's company prefix"
    if error is not None:
        raise NotProved(f"({ai}) {error}")
    return Element(ai, value)


def identity_of(text: str, elements: Iterable[Element], year: int) -> Identity:
    """What the elements of this text name to who reads them in `year`.

    Raises:
        NotProved: they contradict each other.
    """
    by = _by_identifier(elements)
    dates = {ai: date_of(ai, value, year) for ai, value in by.items() if ai in DATED}
    warnings = [_LOOSE_DATE] if None in dates.values() else []
    expiries = {date for ai in ("17", "7003") if (date := dates.get(ai)) is not None}
    if len(expiries) > 1:
        warnings.append(_TWO_EXPIRIES)
    thing = _thing(text, by)
    details = replace(thing, warnings=(*thing.warnings, *warnings))
    if details.kind not in ("gtin", "sscc"):
        return details
    expiry = expiries.pop() if len(expiries) == 1 else None
    return replace(details, lot=by.get("10"), serial=by.get("21"), expiry=expiry)


def _by_identifier(elements: Iterable[Element]) -> dict[str, str]:
    by: dict[str, str] = {}
    for element in elements:
        if by.setdefault(element.ai, element.value) != element.value:
            raise NotProved(f"({element.ai}) says both {by[element.ai]} and {element.value}")
    return by


def _thing(text: str, by: Mapping[str, str]) -> Identity:
    """The thing itself, without what is said of it."""
    for ai, what in _NEVER_WITH_AN_ITEM.items():
        if "01" in by and ai in by:
            raise NotProved(f"(01) an item and ({ai}) {what} exclude each other")
    named = [ai for ai in _THINGS if ai in by]
    goods = [ai for ai in named if ai != "414"]
    if len(goods) > 1 and goods[0] != "00":
        raise NotProved(f"({goods[0]}) and ({goods[1]}) name different things: which one is it on?")
    if named:
        return _THINGS[named[0]](text, by)
    if "02" in by:
        return plain(text, "these are the contents of a unit: scan the label with its SSCC")
    return plain(text)


def _unit(text: str, by: Mapping[str, str]) -> Identity:
    contents = by.get("02") or by.get("01")
    count = _number(by.get("37")) if "02" in by else None
    return Identity("sscc", text, sscc=by["00"], gtin=contents, count=count)


def _item(text: str, by: Mapping[str, str]) -> Identity:
    return Identity("gtin", text, gtin=by["01"], count=_number(by.get("30")))


def _returnable_asset(text: str, by: Mapping[str, str]) -> Identity:
    """A zero stands before the 13 digits, so that they have as many as a GTIN."""
    return Identity("asset", text, grai=by["8003"][1:14], serial=by["8003"][14:] or None)


def _asset(text: str, by: Mapping[str, str]) -> Identity:
    return Identity("asset", text, giai=by["8004"])


def _document(text: str, by: Mapping[str, str]) -> Identity:
    return Identity("gdti", text, gdti=by["253"][:13], serial=by["253"][13:] or None)


def _location(text: str, by: Mapping[str, str]) -> Identity:
    extension = by.get("254")
    none = extension == NO_EXTENSION
    return Identity("location", text, gln=by["414"], gln_extension=None if none else extension)


# Which of them a label is on: a unit's may name what is in it, and any a place. Two others would be two things.
_THINGS: Final[Mapping[str, Callable[[str, Mapping[str, str]], Identity]]] = {
    "00": _unit,
    "01": _item,
    "8003": _returnable_asset,
    "8004": _asset,
    "253": _document,
    "414": _location,
}
THINGS: Final = frozenset(_THINGS)
"""The identifiers that name a thing of a kind that this product knows."""


def _number(digits: str | None) -> int | None:
    return int(digits) if digits else None
