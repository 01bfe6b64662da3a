"""Text-line scanners: RS-232, USB-CDC, Bluetooth and network scanners that send a code and a terminator.

`[prefix][symbology id][data][terminator]`. The one idea: a line is a read only if it is whole. CR and LF each end a
line and empty lines are dropped, so CR LF works however it is split; a scanner that may have CR, LF or TAB *in* its
codes is configured with its one terminator, and then only that ends a line. A line over the bound is reported once
and skipped up to the next terminator. What a line says is for `devices.wire.codes`; here it is only told apart from
what a scanner answers on the same channel when somebody changes its settings.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from devices.driver import ByteDriver, Outcome, earliest
from devices.options import Option, choice, number
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read
from devices.wire.codes import MAX_CODE, Codes

MAX_LINE: Final = MAX_CODE

_TERMINATORS: Final[Mapping[str, bytes]] = {
    "cr": b"\r",
    "lf": b"\n",
    "crlf": b"\r\n",
    "tab": b"\t",
    "etx": b"\x03",
}
_EITHER: Final = "cr-or-lf"

_BEL: Final = b"\x07"
_BEEPS: Final[Mapping[Outcome, int]] = {"ok": 1, "duplicate": 2, "reject": 3}
# A scanner beeps for each BEL that comes when it is silent again: those of one outcome, and those of two.
_BEEP_MS, _BEEPS_MS = 300, 800
# The handshake of Zebra's RS-232 scanners (LS7708 guide, "software handshaking"): a line is kept until ACK, sent
# again at NAK, and given up with an error beep after three.
_ACK, _NAK = b"\x06", b"\x15"
_TRIES: Final = 3
# A scanner that does the handshake waits for the answer to each line: more at once are for nobody.
_MAX_ANSWERS: Final = 64

# What scanners answer to settings, at the start of what would be a line. Status: ACK done, ENQ unknown, NAK refused.
_STATUS: Final = rb"[\x05\x06\x15]"
# STX SOH 0000@ command status ; ETX (NLS-HR52 manual, "serial commands"). The ETX may have been the terminator.
_NEWLAND: Final = rb"\x02\x01\d{4}[@#][^\x03]*(?:\x03|\Z)"
# CR LF $$%~OK CR LF, or ER (older Newland).
_NEWLAND_OLD: Final = rb"[\r\n]*\$\$%~(?:OK|ER)(?:[\r\n]+|\Z)"
# Tag, subtag and data as in the command, then a status before each of its punctuation marks (3820 user's guide,
# "serial programming commands").
_HONEYWELL: Final = rb"[A-Z]{3}[A-Z0-9*]{3}[ -~]{0,200}?" + _STATUS + rb"[.!,;]"
# Where the make is not said, a status alone is an answer only if it is the whole line: a code may begin with ACK.
_REPLIES: Final[Mapping[str, bytes]] = {
    "any": rb"(?:%b|%b|%b|%b+\Z)" % (_NEWLAND, _NEWLAND_OLD, _HONEYWELL, _STATUS),
    "zebra": _STATUS,
    "honeywell": rb"(?:%b|%b)" % (_HONEYWELL, _STATUS),
    "newland": rb"(?:%b|%b|%b|[\r\n]+\Z)" % (_NEWLAND, _NEWLAND_OLD, _STATUS),
}


class TextLine(ByteDriver):
    """The driver `text-line`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "terminator", choice(_EITHER, *_TERMINATORS, "idle"), _EITHER, "what ends a line; idle: a pause"
        ),
        Option("idle_ms", number(10, 10_000), 80, "the pause that ends a line with terminator=idle"),
        Option(
            "make",
            choice(*_REPLIES, "none"),
            "any",
            "whose answers to settings are told from codes; none: every line is a code",
        ),
        Option(
            "beep", choice("no", "bel"), "no", "bel: one BEL for OK, two for a duplicate, three for a reject"
        ),
        Option(
            "handshake",
            choice("no", "ack"),
            "no",
            "ack: every line is answered, with ACK if it was read and NAK if not",
        ),
        *Codes.OPTIONS,
    )

    MAX_FRAME: ClassVar[int] = MAX_LINE

    def __init__(
        self,
        device: str,
        *,
        terminator: str = _EITHER,
        idle_ms: int = 80,
        make: str = "any",
        beep: str = "no",
        handshake: str = "no",
        **codes: Any,
    ) -> None:
        super().__init__(device)
        self._idle_ms = idle_ms if terminator == "idle" else None
        self._idle_ns: int | None = None
        self._terminator = _TERMINATORS.get(terminator, b"\r")
        self._end = re.compile(rb"[\r\n]" if terminator == _EITHER else re.escape(self._terminator))
        self._framed = terminator == "etx"
        self._reply = re.compile(_REPLIES[make] + b"+", re.DOTALL) if make in _REPLIES else None
        self._beeps = beep == "bel"
        self._answers = handshake == "ack"
        self._failures = 0
        self._codes = Codes(device, **codes)
        self._buffer = bytearray()
        self._skipping = False
        self._after_reply = False
        self._doubted = False
        """The pause had passed when more came: nobody knows whether it was made here or there."""
        self._left_beeps = self._next_beeps = 0
        self._beep_ns: int | None = None

    def open(self, now: Moment) -> None:
        """Forget what came before."""
        self._forget()
        self._codes.forget()
        self._left_beeps = self._next_beeps = self._failures = 0
        self._beep_ns = None
        self.warning = None

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """The lines that these bytes complete."""
        buffer = self._buffer
        if self._idle_ns is not None and now.monotonic_ns >= self._idle_ns:
            self._doubted = True
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
                    reads += self._line(line, now)
            buffer[:] = rest
        self._bound(reads, now)
        if self._idle_ms is not None and data:
            self._idle_ns = now.monotonic_ns + self._idle_ms * 1_000_000
        return reads

    def due_ns(self) -> int | None:
        """When the pause that ends a line has passed, if that is what ends one; when to beep."""
        return earliest(self._idle_ns, self._beep_ns)

    def tick(self, now: Moment) -> list[Read]:
        """End the line if the pause has passed; beep."""
        if self._beep_ns is not None and now.monotonic_ns >= self._beep_ns:
            self._beep(now)
        if self._idle_ns is None or now.monotonic_ns < self._idle_ns:
            return []
        return self._end_by_pause(now)

    def _end_by_pause(self, now: Moment) -> list[Read]:
        line, skipped, doubted = bytes(self._buffer), self._skipping, self._doubted
        self._forget()
        if not line or skipped:
            return []
        if doubted:
            self._answer(good=False)
            reason = "this computer was too busy to tell one code from two by the pause; scan it again"
            return [self._bad(reason, line, now)]
        return self._line(line, now)

    def close(self, now: Moment) -> list[Read]:
        """The stream ended: a pause for terminator=idle, else the death of a half line."""
        if self._idle_ms is not None:
            return self._end_by_pause(now)
        line, skipped = bytes(self._buffer), self._skipping
        self._forget()
        if skipped or not (line := self._without_replies(line)):
            return []
        return [self._bad("the connection ended in the middle of a line; scan it again", line, now)]

    def feedback(self, outcome: Outcome, now: Moment) -> None:
        """BELs, if the scanner beeps on them (Zebra RS-232 scanners do) and `beep=bel` says so."""
        if self._beeps:
            self._next_beeps = _BEEPS[outcome]
            if self._beep_ns is None:
                self._beep(now)

    def _beep(self, now: Moment) -> None:
        """One beep of the outcome under way, else of the newest one that waits."""
        if not self._left_beeps:
            self._left_beeps, self._next_beeps = self._next_beeps, 0
        if not self._left_beeps:
            self._beep_ns = None
            return
        self.send(_BEL)
        self._left_beeps -= 1
        pause_ms = _BEEP_MS if self._left_beeps else _BEEPS_MS
        self._beep_ns = now.monotonic_ns + pause_ms * 1_000_000

    def _forget(self) -> None:
        self._buffer.clear()
        self._skipping = False
        self._idle_ns = None
        self._after_reply = self._doubted = False

    def _bound(self, reads: list[Read], now: Moment) -> None:
        """Keep the buffer bounded: report an over-long line once, then keep only what may begin its terminator."""
        buffer = self._buffer
        begun = len(self._terminator) == 2 and buffer.endswith(self._terminator[:1])
        if not self._skipping and len(buffer) - begun > MAX_LINE:
            reads += self._too_long(bytes(buffer[:MAX_SAMPLE]), now)
            self._skipping = True
        if self._skipping:
            buffer[:] = self._terminator[:1] if begun else b""

    def _line(self, line: bytes, now: Moment) -> list[Read]:
        if len(line) > MAX_LINE:
            return self._too_long(line, now)
        if not (line := self._without_replies(line)):
            return []
        # STX … ETX is one frame: where ETX ends a line, an STX before it is no part of the code.
        reads = self._codes.scan(line[1:] if self._framed and line[0] == 0x02 else line, now)
        # Of two codes in one line, only the last can be empty.
        self._answer(good=not isinstance(reads[-1], BadFrame))
        return reads

    def _without_replies(self, line: bytes) -> bytes:
        if self._after_reply:
            # The LF of an answer's own CR LF, where CR alone ends a line.
            line, self._after_reply = line.removeprefix(b"\n"), False
        if self._reply is not None and (replies := self._reply.match(line)):
            line = line[replies.end() :]
            self._after_reply = not line
        return line

    def _answer(self, *, good: bool) -> None:
        self._failures = 0 if good else self._failures + 1
        if self._answers and len(self._output) < _MAX_ANSWERS:
            self.send(_ACK if good else _NAK)
        self.warning = self._codes.warning
        if self._failures >= _TRIES:
            self.warning = (
                f"{self._failures} lines in a row were no codes: are speed and terminator as in the scanner?"
            )

    def _too_long(self, line: bytes, now: Moment) -> list[Read]:
        self._answer(good=False)
        reason = f"a line of more than {MAX_LINE} bytes; is the terminator set as in the scanner?"
        return [self._bad(reason, line, now)]

    def _bad(self, reason: str, line: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, line[:MAX_SAMPLE], now.unix_s)
