"""HID report descriptors, made by hand: what they say, and what is no descriptor."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.wire.hid import Field, input_reports
from devices.wire.pos_reports import Layout, layout_of

# A bar code scanner as the HID Point of Sale Usage Tables draw it: report 2 has a byte count, three symbology ids, 56
# bytes of data, a further id of the maker, a reserved byte, and a bit that says that more follows.
SCANNER = bytes.fromhex(
    "058c 0902 a101"  # page Bar Code Scanner; usage Bar Code Scanner; collection, application
    "0912 a102"  # usage Scanned Data Report; collection, logical
    "8502 1500 26ff00 7508"  # report id 2; 0 to 255; 8 bits
    "9501 0501 093b 8102"  # one: page Generic Desktop, Byte Count
    "9503 058c 09fb 09fc 09fd 8102"  # three: symbology id 1, 2, 3
    "9538 09fe 820201"  # 56: decoded data, buffered bytes
    "9501 0666ff 0904 8102"  # one: the maker's own
    "9501 8103"  # one: padding
    "058c 7501 2501 09ff 8102"  # one bit: decoded data continued
    "9507 8103"  # seven bits of padding
    "c0 c0"
)
USUAL = Layout(64, 2, 1, (2, 3, 4), 5, 56, (63, 0))


def test_a_scanner_describes_its_report() -> None:
    reports = input_reports(SCANNER)
    assert {report: each.bytes_long for report, each in reports.items()} == {2: 64}
    assert layout_of(SCANNER) == USUAL


def test_reports_without_ids_and_a_length_that_has_no_name() -> None:
    descriptor = SCANNER.replace(bytes.fromhex("8502"), b"").replace(bytes.fromhex("0501093b"), b"")
    assert layout_of(descriptor) == Layout(63, None, 0, (1, 2, 3), 4, 56, (62, 0))


def test_without_a_length_data_end_where_zeros_begin() -> None:
    descriptor = bytes.fromhex("058c a101 8505 7508 9510 09fe 8102 c0")
    assert layout_of(descriptor) == Layout(17, 5, None, (), 1, 16, None)


def test_one_usage_for_three_ids_and_other_reports_beside_it() -> None:
    other = bytes.fromhex("8507 7510 9502 0930 8102")  # report 7: two words
    descriptor = SCANNER.replace(bytes.fromhex("09fb09fc09fd"), bytes.fromhex("09fb"))
    reports = input_reports(other + descriptor)
    assert reports[7].bytes_long == 5
    assert layout_of(other + descriptor) == replace(USUAL, others={7: 5})


def test_a_keyboard_has_no_decoded_data() -> None:
    keyboard = bytes.fromhex(
        "0501 0906 a101 0507 19e0 29e7 1500 2501 7501 9508 8102 9501 7508 8101"
        "9506 7508 1500 2565 0507 1900 2965 8100 c0"
    )
    reports = input_reports(keyboard)
    assert reports[0].bytes_long == 8
    assert reports[0].fields[:2] == (Field(0x0700E0, 0, 1), Field(0x0700E1, 1, 1))
    with pytest.raises(ValueError, match="set the scanner to HID POS"):
        layout_of(keyboard)


def test_settings_are_kept_on_a_stack_and_long_items_are_skipped() -> None:
    descriptor = bytes.fromhex("058c 7508 9502 a4 7510 9501 09fb 8102 b4 fe03f0aabbcc 09fe 8102")
    assert input_reports(descriptor)[0].fields == (
        Field(0x8C00FB, 0, 16),
        Field(0x8C00FE, 16, 8),
        Field(0x8C00FE, 24, 8),
    )


def test_a_usage_of_four_bytes_brings_its_page() -> None:
    assert input_reports(bytes.fromhex("0501 7508 9501 0bfe008c00 8102"))[0].fields == (
        Field(0x8C00FE, 0, 8),
    )


@pytest.mark.parametrize(
    ("descriptor", "reason"),
    [
        ("0501 26ff", "ends in the middle of an item"),
        ("b4", "pops what it did not push"),
        ("a4" * 17, "pushes more than"),
        ("8500", "report id of 0"),
        ("7508 97ffffffff 8102", "longer than 4096 bytes"),
        ("7508 960010 8102 8501 8102", "longer than 4096 bytes"),
        ("0900" * 4097, "usages for one item"),
        ("1b00000000 2bffffffff", "usages"),
    ],
)
def test_what_is_no_descriptor_is_refused(descriptor: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        input_reports(bytes.fromhex(descriptor))


@pytest.mark.parametrize("bits", ["7510", "7507"])
def test_data_that_are_no_bytes_are_refused(bits: str) -> None:
    with pytest.raises(ValueError, match="not bytes in a row"):
        layout_of(bytes.fromhex(f"058c {bits} 9510 09fe 8102"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_descriptor_or_refused(descriptor: bytes) -> None:
    with suppress(ValueError):
        layout_of(descriptor)
    try:
        reports = input_reports(descriptor)
    except ValueError:
        return
    assert sum(each.bytes_long for each in reports.values()) <= 4096 + len(reports)
