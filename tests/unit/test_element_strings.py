"""Every identity can be said as an element string, and is read from it again."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import Identity, Kind, check_digit, element_string, parse

GTIN = "09521234543213"

# Invariant character set 82 (GS1 General Specifications §7.11).
_SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"


def _numbers(digits: int) -> st.SearchStrategy[str]:
    payloads = st.integers(1, 10 ** (digits - 1) - 1).map(lambda number: f"{number:0{digits - 1}}")
    return payloads.map(lambda payload: payload + check_digit(payload))


def _texts(most: int) -> st.SearchStrategy[str]:
    return st.text(_SET_82, min_size=1, max_size=most)


_COUNTS = st.integers(0, 10**8 - 1)
_DETAILS = {
    "lot": st.none() | _texts(20),
    "serial": st.none() | _texts(20),
    # What two digits can say in 2026.
    "expiry": st.none() | st.dates(date(1977, 1, 1), date(2076, 12, 31)).map(str),
}
_UNITS = {"sscc": _numbers(18), **_DETAILS}
_PREFIXES = st.text("0123456789", min_size=4, max_size=12)


def _kind(kind: Kind, **members: st.SearchStrategy[object]) -> st.SearchStrategy[Identity]:
    return st.builds(Identity, st.just(kind), st.just(""), **members)


IDENTITIES = st.one_of(
    _kind("gtin", gtin=_numbers(14), count=st.none() | _COUNTS, **_DETAILS),
    _kind("sscc", **_UNITS),
    _kind("sscc", gtin=_numbers(14), **_UNITS),
    _kind("sscc", gtin=_numbers(14), count=_COUNTS, **_UNITS),
    _kind(
        "location", gln=_numbers(13), gln_extension=st.none() | _texts(20).filter(lambda text: text != "0")
    ),
    _kind("asset", grai=_numbers(13), serial=st.none() | _texts(16)),
    _kind("asset", giai=st.builds(str.__add__, _PREFIXES, _texts(18))),
    _kind("gdti", gdti=_numbers(13), serial=st.none() | _texts(17)),
)


@given(IDENTITIES)
def test_an_identity_is_read_again_from_its_element_string(identity: Identity) -> None:
    text = element_string(identity)
    again = parse(text, "]C1")
    assert again.names == identity.names
    assert again.as_dict() == identity.as_dict()
    assert element_string(again) == text


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        (
            Identity("gtin", "", gtin=GTIN, lot="ABC123", serial="S1", expiry="2026-12-31"),
            "0109521234543213" + "17261231" + "10ABC123\x1d" + "21S1",
        ),
        (
            Identity("sscc", "", sscc="106141412345678908", gtin=GTIN, count=48),
            "00106141412345678908" + "0209521234543213" + "3748",
        ),
        # A unit that is an item itself has no contents, which (02) would say together with (37).
        (
            Identity("sscc", "", sscc="106141412345678908", gtin=GTIN),
            "00106141412345678908" + "0109521234543213",
        ),
        (Identity("asset", "", grai="0614141123452", serial="A1"), "800300614141123452A1"),
        (Identity("asset", "", giai="0614141BX"), "80040614141BX"),
        (Identity("gdti", "", gdti="0614141123452", serial="A1"), "2530614141123452A1"),
        (Identity("location", "", gln="5412345000013", gln_extension="A-1"), "4145412345000013" + "254A-1"),
    ],
)
def test_separators_stand_only_where_an_element_does_not_end_by_itself(identity: Identity, text: str) -> None:
    assert element_string(identity) == text


@pytest.mark.parametrize(
    ("identity", "word"),
    [
        (Identity("plain", "A-01-03"), "plain"),
        (Identity("gtin", "", gtin="09521234543214"), "check digit"),
        (Identity("gtin", ""), "gtin"),
        (Identity("gtin", "", gtin=GTIN, lot="A B"), "cannot have"),
        (Identity("gtin", "", gtin=GTIN, lot="A\x1d21B"), "no element string"),
        (Identity("gtin", "", gtin=GTIN, lot="A" * 21), "not closed|Failed|no valid"),
        (Identity("gtin", "", gtin=GTIN, expiry="2077-01-01"), "six digits"),
        (Identity("gtin", "", gtin=GTIN, expiry="soon"), "soon"),
        (Identity("sscc", "", sscc="106141412345678908", count=3), "count"),
        (Identity("asset", "", giai="BX"), "company prefix"),
        (Identity("asset", "", grai="0614141123452", giai="0614141BX"), "different things"),
        (Identity("location", "", gln="5412345000013", gln_extension="0"), "gln_extension"),
    ],
)
def test_what_no_element_string_can_say_is_refused(identity: Identity, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        element_string(identity)
