"""What is special to keyboard wedges: layouts, pauses, lost events. Vectors: tests/unit/test_drivers.py."""

import struct
from typing import Any

import pytest

from devices.drivers.keyboard_wedge import KeyboardWedge
from devices.options import take
from devices.reads import BadFrame, BarcodeRead
from devices.wire.codes import MAX_CODE
from devices.wire.keymaps import KEYPAD, LAYOUTS, SILENT
from tests.support.drivers import Bench, assert_reads

SYN, KEY = 0, 1
ENTER, SHIFT, CTRL, ALT = 28, 42, 29, 56
A, B = 30, 48


def event(kind: int, code: int, value: int, at_us: int = 5_000_000) -> bytes:
    return struct.pack("llHHi", *divmod(at_us, 1_000_000), kind, code, value)


def press(*keys: int, at_us: int = 5_000_000) -> bytes:
    """All down, then all up again."""
    order = [*((key, 1) for key in keys), *((key, 0) for key in reversed(keys))]
    return b"".join(event(KEY, key, value, at_us) + event(SYN, 0, 0, at_us) for key, value in order)


def bench(**options: str) -> Bench:
    driver = KeyboardWedge("scanner-1", **take(options, KeyboardWedge.OPTIONS, what="test"))
    return Bench(driver).open()


def text(read: Any) -> str:
    assert isinstance(read, BarcodeRead), read
    return read.text


