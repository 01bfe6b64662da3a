"""EPCs: what a tag says is what its barcode says, and nothing that its scheme does not allow becomes an identity."""

import re

import pytest

from identity import Identity, from_uri, identity_of_tag, parse, read_epc, write_epc
from identity.epc.bits import BitReader
from identity.epc.plus import DateKind
from tests.support.tags import epc, packed

SGTIN = "3074257BF7194E4000001A85"
SSCC = "3174257BF4499602D2000000"
URI = "urn:epc:id:sgtin:0614141.812345.6789"
GS = "\x1d"


def test_an_sgtin_is_a_gtin_with_its_serial_number():
    found = read_epc(bytes.fromhex(SGTIN))
    assert found.uri == URI
    assert found.tag_uri == "urn:epc:tag:sgtin-96:3.0614141.812345.6789"
    assert found.filter == 3
    assert found.identity == Identity("gtin", SGTIN, gtin="80614141123458", serial="6789", epc=SGTIN)
    assert found.identity.as_dict() == {"kind": "gtin", "gtin": "80614141123458", "serial": "6789"}


def test_an_sscc_is_a_unit():
    found = read_epc(bytes.fromhex(SSCC))
    assert found.uri == "urn:epc:id:sscc:0614141.1234567890"
    assert found.identity == Identity("sscc", SSCC, sscc="106141412345678908", epc=SSCC)


@pytest.mark.parametrize("partition", range(7))
def test_the_partition_says_where_the_company_prefix_ends(partition: int):
    company_bits = (40, 37, 34, 30, 27, 24, 20)[partition]
    digits = 12 - partition
    company, item = 10**digits - 1, 10 ** (13 - digits) - 1
    found = read_epc(epc(0x30, 1, partition, (company, company_bits), (item, 44 - company_bits), (7, 38)))
    assert found.uri == f"urn:epc:id:sgtin:{company}.{item}.7"
    assert found.identity.gtin is not None and found.identity.gtin.startswith("9" * 13)
    unit = 10 ** (17 - digits) - 1
    found = read_epc(epc(0x31, 0, partition, (company, company_bits), (unit, 58 - company_bits), (0, 24)))
    assert found.uri == f"urn:epc:id:sscc:{company}.{unit}"


def test_a_gtin_of_eight_digits_has_a_company_prefix_of_its_own():
    """TDS §7.3.2."""
    item = parse("95010939", "]E4")
    tag = write_epc(
        Identity("gtin", "", gtin=item.gtin, serial="Serial"), scheme="SGTIN-198", company_digits=8
    )
    assert read_epc(tag).uri == "urn:epc:id:sgtin:00000950.01093.Serial"


def test_an_extension_of_zero_is_none():
    """TDS §7.5."""
    place = parse("4149521141123454", "]C1")
    tag = read_epc(write_epc(place, scheme="sgln-96", company_digits=7))
    assert tag.uri == "urn:epc:id:sgln:9521141.12345.0"
    assert tag.identity.names == place.names
    tag = read_epc(write_epc(place, scheme="sgln+"))
    assert tag.uri == "https://id.gs1.org/414/9521141123454"
    assert tag.identity.names == place.names


def test_a_uri_escapes_only_what_it_must():
    """TDS tables A-1 and G-1."""
    item = Identity("gtin", "", gtin="80614141123458", serial="!'()*+,-.:;=_\"%&/<>?")
    uri = read_epc(write_epc(item, scheme="sgtin-198", company_digits=7)).uri
    assert uri == "urn:epc:id:sgtin:0614141.812345.!'()*+,-.:;=_%22%25%26%2F%3C%3E%3F"
    part = "urn:epc:tag:cpi-var:0.0614141.A%23-%2F9.7"
    assert read_epc(from_uri(part)).tag_uri == part


def test_a_piece_of_an_item_is_not_the_item():
    assert read_epc(from_uri("urn:epc:tag:itip-110:0.9521141.012345.01.02.7")).identity.kind == "plain"


# What is not allowed ------------------------------------------------------------------------------------------------

COMPANY = (614141, 24)  # in partition 5
GTIN = ((0xF7, 8), (0, 4), (0x09521141123454, 56))
GIAI = ((0xFA, 8), (0, 4))


