"""Web addresses that name a thing, and the many that only look as if they did."""

import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from identity import check_digit, gtin_of, parse

ITEM = {"kind": "gtin", "gtin": "09521234543213"}
UNIT = {"kind": "sscc", "sscc": "106141412345678908"}

# (address, what it names)
NAMED: list[tuple[str, dict[str, Any]]] = [
    ("https://id.example/01/09521234543213", ITEM),
    ("HTTP://id.example:8080/01/09521234543213#top", ITEM),
    ("https://[2001:db8::1]/01/09521234543213", ITEM),
    (
        "https://id.example/01/09521234543213/10/ABC%2F1/21/S+1?17=261231&utm_source=x&linkType=all&flag",
        {**ITEM, "lot": "ABC/1", "serial": "S+1", "expiry": "2026-12-31"},
    ),
    ("https://id.example/01/09521234543213/21/A?17=270200", {**ITEM, "serial": "A", "expiry": "2027-02-28"}),
    ("https://id.example/some/path/00/106141412345678908", UNIT),
    ("https://id.example/00/00/00/106141412345678908", UNIT),  # the last key is the key
    (
        "https://id.example/00/106141412345678908?02=09521234543213&37=48&10=L",
        {**UNIT, "gtin": "09521234543213", "count": 48, "lot": "L"},
    ),
    (
        "https://id.example/414/5412345000013/254/A-1",
        {"kind": "location", "gln": "5412345000013", "gln_extension": "A-1"},
    ),
    ("https://id.example/00/106141412345678908?01=09521234543213", {**UNIT, "gtin": "09521234543213"}),
    ("https://id.example/8003/00614141123452A1", {"kind": "asset", "grai": "0614141123452", "serial": "A1"}),
    # Of an asset it may be said what item it is; that does not make it one.
    ("https://id.example/8004/0614141BX?01=09521234543213", {"kind": "asset", "giai": "0614141BX"}),
    ("https://id.example/253/0614141123452X", {"kind": "gdti", "gdti": "0614141123452", "serial": "X"}),
    (
        "https://id.example/8018/106141412345678908?01=09521234543213",
        {"kind": "plain"},
    ),  # a person, not an item
]

# (address, a word of the warning)
REFUSED: list[tuple[str, str]] = [
    ("https://id.example/01/09521234543214", "check digit"),
    ("https://id.example/01/9521234543213", "14 digits"),
    ("https://id.example/2026/01/96385074", "14 digits"),  # the eighth of nothing
    ("https://id.example/01/09521234543213/10/", "empty"),
    ("https://id.example/01/09521234543213/21/A/10/B", "'10'"),  # not in their order
    ("https://id.example/01/09521234543213/99/A", "99"),
    ("https://id.example/01/09521234543213/10/A?10=B", "both A and B"),
    ("https://id.example/01/09521234543213?17=261231&17=271231", "cannot stand so"),
    ("https://id.example/01/09521234543213?21=A", "cannot stand so"),
    ("https://id.example/01/09521234543213?235=A", "cannot stand so"),
    ("https://id.example/01/09521234543213?17=", "cannot stand so"),
    ("https://id.example/01/09521234543213?999=A", "no such AI"),
    ("https://id.example/01/09521234543213?02=09501101530003", "exclude each other"),
    ("https://id.example/01/09521234543213/10/A%20B", "(10)"),
    ("https://id.example/01/09521234543213/10/A%1D21C", "(10)"),
    ("https://id.example/01/09521234543213/10/%C3%A4", "(10)"),
    ("https://id.example/01/09521234543213/10/A?99=B+C", "(99)"),
    ("https://id.example/01/%D9%A0%D9%A9521234543213", "14 digits"),  # digits, but of another script
    ("https://id.example/00/%D9%A106141412345678908", "holds characters"),
    ("https://id.example/01/09521234543213/10/" + "A" * 21, "(10)"),
    ("https://id.example/" + "a" * 3200 + "/01/09521234543213", "longer than any link"),
    ("https://id.example/01/09521234543213?" + "99=A&" * 65, "cannot stand so"),
    ("https://id.example/01/09521234543213?" + "&".join(f"{n}=A" for n in range(100, 165)), "too many"),
]

