"""Scanners that play keyboard: the kernel's key events, typed out into codes.

The one idea: a code that may lack a character is no code. Keys go down and up in turn; where they do not, where the
kernel says that it dropped events, or where bytes are no events at all, something is missing: what was typed so far
is told and given up, and so is the rest, until a terminator or a pause begins anew.

An event is `struct input_event` in this machine's sizes: seconds, microseconds, type, code, value (linux/input.h).
From a device they come whole; a recording, a pipe or a terminal may begin or break in the middle of one, and then the
right place is found by what an event can be.
"""

import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from devices.driver import ByteDriver
from devices.options import Option, choice, number, yes_or_no
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read
from devices.wire.codes import MAX_CODE, Codes
from devices.wire.keymaps import (
    ALT,
    ALT_GR,
    CAPS_LOCK,
    CONTROL_KEYS,
    CONTROLS,
    ENTER,
    KEYPAD,
    KEYPAD_ENTER,
    LAYOUTS,
    SHIFTS,
    SILENT,
    TAB,
    compose,
)

_EVENT: Final = struct.Struct("llHHi")
# Types of events (linux/input-event-codes.h) → their highest code and value; None: any value.
_SYN, _KEY = 0, 1
_TOLD: Final = (_KEY, _SYN)
_PLAUSIBLE: Final[Mapping[int, tuple[int, int | None]]] = {
    _SYN: (3, 1), _KEY: (0x2FF, 2), 2: (0x0F, None), 3: (0x3F, None), 4: (7, None), 5: (0x10, 1), 0x11: (0x0F, 1),
    0x12: (7, None), 0x14: (1, None),
}  # fmt: skip
_SYN_REPORT, _SYN_DROPPED = 0, 3
_LAST_SECOND: Final = 1 << 34
"""An event after the year 2514 is none."""
_UP, _DOWN = 0, 1

# What may come up first after the port was opened: the Enter that started the program, or ended a code.
_END_KEYS: Final = frozenset({ENTER, KEYPAD_ENTER, TAB})
# What ends a code: the keys, and the characters, which scanners also send as Ctrl+M, Ctrl+J, Ctrl+I or by number.
_ENDS: Final[Mapping[str, tuple[frozenset[int], str]]] = {
    "any": (_END_KEYS, "\r\n\t"),
    "enter": (frozenset({ENTER, KEYPAD_ENTER}), ""),
    "tab": (frozenset({TAB}), ""),
    "idle": (frozenset(), ""),
}
# Scanners type a character in a few milliseconds, slow ones over Bluetooth in 40.
_IDLE_ENDS_MS, _IDLE_DROPS_MS = 80, 1000
# Alt and a number on the keypad: no character has more digits than that.
_MOST_DIGITS: Final = 7


class _Out(NamedTuple):
    """Where what is read now goes."""

    now: Moment
    reads: list[Read]


