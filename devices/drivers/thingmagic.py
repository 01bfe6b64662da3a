"""UHF modules of ThingMagic (JADAK): M6E, M6E Micro, M6E Nano, M7E, by the serial protocol of the Mercury API.

`FF length command data crc`; an answer has a status of two bytes before its data. The one idea: once told to, the
module reads for ever and sends a record for each sighting and a sign of life every second, so its silence is a fault
that can be seen: after three signs that did not come it is started again, from the first question on. Each record
says which fields it has (the metadata flags), so it is read by what it says, whoever started the reading.

Source: the maker's published host code (Mercury API for C, MIT licence) and the library for the "Simultaneous RFID
Tag Reader" by SparkFun (MIT licence); names of commands, flags and status codes are theirs.
"""

from functools import lru_cache
from typing import ClassVar, NamedTuple

from devices.options import Option, choice, number, numbers, yes_or_no
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read, TagRead
from devices.wire.checksums import crc_mercury, holds_genibus
from devices.wire.dialogue import Step, TalkingDriver

_HEADER = b"\xff"
_FIXED = 7  # header, length, command, two bytes of status, two of CRC
# A record is 40 bytes with a 96-bit EPC, 106 with the longest EPC and a TID of 128 bits. A version has 20.
_MOST_DATA = 128

_VERSION, _BOOT, _PROGRAM = 0x03, 0x04, 0x0C
_READ, _CONTINUOUS = 0x22, 0x2F
_ANTENNAS, _POWER, _PROTOCOL, _REGION, _CONFIGURATION = 0x91, 0x92, 0x93, 0x97, 0x9A
_COMMANDS = frozenset(
    (_VERSION, _BOOT, _PROGRAM, _READ, _CONTINUOUS, _ANTENNAS, _POWER, _PROTOCOL, _REGION, _CONFIGURATION)
)
# What a module may refuse: not all have a boot loader to ask for, or a filter to switch off.
_DISPENSABLE = frozenset((_PROGRAM, _BOOT, _CONFIGURATION))

_GEN2 = 0x05
_REGIONS = {
    "na": 0x01,
    "in": 0x04,
    "jp": 0x05,
    "cn": 0x06,
    "eu3": 0x08,
    "kr2": 0x09,
    "au": 0x0B,
    "nz": 0x0C,
    "na2": 0x0D,
    "na3": 0x0E,
    "open": 0xFF,
}
# By the first byte of the hardware's version.
_MODELS = {0x18: "M6E", 0x19: "M6E-PRC", 0x20: "M6E Micro", 0x30: "M6E Nano", 0x38: "M7E"}
_PROGRAM_MASK, _BOOT_LOADER = 0x03, 0x01

_ALIVE, _HOT, _RETURN_LOSS, _NOT_CONNECTED = 0x0400, 0x0504, 0x0505, 0x0503
_ASSERTION = 0x7F00
_STATUSES = {
    0x0100: "wrong amount of data",
    0x0101: "it does not know the command",
    0x0102: "it does not know the command",
    0x0103: "that is more power than it has",
    0x0104: "it does not know the frequency",
    0x0105: "it does not know the value",
    0x0106: "that is less power than it can give",
    0x0109: "it cannot do that",
    0x010B: "it does not know the region, or none is set: check option region",
    0x0401: "no tag protocol is set",
    0x0500: "the frequency is outside its range: check option region",
}
_COMPLAINTS = {
    _NOT_CONNECTED: "an antenna is not connected: check the antenna cable and option antennas",
    _HOT: "the module is too hot and reads less: cool it, or lower power_dbm",
    _RETURN_LOSS: "an antenna reflects too much: check the antenna, its cable and what stands before it",
}

# Continuous reading: no time-out (0000), on (01), then for protocol Gen2 (05) the command to read tags (22) with
# metadata (10), search flags, a time-out of 1000 ms, at which it says that it is alive, and the metadata of a record.
_SEARCH_LIST, _SEARCH_EMBEDDED, _SEARCH_STREAMING, _SEARCH_MANY = 0x03, 0x04, 0x08, 0x10
_ALIVE_MS = 1000
_WITH_METADATA = 0x10
_ALL_METADATA = 0x01FF
_START, _STOP = b"\x00\x00\x01", b"\x00\x00\x02"
# One embedded command: read (28) from bank 2, the TID, six words from its beginning; own time-out and option are 0.
_EMBEDDED_TID = bytes.fromhex("01 09 28 0000 00 02 00000000 06")

# Fields of a record in their order: flag, name, bytes. Behind them come data, with its length in bits, and GPIO.
_FIELDS = (
    (0x0001, "sightings", 1),
    (0x0002, "rssi", 1),
    (0x0004, "antenna", 1),
    (0x0008, "frequency", 3),
    (0x0010, "timestamp", 4),
    (0x0020, "phase", 2),
    (0x0040, "protocol", 1),
)
_DATA_FLAG, _GPIO_FLAG = 0x0080, 0x0100
# Before the fields: header, length, command, status (2), option, search flags (2), metadata flags (2), number of
# tags.
_FIELDS_AT = 11
_TEMPERATURE, _STATISTICS = 10, 8  # lengths of reports that are no tags

