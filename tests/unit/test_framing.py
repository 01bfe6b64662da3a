"""The way back after garbage, on the smallest protocol that has a header, a length and a checksum."""

from typing import ClassVar

import pytest

from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read
from devices.wire.framing import MAX_SKIPPED, FramedDriver
from tests.support.drivers import Bench

MOST = 0x40


def frame(content: bytes) -> bytes:
    """`# length content sum`: the header is a length, too, and may stand in a content."""
    body = bytes([len(content)]) + content
    return b"#" + body + bytes([sum(body) & 0xFF])


class Hash(FramedDriver):
    """Reads such frames."""

    MAX_FRAME: ClassVar[int] = MOST + 3

    def measure(self, data: bytes, at: int) -> int:
        if data[at] != ord("#"):
            found = data.find(b"#", at)
            return at - (found if found >= 0 else len(data))
        if len(data) - at < 2:
            return 0
        size = data[at + 1] + 3
        if size > self.MAX_FRAME:
            return -1
        if len(data) - at < size:
            return 0
        return size if sum(data[at + 1 : at + size - 1]) & 0xFF == data[at + size - 1] else -1

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        text = frame[2:-1].decode("latin-1")
        reads.append(BarcodeRead(self.device, frame, text, None, now.unix_s, now.monotonic_ns))


def bench() -> Bench:
    return Bench(Hash("device-1")).open()


def told(reads: list[Read]) -> list[str | bytes | None]:
    """The text of a read, the sample of what is none."""
    return [read.sample if isinstance(read, BadFrame) else read.text for read in reads]


STALL_S = Hash.STALL_MS / 1000


@pytest.mark.parametrize("stray", [b"#", b"##", b"#\x30", b"#\x20x", b"#\x30##"])
def test_a_stray_header_holds_the_frame_behind_it_up_for_no_longer_than_a_frame_may_stop(
    stray: bytes,
) -> None:
    device = bench()
    assert device.feed(stray + frame(b"A"), frame(b"B")) == []
    assert device.wait(STALL_S - 0.001) == []
    assert told(device.wait(0.001)) == [stray, "A", "B"]


def test_every_byte_that_comes_gives_a_frame_its_whole_time_again() -> None:
    device = bench()
    for byte in frame(b"slow")[:-1]:
        assert device.feed(bytes([byte])) == []
        assert device.wait(STALL_S * 0.9) == []
    assert told(device.feed(frame(b"slow")[-1:])) == ["slow"]
    assert device.driver.due_ns() is None


def test_a_frame_that_is_not_finished_is_none_and_what_follows_is_not_joined_to_it() -> None:
    device = bench()
    device.feed(frame(b"half")[:4])
    assert told(device.wait(STALL_S)) == [frame(b"half")[:4]]
    assert told(device.feed(frame(b"half")[4:] + frame(b"whole"))) == [frame(b"half")[4:], "whole"]


def test_the_end_of_the_stream_gives_what_stands_behind_an_unfinished_frame() -> None:
    device = bench()
    device.feed(b"#\x30" + frame(b"A") + b"#")
    assert told(device.close()) == [b"#\x30", "A", b"#"]
    assert device.close() == []


def test_a_port_that_is_opened_anew_knows_nothing_of_what_came_before() -> None:
    device = bench()
    device.feed(b"xyz" + frame(b"A")[:-1])
    device.open()
    assert told(device.feed(frame(b"A")[-1:] + frame(b"B"))) == [frame(b"A")[-1:], "B"]


def test_garbage_is_told_of_once_before_the_frame_behind_it_however_it_comes() -> None:
    device = bench()
    assert device.feed(b"gar", b"b", b"age") == []
    assert told(device.feed(frame(b"A"))) == [b"garbage", "A"]
    device.feed(b"more")
    assert told(device.wait(STALL_S)) == [b"more"]
    assert device.wait(5) == []


def test_garbage_without_end_is_told_of_in_pieces_and_shown_in_part() -> None:
    device = bench()
    reads = [read for _ in range(10) for read in device.feed(b"." * MAX_SKIPPED)]
    assert told(reads) == [b"." * MAX_SAMPLE] * 10
    assert [isinstance(read, BadFrame) and str(MAX_SKIPPED) in read.reason for read in reads] == [True] * 10
    assert device.wait(5) == []


def test_of_garbage_nothing_is_said_before_the_device_answered() -> None:
    device = bench()
    device.driver.ready = False
    assert told(device.feed(b"garbage" + frame(b"A"))) == ["A"]
    device.driver.ready = True
    assert told(device.feed(frame(b"B"))) == ["B"]


def test_being_woken_early_changes_nothing_and_late_no_more_than_in_time() -> None:
    device = bench()
    device.feed(frame(b"A")[:3])
    assert device.driver.tick(device.now) == []
    device.ns += 10_000_000_000
    assert told(device.driver.tick(device.now)) == [frame(b"A")[:3]]
    assert device.driver.tick(device.now) == []