class KeyboardWedge(ByteDriver):
    """The driver `keyboard-wedge`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("layout", choice(*LAYOUTS), "us", "the keyboard layout that the scanner is set to"),
        Option("terminator", choice(*_ENDS), "any", "the key that ends a code; idle: a pause"),
        Option(
            "idle_ms",
            number(10, 10_000),
            None,
            f"the pause that ends a code with terminator=idle (left out: {_IDLE_ENDS_MS}), or after which a code"
            f" without its end is given up (left out: {_IDLE_DROPS_MS})",
        ),
        Option(
            "caps",
            yes_or_no,
            False,
            "whether the scanner types as if CapsLock were on; the light of CapsLock is not heeded",
        ),
        *Codes.OPTIONS,
    )
    MAX_FRAME: ClassVar[int] = MAX_CODE

    def __init__(
        self,
        device: str,
        *,
        layout: str = "us",
        terminator: str = "any",
        idle_ms: int | None = None,
        caps: bool = False,
        **codes: Any,
    ) -> None:
        super().__init__(device)
        self._layout, self._layout_name = LAYOUTS[layout], layout
        self._end_keys, self._end_characters = _ENDS[terminator]
        self._idle_ends = terminator == "idle"
        idle_ms = idle_ms or (_IDLE_ENDS_MS if self._idle_ends else _IDLE_DROPS_MS)
        self._idle_ns = idle_ms * 1_000_000
        self._caps_as_set = caps
        self._codes = Codes(device, **codes)
        self._rest = b""
        self._due_ns: int | None = None
        self._heard_ns = 0
        self._forget()

    # --- the stream --------------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Forget what was typed before."""
        self._forget()
        self._codes.forget()
        self.warning = None

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """The codes that these events complete."""
        out = _Out(now, [])
        if now.monotonic_ns - self._heard_ns > self._idle_ns:
            self._caps = self._caps_as_set  # scanners that press CapsLock press it again behind the code
        self._heard_ns = now.monotonic_ns
        data = self._rest + data
        at, last = 0, len(data) - _EVENT.size
        while at <= last:
            second, microsecond, kind, code, value = _EVENT.unpack_from(data, at)
            most = _PLAUSIBLE.get(kind)
            if (
                most is not None
                and 0 <= microsecond <= 999_999
                and 0 <= second < _LAST_SECOND
                and code <= most[0]
                and (most[1] is None or 0 <= value <= most[1])
            ):
                at += _EVENT.size
                if kind == _SYN and code == _SYN_REPORT:
                    self._dropping = False
                elif kind in _TOLD and not self._dropping:
                    self._event(kind, code, value, (second * 1_000_000 + microsecond) * 1000, out)
            else:
                if not self._spoiled:
                    sample = data[at : at + MAX_SAMPLE]
                    self._spoil("bytes that are no input events: is this an input device?", out, sample)
                at += 1
        self._rest = data[at:]
        half = self._rest or self._typed or self._spoiled or self._digits or self._accent
        self._due_ns = now.monotonic_ns + self._idle_ns if half else None
        return out.reads

    def due_ns(self) -> int | None:
        """When a pause ends a code, or shows that its end is not coming."""
        return self._due_ns

    def tick(self, now: Moment) -> list[Read]:
        """The pause, if it was long enough."""
        out = _Out(now, [])
        if self._due_ns is not None and now.monotonic_ns >= self._due_ns:
            self._rest = b""
            self._pause("keys without a terminator, then a pause: scan it again", out)
        return out.reads

    def close(self, now: Moment) -> list[Read]:
        """The stream ended: a pause for terminator=idle, else the death of a half code."""
        out = _Out(now, [])
        self._pause("the scanner went in the middle of a code; scan it again", out)
        self._forget()
        return out.reads

    def _forget(self) -> None:
        self._rest, self._due_ns = b"", None
        self._caps = self._caps_as_set
        self._down: set[int] = set()
        self._left: set[int] = set()
        """Keys that were still down when the code before this one ended."""
        self._pressed = False
        """A key went down since the port was opened."""
        self._last_ns = 0
        self._begin()

    def _begin(self) -> None:
        """A new code."""
        self._typed: list[str] = []
        self._accent = self._digits = ""
        self._spoiled = self._dropping = False

    def _pause(self, reason: str, out: _Out) -> None:
        self._due_ns = None
        if self._idle_ends:
            self._finish(out)
        elif self._typed or self._digits:
            out.reads.append(self._bad(reason, out.now))
        self._begin()

    # --- events ------------------------------------------------------------------------------------------------

    def _event(self, kind: int, code: int, value: int, at_ns: int, out: _Out) -> None:
        if kind == _SYN:
            if code == _SYN_DROPPED:
                # What stands before the next report belongs to what was dropped (evdev documentation).
                self._spoil("the system dropped key events: scan it again", out)
                self._dropping = True
        elif kind == _KEY:
            if self._idle_ends and value == _DOWN:
                # Two codes may have waited in the kernel together: then only their own clock knows of the pause.
                if at_ns - self._last_ns > self._idle_ns and (self._typed or self._spoiled):
                    self._pause("", out)
                self._last_ns = at_ns
            if value == _DOWN:
                self._press(code, out)
            elif value == _UP:
                self._release(code, out)

    def _press(self, key: int, out: _Out) -> None:
        if key in self._down:
            self._spoil("a key went down twice: key events were lost; scan it again", out)
        self._pressed = True
        self._down.add(key)
        self._left.discard(key)
        if key == CAPS_LOCK:
            self._caps = not self._caps
        elif key in self._end_keys:
            self._finish(out)
        elif key not in SILENT and not self._spoiled:
            self._character(key, out)

    def _release(self, key: int, out: _Out) -> None:
        if key in self._down:
            self._down.discard(key)
        elif key in self._left:
            self._left.discard(key)
        elif self._typed:
            self._spoil("a key came up that was not down: key events were lost; scan it again", out)
        elif not (self._pressed or key in _END_KEYS):
            self._spoil("the port was opened in the middle of a code; scan it again", out)
        if key in (ALT, ALT_GR) and self._digits:
            typed, self._digits = _by_number(self._digits), ""
            if typed is None:
                self._spoil("Alt and a number that is no character; scan it again", out)
            else:
                self._type(typed, out)

    def _character(self, key: int, out: _Out) -> None:
        down = self._down
        control, alt, alt_gr = not CONTROLS.isdisjoint(down), ALT in down, ALT_GR in down
        # Windows' AltGr is Ctrl and Alt together, and many scanners send that.
        third = bool(self._layout.third) and (alt_gr or (control and alt))
        if (alt or alt_gr) and not third:
            if key in KEYPAD and KEYPAD[key].isdigit() and len(self._digits) < _MOST_DIGITS:
                self._digits += KEYPAD[key]
            else:
                self._unknown(key, out)
            return
        typed = self._layout.character(key, shift=not SHIFTS.isdisjoint(down), caps=self._caps, third=third)
        if control and not (alt or alt_gr):
            self._control(key, typed[0] if typed else "", out)
        elif typed is None:
            self._unknown(key, out)
        elif typed[1] and not self._accent:
            self._accent = typed[0]
        else:
            self._type(typed[0], out)

    def _control(self, key: int, typed: str, out: _Out) -> None:
        if key in CONTROL_KEYS:
            self._type(CONTROL_KEYS[key], out)
        elif len(typed) == 1 and typed.isascii() and typed.isalpha():
            self._type(chr(ord(typed) & 0x1F), out)
        else:
            self._unknown(key, out)

    def _unknown(self, key: int, out: _Out) -> None:
        """A key that types nothing: a function key before a code is its preamble, else something is missing."""
        if self._typed or key in self._layout.plain:
            self._spoil(
                f"key {key} types nothing here in layout {self._layout_name}: is layout= as in the scanner?",
                out,
            )

    # --- codes -------------------------------------------------------------------------------------------------

    def _type(self, typed: str, out: _Out) -> None:
        if self._spoiled:
            return
        if typed in self._end_characters:
            self._finish(out)
            return
        if self._accent:
            typed, self._accent = compose(self._accent, typed), ""
        self._typed.append(typed)
        if len(self._typed) > MAX_CODE:
            self._spoil(
                f"more than {MAX_CODE} characters without an end; is terminator= as in the scanner?",
                out,
            )

    def _finish(self, out: _Out) -> None:
        """The code is whole, or what is missing of it is over."""
        if self._digits:
            self._spoil("Alt and a number, and Alt did not come up: key events were lost; scan it again", out)
        text, spoiled = "".join(self._typed) + self._accent, self._spoiled
        self._left |= self._down
        self._down.clear()
        self._begin()
        if text and not spoiled:
            out.reads.extend(self._codes.scan(_as_bytes(text), out.now))
            self.warning = self._codes.warning

    def _spoil(self, reason: str, out: _Out, sample: bytes = b"") -> None:
        """Something is missing: tell it once, and take nothing before the next code begins."""
        if not self._spoiled:
            out.reads.append(self._bad(reason, out.now, sample))
        self._begin()
        self._spoiled = True
        self._down.clear()

    def _bad(self, reason: str, now: Moment, sample: bytes = b"") -> BadFrame:
        sample = sample or _as_bytes("".join(self._typed[:MAX_SAMPLE]))[:MAX_SAMPLE]
        return BadFrame(self.device, reason, sample, now.unix_s)


def _by_number(digits: str) -> str | None:
    """Alt and a number: of four digits from 0 a byte of the code, of less a character of code page 437."""
    number_ = int(digits)
    if number_ > 0xFF:
        return chr(number_) if number_ < 0xD800 or 0xE000 <= number_ <= 0x10FFFF else None
    return chr(number_) if number_ < 0x80 or digits.startswith("0") else bytes([number_]).decode("cp437")


def _as_bytes(text: str) -> bytes:
    """Scanners that type by number type the bytes of the code: as many characters below 256 as there are bytes."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")
