"""GS1 element strings to identities, and back.

The one idea: an element string is only valid as a whole. Every element must end where it has to, or a lot of 25
characters would become a lot of 20 and an element that nobody printed.
"""

import re
from typing import Final

from biip import ParseError
from biip.gs1_element_strings import GS1ElementString

from identity.dates import FIRST_YEAR, six_digits
from identity.elements import BIIP, MAX_ELEMENTS, MAX_TEXT, Element, NotProved, checked, identity_of
from identity.values import Identity, plain

GS: Final = "\x1d"
_TEXT: Final = re.compile(r"[!-~\x1d]*", re.ASCII)
# Elements of these end by themselves (GS1 General Specifications, figure 7.8.5-2); after others stands a separator.
_PREDEFINED: Final = ("00", "01", "02", "17", "41")


def read_element_strings(text: str, year: int) -> Identity:
    """What an element string names; `plain`, with the reason, where it is none."""
    try:
        return identity_of(text, elements(text), year)
    except (NotProved, ParseError) as problem:
        return plain(text, f"no valid GS1 element string: {str(problem)[:200]}")


def elements(text: str) -> list[Element]:
    """The elements in their order.

    Raises:
        NotProved, biip.ParseError: it is no element string, or one of them is wrong.
    """
    if len(text) > MAX_TEXT:
        raise NotProved(f"{len(text)} characters is longer than any GS1 label")
    if _TEXT.fullmatch(text) is None:
        raise NotProved("it holds characters that GS1 element strings cannot have")
    found: list[Element] = []
    for part in text.split(GS):
        rest = part
        while rest:
            if len(found) == MAX_ELEMENTS:
                raise NotProved(f"it has more than {MAX_ELEMENTS} elements")
            parsed = GS1ElementString.extract(rest, config=BIIP)
            rest = rest[len(parsed) :]
            if rest and parsed.ai.separator_required:
                raise NotProved(f"({parsed.ai.ai}) is not closed by a separator; does the scanner send GS?")
            found.append(checked(parsed))
    return found


def element_string(identity: Identity, year: int = FIRST_YEAR) -> str:
    """The element string that names it, as a scanner sends one: read in `year` it gives the same identity.

    Raises:
        ValueError: it is plain, or holds what no element string can say; the text says what.
    """
    said = [Element(ai, value) for ai, value in _said(identity, year) if value is not None]
    text = ""
    for number, element in enumerate(said):
        ends = element.ai.startswith(_PREDEFINED) or number == len(said) - 1
        text += element.ai + element.value + ("" if ends else GS)
    found = read_element_strings(text, year)
    if not said or found.names != identity.names or _described(found) != _described(identity):
        why = f": {found.warnings[0]}" if found.warnings else ""
        raise ValueError(f"no element string says {identity.as_dict()}{why}")
    return text


def _said(identity: Identity, year: int) -> list[tuple[str, str | None]]:
    """Identifiers and values by kind; those that end by themselves first, so that few separators are needed."""
    serial = identity.serial or ""
    expiry = identity.expiry and six_digits(identity.expiry, year)
    details = [("17", expiry), ("10", identity.lot), ("21", identity.serial)]
    count = None if identity.count is None else str(identity.count)
    match identity.kind:
        case "gtin":
            return [("01", identity.gtin), *details, ("30", count)]
        case "sscc":
            contents = "01" if count is None else "02"
            return [("00", identity.sscc), (contents, identity.gtin), *details, ("37", count)]
        case "location":
            return [("414", identity.gln), ("254", identity.gln_extension)]
        case "asset":
            return [("8003", identity.grai and f"0{identity.grai}{serial}"), ("8004", identity.giai)]
        case "gdti":
            return [("253", identity.gdti and identity.gdti + serial)]
        case _:
            return []


def _described(identity: Identity) -> tuple[object, ...]:
    return (identity.gtin, identity.lot, identity.serial, identity.expiry, identity.count)
