"""EPCs: what a tag says is what its barcode says, and nothing that its scheme does not allow becomes an identity."""

import random

import pytest

from identity import Identity, identity_of_tag, parse, read_epc
from tests.support.tags import epc

SGTIN = "3074257BF7194E4000001A85"
SSCC = "3174257BF4499602D2000000"


def test_an_sgtin_is_a_gtin_with_its_serial_number():
    found = read_epc(bytes.fromhex(SGTIN))
    assert found.uri == "urn:epc:id:sgtin:0614141.812345.6789"
    assert found.filter == 3
    assert found.identity == Identity("gtin", SGTIN, gtin="80614141123458", serial="6789", epc=SGTIN)
    assert found.identity.as_dict() == {"kind": "gtin", "gtin": "80614141123458", "serial": "6789"}


def test_an_sscc_is_a_unit():
    found = read_epc(bytes.fromhex(SSCC))
    assert found.uri == "urn:epc:id:sscc:0614141.1234567890"
    assert found.identity == Identity("sscc", SSCC, sscc="106141412345678908", epc=SSCC)


def test_a_tag_and_the_barcode_of_the_same_thing_give_the_same():
    tag = read_epc(bytes.fromhex(SGTIN)).identity.as_dict()
    assert tag == parse("0180614141123458" + "216789", "]C1").as_dict()
    assert read_epc(bytes.fromhex(SSCC)).identity.as_dict() == parse("00106141412345678908", "]C1").as_dict()


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


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (epc(0x30, 1, 7, (1, 40), (1, 4), (7, 38)), "partition 7"),
        (epc(0x30, 1, 0, (10**12, 40), (1, 4), (7, 38)), "company prefix has more than 12 digits"),
        (epc(0x30, 1, 5, (1, 24), (10**6, 20), (7, 38)), "item reference has more than 6 digits"),
        (epc(0x30, 1, 5, (0, 24), (0, 20), (7, 38)), "nobody's GTIN"),
        (epc(0x31, 1, 5, (1, 24), (1, 34), (1, 24)), "reserved bits"),
        (epc(0x31, 1, 5, (0, 24), (0, 34), (0, 24)), "nobody's SSCC"),
        (bytes.fromhex(SGTIN)[:8], "64 bits"),
        (bytes.fromhex(SGTIN) + b"\x01\x00", "112 bits"),
    ],
)
def test_what_a_scheme_does_not_allow_keeps_its_hex_and_proves_nothing(data: bytes, reason: str):
    found = read_epc(data)
    assert found.uri is None and found.filter is None
    assert found.identity.kind == "plain" and found.identity.text == data.hex().upper()
    assert reason in found.identity.warnings[0]


def test_memory_that_was_padded_with_zeros_is_the_same_epc():
    assert read_epc(bytes.fromhex(SGTIN) + bytes(4)).uri == "urn:epc:id:sgtin:0614141.812345.6789"


def test_a_tag_that_is_not_numbered_by_gs1_is_its_hex():
    assert read_epc(bytes.fromhex("E28068940000500A9D2298C6")).identity == Identity(
        "plain", "E28068940000500A9D2298C6", epc="E28068940000500A9D2298C6"
    )
    by_iso = read_epc(bytes.fromhex(SGTIN), pc=0x3100)
    assert by_iso.uri is None and by_iso.identity.kind == "plain"
    assert read_epc(bytes.fromhex(SGTIN), pc=0x3000).uri is not None


def test_a_card_is_known_by_what_is_printed_on_it_and_is_no_gtin():
    assert identity_of_tag(None, None, "5901234123457") == Identity("plain", "5901234123457")
    assert identity_of_tag(b"", None, None) == Identity("plain", "")
    assert identity_of_tag(bytes.fromhex(SSCC), 0x3000, "x").kind == "sscc"


def test_whatever_a_tag_holds_never_raises():
    rng = random.Random("tags")
    for _ in range(3000):
        data = bytes([rng.choice((0x30, 0x31, rng.randrange(256)))]) + rng.randbytes(rng.randrange(62))
        found = read_epc(data, rng.choice((None, rng.randrange(1 << 16))))
        assert found.identity.text == data.hex().upper()
        assert (found.uri is None) == (found.identity.kind == "plain")
