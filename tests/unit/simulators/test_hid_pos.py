"""A simulated scanner in HID POS mode: its reports, byte by byte as the maker documents them."""

import random

import pytest

from simulators.hardware.device import Thing
from simulators.hardware.hid_pos import HidPos, reports


def test_a_code_of_sixty_characters_takes_two_reports() -> None:
    first, second = reports(b"M1" + b"X" * 58, "]Q0")
    assert first[:7].hex() == "02385d51304d31" and first[61:].hex() == "000001"
    assert second[:5].hex() == "02045d5130" and second[5:].hex() == "58" * 4 + "00" * 55
    assert len(first) == len(second) == 64


def test_each_report_of_a_code_says_which_it_is() -> None:
    thing = Thing(code="7" * 113, aim="]Q1")
    frames = HidPos(random.Random(1)).see(thing, 0.0)
    assert [(frame.part, frame.parts, frame.things) for frame in frames] == [
        (n, 3, (thing,)) for n in (1, 2, 3)
    ]
    assert [frame.data[1] for frame in frames] == [56, 56, 1]
    assert [frame.data[-1] for frame in frames] == [1, 1, 0]
    assert frames[0].data[61:62] == b"s"


def test_without_ids_their_bytes_are_empty() -> None:
    [frame] = HidPos(random.Random(1), code_id="none").see(Thing(code="A", aim="]C0"), 0.0)
    assert frame.data[:6].hex() == "020100000041"
    with pytest.raises(ValueError, match="code_id is one of"):
        HidPos(random.Random(1), code_id="x")


def test_only_a_report_that_says_that_more_follows_spoils_the_next() -> None:
    device = HidPos(random.Random(1))
    first, last = reports(b"1" * 60)
    assert device.spoils(b"noise" + first)
    assert not device.spoils(last) and not device.spoils(b"noise")


def test_only_what_a_host_needs_must_arrive() -> None:
    device = HidPos(random.Random(1))
    [report] = reports(b"A-01", "]C0")
    assert device.survives(report, report[:61] + b"x" + report[62:])
    assert not device.survives(report, report[:6] + b"x" + report[7:])
    assert not device.survives(report, report[:60])
