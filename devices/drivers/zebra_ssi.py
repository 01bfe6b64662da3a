"""Zebra scanners that speak SSI, the Simple Serial Interface: RS-232, USB-CDC, Bluetooth.

`length opcode source status data checksum16`, 9600 8N1. The one idea: one packet is under way at a time, and whoever
takes it says so. The scanner sends a code and waits; it is told ACK, or NAK if the checksum does not hold, and sends
it again otherwise, marked as a repetition. So a marked packet that was taken a moment ago is acknowledged and not
read again, and an ACK is never acknowledged. What we say ourselves is said three times at the most, marked too.
Packets of one code have no numbers in the guide: once one is missing, what still comes of that code is refused.

A scanner delivers bare codes until it is told to pack them, so the start-up does that, for as long as it has power:
nothing is written to its memory. It is not undone at the end either: what was set before is not known. A scanner
that loses power behind a converter falls back to bare codes; they are told of, and it is set up anew.

On RS-232 SSI wants RTS and CTS: give the port `rtscts=yes` where the cable has these lines. Without (the default: USB
and most converters have none) a sleeping scanner loses the first byte, so a NUL goes before the first packet.

Sources: "Simple Serial Interface Programmer's Guide" 72E-40451; product reference guides of DS9908 and DS457; for
the packets of ring and Bluetooth scanners (RS51xx), which have three more bytes before a code, a length before a
packet on BLE, and numbered segments for long codes, the open source driver of enioka Scan.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from devices.driver import Outcome
from devices.options import Option, choice
from devices.reads import MAX_SAMPLE, BadFrame, BarcodeRead, Moment, Read, as_text
from devices.wire.checksums import negative_sum_16
from devices.wire.dialogue import Step, TalkingDriver
from devices.wire.symbologies import AIM_ID, SSI, aim_id

# Profile → bytes before a packet (BLE: its whole length, low byte first), bytes before the content of a code.
_PROFILES: dict[str, tuple[int, int]] = {"classic": (0, 1), "rsm": (0, 4), "ble": (2, 4)}

_SCANNER, _HOST, _FIRST_SEGMENT = 0x00, 0x04, 0x02
# Bits of the status.
_AGAIN, _CONTINUED = 0x01, 0x02
_HEADER, _CHECKSUM = 4, 2

_SEGMENT, _SEGMENT_ACK = 0x73, 0x74
_MANAGEMENT = 0x80
_ASK_REVISION, _REVISION = 0xA3, 0xA4
_PARAMETERS = 0xC6
_ACK, _NAK = 0xD0, 0xD1
_CAPABILITIES = 0xD4
_BEEP, _LED_ON, _LED_OFF, _SCAN_ENABLE = 0xE6, 0xE7, 0xE8, 0xE9
_CODE, _EVENT = 0xF3, 0xF6

# What a scanner may say; what it says by itself waits for our ACK, answers to a question do not.
_BY_ITSELF = frozenset({_SEGMENT, _MANAGEMENT, _PARAMETERS, _CODE, _EVENT})
_KNOWN = _BY_ITSELF | {_REVISION, _ACK, _NAK, _CAPABILITIES}

_RESEND, _CANCEL = 0x01, 0x0A  # reasons of a NAK

# PARAM_SEND: no beep (FF), then parameter and value. EE: codes in packets. EB: codes as they are, without what the
# scanner may be set to put around them; 2D: with their AIM id.
_IN_PACKETS = b"\xff\xee\x01"
_WITH_AIM_IDS = b"\xff\xeb\x00\x2d\x01"

# The guide's defaults: a response within 2 s, three sendings in all, characters 200 ms apart at the most (STALL_MS).
_RESPONSE_MS = 2_000
_SENDINGS = 3
_WAKE_MS = 50
# A packet that is marked as a repetition is one if the same was taken so short a time ago: a scanner repeats after
# its time-out of 2 s. Later it is the same code, scanned again, whose first sending was lost.
_REPEAT_MS = 2_500
# The pieces of a long code follow our ACK at once, or after at most two repetitions.
_PIECE_MS = 1_000
_PIECES_MS = 5_000
# The longest symbol is a QR code of 7,089 digits; beside it an AIM id.
_MAX_CODE = 7089 + 3
# A scanner waits for each answer. Whoever sends more at once than that many do not wait for is answered no more.
_MAX_ANSWERS_BYTES = 1024

# One short high beep, two short high ones, two long low ones; green, both lights, red.
_BEEPS: dict[Outcome, int] = {"ok": 0x00, "duplicate": 0x01, "reject": 0x10}
_LEDS: dict[Outcome, int] = {"ok": 0x01, "duplicate": 0x03, "reject": 0x02}
_LIT_MS = 600
# A scanner that refuses to beep, or to light, so often in a row cannot; once may be that it was just speaking.
_REFUSALS = 3
# A scanner that falls back to bare codes is set up anew at most so often.
_SET_UP_AGAIN_MS = 5_000
# An outcome that cannot be shown within this time is shown on the screen only.
_SOON_MS = 500

_BARE = (
    "the scanner sends bare codes, not packets: scan 'Send Packeted Decode Data' in its guide, "
    "or use the driver text-line"
)
_PRINTABLE = frozenset(b"\t\n\r\x1d" + bytes(range(0x20, 0x7F)))


@dataclass(slots=True)
class _Long:
    """A code that comes in several packets."""

    opcode: int
    content: bytearray
    """Code type, what else stands before the code, the code."""
    pieces: int
    length: int | None
    """Of the content, where the first piece says it."""
    piece_ns: int
    """When the last piece came."""
    first: bytes = b""
    """DECODE_DATA: the first packet, by which it is known when it is sent from its beginning."""


class ZebraSsi(TalkingDriver):
    """The driver `zebra-ssi`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "profile",
            choice(*_PROFILES),
            "classic",
            "classic: as in the SSI guide; rsm: ring scanners of the RS51xx kind; ble: these over Bluetooth LE",
        ),
        Option(
            "code_id",
            choice("aim", "type"),
            "aim",
            "aim: have the scanner put AIM ids before codes, else GS1 Data Matrix and QR codes go unrecognised; "
            "type: go by its code types alone",
        ),
        Option(
            "feedback",
            choice("both", "beep", "led", "no"),
            "both",
            "how the scanner shows what became of a code: one beep or green, two or both lights, two low ones or red",
        ),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (9600, 115200)
    ASK: ClassVar[bytes] = bytes.fromhex("00 04a30400ff55")
    MAX_FRAME: ClassVar[int] = _MAX_CODE + 4
    HINT: ClassVar[str] = (
        "check cable, power and baud, and that the scanner is set to its SSI host (with rtscts=yes if the cable "
        "has RTS and CTS)"
    )

    def __init__(
        self, device: str, *, profile: str = "classic", code_id: str = "aim", feedback: str = "both"
    ) -> None:
        super().__init__(device)
        self._before, self._fields = _PROFILES[profile]
        self._wants_aim = code_id == "aim"
        self._shows = frozenset({"beep", "led"} if feedback == "both" else {feedback} - {"no"})
        # Both outlive a connection: a scanner whose line was cut goes on where it was.
        self._taken, self._taken_ns, self._taken_answer = b"", 0, _ACK
        self._given_up: tuple[bytes, int] | None = None
        """Of the last code in several packets that was given up: the first packet, and when the last one came."""
        self._forget_scanner()

    def _forget_scanner(self) -> None:
        self._aim = self._wants_aim
        self._showing = self._shows
        self._refusals: Counter[str] = Counter()
        self._long: _Long | None = None
        self._damaged = self._doubted = False
        """Something that may have been a packet came damaged: it is to be asked for; nothing was taken since."""
        self._bare = False
        self._wish: tuple[Outcome, int] | None = None
        self._lit = 0

    # --- the conversation -------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Wake it, ask what it is, have it send packets, and let it scan."""
        super().open(now)
        self._forget_scanner()
        # Before a packet of BLE a NUL would be half a length; there the radio wakes the scanner.
        wake = [] if self._before else [Step("its wake-up", b"\x00", wait_ms=_WAKE_MS)]
        ask = self._step("the question for its revision", _ASK_REVISION, answer=_REVISION)
        self.converse([*wake, ask, *self._set_up()], now, self._begin)

    def goodbye(self) -> bytes:
        """Put our light out. It stays set up: nobody knows what was set before, and a scan that beeps for want of an
        ACK tells its user that nobody listens.
        """
        return self._packet(_LED_OFF, bytes([self._lit])) if self._lit else b""

    def feedback(self, outcome: Outcome, now: Moment) -> None:
        """Beep and light, one command at a time. Of what waits, the newest is kept, and not for long."""
        if self.ready and self._showing:
            self._wish = (outcome, now.monotonic_ns + _SOON_MS * 1_000_000)
            self._show(now)

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """The light has been on for long enough, or a long code is not going on."""
        if name == "pieces":
            self._drop_long(now, reads)
        elif name == "light" and self.conversing:
            self.set_alarm(name, _LIT_MS, now)
        elif name == "light" and self._lit:
            off = self._step("the light", _LED_OFF, bytes([self._lit]), sendings=1)
            self._lit = 0
            self.converse([off], now, self._show)

    def _set_up(self) -> list[Step]:
        steps = [self._step("the setting of codes in packets", _PARAMETERS, _IN_PACKETS)]
        if self._aim:
            steps.append(self._step("the setting of AIM ids", _PARAMETERS, _WITH_AIM_IDS, optional=True))
        return [*steps, self._step("the permission to scan", _SCAN_ENABLE, optional=True)]

    def _begin(self, now: Moment) -> None:
        self.ready, self.model = True, self.model or "SSI scanner"

    def _show(self, now: Moment) -> None:
        """Show the outcome that waits, if it is not too late and the scanner says nothing itself."""
        if self._wish is None or self.conversing or self._rest or self._long is not None:
            return
        (outcome, until_ns), self._wish = self._wish, None
        if now.monotonic_ns > until_ns:
            return
        steps = []
        if "beep" in self._showing:
            steps.append(self._step("beep", _BEEP, bytes([_BEEPS[outcome]]), sendings=1))
        if "led" in self._showing:
            if self._lit:
                steps.append(self._step("led", _LED_OFF, bytes([self._lit]), sendings=1))
            self._lit = _LEDS[outcome]
            steps.append(self._step("led", _LED_ON, bytes([self._lit]), sendings=1))
            self.set_alarm("light", _LIT_MS, now)
        if steps:
            self.converse(steps, now, self._show)

    def _step(
        self,
        name: str,
        opcode: int,
        data: bytes = b"",
        *,
        answer: int = _ACK,
        sendings: int = _SENDINGS,
        optional: bool = False,
    ) -> Step:
        """A command. What is sent only once is feedback: worth nothing later, so no reason to wait or to fail."""
        return Step(
            name,
            self._packet(opcode, data),
            answer,
            wait_ms=_RESPONSE_MS if sendings > 1 else _SOON_MS,
            attempts=sendings,
            optional=optional or sendings == 1,
            again=self._packet(opcode, data, _AGAIN),
        )

    def _packet(self, opcode: int, data: bytes = b"", status: int = 0) -> bytes:
        body = bytes([_HEADER + len(data), opcode, _HOST, status]) + data
        whole = body + negative_sum_16(body).to_bytes(2, "big")
        return (len(whole) + 2).to_bytes(2, "little") + whole if self._before else whole

    # --- bytes ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: Moment) -> list[Read]:
        """Packets, and what to say to those that came damaged."""
        reads = super().feed(data, now)
        self._afterwards(now)
        return reads

    def tick(self, now: Moment) -> list[Read]:
        """A packet that stopped in the middle is a damaged one."""
        begun = len(self._rest) >= self._before + _HEADER
        if begun and self._stalled_ns is not None and now.monotonic_ns >= self._stalled_ns:
            self._damaged = self._doubted = True
        reads = super().tick(now)
        self._afterwards(now)
        return reads

    def close(self, now: Moment) -> list[Read]:
        """What was half read is told."""
        reads = super().close(now)
        self._drop_long(now, reads)
        return reads

    def measure(self, data: bytes, at: int) -> int:
        """Length, opcode, source, checksum: in this order, each as soon as it can be judged."""
        start = at + self._before
        if (self._before and not self._may_be_total(data, at)) or not self._may_begin(
            data[start : start + 3]
        ):
            return -1
        end = start + data[start] if start < len(data) else len(data)
        if len(data) < end + _CHECKSUM:
            return 0
        if negative_sum_16(data[start:end]) != data[end] << 8 | data[end + 1]:
            self._damaged = self._doubted = True
            return -1
        return end + _CHECKSUM - at

    def _may_begin(self, header: bytes) -> bool:
        """Whether a packet may begin like this, as far as there is anything."""
        if header and header[0] < _HEADER:
            return False
        if len(header) > 1 and header[1] not in _KNOWN:
            return False
        # The first segment of a long code says so where others name their source.
        sources = (_SCANNER, _FIRST_SEGMENT) if header[1:2] == b"\x73" else (_SCANNER,)
        return len(header) < 3 or header[2] in sources

    def garbage(self, sample: bytes, size: int) -> str:
        """Printable characters are codes that were not packed."""
        if size > 2 and _PRINTABLE.issuperset(sample):
            self._bare = True
            return _BARE
        return super().garbage(sample, size)

    def _may_be_total(self, data: bytes, at: int) -> bool:
        """BLE: whether the length of the whole may stand here, and says what the packet's own length says."""
        if len(data) - at < 2:
            return True
        total = data[at] | data[at + 1] << 8
        if len(data) - at < 3:
            return 2 + _HEADER + _CHECKSUM <= total <= 2 + 0xFF + _CHECKSUM
        return total == 2 + data[at + 2] + _CHECKSUM

    def _afterwards(self, now: Moment) -> None:
        """Ask for what came damaged; set up a scanner that fell back to bare codes; show what waits to be shown."""
        if self._damaged:
            self._damaged = False
            self._answer(_NAK, bytes([_RESEND]))
        if self._bare:
            self._set_up_again(now)
        self._show(now)

    def _set_up_again(self, now: Moment) -> None:
        self._bare, self.warning = False, _BARE
        if not self.conversing and "set-up" not in self._alarms:
            self.set_alarm("set-up", _SET_UP_AGAIN_MS, now)
            self.converse(self._set_up(), now, self._show)

    def _answer(self, opcode: int, data: bytes = b"") -> None:
        if len(self._output) < _MAX_ANSWERS_BYTES:
            self.send(self._packet(opcode, data))

    # --- packets ----------------------------------------------------------------------------------------------

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """An answer to us, or something to acknowledge."""
        opcode, status = frame[self._before + 1], frame[self._before + 3]
        data = frame[self._before + _HEADER : -_CHECKSUM]
        self._damaged = False
        if self._bare:
            self._set_up_again(now)
        if opcode in _BY_ITSELF:
            self._take(opcode, status, data, now, reads)
            return
        if status & _AGAIN and opcode not in (_ACK, _NAK):
            self._answer(_ACK)  # it is repeated for want of one
        if opcode == _REVISION:
            self.model = data.decode("ascii", "replace").strip("\0 ")[:MAX_SAMPLE] or "SSI scanner"
            self.heard(_REVISION, now)
        elif opcode == _ACK:
            if self._dialogue is not None and self._dialogue.step is not None:
                self._refusals.pop(self._dialogue.step.name, None)
            self.heard(_ACK, now)
        elif opcode == _NAK:
            self._refused(data, now)

    def _refused(self, data: bytes, now: Moment) -> None:
        """A NAK: say it again, or do without. Whoever sends one speaks SSI."""
        step = self._dialogue.step if self._dialogue is not None else None
        if step is None:
            return
        if data[:1] == bytes([_RESEND]):
            self.repeat(now)
            return
        if step.name == "the setting of AIM ids":
            self._aim = False
        elif step.name in self._shows:
            self._refusals[step.name] += 1
            if self._refusals[step.name] >= _REFUSALS:
                self._showing -= {step.name}
            self._lit = 0 if step.name == "led" else self._lit
        self.heard(step.answer, now)

    def _take(self, opcode: int, status: int, data: bytes, now: Moment, reads: list[Read]) -> None:
        """Something that the scanner says by itself: acknowledge it, and read it unless it is a repetition."""
        same = bytes([opcode, status & _CONTINUED]) + data
        lately = now.monotonic_ns - self._taken_ns < _REPEAT_MS * 1_000_000
        # If something came damaged in between, it is that which is sent again, not what was taken before.
        if status & _AGAIN and same == self._taken and lately and not self._doubted:
            self._taken_ns = now.monotonic_ns
            self._answer(self._taken_answer)
            return
        is_code = opcode in (_SEGMENT, _CODE)
        if is_code and self._long is not None and not self._goes_on(opcode, status, now):
            self._drop_long(now, reads)
        self._doubted = False
        answer, reason = _ACK, b""
        if opcode == _SEGMENT:
            answer, reason = self._segment(data, now, reads)
        elif opcode == _CODE:
            answer, reason = self._code(data, status, now, reads)
        self._answer(answer, reason)
        if answer != _NAK:
            self._taken, self._taken_ns, self._taken_answer = same, now.monotonic_ns, answer

    def _goes_on(self, opcode: int, status: int, now: Moment) -> bool:
        """Whether this belongs to the code that comes in pieces. Segments have numbers; else the time tells: a new
        code comes when the scanner has given the old one up, a piece at once, or again.
        """
        assert self._long is not None
        if opcode != self._long.opcode:
            return False
        if opcode == _SEGMENT or status & _AGAIN:
            return True
        return now.monotonic_ns - self._long.piece_ns < _PIECE_MS * 1_000_000 and not self._doubted

    # --- codes ------------------------------------------------------------------------------------------------

    def _code(self, data: bytes, status: int, now: Moment, reads: list[Read]) -> tuple[int, bytes]:
        """DECODE_DATA. In several packets, each has the code type; all but the last are marked as continued."""
        continued = bool(status & _CONTINUED)
        if self._long is None:
            if self._given_up is not None and self._goes_on_with(*self._given_up, data, status, now):
                if continued:
                    self._given_up = (self._given_up[0], now.monotonic_ns)
                    return _NAK, bytes([_CANCEL])
                self._given_up = None
                return self._broken("the end of a code that was given up", now, reads, data)
            self._given_up = None
            if not continued:
                reads.append(self._read(data, now))
            else:
                self._begin_long(_Long(_CODE, bytearray(data), 1, None, now.monotonic_ns, data), now)
            return _ACK, b""
        long = self._long
        if data[:1] != long.content[:1]:
            return self._broken("packets of one code say different code types", now, reads)
        return self._add(long, data[self._fields :], now, reads, last=not continued)

    @staticmethod
    def _goes_on_with(first: bytes, piece_ns: int, data: bytes, status: int, now: Moment) -> bool:
        """Whether this is of a code that was given up: soon, or repeated, of the same type, and not its beginning."""
        most_ms = _PIECES_MS if status & _AGAIN else _PIECE_MS
        soon = now.monotonic_ns - piece_ns < most_ms * 1_000_000
        return soon and data[:1] == first[:1] and data != first

    def _segment(self, data: bytes, now: Moment, reads: list[Read]) -> tuple[int, bytes]:
        """MULTIPACKET_SEGMENT: a number from 0, then a piece of: opcode F3, two bytes, a length of 16 bits, code
        type, a byte, the length of the code in 16 bits, the code.
        """
        index, piece = data[:1], data[1:]
        if index == b"\x00":
            if self._long is not None:
                self._drop_long(now, reads)
            if len(piece) < 9 or piece[0] != _CODE:
                return self._broken("a first segment of something that is no code", now, reads, piece)
            length = int.from_bytes(piece[7:9], "big")
            if length > _MAX_CODE:
                return self._broken("a code that is longer than any", now, reads, piece)
            # Keep the code type and as much before the code as any profile has.
            content = bytearray(piece[5:6] + bytes(self._fields - 1))
            self._begin_long(_Long(_SEGMENT, content, 0, length + len(content), now.monotonic_ns), now)
            piece = piece[9:]
        long = self._long
        if long is None:
            return self._broken("a segment of a code whose beginning is missing", now, reads, piece)
        if index != bytes([long.pieces & 0xFF]):
            return self._broken(f"segment {long.pieces} of a code is missing", now, reads, piece)
        assert long.length is not None
        return self._add(long, piece, now, reads, last=len(long.content) + len(piece) >= long.length)

    def _begin_long(self, long: _Long, now: Moment) -> None:
        self._long = long
        self.set_alarm("pieces", _PIECES_MS, now)

    def _add(
        self, long: _Long, piece: bytes, now: Moment, reads: list[Read], *, last: bool
    ) -> tuple[int, bytes]:
        if not piece or len(long.content) + len(piece) > (long.length or self.MAX_FRAME):
            return self._broken(
                "a code in several packets that is longer than it says, or than any", now, reads
            )
        long.content += piece
        long.pieces += 1
        long.piece_ns = now.monotonic_ns
        if not last:
            self.set_alarm("pieces", _PIECES_MS, now)
            return (_SEGMENT_ACK if long.opcode == _SEGMENT else _ACK), b""
        self._forget_long()
        reads.append(self._read(bytes(long.content), now))
        return _ACK, b""

    def _broken(self, reason: str, now: Moment, reads: list[Read], sample: bytes = b"") -> tuple[int, bytes]:
        """No way to make a code of this: the scanner is told to give it up."""
        if self._long is not None:
            sample = bytes(self._long.content)
            if self._long.opcode == _CODE:
                self._given_up = (self._long.first, self._long.piece_ns)
        self._forget_long()
        reads.append(self._bad(f"{reason}; scan it again", sample, now))
        return _NAK, bytes([_CANCEL])

    def _drop_long(self, now: Moment, reads: list[Read]) -> None:
        if self._long is not None:
            self._broken("the rest of a code in several packets did not come", now, reads)

    def _forget_long(self) -> None:
        self._long = None
        self.clear_alarm("pieces")

    def _read(self, data: bytes, now: Moment) -> Read:
        code = data[self._fields :]
        if not code:
            return self._bad(
                "a packet without a code in it (is profile set as the scanner needs it?)", data, now
            )
        self.warning = None
        raw = data[:1] + code
        symbology, code = self._symbology(data[0], code)
        return BarcodeRead(self.device, raw, as_text(code), symbology, now.unix_s, now.monotonic_ns)

    def _symbology(self, code_type: int, code: bytes) -> tuple[str | None, bytes]:
        """The AIM id, and the code without it."""
        said, rest = code[:3].decode("latin-1"), code[3:]
        if self._aim and rest and AIM_ID.match(code):
            # `]` is legal data: the letter must be the code type's, or X, which stands for what has none.
            meant = aim_id(SSI.get(code_type), len(rest))
            if meant is None or said[1] in (meant[1], "X"):
                return said, rest
        return aim_id(SSI.get(code_type), len(code)), code

    def _bad(self, reason: str, sample: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, sample[:MAX_SAMPLE], now.unix_s)
