"""UHF readers of the A0 family: boards with Impinj R2000 or E710 by Invelion, Fonkan, Yanzeo, Rodinbell and others.

`A0 length address command data checksum`, 115200 8N1; all bytes of a frame add up to zero. The one idea: such a
reader never reads on by itself. It is asked for a round on one antenna, reports what it sees, says that the round is
over, and is asked for the next, on the next antenna. So there is nothing to stop at the start and at the end, a
reader that lost its power in between goes on with the next question, and whatever is wrong shows as a round that
does not end.

A checksum of eight bits lets one frame of noise in 256 pass. So a tag's length must be the one that its PC word says,
or the sender must have the address that answered at the start. Then of random bytes, with 1 of 256 a header, 3 of
256 a command that reports tags, 1 of 130 a length that goes with the PC word and 1 of 256 the right checksum, a tag
comes out once in 700 megabytes.

The beeper follows the reader's own rounds or tags (option `beeper`). No command makes it beep once, so the outcome of
a read cannot be heard on it.

Source: "UHF RFID reader serial interface protocol", V2.2 and later; "YR8900 communication interface specification".
"""

from typing import ClassVar

from devices.errors import Misconfigured
from devices.options import Option, choice, number, numbers, yes_or_no
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read, TagRead
from devices.wire.checksums import negative_sum_8
from devices.wire.dialogue import Step, TalkingDriver

_HEADER = b"\xa0"
_EVERYBODY = 0xFF
_RESET, _FIRMWARE, _ANTENNA, _POWER, _BEEPER = 0x70, 0x72, 0x74, 0x76, 0x7A
_REALTIME, _FAST, _SESSION = 0x89, 0x8A, 0x8B
_ROUNDS = (_REALTIME, _FAST, _SESSION)
_MODES = {"realtime": _REALTIME, "fast": _FAST, "session": _SESSION}
_BEEPS = {"off": 0, "round": 1, "tag": 2}
_TARGETS = {"a": 0, "b": 1}

# The length counts address, command, data and checksum. A status is one byte of data, the firmware's version two. A
# round ends with seven: antenna, rate and sum, or in fast mode sum and duration, where a missing antenna is told in
# two, with its number.
_STATUS, _TWO, _END = 4, 5, 10
_SHORTEST = _STATUS + 2  # the whole frame
_SHORT = {
    **dict.fromkeys((_RESET, _ANTENNA, _POWER, _BEEPER), (_STATUS,)),
    _FIRMWARE: (_STATUS, _TWO),
    _FAST: (_STATUS, _TWO, _END),
    _REALTIME: (_STATUS, _END),
    _SESSION: (_STATUS, _END),
}
# A tag besides its EPC: address, command, frequency and antenna, PC, signal, checksum. Readers that are set to report
# the phase add two bytes behind the signal.
_TAG, _PHASE = 7, 2
_MOST_EPC, _LEAST_EPC = 62, 4

_SUCCESS, _NO_ANTENNA, _NO_TAG = 0x10, 0x22, 0x36
_CODES = {
    0x11: "it failed",
    0x20: "its processor was reset",
    0x21: "its carrier cannot be switched on",
    0x22: "no antenna is connected",
    0x23: "its flash memory cannot be written",
    0x24: "its flash memory cannot be read",
    0x25: "its power cannot be set",
    0x31: "the inventory failed",
    0x41: "a parameter is wrong",
    0x50: "the radio chip does not answer",
    0x52: "its frequency synthesiser does not lock",
    0x53: "the radio chip does not answer",
    0x54: "the power that was set is not reached",
    0x56: "the radio rules of its region forbid it",
    0x57: "its output power is too low",
    0xEE: "the antenna reflects too much: check its cable and what stands before it",
}
# Index → kHz: 865.0 MHz + 0.5 each, and from index 7 on 902.0 MHz + 0.5 each; above, a user's own table.
_FREQUENCIES_KHZ = tuple([865_000 + 500 * n for n in range(7)] + [902_000 + 500 * n for n in range(53)])
_SIGNAL_DBM = -129  # what a signal of 0 means
_FAST_SLOTS = 4
_EIGHT_PORTS = (
    0x80  # with eight ports, bit 2 of the antenna is this bit of the signal, which never reaches it itself
)

