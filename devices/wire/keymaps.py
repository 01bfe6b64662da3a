"""Keyboard layouts: which character a key types, as tables over the kernel's key codes (linux/input-event-codes.h).

The one idea: a scanner that plays keyboard presses keys, not characters, so the map must be that of the layout the
scanner is set to; the layout of this machine does not matter.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TAB, ENTER, KEYPAD_ENTER = 15, 28, 96
CAPS_LOCK: Final = 58
SHIFTS: Final = frozenset({42, 54})
CONTROLS: Final = frozenset({29, 97})
ALT, ALT_GR = 56, 100
# The modifiers, and NumLock, ScrollLock and the two keys beside the space bar, which type nothing.
SILENT: Final = SHIFTS | CONTROLS | {ALT, ALT_GR, CAPS_LOCK, 69, 70, 125, 126}

# Keypads are the same in all layouts; digits count also without NumLock, which scanners switch on first.
KEYPAD: Final[Mapping[int, str]] = {
    71: "7", 72: "8", 73: "9", 75: "4", 76: "5", 77: "6", 79: "1", 80: "2", 81: "3", 82: "0",
    83: ".", 74: "-", 78: "+", 55: "*", 98: "/",
}  # fmt: skip
_EVERYWHERE: Final[Mapping[int, str]] = {TAB: "\t", ENTER: "\r", KEYPAD_ENTER: "\r", 57: " ", **KEYPAD}

# With Ctrl, keys beside the letters send the characters 00 and 1B to 1F by their place: 2 6 - [ ] \ of a US keyboard,
# in other layouts too.
CONTROL_KEYS: Final[Mapping[int, str]] = {3: "\0", 7: "\x1e", 12: "\x1f", 26: "\x1b", 27: "\x1d", 43: "\x1c"}

_ACCENTS: Final[Mapping[str, str]] = {
    "^": "\u0302",
    "´": "\u0301",
    "`": "\u0300",
    "¨": "\u0308",
    "~": "\u0303",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout: by key, the character alone, with Shift, and with AltGr."""

    plain: Mapping[int, str]
    shifted: Mapping[int, str]
    third: Mapping[int, str] = field(default_factory=dict)
    """Empty: the right Alt key is an Alt key."""
    dead: frozenset[tuple[int, int]] = frozenset()
    """Keys that type nothing before the next one, as (key, 0 alone, 1 with Shift, 2 with AltGr)."""

    def character(self, key: int, *, shift: bool, caps: bool, third: bool) -> tuple[str, bool] | None:
        """What the key types, and whether it waits for the next one. None: no character."""
        if key in _EVERYWHERE:
            return _EVERYWHERE[key], False
        if caps and self.plain.get(key, "").upper() == self.shifted.get(key):
            shift = not shift
        level = 2 if third else 1 if shift else 0
        typed = (self.plain, self.shifted, self.third)[level].get(key)
        return None if typed is None else (typed, (key, level) in self.dead)


def compose(accent: str, letter: str) -> str:
    """What a dead key and the one after it type together."""
    if letter == " ":
        return accent
    together = unicodedata.normalize("NFC", letter + _ACCENTS[accent])
    return together if len(together) == 1 else accent + letter


def _row(*rows: tuple[int, str]) -> dict[int, str]:
    """Keys that follow each other: the code of the first one, and what they type."""
    return {first + place: typed for first, row in rows for place, typed in enumerate(row)}


# The 105th key, 86, is at the left of Z.
LAYOUTS: Final[Mapping[str, Layout]] = {
    "us": Layout(
        _row((2, "1234567890-="), (16, "qwertyuiop[]"), (30, "asdfghjkl;'`"), (43, "\\zxcvbnm,./"), (86, "\\")),
        _row((2, "!@#$%^&*()_+"), (16, "QWERTYUIOP{}"), (30, 'ASDFGHJKL:"~'), (43, "|ZXCVBNM<>?"), (86, "|")),
    ),
    "uk": Layout(
        _row((2, "1234567890-="), (16, "qwertyuiop[]"), (30, "asdfghjkl;'`"), (43, "#zxcvbnm,./"), (86, "\\")),
        _row((2, '!"£$%^&*()_+'), (16, "QWERTYUIOP{}"), (30, "ASDFGHJKL:@¬"), (43, "~ZXCVBNM<>?"), (86, "|")),
        {5: "€", 41: "¦"},
    ),
    "de": Layout(
        _row((2, "1234567890ß´"), (16, "qwertzuiopü+"), (30, "asdfghjklöä^"), (43, "#yxcvbnm,.-"), (86, "<")),
        _row((2, '!"§$%&/()=?`'), (16, "QWERTZUIOPÜ*"), (30, "ASDFGHJKLÖÄ°"), (43, "'YXCVBNM;:_"), (86, ">")),
        {3: "²", 4: "³", 8: "{", 9: "[", 10: "]", 11: "}", 12: "\\", 16: "@", 18: "€", 27: "~", 50: "µ", 86: "|"},
        frozenset({(13, 0), (13, 1), (41, 0)}),
    ),
    "fr": Layout(
        _row((2, "&é\"'(-è_çà)="), (16, "azertyuiop^$"), (30, "qsdfghjklmù²"), (43, "*wxcvbn,;:!"), (86, "<")),
        _row((2, "1234567890°+"), (16, "AZERTYUIOP¨£"), (30, "QSDFGHJKLM%"), (43, "µWXCVBN?./§"), (86, ">")),
        {3: "~", 4: "#", 5: "{", 6: "[", 7: "|", 8: "`", 9: "\\", 10: "^", 11: "@", 12: "]", 13: "}", 18: "€",
         27: "¤"},
        frozenset({(26, 0), (26, 1), (3, 2), (8, 2)}),
    ),
}  # fmt: skip
