"""UHF modules of the M100 family: M100, QM100, YRM100, R200.

`header type command length16 parameters checksum trailer`, 115200 8N1. The one idea: the family speaks one protocol
in two framings, BB…7E and (R200) AA…DD, so the start-up asks in both and goes on in the one that answers. The module
reads by itself for a number of rounds; it is told to go on before they run out, and again when it falls silent: an
empty field is not silent, it answers "no tag" all the time.

Sources: "R200 user protocol" V2.3.3 and "M100 UHF commands manual", which calls the notification of a tag 27 where
modules send 22.
"""

from typing import ClassVar

from devices.options import Option, choice, number
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read, TagRead
from devices.wire.checksums import holds_genibus, sum_8
from devices.wire.dialogue import Step, TalkingDriver

# Header → trailer.
_TRAILERS = {0xBB: 0x7E, 0xAA: 0xDD}
_HEADERS = {"bb": (0xBB,), "aa": (0xAA,), "auto": (0xBB, 0xAA)}
_FIXED = 7  # header, type, command, two bytes of length, checksum, trailer
# The longest answer that is used is a tag with an EPC of 62 bytes: 67 parameters. A read of memory may be longer.
_MAX_PARAMETERS = 240
_LEAST_TAG = 5  # parameters: RSSI, PC and CRC, with no EPC

_MAX_FRAME = _FIXED + _MAX_PARAMETERS
# RSSI is a signed byte of dBm.
_DBM = tuple(float(byte - 256 if byte > 127 else byte) for byte in range(256))

_COMMAND, _RESPONSE, _NOTIFICATION = 0x00, 0x01, 0x02
_VERSION, _REGION, _INVENTORY, _MULTI, _STOP, _POWER, _ERROR = 0x03, 0x07, 0x22, 0x27, 0x28, 0xB6, 0xFF
_REGIONS = {"cn900": 1, "us": 2, "eu": 3, "cn800": 4, "kr": 6}
_NO_TAG, _NO_CHANNEL = 0x15, 0x20
_COMPLAINTS = {
    0x17: "the module does not know a command that it was sent: is it an M100 or R200?",
    _NO_CHANNEL: "no free radio channel was found: check the region and the antenna",
}

# As many rounds as two bytes can say. A round takes 2 ms or more, so they last two minutes; told anew each minute.
_ROUNDS = b"\x22\xff\xff"
_REARM_MS = 60_000
# An empty field says "no tag" several times a second.
_SILENCE_MS = 2_000
_MOST_SILENCES = 3