def text7(*codes: int, bits: int) -> tuple[int, int]:
    value = 0
    for code in codes:
        value = value << 7 | code
    return value << bits - 7 * len(codes), bits


NOT_ALLOWED = [
    (epc(0x30, 1, 7, (1, 40), (1, 4), (7, 38)), "partition 7"),
    (epc(0x30, 1, 0, (10**12, 40), (1, 4), (7, 38)), "company prefix has more than 12 digits"),
    (epc(0x30, 1, 5, (1, 24), (10**6, 20), (7, 38)), "item reference has more than 6 digits"),
    (epc(0x30, 1, 5, (0, 24), (0, 20), (7, 38)), "nobody's SGTIN"),
    (epc(0x31, 1, 5, (1, 24), (1, 34), (1, 24)), "reserved bits"),
    (epc(0x31, 1, 5, (0, 24), (0, 34), (0, 24)), "nobody's SSCC"),
    (bytes.fromhex(SGTIN)[:8], "64 bits are too few"),
    (bytes.fromhex(SGTIN) + b"\x01\x00", "behind its first 96 are not zeros"),
    (bytes.fromhex(SGTIN) + bytes(51), "63 bytes"),
    # SGTIN-198, GIAI-202: texts of 7 bits a character
    (epc(0x36, 1, 5, COMPANY, (1, 20), text7(bits=140)), "not 1 to 20 characters"),
    (epc(0x36, 1, 5, COMPANY, (1, 20), text7(0, 65, bits=140)), r"character '\\x00'"),
    (epc(0x36, 1, 5, COMPANY, (1, 20), text7(65, 0, 65, bits=140)), r"character '\\x00'"),
    (epc(0x36, 1, 5, COMPANY, (1, 20), text7(65, 36, bits=140)), r"character '\$'"),
    (epc(0x36, 1, 5, COMPANY, (1, 20), text7(65, bits=140), (1, 2)), "behind its first 198"),
    (epc(0x38, 1, 0, (1, 40), text7(*[65] * 19, bits=148)), "asset reference is not 1 to 18"),
    (epc(0x38, 1, 0, (1, 40), (1, 148)), "asset reference is not 1 to 18"),
    # CPI-96, CPI-var, GDTI-113, SGCN-96, ITIP-110: numbers with fewer digits than bits
    (epc(0x3C, 1, 0, (1, 40), (1000, 11), (1, 31)), "part reference has more than 3 digits"),
    (epc(0x3D, 1, 5, COMPANY, (1, 6), (0, 6), (10**12, 40)), "serial number has more than 12 digits"),
    (epc(0x3A, 1, 5, COMPANY, (1, 17), (0, 58)), "does not begin as one"),
    (epc(0x3F, 1, 5, COMPANY, (1, 17), (1, 41)), "does not begin as one"),
    (epc(0x3F, 1, 5, COMPANY, (1, 17), (21, 41)), "does not begin as one"),
    (epc(0x40, 1, 5, COMPANY, (1, 20), (100, 7), (1, 7), (1, 38)), "piece has more than 2 digits"),
    # CPI-var, ADI-var, USDOD-96: texts of 6 and 8 bits a character
    (epc(0x3D, 1, 5, COMPANY, (0, 6), (1, 40)), "part reference is not 1 to 23 characters"),
    (epc(0x3D, 1, 5, COMPANY, (27, 6), (0, 6), (1, 40)), r"part reference holds the character '\['"),
    (epc(0x3D, 1, 6, (1, 20), *[(1, 6)] * 25, (0, 6), (1, 40)), "part reference is not 1 to 24 characters"),
    (packed((0x3B, 8), (0, 6), (32, 6), *[(1, 6)] * 5, (35, 6), (0, 6), (1, 6)), "part number holds .*'#'"),
    (
        packed((0x3B, 8), (0, 6), (32, 6), *[(1, 6)] * 5, (0, 6), (35, 6), (0, 6)),
        "serial number is not 1 to 30",
    ),
    (packed((0x3B, 8), (0, 6), (32, 6), *[(9, 6)] * 5, (0, 6), (1, 6)), "CAGE code holds the character 'I'"),
    (packed((0x3B, 8), (0, 6), (32, 6), *[(15, 6)] * 5, (0, 6), (1, 6)), "CAGE code holds the character 'O'"),
    (packed((0x2F, 8), (0, 4), *[(32, 8)] * 6, (1, 36)), "CAGE code holds the character ' '"),
    # TDS 2.0: numbers of 4 bits a digit
    (packed((0xF7, 8), (0, 4), (0x0952114112345A, 56)), "GTIN '0952114112345a' is not 14 digits"),
    (packed((0xF7, 8), (0, 4), (0x09521141123455, 56)), "09521141123455 is nobody's GTIN"),
    (packed((0xF9, 8), (0, 76)), "nobody's SSCC"),
    (packed((0xF1, 8), (0, 4), (1, 4), (0x9521141123454, 52)), "reserved bits"),
    (packed(*GTIN)[:9], "72 bits are too few"),
    # texts: encoding, length, characters
    (packed(*GTIN, (6, 3), (1, 5), (65, 7)), "no encoding 6 for its serial number"),
    (packed(*GTIN, (4, 3), (0, 5)), "serial number is not 1 to 20 characters"),
    (packed(*GTIN, (4, 3), (21, 5)), "serial number is not 1 to 20 characters"),
    (packed(*GTIN, (4, 3), (1, 5), (64, 7)), "serial number holds the character '@'"),
    (packed(*GTIN, (0, 3), (2, 5), (100, 7)), "a number of 2 digits has more"),
    (packed(*GTIN, (5, 3), (3, 5), (0, 16)), "none of URN Code 40"),
    (packed(*GTIN, (5, 3), (3, 5), (64001, 16)), "none of URN Code 40"),
    (packed(*GTIN, (5, 3), (3, 5), (1600 + 3 + 1, 16)), "do not agree"),
    (packed(*GTIN, (5, 3), (1, 5), (1600 + 3 + 1, 16)), "do not agree"),
    (packed(*GTIN, (0, 3), (1, 5), (7, 4), (1, 8)), "behind its first 80 are not zeros"),
    # digits, and a text behind them
    (packed(*GIAI, *[(1, 4)] * 3, (15, 4)), "does not begin with 4 digits"),
    (packed(*GIAI, *[(1, 4)] * 4, (10, 4)), "GIAI has no end"),
    (packed(*GIAI, *[(1, 4)] * 40), "GIAI has no end"),
    (packed(*GIAI, *[(1, 4)] * 31, (15, 4)), "more than 30 characters"),
    (packed(*GIAI, *[(1, 4)] * 4, (14, 4), (0, 3), (1, 5), (1, 4)), "goes on with a digit"),
    (packed((0xF0, 8), (0, 4), *[(1, 4)] * 4, (14, 4), (2, 3), (1, 5), (10, 4)), "holds the character 'a'"),
    (packed((0xF8, 8), (0, 4), (0x9521141678909, 52), (13, 4)), "serial number is not 1 to 12 digits"),
    # a date in front
    (packed((0xFB, 8), (0, 4), (7, 4)), "no kind of date 7"),
    (packed((0xFB, 8), (0, 4), (4, 4), (22, 7), (13, 4), (1, 5)), "no date '221301'"),
    (packed((0xFB, 8), (0, 4), (4, 4), (100, 7), (1, 4), (1, 5)), "no date '1000101'"),
    # a host name behind
    (packed((0xEF, 8), (0, 4), (0x095201234567891235, 72), (1, 1), (63, 6)), "too few"),
]