_DRAIN_MS = 1_500  # a module that reads needs up to two seconds for the last of its records
_BOOT_MS = 1_000
_SILENCE_MS = 3 * _ALIVE_MS + 500
_MOST_RESTARTS = 2


class _Layout(NamedTuple):
    """Where the fields of a record begin; 0: it has none such."""

    sightings: int
    rssi: int
    antenna: int
    frequency: int
    phase: int
    protocol: int
    rest: int
    """Where what is not of fixed length begins."""
    data: bool
    gpio: bool


@lru_cache(maxsize=64)
def _layout(flags: int) -> _Layout:
    at, places = _FIELDS_AT, {}
    for flag, name, size in _FIELDS:
        if flags & flag:
            places[name] = at
            at += size
        else:
            places[name] = 0
    del places["timestamp"]  # milliseconds since the last sign of life: less than our own clock says
    return _Layout(**places, rest=at, data=bool(flags & _DATA_FLAG), gpio=bool(flags & _GPIO_FLAG))


class ThingMagic(TalkingDriver):
    """The driver `thingmagic`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("antennas", numbers(1, 15), (1,), "which antennas, in this order, such as 1,2"),
        Option(
            "region", choice(*_REGIONS), None, "whose radio rules to keep; left out: as set in the module"
        ),
        Option("power_dbm", number(0, 33), None, "transmit power; left out: as set in the module"),
        Option("tid", yes_or_no, False, "read each tag's TID too, which is slower"),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (115200, 921600, 230400, 57600, 38400, 9600)
    ASK: ClassVar[bytes] = bytes.fromhex("ff00031d0c")
    MAX_FRAME: ClassVar[int] = _FIXED + _MOST_DATA

    def __init__(
        self,
        device: str,
        *,
        antennas: tuple[int, ...] = (1,),
        region: str | None = None,
        power_dbm: int | None = None,
        tid: bool = False,
    ) -> None:
        super().__init__(device)
        self._antennas, self._region, self._power_dbm, self._tid = antennas, region, power_dbm, tid
        self._program = 0
        self._restarts = 0

    # --- the conversation -------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Stop what may be running, drain, and ask for the version."""
        super().open(now)
        self._restarts = 0
        self._launch(now)

    def goodbye(self) -> bytes:
        """Stop reading."""
        return _command(_CONTINUOUS, _STOP)

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """No sign of life: it may have been without power, so it is told everything anew."""
        self._restarts += 1
        if self._restarts > _MOST_RESTARTS:
            self.fault = "the module answers but does not read: check its power supply, antennas and region"
        else:
            self.warning = "the module fell silent, and is started again"
            self._launch(now)

    def _launch(self, now: Moment) -> None:
        self.clear_alarm("silence")
        self._program = 0
        steps = [
            Step("stop", _command(_CONTINUOUS, _STOP), wait_ms=_DRAIN_MS),
            Step("the question for its version", _command(_VERSION), answer=_VERSION),
            # Older firmware does not know the question and is no boot loader.
            Step("the question what it runs", _command(_PROGRAM), answer=_PROGRAM, attempts=2, optional=True),
        ]
        self.converse(steps, now, self._configure)

    def _configure(self, now: Moment) -> None:
        pairs = b"".join(bytes([antenna, antenna]) for antenna in self._antennas)  # sends, receives
        steps = [
            Step("the choice of protocol Gen2", _command(_PROTOCOL, bytes([0, _GEN2])), answer=_PROTOCOL),
            Step("the choice of its antennas", _command(_ANTENNAS, b"\x02" + pairs), answer=_ANTENNAS),
        ]
        if self._program & _PROGRAM_MASK == _BOOT_LOADER:
            steps.insert(0, Step("boot", _command(_BOOT), answer=_BOOT, wait_ms=_BOOT_MS))
        if self._region is not None:
            send = _command(_REGION, bytes([_REGIONS[self._region]]))
            steps.append(Step("the setting of its region", send, answer=_REGION))
        if self._power_dbm is not None:
            # In hundredths of a dBm.
            send = _command(_POWER, (self._power_dbm * 100).to_bytes(2, "big"))
            steps.append(Step("the setting of its power", send, answer=_POWER))
        # Off: the filter would report a tag that stays once only.
        send = _command(_CONFIGURATION, b"\x01\x0c\x00")
        steps.append(Step("the setting of its filter", send, answer=_CONFIGURATION))
        steps.append(Step("the start of reading", self._start(), answer=_CONTINUOUS, wait_ms=2 * _ALIVE_MS))
        self.converse(steps, now, self._begin)

    def _start(self) -> bytes:
        search = _SEARCH_LIST | _SEARCH_STREAMING | _SEARCH_MANY | (_SEARCH_EMBEDDED if self._tid else 0)
        fields = (search, _ALIVE_MS, _ALL_METADATA)
        body = bytes([_WITH_METADATA]) + b"".join(field.to_bytes(2, "big") for field in fields)
        if self._tid:
            body += _EMBEDDED_TID
        return _command(_CONTINUOUS, _START + bytes([_READ, 0, 0, _GEN2, len(body), _READ]) + body)

    def _begin(self, now: Moment) -> None:
        self.ready = True
        self.set_alarm("silence", _SILENCE_MS, now)

    # --- frames -----------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """Header, length, a command that we use, CRC."""
        if data[at] != _HEADER[0]:
            start = data.find(_HEADER, at)
            return at - (start if start >= 0 else len(data))
        left = len(data) - at
        if left < 3:
            return 0
        size = data[at + 1] + _FIXED
        if size > self.MAX_FRAME or data[at + 2] not in _COMMANDS:
            return -1
        if left < size:
            return 0
        end = at + size
        return size if crc_mercury(data[at + 1 : end - 2]) == data[end - 2] << 8 | data[end - 1] else -1

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A record, a sign of life, an answer or a complaint."""
        command, status = frame[2], frame[3] << 8 | frame[4]
        if command == _READ:
            if "silence" in self._alarms:
                self.set_alarm("silence", _SILENCE_MS, now)
                self._restarts = 0
            if status:
                self._report(status)
            elif frame[1] not in (0, _TEMPERATURE, _STATISTICS):
                self.warning = None
                reads.append(self._tag(frame, now))
            # The first record or sign of life says as well as the answer that it reads.
            self.heard(_CONTINUOUS, now)
        elif status and command not in _DISPENSABLE:
            self._refusal(command, status)
        else:
            if command in (_VERSION, _BOOT) and not status and frame[1] >= 16:
                model = _MODELS.get(frame[9], f"ThingMagic {frame[9]:02X}")
                self.model = f"{model}, firmware {frame[17:21].hex('.').upper()}"
            elif command == _PROGRAM and not status and frame[1]:
                self._program = frame[5]
            self.heard(command, now)

    def _report(self, status: int) -> None:
        """A record without a tag: a sign of life, or a complaint, which holds until it goes on."""
        if status == _ALIVE:
            self.warning = None
        elif status >= _ASSERTION:
            self.fault = f"the module's own program failed (status {status:04X}): switch its power off and on"
        else:
            self.warning = _COMPLAINTS.get(status) or f"the module complains: {_meaning(status)}"

    def _refusal(self, command: int, status: int) -> None:
        step = self._dialogue.step if self._dialogue is not None else None
        if step is not None and step.answer == command:
            self.fault = f"the module refuses {step.name}: {_meaning(status)}"

    def _tag(self, frame: bytes, now: Moment) -> Read:
        end = len(frame) - 2
        if end < _FIELDS_AT or frame[5] != _WITH_METADATA:
            return self._bad("a record in a form that was not asked for", frame, now)
        layout = _layout(frame[8] << 8 | frame[9])
        at, tid = layout.rest, None
        if layout.data and at + 2 <= end:
            size = (frame[at] << 8 | frame[at + 1]) + 7 >> 3
            at += 2
            tid = frame[at : at + size] if self._tid and size else None
            at += size
        at += layout.gpio
        # Length in bits, PC, EPC, CRC; the PC says how long the EPC is, in words.
        if at + 6 > end:
            return self._bad("a record that ends within a field", frame, now)
        bits, pc = frame[at] << 8 | frame[at + 1], frame[at + 2] << 8 | frame[at + 3]
        tail = at + 4 + (pc >> 11) * 2
        if layout.protocol and frame[layout.protocol] != _GEN2:
            return self._bad("a tag of another protocol than Gen2", frame, now)
        if tail + 2 != end or bits != (tail - at) * 8:
            return self._bad("a tag whose length is not what its PC word says", frame, now)
        wrong = not holds_genibus(frame[at + 2 : tail + 2])
        if wrong or tail == at + 4:
            reason = "a tag with a wrong checksum" if wrong else "a tag that holds no EPC"
            return self._bad(reason, frame, now)
        place, signal = layout.frequency, frame[layout.rssi]
        return TagRead(
            self.device,
            frame,
            frame[at + 4 : tail],
            now.unix_s,
            now.monotonic_ns,
            # The upper half says which antenna sent; the sixteenth is 0.
            (frame[layout.antenna] >> 4 or 16) if layout.antenna else None,
            float(signal - 256 if signal > 127 else signal) if layout.rssi else None,
            None,
            pc,
            tid,
            None,
            frame[place] << 16 | frame[place + 1] << 8 | frame[place + 2] if place else None,
            float(frame[layout.phase] << 8 | frame[layout.phase + 1]) if layout.phase else None,
            frame[layout.sightings] if layout.sightings else 1,
        )

    def _bad(self, reason: str, frame: bytes, now: Moment) -> BadFrame:
        return BadFrame(self.device, reason, frame[:MAX_SAMPLE], now.unix_s)


def _command(command: int, data: bytes = b"") -> bytes:
    body = bytes([len(data), command]) + data
    return _HEADER + body + crc_mercury(body).to_bytes(2, "big")


def _meaning(status: int) -> str:
    return f"{_STATUSES.get(status, 'it does not say why')} (status {status:04X})"
