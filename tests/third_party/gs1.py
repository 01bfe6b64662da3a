"""gs1/syntax_engine_subset.json: cases of GS1's own parser.

`{"dl": [[function, right, URI, elements]], "ai": [[function, right, …text…, elements or nothing]]}`: whether the text
is right, and its elements in their order, with `^` for FNC1. Of texts whose elements are not stated, only whether we
take them.

What we do otherwise on purpose is in `ON_PURPOSE`, with the reason; anything else that differs is a failure.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from identity import Identity, digital_link, element_strings
from identity.dates import FIRST_YEAR
from identity.element_strings import GS
from identity.elements import Element
from tests.third_party.rows import Row

REFUSED, TAKEN = "refused", "taken"

_LETTERS = "letters for an AI, which GS1 takes with an option for old links only, and else refuses as we do"
_ZEROS = "a GTIN without its zeros, which GS1 takes with an option for old links only: dates in a path look like one"
REFUSED_ON_PURPOSE: Mapping[str, str] = {
    "https://a/gtin/12312312312333": _LETTERS,
    "https://a/gtin/12312312312333/ser/ABC123": _LETTERS,
    "https://a/sscc/006141411234567890": _LETTERS,
    "https://a/01/2112345678900": _ZEROS,
    "https://a/01/416000336108": _ZEROS,
    "https://a/01/02345673": _ZEROS,
    "https://a/8004/9520614141234567?01=2112345678900": _ZEROS,
    "https://a/8004/9520614141234567?01=02345673": _ZEROS,
    "https://brand.example.com/01/9520123456788": _ZEROS,
    "https://brand.example.com/some-extra/pathinfo/01/9520123456788": _ZEROS,
}
"""GS1 takes it, we do not."""

_NOTHING = (
    "two elements exclude each other, or one lacks another; none of them names a thing: plain either way"
)
_COUNT = "a count of contents without contents: the GTIN is right, and the count is not taken"
_SIGNED = "a signature wants a serial number: we take what it signs, and leave the signature alone"
TAKEN_ON_PURPOSE: Mapping[str, str] = {
    "(01)12345678901231(37)123": _COUNT,
    "(3940)1234(8111)9999": _NOTHING,
    "(3955)123456(3929)123": _NOTHING,
    "(21)ABC123": _NOTHING,
    "(8030)DIGSIG": _NOTHING,
    "(8030)DIGSIG(8006)123456789012310102": _NOTHING,
    "(8030)DIGSIG(8010)1234567890": _NOTHING,
    "(255)1234567890128(8030)ABC123": _NOTHING,
    "(8030)DIGSIG(01)12345678901231": _SIGNED,
}
"""GS1 does not take it, we do."""
NOT_A_TEXT = "these ask GS1's engine how it searches its own table: no text is read"


def check(folder: Path) -> Iterator[Row]:
    """Links through our reader of links, all else through that of element strings."""
    path = folder / "gs1" / "syntax_engine_subset.json"
    groups = json.loads(path.read_text()) if path.exists() else {}
    for function, right, text, elements in groups.get("dl", ()):
        yield _row(function, text, elements if right else REFUSED, _link(text))
    searches = [case for case in groups.get("ai", ()) if case[0] == "test_existsInAIdata"]
    if searches:
        yield Row(searches[0][0], f"{len(searches)} searches", "not asked", False, NOT_A_TEXT)
    for case in groups.get("ai", ()):
        if case not in searches:
            yield _ai(*case)


def _ai(function: str, right: bool, *rest: str) -> Row:
    if function == "test_parseAIdata":
        text, elements = rest
        return _row(function, text, elements if right else REFUSED, _element_string(text))
    *part, text = rest
    found = REFUSED if _element_string(text) == REFUSED else TAKEN
    return _row(" ".join((function, *part)), text, TAKEN if right else REFUSED, found)


def _row(function: str, text: str, stated: str, found: str) -> Row:
    on_purpose = REFUSED_ON_PURPOSE if found == REFUSED else TAKEN_ON_PURPOSE
    agrees = stated == found
    return Row(f"{function} {text}", stated, found, agrees, "" if agrees else on_purpose.get(text, ""))


def _link(text: str) -> str:
    return _told(text, digital_link.elements, digital_link.read_link)


def _element_string(text: str) -> str:
    """Of a text as in these cases: with `^` for FNC1, where none in front means that it is no GS1 code; or with its
    AIs in brackets, as people read them.
    """
    if text.startswith("^"):
        scanned = text[1:].replace("^", GS)
    else:
        bracketed = re.findall(r"\((\d{2,4})\)((?:[^(\\]|\\.)+)", text)
        if "".join(f"({ai}){value}" for ai, value in bracketed) != text:
            return REFUSED
        scanned = GS.join(ai + value.replace("\\(", "(") for ai, value in bracketed)
    return _told(scanned, element_strings.elements, element_strings.read_element_strings)


def _told(
    text: str, elements: Callable[[str], list[Element]], identity: Callable[[str, int], Identity]
) -> str:
    """The elements, unless they are wrong or we warn that they do not fit together."""
    found = identity(text, FIRST_YEAR)
    if found.kind == "plain" and found.warnings:
        return REFUSED
    return _with_fnc1(elements(text)) or REFUSED


def _with_fnc1(elements: list[Element]) -> str:
    """As GS1 writes elements: FNC1 in front, and after each that does not end by itself."""
    text, ends = "", False
    for element in elements:
        text += ("" if ends else "^") + element.ai + element.value
        ends = element.ai[:2] in PREDEFINED
    return text


# The first two digits of AIs of predefined length (GS1 General Specifications, figure 7.8.5-2).
PREDEFINED = {
    *("00", "01", "02", "03", "04", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"),
    *("31", "32", "33", "34", "35", "36", "41"),
}
