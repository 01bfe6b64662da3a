"""What a code proves, and what it does not."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from identity import GS1_SYMBOLOGIES, check_digit, gtin_of, parse, sscc_of
from identity.check import expand_upc_e

FULL = "01095212345432131726123110ABC123\x1d21SER456"
ITEM = {"kind": "gtin", "gtin": "09521234543213"}
SYMBOLOGIES = (None, "]C0", "]E0", "]E3", "]E4", "]I1", "]Q1", "nonsense", *sorted(GS1_SYMBOLOGIES))


def known(text: str, symbology: str | None) -> dict[str, Any]:
    """What is proved, without the warnings."""
    return {key: value for key, value in parse(text, symbology).as_dict().items() if key != "warnings"}


# (symbology, text, what it is)
PROVED: list[tuple[str | None, str, dict[str, Any]]] = [
    ("]C1", "00106141412345678908", {"kind": "sscc", "sscc": "106141412345678908"}),
    ("]d2", FULL, {**ITEM, "lot": "ABC123", "serial": "SER456", "expiry": "2026-12-31"}),
    ("]C1", "\x1d" + FULL + "\x1d", {**ITEM, "lot": "ABC123", "serial": "SER456", "expiry": "2026-12-31"}),
    ("]e0", "0109521234543213", ITEM),
    ("]C1", "010952123454321317270200", {**ITEM, "expiry": "2027-02-28"}),  # day 00: the last of the month
    ("]C1", "01095212345432137003261231" + "2359", {**ITEM, "expiry": "2026-12-31"}),
    ("]C1", "01095212345432133012", {**ITEM, "count": 12}),
    (
        "]C1",
        "0010614141234567890802095212345432133748",
        {"kind": "sscc", "sscc": "106141412345678908", "gtin": "09521234543213", "count": 48},
    ),
    ("]C1", "4145412345000013254A-1", {"kind": "location", "gln": "5412345000013", "gln_extension": "A-1"}),
    ("]C1", "41454123450000132540", {"kind": "location", "gln": "5412345000013"}),  # extension 0: none
    ("]C1", "80030061414112345210A/1", {"kind": "asset", "grai": "0614141123452", "serial": "10A/1"}),
    ("]C1", "800300614141123452", {"kind": "asset", "grai": "0614141123452"}),
    ("]C1", "80040614141BX", {"kind": "asset", "giai": "0614141BX"}),
    ("]C1", "80041234X", {"kind": "asset", "giai": "1234X"}),
    ("]C1", "2530614141123452A1", {"kind": "gdti", "gdti": "0614141123452", "serial": "A1"}),
    (
        "]C1",  # a unit of goods, on a pallet of somebody's, for somewhere
        "00106141412345678908800300614141123452\x1d4145412345000013",
        {"kind": "sscc", "sscc": "106141412345678908"},
    ),
    (
        "]C1",
        "0109521234543213" + "7007260101260131\x1d" + "10L",
        {**ITEM, "lot": "L"},
    ),  # a harvest of a month
    ("]C1", "0109521234543213" + "4145412345000013", ITEM),  # goods, and where they are
    ("]C1", "800300614141123452\x1d" + "4145412345000013", {"kind": "asset", "grai": "0614141123452"}),
    ("]C1", "0109521234543213" + "402" + "12345678901234560", ITEM),
    ("]C1", "010952123454321315261231", ITEM),  # best before: still good after it
    ("]E0", "5901234123457", {"kind": "gtin", "gtin": "05901234123457"}),
    ("]E0", "0012345678905", {"kind": "gtin", "gtin": "00012345678905"}),
    ("]E0", "012345678905", {"kind": "gtin", "gtin": "00012345678905"}),
    ("]E0", "01234565", {"kind": "gtin", "gtin": "00012345000065"}),  # UPC-E, not expanded
    ("]E4", "96385074", {"kind": "gtin", "gtin": "00000096385074"}),
    ("]E3", "590123412345712", {"kind": "gtin", "gtin": "05901234123457"}),
    ("]E3", "590123412345752495", {"kind": "gtin", "gtin": "05901234123457"}),
    ("]I0", "15400141288763", {"kind": "gtin", "gtin": "15400141288763"}),
    ("]I1", "15400141288763", {"kind": "gtin", "gtin": "15400141288763"}),
    (None, "96385074", {"kind": "gtin", "gtin": "00000096385074"}),
    (None, "012345678905", {"kind": "gtin", "gtin": "00012345678905"}),
    (None, "5901234123457", {"kind": "gtin", "gtin": "05901234123457"}),
    (None, "15400141288763", {"kind": "gtin", "gtin": "15400141288763"}),
    (None, "106141412345678908", {"kind": "sscc", "sscc": "106141412345678908"}),
]

# (symbology, text, a word of the warning)
NOT_PROVED: list[tuple[str | None, str, str]] = [
    ("]E0", "5901234123458", "check digit"),
    ("]E0", "96385074", "length"),  # EAN-8 has an id of its own; as a UPC-E this is no number
    ("]E0", "5123456789000]C181010123451297", "length"),
    ("]E4", "96385075", "check digit"),
    ("]E0", "15400141288763", "length"),
    ("]E4", "5901234123457", "length"),
    ("]E3", "5901234123457123", "length"),
    ("]I1", "15400141288764", "check digit"),
    (None, "5901234123458", "check digit"),
    (None, "106141412345678909", "check digit"),
    (None, "01234565", "UPC-E"),  # as EAN-8 and as UPC-E its check digit is right
    ("]C1", "0109521234543214", "Invalid GTIN check digit"),
    ("]C1", "00106141412345678909", "Invalid SSCC check digit"),
    ("]C1", "4145412345000014", "Invalid GLN check digit"),
    ("]C1", "0100000000000000", "nobody's number"),
    ("]C1", "8003006141411234531", "(8003) 00614141123453 has a wrong check digit"),
    ("]C1", "2530614141123453A1", "(253) 0614141123453 has a wrong check digit"),
    ("]C1", "0109521234543213" + "402" + "12345678901234561", "(402)"),  # of a number that is none of ours
    ("]C1", "8004-BOLT", "company prefix"),
    ("]C1", "8004123X", "company prefix"),
    ("]C1", "010952123454321380040614141BX", "name different things"),
    ("]C1", "800300614141123452\x1d2530614141123452A1", "name different things"),
    ("]C1", "010952123454321310" + "A" * 25, "(10) is not closed by a separator"),
    ("]C1", "0109521234543213019501101530003" + "3", "(01)"),
    ("]C1", "01095212345432130109501101530003", "(01) says both"),
    ("]C1", "01095212345432130209501101530003" + "3712", "exclude each other"),
    ("]C1", "0109521234543213" + "8006" + "123456789012310102", "exclude each other"),  # a piece of an item
    ("]C1", "0109521234543213" + "2551234567890128", "exclude each other"),  # a coupon
    ("]C1", "02095212345432133712", "scan the label with its SSCC"),
    ("]C1", "0109521234543213 10A", "cannot have"),
    ("]C1", "HELLO", "no valid GS1 element string"),
    ("]Q3", "20" * 400, "more than 64 elements"),
    ("]Q3", "9" * 7089, "longer than any GS1 label"),
    ("]C1", "80030614141123452" + "1", "(8003)"),  # no zero in front
    ("]Q1", "9" * 8193, "longer than any code"),
]

WRONG_GTIN, WRONG_GLN, WRONG_18 = "09521234543214", "5412345000014", "106141412345678909"
WRONG = {
    **dict.fromkeys(("01", "02", "03"), WRONG_GTIN),
    **dict.fromkeys(("8006", "8026"), WRONG_GTIN + "0102"),
    **dict.fromkeys(("253", "255", "410", "411", "412", "413", "414", "415", "416", "417"), WRONG_GLN),
    **dict.fromkeys(("00", "8017", "8018"), WRONG_18),
    "402": "12345678901234561",
    "8003": "0" + WRONG_GLN,
}


@pytest.mark.parametrize("ai", WRONG)
def test_every_number_with_a_check_digit_is_checked(ai: str) -> None:
    found = parse(ai + WRONG[ai], "]C1")
    assert found.kind == "plain" and "check digit" in found.warnings[0]


# (symbology, text): plain, and nothing to say about it
PLAIN: list[tuple[str | None, str]] = [
    (None, "A-01-03"),
    (None, "op-7"),
    (None, ""),
    (None, "00106141412345678908"),  # 20 digits may be anything without an id
    ("]C0", FULL),
    (None, FULL),
    ("]C0", "5901234123457"),  # in Code 128 anybody's number can end in a right digit
    ("]C0", "106141412345678908"),
    ("]I0", "123456"),
    ("]E1", "12"),
    ("]C1", "10ABC123"),
    ("]C1", "106141412345678908"),  # a lot, says AI 10; never an SSCC, never half of one
    (None, "٥٩٠١٢٣٤١٢٣٤٥٧"),  # digits, but not those that scanners send
    ("]E9", "5901234123457"),
]


@pytest.mark.parametrize(("symbology", "text", "expected"), PROVED)
def test_what_is_proved(symbology: str | None, text: str, expected: dict[str, Any]) -> None:
    found = parse(text, symbology)
    assert found.as_dict() == expected
    assert found.text == text


@pytest.mark.parametrize(("symbology", "text", "word"), NOT_PROVED)
def test_what_is_not_proved_is_plain_and_says_why(symbology: str | None, text: str, word: str) -> None:
    found = parse(text, symbology)
    assert known(text, symbology) == {"kind": "plain"}
    assert word in found.warnings[0]
    assert len(found.warnings[0]) < 300


@pytest.mark.parametrize(("symbology", "text"), PLAIN)
def test_what_is_plain(symbology: str | None, text: str) -> None:
    assert parse(text, symbology).as_dict() == {"kind": "plain"}


# ISO/IEC 15424: GS1-128, DataBar and composites, Data Matrix, QR, DotCode, Aztec, PDF417 in place of GS1-128.
@pytest.mark.parametrize(
    "symbology", ["]C1", "]e0", "]e1", "]e2", "]d2", "]d5", "]Q3", "]Q4", "]J1", "]z1", "]z4", "]L3"]
)
def test_symbols_of_gs1_hold_element_strings(symbology: str) -> None:
    assert known("0109521234543213", symbology) == ITEM


@pytest.mark.parametrize(
    "date",
    [
        "17000000",
        "17260230",
        "7003" + "2612002359",
        "7003" + "2612312460",
        *("11260931", "12260931", "13260931", "15260931", "16260931"),
        "7007" + "260101260100",
    ],
)
def test_a_date_that_is_none_is_left_out_and_said(date: str) -> None:
    found = parse(f"0109521234543213{date}\x1d10L1", "]C1")
    assert known(found.text, "]C1") == {**ITEM, "lot": "L1"}
    assert "not a real date" in found.warnings[0]


def test_two_expiries_are_none() -> None:
    both = "0109521234543213" + "17261231" + "7003261230" + "1200"
    assert known(both, "]C1") == ITEM
    assert "(17) and (7003)" in parse(both, "]C1").warnings[0]
    assert known(both.replace("261230", "261231"), "]C1") == {**ITEM, "expiry": "2026-12-31"}


# (symbology, text, what it is where the site says that its codes hold element strings)
ANYWHERE: list[tuple[str | None, str, dict[str, Any]]] = [
    *(
        (name, FULL, {**ITEM, "lot": "ABC123", "serial": "SER456", "expiry": "2026-12-31"})
        for name in (None, "]C0", "]d1")
    ),
    (None, "00106141412345678908", {"kind": "sscc", "sscc": "106141412345678908"}),
    (None, "80040614141BX", {"kind": "asset", "giai": "0614141BX"}),
    # Bare numbers stay what they are: an SSCC is no lot (10), nor an Italian EAN an asset (8004).
    (None, "106141412345678908", {"kind": "sscc", "sscc": "106141412345678908"}),
    (None, "8004030123458", {"kind": "gtin", "gtin": "08004030123458"}),
    (None, "8004030123459", {"kind": "plain"}),
    ("]C0", "8004030123459", {"kind": "plain"}),
    ("]C0", "106141412345678908", {"kind": "plain"}),
    # 18 digits that are one thing, and others that are an SSCC too.
    (None, "800300614141123452", {"kind": "asset", "grai": "0614141123452"}),
    (None, "800406141410000123", {"kind": "asset", "giai": "06141410000123"}),
    (None, "800406141410000122", {"kind": "plain"}),
    (None, "253061414112345217", {"kind": "plain"}),
    ("]d1", "253061414112345217", {"kind": "plain"}),
    ("]E0", "5901234123457", {"kind": "gtin", "gtin": "05901234123457"}),
    ("]E0", "0109521234543213", {"kind": "plain"}),
    (None, "A-01-03", {"kind": "plain"}),
    (None, "10ABC123", {"kind": "plain"}),
]


@pytest.mark.parametrize(("symbology", "text", "expected"), ANYWHERE)
def test_a_site_may_say_that_its_codes_hold_element_strings(
    symbology: str | None, text: str, expected: dict[str, Any]
) -> None:
    found = parse(text, symbology, gs1_anywhere=True).as_dict()
    found.pop("warnings", None)
    assert found == expected


@pytest.mark.parametrize(
    ("symbology", "text", "level"),
    [
        ("]E0", "5901234123457", 0),
        ("]I1", "15400141288763", 1),
        ("]C1", "0198412345678908", 9),
        ("]C0", "x", None),
    ],
)
def test_packaging_levels(symbology: str, text: str, level: int | None) -> None:
    assert parse(text, symbology).packaging_level == level


def test_things_have_the_same_name_only_if_they_are_the_same() -> None:
    labels = [
        *("0109521234543213", "010952123454321321A", "010952123454321321B", "0109501101530003" + "21A"),
        *("00106141412345678908", "00095201234567891235"),
        *("4145412345000013", "4145412345000013254A", "4145412345000013254B", "4149521141123454254A"),
        *("800300614141123452", "800300614141123452A", "800300614141123452B", "800309521141123454A"),
        *("80040614141A", "80040614141B", "8004" + "0614141123452"),
        *("2530614141123452A", "2530614141123452B", "2539521141123454A"),
        *("91A", "91B"),
    ]
    found = [parse(label, "]C1") for label in labels]
    assert len({identity.names for identity in found}) == len(labels)
    said = parse("010952123454321321A\x1d10L\x1d17261231" + "3012", "]C1")
    assert said.names == found[1].names and said.lot is not None and said.count is not None


def test_contents_are_counted_only_with_their_unit() -> None:
    assert known("01095212345432133712", "]C1") == ITEM


@pytest.mark.parametrize(
    ("payload", "digit"), [("629104150021", "3"), ("9638507", "4"), ("10614141234567890", "8"), ("0", "0")]
)
def test_check_digits(payload: str, digit: str) -> None:
    assert check_digit(payload) == digit


def test_a_check_digit_needs_digits() -> None:
    with pytest.raises(ValueError, match="over digits"):
        check_digit("12x")


@pytest.mark.parametrize(
    ("upc_e", "upc_a"),
    [
        ("01201303", "012000000133"),
        ("01234505", "012000003455"),
        ("01234531", "012300000451"),
        ("01234543", "012340000053"),
        ("01234565", "012345000065"),
        ("96385074", None),
        ("0123456", None),
        ("0123456x", None),
    ],
)
def test_upc_e(upc_e: str, upc_a: str | None) -> None:
    assert expand_upc_e(upc_e) == upc_a


@settings(deadline=None)
@given(st.integers(1, 10**13 - 1))
def test_every_gtin_survives_and_every_wrong_digit_is_seen(number: int) -> None:
    payload = f"{number:013}"
    digit = check_digit(payload)
    assert gtin_of(payload + digit) == payload + digit
    wrong = payload + str((int(digit) + 1) % 10)
    assert gtin_of(wrong) is None
    assert known("01" + payload + digit, "]C1") == {"kind": "gtin", "gtin": payload + digit}
    assert known("01" + wrong, "]C1") == {"kind": "plain"}


@settings(deadline=None)
@given(st.integers(1, 10**17 - 1))
def test_every_sscc_survives(number: int) -> None:
    payload = f"{number:017}"
    sscc = payload + check_digit(payload)
    assert sscc_of(sscc) == sscc
    assert known("00" + sscc, "]C1") == known(sscc, None) == {"kind": "sscc", "sscc": sscc}


_CHARACTERS = st.text(alphabet=st.characters(), max_size=60)
_NEARLY_GS1 = st.lists(
    st.sampled_from(
        [
            *("00", "01", "10", "17", "21", "37", "99", "253", "254", "391", "414", "3103"),
            *("7003", "7007", "8003", "8004", "8008", "8020", "0614141123452"),
            *("09521234543213", "261231", "5412345000013", "106141412345678908"),
            *("\x1d", "A", " ", "\u202e", "\ud800"),
        ]
    ),
    max_size=14,
).map("".join)


@settings(deadline=None)
@given(
    text=st.one_of(_CHARACTERS, _NEARLY_GS1),
    symbology=st.sampled_from(SYMBOLOGIES),
    gs1_anywhere=st.booleans(),
)
@example(text="\ud800", symbology=None, gs1_anywhere=True)
@example(text="\u202e5901234123457", symbology=None, gs1_anywhere=True)
@example(text="5901234123457\x00", symbology="]E0", gs1_anywhere=True)
@example(text="01\u0660952123454321" + "3", symbology="]C1", gs1_anywhere=False)
@example(text="01\u0660952123454321" + "3", symbology="]d1", gs1_anywhere=True)
@example(text="9" * 7000, symbology="]Q3", gs1_anywhere=True)
def test_hostile_text_never_raises_and_never_becomes_a_wrong_identity(
    text: str, symbology: str | None, gs1_anywhere: bool
) -> None:
    found = parse(text, symbology, gs1_anywhere=gs1_anywhere)
    assert found.text == text
    if found.kind == "plain":
        assert found.as_dict().keys() <= {"kind", "warnings"}
    if found.gtin is not None:
        assert gtin_of(found.gtin) == found.gtin and len(found.gtin) == 14
    if found.sscc is not None:
        assert sscc_of(found.sscc) == found.sscc and found.sscc in text
    for number in (found.gln, found.grai, found.gdti):
        assert number is None or (gtin_of(number) is not None and number in text)
    for part in (found.lot, found.serial, found.gln_extension, found.giai):
        assert part is None or (part in text and part.isascii() and part.isprintable())


@pytest.mark.parametrize(
    "text", ["20" * 1600, "9" * 7089, "\x1d" * 3200, "10A\x1d" * 800, FULL * 60, "99" + "A" * 3000]
)
def test_hostile_labels_cost_little(text: str) -> None:
    parse(FULL, "]C1")
    started = time.process_time()
    parse(text, "]Q3")
    assert time.process_time() - started < 0.05