# Addresses that are only addresses.
PLAIN = [
    "https://",
    "https:///01/09521234543213",
    "https://01/09521234543213",
    "https://id.example",
    "https://id.example/",
    "https://id.example/products/09521234543213",
    "https://id.example/2026/01/15/news",
    "https://id.example/?01=09521234543213",
    "https://id.example/#/01/09521234543213",
    "https://id.example/gtin/09521234543213",
    "https://user@id.example/01/09521234543213",
    "https://id.example$/01/09521234543213",
    "https://[fe80::1%25lo]/01/09521234543213",
    "https://[/01/09521234543213",
    "HtTpS://id.example/01/09521234543213",
    "ftp://id.example/01/09521234543213",
    "https://id.example/01/09521234543213/",
    "https://id.example/01//09521234543213",
    "https://id.example/01/0952123454\n3213",
    "https://id.example/01/09521234543213\n",
    " https://id.example/01/09521234543213",
    "https://id.example/01/09521234543213\u202e",
    "https://id.example/01/09521234543213\ud800",
    "https://id.example/01/09521234543213/10/%zz",
    "https://id.example/01/09521234543213?10=%zz",
    "https://id.example/01/09521234543213#%zz",
    "https://id.example/01/09521234543213/10/<A>",
    "https://id.example/01/0952123454321\uff13",
]


@pytest.mark.parametrize("symbology", [None, "]Q1", "]d1"])
@pytest.mark.parametrize(("address", "expected"), NAMED)
def test_an_address_names_a_thing(address: str, expected: dict[str, Any], symbology: str | None) -> None:
    assert parse(address, symbology).as_dict() == expected


@pytest.mark.parametrize(("address", "word"), REFUSED)
def test_a_wrong_link_is_plain_and_says_why(address: str, word: str) -> None:
    found = parse(address, "]Q1")
    assert found.kind == "plain"
    assert found.warnings[0].startswith("no valid GS1 Digital Link: ")
    assert word in found.warnings[0]
    assert len(found.warnings[0]) < 300


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_is_only_an_address(address: str) -> None:
    assert parse(address, "]Q1").as_dict() == {"kind": "plain"}


def test_codes_that_hold_element_strings_hold_no_links() -> None:
    assert parse("https://id.example/01/09521234543213", "]Q3").kind == "plain"
    assert parse("https://id.example/01/09521234543213", "]E0").kind == "plain"


@given(
    st.integers(1, 10**13 - 1),
    st.text(
        st.sampled_from([chr(c) for c in range(0x21, 0x7F) if chr(c) not in "#$@[\\]^`{|}~"]),
        min_size=1,
        max_size=20,
    ),
)
def test_a_link_names_what_its_element_string_names(number: int, serial: str) -> None:
    payload = f"{number:013}"
    gtin = payload + check_digit(payload)
    link = f"https://id.example/p/01/{gtin}/21/{quote(serial, safe='')}"
    found = parse(link, "]Q1")
    assert found.names == parse(f"01{gtin}21{serial}", "]C1").names
    assert found.serial == serial


_PARTS = st.lists(
    st.sampled_from(
        [
            *(
                "/",
                "/",
                "//",
                "?",
                "&",
                "=",
                "#",
                "%",
                "%2",
                "%2F",
                "%1d",
                "%00",
                "%D9%A0",
                "@",
                ":",
                "[",
                "]",
                "+",
            ),
            *(
                "/01/",
                "/00/",
                "/10/",
                "/21/",
                "/414/",
                "/254/",
                "/8003/",
                "/8004/",
                "/253/",
                "17=",
                "10=",
                "01=",
            ),
            *("09521234543213", "106141412345678908", "5412345000013", "0614141123452", "261231", "00", "A"),
            *("\x00", "\n", "\x1d", "\u202e", "\ud800", "\u0660", "\uff13", "9" * 7000),
        ]
    ),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(
    st.sampled_from(["https://", "http://", "https://id.example", "https://id.example/01/09521234543213"]),
    _PARTS,
)
@example("https://id.example", "/01/09521234543213" * 400)
@example("https://id.example", "/10/A" * 1600)
@example("https://id.example/01/09521234543213?", "&" * 8000)
@example("https://[", "]")
def test_hostile_addresses_never_raise_and_never_become_a_wrong_identity(start: str, rest: str) -> None:
    text = start + rest
    began = time.process_time()
    found = parse(text, "]Q1")
    assert time.process_time() - began < 0.5
    if found.kind == "plain":
        assert found.as_dict().keys() <= {"kind", "warnings"}
        return
    assert text.isascii() and text.isprintable()
    for number in (found.gtin, found.gln, found.grai, found.gdti):
        assert number is None or (gtin_of(number) is not None and number in text)
    for part in (found.lot, found.serial, found.giai, found.gln_extension):
        assert part is None or (part.isascii() and part.isprintable() and " " not in part)
