"""Text-line scanners: RS-232, USB-CDC, Bluetooth and network scanners that send a code and a terminator.

`[AIM id][data][terminator]`. The one idea: a line is a read only if it is whole. CR and LF each end a line and
empty lines are dropped, so CR LF works however it is split; a scanner that may have CR, LF or TAB *in* its codes is
configured with its one terminator, and then only that ends a line. A line over the bound is reported once and
skipped up to the next terminator. `]` is legal data: an AIM id is recognised at the start of a line and nowhere else.
"""

import re
from typing import ClassVar

from devices.driver import ByteDriver, Outcome
from devices.options import Option, choice, number
from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read, as_text
from identity import GS1_SYMBOLOGIES

# The longest symbol is a QR code of 7,089 digits (ISO/IEC 18004, version 40-L); beside it an AIM id and a prefix.
MAX_LINE = 7089 + 3 + 16

_TERMINATORS: dict[str, bytes] = {"cr": b"\r", "lf": b"\n", "crlf": b"\r\n", "tab": b"\t", "etx": b"\x03"}
_EITHER = "cr-or-lf"

# ISO/IEC 15424: `]`, the code letter of a symbology, a modifier.
_AIM_ID = re.compile(rb"\][A-UXZcdehopsz][0-9A-Za-z]")

_BEL = b"\x07"
_BEEPS: dict[Outcome, bytes] = {"ok": _BEL, "duplicate": _BEL * 2, "reject": _BEL * 3}


def _substitutes(text: str) -> tuple[bytes, ...]:
    """`|,{GS},0xF8`: texts, or one byte in hex, that the scanner sends where the code has a separator."""
    found = []
    for part in text.split(","):
        if not part or len(part) > 8:
            raise ValueError(
                f"must be a list such as |,{{GS}},0xF8 of at most 8 characters each, not {text!r}"
            )
        byte = re.fullmatch(r"0[xX]([0-9A-Fa-f]{2})", part)
        found.append(bytes.fromhex(byte[1]) if byte else part.encode())
    # Longest first, so that no substitute takes the beginning of another.
    return tuple(sorted(found, key=len, reverse=True))


class TextLine(ByteDriver):
    """The driver `text-line`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "terminator", choice(_EITHER, *_TERMINATORS, "idle"), _EITHER, "what ends a line; idle: a pause"
        ),
        Option("idle_ms", number(10, 10_000), 80, "the pause that ends a line with terminator=idle"),
        Option(
            "gs", _substitutes, (), "what the scanner sends for the separator of GS1 codes, such as | or 0xF8"
        ),
        Option(
            "beep", choice("no", "bel"), "no", "bel: one BEL for OK, two for a duplicate, three for a reject"
        ),
    )

    MAX_FRAME: ClassVar[int] = MAX_LINE

    def __init__(
        self,
        device: str,
        *,
        terminator: str = _EITHER,
        idle_ms: int = 80,
        gs: tuple[bytes, ...] = (),
        beep: str = "no",
    ) -> None:
        super().__init__(device)
        self._idle_ms = idle_ms if terminator == "idle" else None
        self._idle_ns: int | None = None
        self._terminator = _TERMINATORS.get(terminator, b"\r")
        self._end = re.compile(rb"[\r\n]" if terminator == _EITHER else re.escape(self._terminator))
        self._framed = terminator == "etx"
        self._gs = re.compile(b"|".join(map(re.escape, gs))) if gs else None
        self._beeps = beep == "bel"
        self._buffer = bytearray()
        self._skipping = False

    def open(self, now: Moment) -> None:
        """Forget what came before."""
        self._forget()

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """The lines that these bytes complete."""
        buffer = self._buffer
        # Search only what is new, and one byte before it: the longest terminator has two.
        fresh = max(0, len(buffer) - 1)
        buffer += data
        reads: list[Read] = []
        if self._idle_ms is None and self._end.search(buffer, fresh):
            *lines, rest = self._end.split(bytes(buffer))
            if self._skipping:
                self._skipping = False
                del lines[0]
            for line in lines:
                if line:
                    reads.append(self._line(line, now))
            buffer[:] = rest
        self._bound(reads, now)
        if self._idle_ms is not None and data:
            self._idle_ns = now.monotonic_ns + self._idle_ms * 1_000_000
        return reads

    def due_ns(self) -> int | None:
        """When the pause that ends a line has passed, if that is what ends one."""
        return self._idle_ns

    def tick(self, now: Moment) -> list[Read]:
        """End the line if the pause has passed."""
        if self._idle_ns is None or now.monotonic_ns < self._idle_ns:
            return []
        return self._end_by_pause(now)

    def _end_by_pause(self, now: Moment) -> list[Read]:
        line, skipped = bytes(self._buffer), self._skipping
        self._forget()
        return [self._line(line, now)] if line and not skipped else []

    def close(self, now: Moment) -> list[Read]:
        """The stream ended: a pause for terminator=idle, else the death of a half line."""
        if self._idle_ms is not None:
            return self._end_by_pause(now)
        line, skipped = bytes(self._buffer), self._skipping
        self._forget()
        if not line or skipped:
            return []
        return [self._bad("the connection ended in the middle of a line; scan it again", line, now)]

    def feedback(self, outcome: Outcome, now: Moment) -> None:
        """BELs, if the scanner beeps on them (Zebra RS-232 scanners do) and `beep=bel` says so."""
        if self._beeps:
            self.send(_BEEPS[outcome])

    def _forget(self) -> None:
        self._buffer.clear()
        self._skipping = False
        self._idle_ns = None

    def _bound(self, reads: list[Read], now: Moment) -> None:
        """Keep the buffer bounded: report an over-long line once, then keep only what may begin its terminator."""
        buffer = self._buffer
        begun = len(self._terminator) == 2 and buffer.endswith(self._terminator[:1])
        if not self._skipping and len(buffer) - begun > MAX_LINE:
            reads.append(self._too_long(bytes(buffer[:MAX_SAMPLE]), now))
            self._skipping = True
        if self._skipping:
            buffer[:] = self._terminator[:1] if begun else b""

    def _line(self, line: bytes, now: Moment) -> Read:
        if len(line) > MAX_LINE:
            return self._too_long(line, now)
        symbology = None
        # STX … ETX is one frame: where ETX ends a line, an STX before it is no part of the code.
        content = line[1:] if self._framed and line[0] == 0x02 else line
        if content[:1] == b"]" and _AIM_ID.match(content):
            symbology = content[:3].decode("ascii")
            content = content[3:]
            if self._gs is not None and symbology in GS1_SYMBOLOGIES:
                content = self._gs.sub(b"\x1d", content)
        if not content:
            return self._bad("a frame without a code in it", line, now)
        return BarcodeRead(self.device, line, as_text(content), symbology, now.unix_s, now.monotonic_ns)

    def _too_long(self, line: bytes, now: Moment) -> BadFrame:
        reason = f"a line of more than {MAX_LINE} bytes; is the terminator set as in the scanner?"
        return self._bad(reason, line, now)

    def _bad(self, reason: str, line: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, line[:MAX_SAMPLE], now.unix_s)