@pytest.mark.parametrize(("data", "reason"), NOT_ALLOWED)
def test_what_a_scheme_does_not_allow_keeps_its_hex_and_proves_nothing(data: bytes, reason: str):
    found = read_epc(data)
    assert (found.uri, found.tag_uri, found.filter) == (None, None, None)
    (warning,) = found.identity.warnings
    text = data.hex().upper()
    assert found.identity == Identity("plain", text, epc=text, warnings=(warning,))
    assert re.search(reason, warning)


@pytest.mark.parametrize(
    ("encoded", "serial"),
    [
        (((1, 3), (3, 5), (0x9AF, 12)), "9AF"),
        (((2, 3), (3, 5), (0x9AF, 12)), "9af"),
        (((3, 3), (6, 5), (0, 6), (26, 6), (52, 6), (61, 6), (62, 6), (63, 6)), "Aa09-_"),
        (((4, 3), (2, 5), (0x21, 7), (0x7A, 7)), "!z"),
        # 1600 × first + 40 × second + third + 1
        (((5, 3), (6, 5), (1 * 1600 + 26 * 40 + 27 + 1, 16), (28 * 1600 + 29 * 40 + 30 + 1, 16)), "AZ-.:0"),
        (((5, 3), (1, 5), (39 * 1600 + 1, 16)), "9"),
    ],
)
def test_characters_stand_in_bits_as_the_tables_say(encoded: tuple[tuple[int, int], ...], serial: str):
    """TDS tables 14-5 to 14-9."""
    assert read_epc(packed(*GTIN, *encoded)).identity.serial == serial


