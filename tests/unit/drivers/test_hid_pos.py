"""What is special to HID POS: what the device says of its reports counts. Vectors: tests/unit/test_drivers.py."""

import pytest

from devices.drivers.hid_pos import HidPos
from devices.errors import Misconfigured
from devices.reads import BadFrame, BarcodeRead
from devices.wire.codes import MAX_CODE
from tests.support.drivers import Bench, assert_reads, build
from tests.unit.test_hid import SCANNER


def report(content: bytes, *, symbology: bytes = b"]C0", more: int = 0, padding: bytes = b"\0") -> bytes:
    return bytes([2, len(content)]) + symbology + content.ljust(56, padding) + bytes([0x6A, 0, more])


def bench(descriptor: bytes = b"", **options: int) -> Bench:
    driver = HidPos("scanner-1", **options)
    driver.describe(descriptor)
    return Bench(driver).open()


def test_a_read_has_its_symbology_id_and_its_data() -> None:
    [read] = bench().feed(report(b"A-01"))
    assert isinstance(read, BarcodeRead)
    assert (read.raw, read.text, read.symbology) == (b"]C0A-01", "A-01", "]C0")


def test_a_described_device_may_leave_anything_in_unused_bytes() -> None:
    stale = report(b"A-01", padding=b"9")
    assert_reads(bench(SCANNER).feed(stale), [{"symbology": "]C0", "text": "A-01"}])
    told = bench()
    told.feed(stale)
    assert_reads(told.wait(1), [{"bad": "no frame"}])


def test_other_bits_beside_the_one_that_says_that_more_follows_mean_nothing() -> None:
    assert_reads(bench(SCANNER).feed(report(b"A-01", more=0xFE)), [{"symbology": "]C0", "text": "A-01"}])
    two = bench(SCANNER).feed(report(b"A" * 56, more=0xFF), report(b"B", more=0xFE))
    assert_reads(two, [{"text": "A" * 56 + "B"}])


def test_a_layout_of_another_maker_is_taken_from_its_description() -> None:
    described = bench(
        bytes.fromhex("058c a101 7508 9508 09fe 8102 9503 09fb09fc09fd 8102 7501 9501 09ff 8102 9507 8103")
    )
    described.feed(b"12345678]E4\x01" + b"9\0\0\0\0\0\0\0]E4\x00")
    assert_reads(described.reads, [{"symbology": "]E4", "text": "123456789"}])


def test_other_reports_of_the_same_device_are_passed_over() -> None:
    other = bytes.fromhex("8507 7508 9502 0930 8102")
    described = bench(other + SCANNER)
    described.feed(b"\x07\x02\x02" + report(b"A") + b"\x07\x02", b"\x05" + report(b"B"))
    assert_reads(described.reads, [{"text": "A"}, {"text": "B"}])


def test_an_empty_report_of_a_described_device_is_nothing() -> None:
    assert bench(SCANNER).feed(report(b"")) == []


def test_what_cannot_be_a_scanner_is_a_fault_until_it_is_described_anew() -> None:
    wrong = bench(bytes.fromhex("0501 0906 a101 7508 9508 8102 c0"))
    assert wrong.driver.fault is not None and "HID POS" in wrong.driver.fault
    wrong.driver.describe(b"\x26")
    wrong.open()
    assert wrong.driver.fault is not None and "in the middle of an item" in wrong.driver.fault
    wrong.driver.describe(SCANNER)
    wrong.open()
    assert wrong.driver.fault is None
    assert_reads(wrong.feed(report(b"A")), [{"text": "A"}])


def test_a_recording_can_be_told_what_its_device_said() -> None:
    described = Bench(build("hid-pos", {"descriptor": SCANNER.hex()}))
    described.feed(report(b"A-01", padding=b"9"))
    assert_reads(described.reads, [{"symbology": "]C0", "text": "A-01"}])
    for wrong in ("xyz", "26", "058c"):
        with pytest.raises(Misconfigured, match="hex digits of a report descriptor"):
            build("hid-pos", {"descriptor": wrong})


def test_the_rest_of_a_code_must_follow_at_once() -> None:
    late = bench()
    late.feed(report(b"1" * 56, more=1))
    late.wait(0.2)
    late.feed(report(b"2" * 56, more=1))
    late.wait(0.2)
    late.feed(report(b"3"))
    assert_reads(late.reads, [{"text": "1" * 56 + "2" * 56 + "3"}])
    late.reads.clear()
    late.feed(report(b"1" * 56, more=1))
    late.wait(0.3)
    late.feed(report(b"3"))
    assert_reads(late.reads, [{"bad": "the rest of it did not come"}, {"text": "3"}])


def test_a_scanner_that_goes_in_the_middle_of_a_code() -> None:
    gone = bench()
    gone.feed(report(b"1" * 56, more=1))
    assert_reads(gone.close(), [{"bad": "the scanner went in the middle of it"}])
    gone.open()
    assert_reads(gone.feed(report(b"2")), [{"text": "2"}])


def test_an_endless_code_is_told_once() -> None:
    endless = bench()
    for _ in range(3 * MAX_CODE // 56):
        endless.feed(report(b"1" * 56, more=1))
    assert len(endless.reads) == 1 and isinstance(endless.reads[0], BadFrame)
    assert endless.feed(report(b"1")) == [] and endless.close() == []
    assert_reads(endless.feed(report(b"2")), [{"text": "2"}])


def test_a_lost_separator_is_a_warning() -> None:
    told = bench()
    told.feed(report(b"10ABC12321SER456", symbology=b"]d2"))
    assert told.driver.warning is not None
    told.open()
    assert told.driver.warning is None
