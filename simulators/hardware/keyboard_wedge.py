"""A scanner that plays keyboard, as the kernel shows it: `struct input_event`, key after key.

Facts: linux/input.h and linux/input-event-codes.h for events and key codes; USB HID keyboards report the scan code,
the key and the end of the report; Zebra's product guides for what is typed when a character has no key: Ctrl and a
key, or Alt and a number on the keypad.
"""

import random
import struct
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

_EVENT: Final = struct.Struct("llHHi")
SYN, KEY, MSC = 0, 1, 4
_SCAN: Final = 4  # MSC_SCAN
_UP, _DOWN = 0, 1
SHIFT, CTRL, ALT, ALT_GR, NUM_LOCK = 42, 29, 56, 100, 69
ENTERS: Final[Mapping[str, int | None]] = {"enter": 28, "keypad": 96, "tab": 15, "none": None}

# Character → key, as the layouts are printed on keyboards: alone, with Shift, with AltGr.
_US: Final = {
    0: {2: "1234567890-=", 16: "qwertyuiop[]", 30: "asdfghjkl;'`", 43: "\\zxcvbnm,./", 57: " "},
    SHIFT: {2: "!@#$%^&*()_+", 16: "QWERTYUIOP{}", 30: 'ASDFGHJKL:"~', 43: "|ZXCVBNM<>?"},
}
# ^, ´ and ` wait for the next key on a German keyboard: scanners type them by number.
_DE: Final = {
    0: {2: "1234567890ß", 16: "qwertzuiopü+", 30: "asdfghjklöä", 43: "#yxcvbnm,.-", 86: "<", 57: " "},
    SHIFT: {2: '!"§$%&/()=?', 16: "QWERTZUIOPÜ*", 30: "ASDFGHJKLÖÄ°", 43: "'YXCVBNM;:_", 86: ">"},
    ALT_GR: {8: "{[]}\\", 16: "@", 27: "~", 86: "|"},
}
LAYOUTS: Final = {"us": _US, "de": _DE}
_KEYPAD: Final = {"7": 71, "8": 72, "9": 73, "4": 75, "5": 76, "6": 77, "1": 79, "2": 80, "3": 81, "0": 82}
_GS: Final = "\x1d"
_GS_KEY: Final = 27  # ] on a US keyboard; Ctrl and this key are 1D in every layout

_REPORT_S: Final = 0.001
"""A full-speed device may report a thousand times a second."""
_ROLLS: Final = 0.2
"""How many keys come up only after the next one went down."""
_BOOT_S: Final = 1_790_000_000
"""What the clock of the events said when ours said 0."""
_LAST_S: Final = 1 << 34
"""No event is from after the year 2514."""

Stroke = tuple[int, int]
"""A modifier or 0, and a key."""


class KeyboardWedge(Device):
    """The kind `keyboard-wedge`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "layout": f"the keyboard it plays: {', '.join(LAYOUTS)} (usually us)",
        "terminator": f"the key behind a code: {', '.join(ENTERS)} (usually enter)",
        "typing": "keys, or numbers: every character as Alt and a number on the keypad (usually keys)",
        "code_id": "aim or none (usually aim)",
    }
    TERMINAL_URL: ClassVar[str] = "evdev://{}?grab=no"

    def __init__(
        self,
        rng: random.Random,
        *,
        layout: str = "us",
        terminator: str = "enter",
        typing: str = "keys",
        code_id: str = "aim",
    ) -> None:
        super().__init__(rng)
        for name, value, known in (
            ("layout", layout, LAYOUTS),
            ("terminator", terminator, ENTERS),
            ("typing", typing, ("keys", "numbers")),
            ("code_id", code_id, ("aim", "none")),
        ):
            if value not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
        self._keys = _keys(layout)
        self._numbers = typing == "numbers"
        self._ids = code_id == "aim"
        self._end = ENTERS[terminator]

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """The trigger is pulled on a code: the whole code is typed in one go."""
        assert thing.code is not None
        text = (thing.aim or "" if self._ids else "") + thing.code
        presses = list(self._typed(text))
        if self._end is not None:
            presses += [(self._end, _DOWN), (self._end, _UP)]
        return [Frame(_events(presses, now_s), (thing,))]

    def _typed(self, text: str) -> Iterator[tuple[int, int]]:
        """Keys going down and up; a key may come up only after the next one went down."""
        if self._numbers:
            yield from ((NUM_LOCK, _DOWN), (NUM_LOCK, _UP))
        held = 0
        for character in text:
            stroke = None if self._numbers else self._keys.get(character)
            if held and (stroke is None or stroke[0] or stroke[1] == held):
                yield held, _UP
                held = 0
            if stroke is None:
                yield from _by_number(character, utf_8=self._numbers)
                continue
            modifier, key = stroke
            if modifier:
                yield from ((modifier, _DOWN), (key, _DOWN), (key, _UP), (modifier, _UP))
                continue
            yield key, _DOWN
            if held:
                yield held, _UP
                held = 0
            if self.rng.random() < _ROLLS:
                held = key
            else:
                yield key, _UP
        if held:
            yield held, _UP
        if self._numbers:
            yield from ((NUM_LOCK, _DOWN), (NUM_LOCK, _UP))

    def spoils(self, stray: bytes) -> bool:
        """Nothing says where a code begins: whatever stands before it becomes part of it, unless it ended."""
        if self._end is None:
            return True
        end = [(KEY, self._end, _DOWN), (SYN, 0, 0), (MSC, _SCAN), (KEY, self._end, _UP), (SYN, 0, 0)]
        tail = list(_sound(stray[-len(end) * _EVENT.size :]))
        return [event[:2] if event[0] == MSC else event for event in tail] != end

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """The time of an event and its scan code do not matter, nor most of what follows the end."""
        return list(_downs(data)) == list(_downs(damaged))


def _keys(layout: str) -> dict[str, Stroke]:
    found: dict[str, Stroke] = {_GS: (CTRL, _GS_KEY)}
    for modifier, rows in LAYOUTS[layout].items():
        for first, row in rows.items():
            for place, character in enumerate(row):
                found.setdefault(character, (modifier, first + place))
    return found


def _by_number(character: str, *, utf_8: bool) -> Iterator[tuple[int, int]]:
    """Alt and four digits: the character by its number in Windows' code page, or each byte of its UTF-8."""
    for byte in character.encode("utf-8" if utf_8 or ord(character) > 0xFF else "latin-1"):
        yield ALT, _DOWN
        for digit in f"{byte:04d}":
            yield from ((_KEYPAD[digit], _DOWN), (_KEYPAD[digit], _UP))
        yield ALT, _UP


def _events(presses: list[tuple[int, int]], now_s: float) -> bytes:
    """Each key as a report of its own: scan code, key, end of the report."""
    data = b""
    for number, (key, value) in enumerate(presses):
        at_us = int((_BOOT_S + now_s + number * _REPORT_S) * 1e6)
        for event in ((MSC, _SCAN, 0x70000 | key), (KEY, key, value), (SYN, 0, 0)):
            data += _EVENT.pack(at_us // 1_000_000, at_us % 1_000_000, *event)
    return data


def _sound(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, code and value of the events; those whose time is none are left out."""
    for at in range(0, len(data) - _EVENT.size + 1, _EVENT.size):
        second, microsecond, kind, code, value = _EVENT.unpack_from(data, at)
        if 0 <= second < _LAST_S and 0 <= microsecond < 1_000_000:
            yield kind, code, value


def _downs(data: bytes) -> Iterator[int]:
    return (code for kind, code, value in _sound(data) if (kind, value) == (KEY, _DOWN))