def test_memory_that_was_padded_with_zeros_is_the_same_epc():
    assert read_epc(bytes.fromhex(SGTIN) + bytes(4)).uri == URI
    assert read_epc(bytes.fromhex(SGTIN) + bytes(50)).uri == URI, (
        "31 words are the most that a tag can say it has"
    )


def test_a_tag_that_is_not_numbered_by_gs1_is_its_hex():
    tid = "E28068940000500A9D2298C6"
    assert read_epc(bytes.fromhex(tid)).identity == Identity("plain", tid, epc=tid)
    by_iso = read_epc(bytes.fromhex(SGTIN), pc=0x3100)
    assert by_iso.uri is None and by_iso.identity.kind == "plain"
    assert read_epc(bytes.fromhex(SGTIN), pc=0x3000).uri is not None


def test_a_card_is_known_by_what_is_printed_on_it_and_is_no_gtin():
    assert identity_of_tag(None, None, "5901234123457") == Identity("plain", "5901234123457")
    assert identity_of_tag(b"", None, None) == Identity("plain", "")
    assert identity_of_tag(bytes.fromhex(SSCC), 0x3000, "x").kind == "sscc"


# Dates in front and data behind -------------------------------------------------------------------------------------

SERIAL = ((0, 3), (1, 5), (7, 4))
ITEM = ((0xF7, 8), (0x8, 4), (0x09521141123454, 56), *SERIAL)
UNIT = ((0xF9, 8), (0x8, 4), (0x095201234567891235, 72))
CONTENTS = ((0x02, 8), (0x09521141123454, 56), (0x37, 8), (2, 4), (48, 7))
LOT = ((0x10, 8), (1, 3), (3, 5), (0xABC, 12))
EXPIRY = ((0x17, 8), (27, 7), (2, 4), (0, 5))


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (packed(*ITEM, *LOT, *EXPIRY), f"010952114112345417270200217{GS}10ABC"),
        (packed(*ITEM, *EXPIRY, *LOT), f"010952114112345417270200217{GS}10ABC"),
        (packed(*ITEM, (0x30, 8), (2, 4), (48, 7)), f"0109521141123454217{GS}3048"),
        (packed(*ITEM, (0x3103, 16), (1500, 20)), f"0109521141123454217{GS}3103001500"),
        (packed(*ITEM), "0109521141123454217"),  # data is announced, and none is there
        (packed(*UNIT, *CONTENTS, *LOT), f"000952012345678912350209521141123454{GS}3748{GS}10ABC"),
        # Behind a host name of 7 characters, three in 16 bits, or each in 7.
        (packed((0xEF, 8), *UNIT[1:], (0, 1), (7, 6), (1, 48), *LOT), f"00095201234567891235{GS}10ABC"),
        (packed((0xEF, 8), *UNIT[1:], (1, 1), (7, 6), (1, 49), *LOT), f"00095201234567891235{GS}10ABC"),
    ],
)
def test_data_behind_an_epc_is_read_as_from_a_barcode(data: bytes, printed: str):
    found = read_epc(data)
    assert found.identity.as_dict() == parse(printed, "]C1").as_dict()
    assert found.identity.warnings == () and found.uri is not None