def test_an_event_has_the_size_that_this_kernel_gives_it() -> None:
    assert struct.calcsize("llHHi") == 2 * struct.calcsize("l") + 8


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_key_types_two_things_and_none_that_is_silent_types_anything(name: str) -> None:
    layout = LAYOUTS[name]
    for level in (layout.plain, layout.shifted, layout.third):
        assert all(len(character) == 1 for character in level.values())
        assert not set(level) & (SILENT | set(KEYPAD) | {15, 28, 57, 96})
    assert (
        len(set(layout.plain.values())) == len(layout.plain) or name == "us"
    )  # its key 86 is a second backslash
    assert {chr(code) for code in range(0x21, 0x7F)} <= {
        *layout.plain.values(),
        *layout.shifted.values(),
        *layout.third.values(),
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_printable_character_of_ascii_can_be_typed_on_every_layout(name: str) -> None:
    layout, wedge = LAYOUTS[name], bench(layout=name)
    for level, modifier in enumerate(((), (SHIFT,), (100,))):
        for key, character in (layout.plain, layout.shifted, layout.third)[level].items():
            # Behind a dead key, the space bar types its own character.
            after = press(57) if (key, level) in layout.dead else b""
            [read] = wedge.feed(press(*modifier, key) + after + press(ENTER))
            assert text(read) == character


def test_modifiers_on_the_right_are_as_good_as_those_on_the_left() -> None:
    [read] = bench().feed(press(54, A) + press(54, 2) + press(97, 27) + press(SHIFT, 54, B) + press(ENTER))
    assert text(read) == "A!\x1dB"


def test_raw_is_what_was_typed_as_bytes() -> None:
    [read] = bench(layout="de").feed(press(40) + press(ENTER))
    assert isinstance(read, BarcodeRead) and (read.raw, read.text) == (b"\xe4", "ä")
    [read] = bench(layout="de").feed(press(40) + press(100, 18) + press(ENTER))
    assert isinstance(read, BarcodeRead) and (read.raw, read.text) == ("ä€".encode(), "ä€")


def test_a_code_without_its_end_is_given_up_after_a_pause() -> None:
    wedge = bench()
    wedge.feed(press(A))
    assert wedge.wait(0.9) == []
    wedge.feed(press(A))
    assert_reads(wedge.wait(1.1), [{"bad": "without a terminator"}])
    assert_reads(wedge.feed(press(B) + press(ENTER)), [{"text": "b"}])


def test_a_pause_ends_a_code_where_it_is_the_terminator() -> None:
    wedge = bench(terminator="idle", idle_ms="50")
    wedge.feed(press(A) + press(ENTER))
    assert wedge.wait(0.04) == []
    assert_reads(wedge.wait(0.02), [{"text": "a\r"}])
    wedge.feed(press(B))
    assert_reads(wedge.close(), [{"text": "b"}])


def test_lost_events_cost_codes_until_one_begins_for_sure() -> None:
    wedge = bench()
    wedge.feed(event(SYN, 3, 0) + press(A)[:24] + event(SYN, 0, 0))
    wedge.feed(press(B) + press(ENTER))
    wedge.feed(press(A) + press(ENTER))
    assert_reads(wedge.reads, [{"bad": "dropped key events"}, {"text": "a"}])
    wedge.reads.clear()
    wedge.feed(event(SYN, 3, 0) + event(SYN, 0, 0))
    wedge.wait(1.1)
    wedge.feed(press(B) + press(ENTER))
    assert_reads(wedge.reads, [{"bad": "dropped key events"}, {"text": "b"}])


def test_half_an_event_before_a_pause_joins_nothing() -> None:
    wedge = bench()
    wedge.feed(press(A)[:10])
    assert wedge.wait(1.1) == []
    assert_reads(wedge.feed(press(B) + press(ENTER)), [{"text": "b"}])


def test_modifiers_that_never_came_up_do_not_reach_into_the_next_code() -> None:
    wedge = bench()
    wedge.feed(event(KEY, SHIFT, 1) + press(A) + press(ENTER))
    wedge.feed(press(A) + press(ENTER))
    assert [text(read) for read in wedge.reads] == ["A", "a"]


def test_a_port_opened_in_the_middle_of_a_code_reads_no_half_of_it() -> None:
    wedge = bench()
    wedge.feed(event(KEY, A, 0) + press(B) + press(ENTER) + press(B) + press(ENTER))
    assert_reads(wedge.reads, [{"bad": "opened in the middle of a code"}, {"text": "b"}])
    wedge.reads.clear()
    wedge.close()
    wedge.open()
    wedge.feed(event(KEY, ENTER, 0) + press(B) + press(ENTER))  # the Enter that started the program
    assert_reads(wedge.reads, [{"text": "b"}])


def test_caps_lock_is_as_set_again_after_a_pause() -> None:
    wedge = bench()
    wedge.feed(press(58) + press(A) + press(ENTER))
    wedge.wait(2)
    wedge.feed(press(A) + press(ENTER))
    assert [text(read) for read in wedge.reads] == ["A", "a"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (press(A) + event(KEY, ALT, 1) + press(82) + press(ENTER), "Alt did not come up"),
        (press(ALT, A), "key 30 types nothing here"),
        (press(CTRL, 2), "key 2 types nothing here"),
        (
            event(KEY, ALT, 1) + b"".join(press(80) for _ in range(9)) + event(KEY, ALT, 0),
            "key 80 types nothing",
        ),
        (
            event(KEY, ALT, 1) + b"".join(map(press, (76, 76, 81, 82, 82))) + event(KEY, ALT, 0),
            "no character",
        ),
    ],
)
def test_keys_that_are_no_character_spoil_the_code(keys: bytes, reason: str) -> None:
    wedge = bench()
    wedge.feed(press(A) + keys + press(ENTER) + press(B) + press(ENTER))
    bad, good = wedge.reads
    assert isinstance(bad, BadFrame) and reason in bad.reason
    assert text(good) == "b"


def test_the_longest_code_fits_and_one_more_character_is_told_once() -> None:
    wedge = bench()
    wedge.feed(press(A) * MAX_CODE + press(ENTER))
    assert len(text(wedge.reads[0])) == MAX_CODE
    wedge.reads.clear()
    wedge.feed(press(A) * (2 * MAX_CODE + 5) + press(ENTER) + press(B) + press(ENTER))
    bad, good = wedge.reads
    assert isinstance(bad, BadFrame) and str(MAX_CODE) in bad.reason and len(bad.sample) == 64
    assert text(good) == "b"


def test_lost_separators_are_a_warning() -> None:
    wedge = bench()
    typed = b"".join(press(*keys) for keys in ((27,), (SHIFT, 46), (2,)))  # ]C1
    wedge.feed(typed + press(2) + press(11) + press(SHIFT, A) * 25 + press(ENTER))
    assert wedge.driver.warning is not None and "separator" in wedge.driver.warning
    wedge.open()
    assert wedge.driver.warning is None
