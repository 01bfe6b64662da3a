"""A simulated scanner that plays keyboard: what it types is what a keyboard of its layout types."""

import random
import struct
from itertools import pairwise

import pytest

from simulators.hardware.device import Thing
from simulators.hardware.keyboard_wedge import KEY, MSC, SYN, KeyboardWedge
from tests.support.drivers import Bench, build

CODES = ["0109521234543213", "A-01/03 (b)", "10AB\x1d21Z", "Zeppelin@yacht ^ 5", "Straße 7: µ"]
HOSTS = [
    ({}, {}),
    ({"layout": "de"}, {"layout": "de"}),
    ({"typing": "numbers"}, {}),
    ({"typing": "numbers", "layout": "de", "terminator": "keypad"}, {"layout": "de"}),
    ({"terminator": "tab", "code_id": "none"}, {"terminator": "tab", "codes": "none"}),
    ({"terminator": "none"}, {"terminator": "idle"}),
]


def scanner(**options: str) -> KeyboardWedge:
    return KeyboardWedge(random.Random(1), **options)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("options", "of_host"), HOSTS)
def test_a_host_of_the_same_settings_reads_what_was_scanned(
    options: dict[str, str], of_host: dict[str, str], code: str
) -> None:
    [frame] = scanner(**options).see(Thing(code=code, aim="]C0"), 12.5)
    host = Bench(build("keyboard-wedge", of_host))
    host.feed(frame.data)
    host.wait(0.2)
    assert [getattr(read, "text", read) for read in host.reads] == [code]


def test_events_are_those_of_a_keyboard() -> None:
    [frame] = scanner().see(Thing(code="Abc123"), 0.0)
    events = list(struct.iter_unpack("llHHi", frame.data))
    times = [second * 1_000_000 + microsecond for second, microsecond, *_ in events]
    assert all(later - earlier in (0, 999, 1000, 1001) for earlier, later in pairwise(times))
    assert [kind for _, _, kind, _, _ in events] == [MSC, KEY, SYN] * (len(events) // 3)
    down: set[int] = set()
    for _, _, kind, key, value in events:
        if kind == KEY:
            assert (key in down) != bool(value), "keys go down and up in turn"
            down ^= {key}
    assert not down


def test_what_stands_before_a_code_spoils_it_unless_it_ended() -> None:
    device = scanner()
    [frame] = device.see(Thing(code="A1"), 0.0)
    assert not device.spoils(frame.data)
    assert device.spoils(frame.data[:-24]) and device.spoils(b"noise")
    torn = bytearray(frame.data)
    torn[-24 + 15] ^= 0x80  # the microseconds of the last event
    assert device.spoils(bytes(torn))
    assert scanner(terminator="none").spoils(frame.data)


def test_a_damaged_time_may_go_unnoticed_and_a_damaged_key_not() -> None:
    device = scanner()
    [frame] = device.see(Thing(code="A1"), 0.0)
    for place, survives in ((8, True), (24 + 8, True), (24 + 18, False), (24 + 20, False)):
        damaged = bytearray(frame.data)
        damaged[place] ^= 1
        assert device.survives(frame.data, bytes(damaged)) is survives, place


@pytest.mark.parametrize(
    "options", [{"layout": "xx"}, {"terminator": "cr"}, {"typing": "x"}, {"code_id": "x"}]
)
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is one of"):
        scanner(**options)