@pytest.mark.parametrize(
    ("data", "lot", "reason"),
    [
        (packed(*ITEM, *LOT, (0x8200, 16), (1, 3)), "ABC", "(8200) is not one that is read here"),
        (packed(*ITEM, *LOT, (0xF1, 8)), "ABC", "(f100) is not one that is read here"),
        (packed(*ITEM, *LOT, (0x10, 8)), "ABC", "not 1 to 20 characters"),
        (packed(*ITEM, (0x21, 8), (0, 3), (1, 5), (8, 4)), None, "(21) says both 7 and 8"),
        (packed(*ITEM, (0x00, 8), (0x095201234567891235, 72)), None, "it names another thing"),
        (
            packed((0xF4, 8), (8, 4), (0x952114112345678906, 72), (0x01, 8), *GTIN[2:]),
            None,
            "it names another thing",
        ),
    ],
)
def test_data_that_cannot_be_read_or_names_something_else_is_left_out(
    data: bytes, lot: str | None, reason: str
):
    found = read_epc(data)
    assert found.uri is not None
    assert found.identity.lot == lot
    (warning,) = found.identity.warnings
    assert warning.startswith("data behind its EPC was left out: ") and reason in warning


def test_a_date_in_front_is_one_near_the_year_of_reading():
    item = Identity("gtin", "", gtin="09521141123454", serial="7", expiry="2076-06-30")
    tag = write_epc(item, scheme="dsgtin+", year=2026)
    assert read_epc(tag, year=2026).identity.expiry == "2076-06-30"
    assert identity_of_tag(tag, None, None, year=2125).expiry == "2076-06-30"
    assert identity_of_tag(tag, None, None, year=2126).expiry == "2176-06-30"


def test_a_date_that_is_no_day_costs_a_tag_what_it_costs_a_label():
    printed = parse("0109521141123454" + "17260230" + f"10ABC{GS}217", "]C1")
    no_day = ((26, 7), (2, 4), (30, 5))
    in_front = packed((0xFB, 8), (0, 4), (4, 4), *no_day, *GTIN[2:], *SERIAL)
    assert read_epc(in_front).identity.names == printed.names
    assert read_epc(in_front).identity.warnings == printed.warnings != ()
    behind = packed(*ITEM, (0x17, 8), *no_day, *LOT)
    assert read_epc(behind).identity.as_dict() == printed.as_dict()


def test_kinds_of_dates_stand_in_their_order():
    """TDS §14.5.3."""
    kinds = [DateKind().read(BitReader(bytes([kind << 4]))) for kind in range(7)]
    assert kinds == [("11",), ("13",), ("15",), ("16",), ("17",), ("7006",), ("7007",)]


def test_a_date_that_is_no_expiry_says_nothing_of_it():
    harvested = packed((0xFB, 8), (0, 4), (6, 4), (26, 7), (6, 4), (30, 5), *GTIN[2:], *SERIAL)
    assert read_epc(harvested).identity.as_dict() == {"kind": "gtin", "gtin": "09521141123454", "serial": "7"}


# Writing ------------------------------------------------------------------------------------------------------------

A_GTIN = Identity("gtin", "", gtin="80614141123458", serial="6789")


def test_an_epc_is_written_as_it_was_read():
    found = read_epc(bytes.fromhex(SGTIN))
    assert (
        write_epc(found.identity, scheme="sgtin-96", company_digits=7, filter_value=3).hex().upper() == SGTIN
    )
    assert from_uri("urn:epc:tag:sgtin-96:3.0614141.812345.6789").hex().upper() == SGTIN


@pytest.mark.parametrize(
    ("serial", "bits"),
    [
        ("0123456789", "0"),
        ("0A1B", "1"),
        ("0a1b", "2"),
        ("a-Z_", "3"),
        ("a/b", "4"),
        ("ABC.DEF:GHI-JKL", "5"),
    ],
)
def test_a_text_takes_the_encoding_with_the_fewest_bits(serial: str, bits: str):
    tag = write_epc(Identity("gtin", "", gtin="80614141123458", serial=serial), scheme="sgtin+")
    assert f"{int.from_bytes(tag[:10], 'big'):080b}"[68:71] == f"{int(bits):03b}"
    assert read_epc(tag).identity.serial == serial