_DRAIN_MS = 300  # a round that somebody else asked for
_RESTART_MS = 2_000
# An empty round takes some 30 ms, four antennas four times that; while tags are reported it is not silent.
_SILENCE_MS = 1_000
_MOST_SILENCES = 5
# Between a round and the next: an RS-485 line turns round, and an end that arrives twice counts once.
_PAUSE_MS = 2
_FAILED_PAUSE_MS = 500
_MOST_FAILURES = 5
# A missing antenna is looked for again so often: somebody may have put it back.
_LOOK_AGAIN_MS = 30_000


class A0(TalkingDriver):
    """The driver `a0`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option(
            "mode",
            choice(*_MODES),
            "realtime",
            "realtime; session: with the options session and target; fast: the reader itself changes between up to "
            "four antennas",
        ),
        Option("antennas", numbers(1, 8), (1,), "which antennas, in this order, such as 1,2,3,4"),
        Option("session", choice("s0", "s1", "s2", "s3"), "s1", "Gen2 session, in mode session"),
        Option("target", choice(*_TARGETS), "a", "Gen2 inventoried flag, in mode session"),
        Option("power_dbm", number(0, 33), None, "transmit power; left out: as set in the reader"),
        Option(
            "beeper", choice(*_BEEPS), None, "off, or after each round or tag; left out: as set in the reader"
        ),
        Option("address", number(0, 254), None, "left out: whoever answers (one reader on the line)"),
        Option("reset", yes_or_no, False, "restart the reader first"),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (115200, 38400)
    ASK: ClassVar[bytes] = bytes.fromhex("a003ff72ec")
    MAX_FRAME: ClassVar[int] = _TAG + _MOST_EPC + _PHASE + 2
    HINT: ClassVar[str] = (
        "check cable, power, baud and address, and that the reader is of this family (others begin with A0 too)"
    )

    def __init__(
        self,
        device: str,
        *,
        mode: str = "realtime",
        antennas: tuple[int, ...] = (1,),
        session: str = "s1",
        target: str = "a",
        power_dbm: int | None = None,
        beeper: str | None = None,
        address: int | None = None,
        reset: bool = False,
    ) -> None:
        super().__init__(device)
        if mode == "fast" and max(antennas) > _FAST_SLOTS:
            raise Misconfigured(
                f"device {device!r}: mode=fast knows antennas 1 to {_FAST_SLOTS}; leave mode out"
            )
        self._mode = _MODES[mode]
        self._antennas = antennas
        self._session, self._target = int(session[1]), _TARGETS[target]
        self._power_dbm, self._beeper, self._reset = power_dbm, beeper, reset
        self._configured_address = address
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._address = self._configured_address
        self._turn = self._antennas[0]
        self._chosen: int | None = None
        self._missing: set[int] = set()
        self._complaints: dict[str, str] = {}
        self._silences = self._failures = 0

    # --- the conversation -------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Let a round that is under way end, and ask for the firmware; who answers is of this family."""
        super().open(now)
        self._begin_anew()
        steps = [
            Step("drain", b"", wait_ms=_DRAIN_MS),
            Step("the question for its firmware", self._command(_FIRMWARE), answer=_FIRMWARE),
        ]
        if self._reset:
            steps.insert(0, Step("reset", self._command(_RESET), wait_ms=_RESTART_MS))
        self.converse(steps, now, self._configure)

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """The pause is over, a round did not end, or it is time to look for missing antennas."""
        if name == "next":
            self._ask(now)
        elif name == "look again":
            self._missing.clear()
        elif self._silences < _MOST_SILENCES:
            self._silences += 1
            self._chosen = None  # it may have been without power, and have forgotten
            self._ask(now)
        else:
            self.fault = "the reader stopped answering: check its power supply and its cable"

    def _configure(self, now: Moment) -> None:
        steps = []
        if self._power_dbm is not None:
            send = self._command(_POWER, bytes([self._power_dbm]))
            steps.append(Step("the setting of its power", send, answer=_POWER))
        if self._beeper is not None:
            send = self._command(_BEEPER, bytes([_BEEPS[self._beeper]]))
            steps.append(Step("the setting of its beeper", send, answer=_BEEPER))
        self.converse(steps, now, self._begin)

    def _begin(self, now: Moment) -> None:
        self.ready = True
        self._ask(now)

    def _ask(self, now: Moment) -> None:
        """Ask for the next round, and before that for its antenna, if the reader is set to another."""
        present = [antenna for antenna in self._from(self._turn) if antenna not in self._missing]
        if not present:
            self.fault = (
                f"{'; '.join(self._complaints.values())}: check the antenna cables and option antennas"
            )
            return
        self._turn = present[0]
        if self._mode == _FAST or self._turn == self._chosen:
            self._ask_round(now)
        else:
            send = self._command(_ANTENNA, bytes([self._turn - 1]))
            self.converse(
                [Step(f"the choice of antenna {self._turn}", send, answer=_ANTENNA)], now, self._choose
            )

    def _choose(self, now: Moment) -> None:
        if self._turn in self._missing:
            self._ask(now)  # one fewer each time
        else:
            self._chosen = self._turn
            self._ask_round(now)

    def _ask_round(self, now: Moment) -> None:
        if self._mode == _REALTIME:
            data = b"\x01"  # one round
        elif self._mode == _SESSION:
            data = bytes([self._session, self._target, 1])
        else:
            # Four times antenna (FF: none) and stay; then the pause between them, and how often all.
            present = [antenna - 1 for antenna in self._antennas if antenna not in self._missing]
            slots = [*present, *[0xFF] * (_FAST_SLOTS - len(present))]
            data = b"".join(bytes([slot, 1]) for slot in slots) + b"\x00\x01"
        self.send(self._command(self._mode, data))
        self.set_alarm("round", _SILENCE_MS, now)

    def _from(self, antenna: int, step: int = 0) -> tuple[int, ...]:
        """All antennas, beginning with this one, or so many behind it."""
        at = (self._antennas.index(antenna) + step) % len(self._antennas)
        return self._antennas[at:] + self._antennas[:at]

    def _command(self, command: int, data: bytes = b"") -> bytes:
        address = _EVERYBODY if self._address is None else self._address
        frame = _HEADER + bytes([len(data) + 3, address, command]) + data
        return frame + bytes([negative_sum_8(frame)])

    # --- frames -----------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """Header, length, address, command, the length that follows from the PC word, checksum."""
        if data[at] != _HEADER[0]:
            start = data.find(_HEADER, at)
            return at - (start if start >= 0 else len(data))
        left = len(data) - at
        if left < _SHORTEST:
            return 0
        size = data[at + 1] + 2
        if not self._plausible(data[at : at + _SHORTEST]):
            return -1
        if left < size:
            return 0
        return -1 if sum(data[at : at + size]) & 0xFF else size

    def _plausible(self, head: bytes) -> bool:
        """Whether a frame can begin like this. A tag whose length and PC word disagree is noise if its sender is
        unknown; from ours it is told of.
        """
        length, address, command = head[1], head[2], head[3]
        ours = address == self._address
        if not _STATUS <= length <= self.MAX_FRAME - 2 or command not in _SHORT:
            return False
        if self._address is not None and not ours:
            return False
        return length in _SHORT[command] or (command in _ROUNDS and (ours or _agree(length, head[5])))

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A tag, the end of a round, an answer or a complaint."""
        if "round" in self._alarms:
            self.set_alarm("round", _SILENCE_MS, now)
            self._silences = 0
        length, command = frame[1], frame[3]
        if length not in _SHORT[command]:
            reads.append(self._tag(frame, now))
        elif command in _ROUNDS:
            self._round(length, frame, now)
        else:
            self._answer(length, command, frame, now)

    def _tag(self, frame: bytes, now: Moment) -> Read:
        if not _agree(frame[1], frame[5]):
            reason = "a tag whose length is not what its PC word says: is FastTID switched on in the reader?"
            return BadFrame(self.device, reason, frame[:MAX_SAMPLE], now.unix_s)
        end = 7 + (frame[5] >> 3) * 2
        place, signal = frame[4], frame[end]
        antenna = (place & 3) + 1
        if signal & _EIGHT_PORTS:
            antenna, signal = antenna + 4, signal & 0x7F
        index = place >> 2
        return TagRead(
            self.device,
            frame,
            frame[7:end],
            now.unix_s,
            now.monotonic_ns,
            antenna,
            float(signal + _SIGNAL_DBM),
            None,
            frame[5] << 8 | frame[6],
            None,
            None,
            _FREQUENCIES_KHZ[index] if index < len(_FREQUENCIES_KHZ) else None,
        )

    def _answer(self, length: int, command: int, frame: bytes, now: Moment) -> None:
        step = self._dialogue.step if self._dialogue is not None else None
        waited_for = step is not None and step.answer == command
        if command == _FIRMWARE and length == _TWO:
            self.model = f"A0 reader, firmware {frame[4]}.{frame[5]}"
            if waited_for:
                self._address = frame[2]
        elif not waited_for or command == _FIRMWARE:
            return  # nobody asked, or its refusal to say its firmware, which is no answer
        elif frame[4] != _SUCCESS and command == _ANTENNA:
            self._lacks(self._turn, frame[4])
        elif frame[4] != _SUCCESS and step is not None:
            self._complain(f"{command:02x}", f"the reader refuses {step.name}: {_meaning(frame[4])}")
        self.heard(command, now)

    def _round(self, length: int, frame: bytes, now: Moment) -> None:
        """The end of a round, or why there was none. Without a round under way it is an echo, and means nothing."""
        if "round" not in self._alarms or frame[3] != self._mode:
            return
        if length == _TWO:
            # Fast mode: this antenna is missing, the round goes on with the others.
            self._lacks(frame[4] + 1, frame[5])
            self.set_alarm("look again", _LOOK_AGAIN_MS, now)
        elif length == _END or frame[4] == _NO_TAG:
            self._over(now)
        elif frame[4] == _NO_ANTENNA:
            self._lacks(self._turn, frame[4])
            self._pause(_PAUSE_MS, now)
        elif frame[4] != _SUCCESS:
            self._failures += 1
            self._complain("round", f"the reader cannot read: {_meaning(frame[4])}")
            if self._failures > _MOST_FAILURES:
                self.fault = f"{self._complaints['round']} ({self._failures} times in a row)"
            self._pause(_FAILED_PAUSE_MS, now)

    def _over(self, now: Moment) -> None:
        """A round ended well: its antennas are there."""
        self._failures = 0
        if self._complaints:
            self._complaints.pop("round", None)
            for antenna in self._antennas if self._mode == _FAST else (self._turn,):
                if antenna not in self._missing:
                    self._complaints.pop(f"antenna {antenna}", None)
            self._show()
        if self._mode != _FAST:
            self._turn = self._from(self._turn, 1)[0]
        self._pause(_PAUSE_MS, now)

    def _pause(self, pause_ms: float, now: Moment) -> None:
        self.clear_alarm("round")
        self.set_alarm("next", pause_ms, now)
        if self._missing and "look again" not in self._alarms:
            self.set_alarm("look again", _LOOK_AGAIN_MS, now)

    def _lacks(self, antenna: int, code: int) -> None:
        """An antenna is left out for a while."""
        self._missing.add(antenna)
        self._complain(f"antenna {antenna}", f"antenna {antenna} is left out: {_meaning(code)}")

    def _complain(self, about: str, what: str) -> None:
        self._complaints[about] = what
        self._show()

    def _show(self) -> None:
        self.warning = "; ".join(self._complaints.values()) or None


def _agree(length: int, pc_high: int) -> bool:
    """Whether a tag of this length can have a PC word with this upper byte: it says how many words the EPC has."""
    epc = (pc_high >> 3) * 2
    return epc >= _LEAST_EPC and length - _TAG - epc in (0, _PHASE)


def _meaning(code: int) -> str:
    return f"{_CODES.get(code, 'it does not say why')} (code {code:02X})"
