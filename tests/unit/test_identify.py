"""What a read names depends on when it was read, and on what the site says of its device."""

from datetime import UTC, datetime

from devices.identify import identify
from devices.reads import BarcodeRead, TagRead
from identity import Identity, write_epc

LABEL = "010952123454321317800331"


def read(text: str, symbology: str | None, year: int) -> BarcodeRead:
    at = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    return BarcodeRead("s", text.encode(), text, symbology, at, 0)


def test_two_digits_are_a_year_near_the_reading() -> None:
    assert identify(read(LABEL, "]C1", 2026)).expiry == "1980-03-31"
    assert identify(read(LABEL, "]C1", 2030)).expiry == "2080-03-31"
    assert identify(read(LABEL, "]C1", 1970)).expiry == "1980-03-31", "no clock has been there"


def test_the_site_may_say_what_no_id_says() -> None:
    assert identify(read(LABEL, None, 2026)).kind == "plain"
    assert identify(read(LABEL, None, 2026), gs1_anywhere=True).gtin == "09521234543213"


def test_a_tag_says_it_by_its_epc() -> None:
    tag = TagRead("gate", b"", bytes.fromhex("3074257BF7194E4000001A85"), 0.0, 0)
    assert identify(tag).names == ("gtin", "80614141123458", "6789")


def test_two_digits_on_a_tag_are_a_year_near_the_reading() -> None:
    item = Identity("gtin", "", gtin="80614141123458", serial="6789", expiry="2076-06-30")
    epc = write_epc(item, scheme="dsgtin+")
    for year, expiry in ((2026, "2076-06-30"), (2126, "2176-06-30")):
        at = datetime(year, 6, 1, tzinfo=UTC).timestamp()
        assert identify(TagRead("gate", b"", epc, at, 0)).expiry == expiry