@pytest.mark.parametrize(
    ("changed", "scheme", "company_digits", "filter_value", "reason"),
    [
        ({}, "sgtin-64", 7, 0, "no scheme 'sgtin-64'; there are sgtin-96"),
        ({}, "sgtin-96", None, 0, "no SGTIN-96: it takes company_digits from 6 to 12, not None"),
        ({}, "sgtin-96", 13, 0, "company_digits from 6 to 12, not 13"),
        ({}, "sgtin-96", 7, 8, "filter value 8 is too large"),
        ({"serial": None}, "sgtin+", None, 0, "kind gtin with gtin and serial"),
        ({"serial": "06789"}, "sgtin-96", 7, 0, "'06789' is not a number without leading zeros"),
        ({"serial": "274877906944"}, "sgtin-96", 7, 0, "serial number 274877906944 is too large"),
        ({"serial": "A" * 21}, "sgtin-198", 7, 0, "is not 1 to 20 characters"),
        ({"serial": "A" * 21}, "sgtin+", 7, 0, "is not 1 to 20 characters"),
        ({"serial": "Ä"}, "sgtin-198", 7, 0, "holds the character 'Ä'"),
        ({"gtin": "80614141123459"}, "sgtin-96", 7, 0, "'80614141123459' is nobody's SGTIN"),
        ({"gtin": "80614141123459"}, "sgtin+", 7, 0, "80614141123459 is nobody's GTIN"),
        ({"gtin": "614141123452"}, "sgtin-96", 7, 0, "item reference '612345' is not|nobody's|not 6 digits"),
        ({}, "sscc-96", 7, 0, "kind sscc with sscc"),
        ({}, "dsgtin+", None, 0, "it takes an expiry"),
        ({"expiry": "soon"}, "dsgtin+", None, 0, "soon"),
        ({"expiry": "1976-06-30"}, "dsgtin+", None, 0, "cannot be said in six digits"),
        ({}, "sgtin++", None, 0, "read, not written"),
        ({}, "gsrn-96", 7, 0, "write it from its tag URI"),
    ],
)
def test_what_does_not_fit_is_said(
    changed: dict[str, str | None], scheme: str, company_digits: int | None, filter_value: int, reason: str
):
    thing = Identity("gtin", "", **{"gtin": A_GTIN.gtin, "serial": A_GTIN.serial, **changed})
    with pytest.raises(ValueError, match=reason):
        write_epc(thing, scheme=scheme, company_digits=company_digits, filter_value=filter_value)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("urn:epc:id:sgtin:0614141.812345.6789", "does not begin with urn:epc:tag:"),
        ("urn:epc:tag:sgtin-64:3.0614141.812345.6789", "no scheme 'sgtin-64'"),
        ("urn:epc:tag:sgtin+:3.80614141123458.6789", "not the parts"),
        ("urn:epc:tag:sgtin-96:3.0614141.812345", "not the parts"),
        ("urn:epc:tag:sgtin-96:3.0614141.81234.6789", "not 6 digits"),
        ("urn:epc:tag:sgtin-96:3.06141.81234567.6789", "company prefix '06141' is not 6 to 12 digits"),
        ("urn:epc:tag:sgtin-96:3.0000000.000000.6789", "nobody's SGTIN"),
        ("urn:epc:tag:sgtin-198:3.0614141.812345.a/b", "must escape"),
        ("urn:epc:tag:sgtin-198:3.0614141.812345.a%2", "must escape"),
        ("urn:epc:tag:sgtin-198:3.0614141.812345.a%00", "holds the character"),
        ("urn:epc:tag:sgtin-198:3.0614141.812345.a%E9", "holds the character 'é'"),
        ("urn:epc:tag:gdti-113:3.0614141.12345.A", "'A' is not 1 to 17 digits"),
        ("urn:epc:tag:usdod-96:3.CAGE.1", "CAGE code 'CAGE' is not 5 or 6 characters"),
        ("urn:epc:tag:giai-96:3.061414A.1", "company prefix '061414A' is not 7 digits"),
    ],
)
def test_a_tag_uri_that_is_wrong_is_refused(uri: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        from_uri(uri)