class M100(TalkingDriver):
    """The driver `m100`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("framing", choice(*_HEADERS), "auto", "bb (M100, YRM100), aa (R200), or auto: ask in both"),
        Option("power_dbm", number(0, 33), None, "transmit power; left out: as set in the module"),
        Option(
            "region", choice(*_REGIONS), None, "whose radio rules to keep; left out: as set in the module"
        ),
        Option(
            "tag_crc", choice("check", "ignore"), "check", "ignore: the module delivers no checksums of tags"
        ),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (115200,)
    ASK: ClassVar[bytes] = bytes.fromhex("bb000300010004 7e aa000300010004 dd")
    MAX_FRAME: ClassVar[int] = _MAX_FRAME

    def __init__(
        self,
        device: str,
        *,
        framing: str = "auto",
        power_dbm: int | None = None,
        region: str | None = None,
        tag_crc: str = "check",
    ) -> None:
        super().__init__(device)
        self._possible = _HEADERS[framing]
        self._power_dbm, self._region = power_dbm, region
        self._check_tags = tag_crc == "check"
        self._header: int | None = None
        self._silences = 0

    # --- the conversation -------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Stop what may be running, drain, and ask for the version in every framing that is possible."""
        super().open(now)
        self._header, self._silences = None, 0
        stop = b"".join(_command(header, _STOP) for header in self._possible)
        ask = b"".join(_command(header, _VERSION, b"\x00") for header in self._possible)
        steps = [
            Step("stop", stop, wait_ms=300),
            Step("the question for its version", ask, answer=_VERSION),
        ]
        self.converse(steps, now, self._configure)

    def goodbye(self) -> bytes:
        """Stop reading."""
        return b"" if self._header is None else _command(self._header, _STOP)

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """The rounds run out, or the module says nothing."""
        if name == "rearm":
            self._start(now)
            return
        self._silences += 1
        if self._silences > _MOST_SILENCES:
            self.fault = "the module stopped answering: check its power supply and its cable"
        else:
            # It may have been without power, and have forgotten what it was told.
            self.clear_alarm("rearm")
            self._configure(now)

    def _configure(self, now: Moment) -> None:
        assert self._header is not None
        steps = []
        if self._region is not None:
            send = _command(self._header, _REGION, bytes([_REGIONS[self._region]]))
            steps.append(Step("the setting of its region", send, answer=_REGION))
        if self._power_dbm is not None:
            # In hundredths of a dBm.
            send = _command(self._header, _POWER, (self._power_dbm * 100).to_bytes(2, "big"))
            steps.append(Step("the setting of its power", send, answer=_POWER))
        self.converse(steps, now, self._begin)

    def _begin(self, now: Moment) -> None:
        self.ready = True
        self._start(now)

    def _start(self, now: Moment) -> None:
        assert self._header is not None
        self.send(_command(self._header, _MULTI, _ROUNDS))
        self.set_alarm("rearm", _REARM_MS, now)
        self.set_alarm("silence", _SILENCE_MS, now)

    # --- frames -----------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """Header, length, trailer, checksum: in this order, each as soon as it can be judged."""
        trailer = _TRAILERS.get(data[at])
        if trailer is None:
            return -1
        left = len(data) - at
        if left < 5:
            return 0
        length = (data[at + 3] << 8 | data[at + 4]) + _FIXED
        if length > _MAX_FRAME or data[at + 1] > _NOTIFICATION:
            return -1
        if left < length:
            return 0
        end = at + length
        if data[end - 1] != trailer or sum_8(data[at + 1 : end - 2]) != data[end - 2]:
            return -1
        return length

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A tag, an answer or a complaint."""
        if "silence" in self._alarms:
            self.set_alarm("silence", _SILENCE_MS, now)
            self._silences = 0
        kind, command = frame[1], frame[2]
        if kind == _NOTIFICATION and command in (_INVENTORY, _MULTI):
            self.warning = None
            reads.append(self._tag(frame, now))
        elif kind == _RESPONSE and command == _ERROR:
            self._error(frame)
        elif kind == _RESPONSE:
            self._answer(command, frame)
            self.heard(command, now)

    def _answer(self, command: int, frame: bytes) -> None:
        if command == _VERSION:
            if not self.ready:
                self._header = frame[0]
            # The first parameter says which version this is: 0, the hardware's.
            self.model = frame[6:-2].decode("ascii", "replace").strip("\0 ") or "M100"

    def _error(self, frame: bytes) -> None:
        code = frame[5] if len(frame) > _FIXED else None
        step = self._dialogue.step if self._dialogue is not None else None
        if code == _NO_TAG or code is None:
            self.warning = None
        elif code == _NO_CHANNEL or step is None or step.answer not in (_REGION, _POWER):
            self.warning = _COMPLAINTS.get(code, self.warning)
        else:
            self.fault = f"the module refuses {step.name} (error {code:02X}): check the port's options"

    def _tag(self, frame: bytes, now: Moment) -> Read:
        # RSSI, PC, EPC, the tag's CRC: the PC says how long the EPC is, in words.
        if len(frame) < _FIXED + _LEAST_TAG:
            return self._bad("a tag that is too short for one", frame, now)
        pc = frame[6] << 8 | frame[7]
        end = 8 + (pc >> 11) * 2
        if end + 4 != len(frame):
            return self._bad("a tag whose length is not what its PC word says", frame, now)
        if self._check_tags and not holds_genibus(frame[6:-2]):
            return self._bad(
                "a tag with a wrong checksum (tag_crc=ignore, if this module delivers none)", frame, now
            )
        if end == 8:
            return self._bad("a tag that holds no EPC", frame, now)
        unix_s, monotonic_ns = now
        return TagRead(self.device, frame, frame[8:end], unix_s, monotonic_ns, None, _DBM[frame[5]], None, pc)

    def _bad(self, reason: str, frame: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, frame[:MAX_SAMPLE], now.unix_s)


def _command(header: int, command: int, parameters: bytes = b"") -> bytes:
    body = bytes([_COMMAND, command]) + len(parameters).to_bytes(2, "big") + parameters
    return bytes([header]) + body + bytes([sum(body) & 0xFF, _TRAILERS[header]])
