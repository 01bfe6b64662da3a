"""Readers that speak LLRP: Impinj Speedway and R700, Zebra FX, and most other fixed readers, at TCP port 5084.

The one idea: the reader is told once what to do (a ROSpec, started at once) and then reports every tag by itself, so
the session is a start-up table and a watch. The reader speaks first and says whether we are the one client that it
serves; each step of the start-up is answered with a status, and anything but success is a fault in the reader's own
words. Then it sends a keep-alive every few seconds: each is acknowledged, or it hangs up; three that do not come are
a dead link. How messages look is in `devices.wire.llrp_messages`.

Source: "Low Level Reader Protocol (LLRP)" of EPCglobal (GS1), 1.0.1 and 1.1.
"""

import binascii
import struct
from collections.abc import Callable
from typing import Any, ClassVar

from devices.options import Option, choice, number, numbers
from devices.reads import MAX_SAMPLE, BadFrame, Moment, Read, TagRead
from devices.wire import llrp_messages as llrp
from devices.wire.dialogue import Step, TalkingDriver
from devices.wire.llrp_messages import Malformed, Message, Parameter, message, tlv

_ROSPEC = 1
_ALL = 0  # in place of the number of a ROSpec or an antenna
_BESIDE = 99  # the id of messages whose answers nobody waits for
_SUCCESS = 0
_GEN2 = 1  # AirProtocols (LLRP 1.0.1 §9)
_AT_END_OR_AFTER = 1  # ROReportTrigger: after so many tags, or when there is nothing more to do (§10)

# A reader greets as soon as the connection stands. One that does not is asked all the same: a gateway in between may
# have taken the greeting.
_GREETING = "greeting"
_GREETING_MS = 3_000
# Readers answer within milliseconds; one that is just booting, or changes its region, takes a second or two.
_ANSWER_MS = 3_000
_SILENCE = "silence"
_KEEPALIVE_MS = 5_000
_MOST_MISSED = 3
_LATE_MS = 1_000  # what a keep-alive may be late
_MOST_WAITING = 1_000  # bytes of acknowledgements; who asks for more at once is no reader

# ConnectionAttemptEvent (§13).
_GREETED, _NO_REASON, _ANOTHER_CAME = 0, 3, 4
_REFUSALS = {
    1: "the reader has a connection that it opened by itself: switch that off at its web page",
    2: "the reader serves another client, and one at a time: stop the other program, or wait until it has ended",
    3: "the reader refuses the connection and does not say why: look at its web page, or restart it",
}
# Which events to tell (§12): about ROSpecs, the report buffer, exceptions, antennas.
_EVENTS = (2, 3, 4, 8)
_ROSPEC_ENDED, _ROSPEC_PREEMPTED = 1, 2
_ANTENNA_LOST = 0

# How long a warning stays that nothing takes back; lost reports are told of until somebody had time to see it.
_WARNING_MS = 60_000
_OVERFLOW_MS = 600_000
_MOST_WARNINGS = 16

# TagReportContentSelector (§10): antenna, channel, peak RSSI, first seen, count; and of Gen2 the PC word.
_REPORTED = 0x1000 | 0x0800 | 0x0400 | 0x0200 | 0x0080
_REPORTED_PC = 0x40

# Private enterprise numbers (IANA), by which readers name their makers, and models as Impinj numbers them.
_MAKERS = {161: "Motorola", 17996: "Alien", 25882: "Impinj", 26554: "ThingMagic"}
_MODELS = {(25882, 2001001): "Speedway R220", (25882, 2001002): "Speedway R420"}

# How often an EPC is written as hex digits before it is sent. A Zebra FX9600 was seen to do it twice.
_CODINGS = {"binary": 0, "hex": 1, "hex-twice": 2}
_MAX_EPC = 62  # bytes: a PC word counts up to 31 words


class Llrp(TalkingDriver):
    """The driver `llrp`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("antennas", numbers(1, 255), (), "which antennas, such as 1,2; left out: all"),
        Option("power_dbm", number(0, 36), None, "transmit power; left out: as set in the reader"),
        Option("session", number(0, 3), 1, "Gen2 session: 0 reports a tag all the time, 1 to 3 less often"),
        Option("population", number(1, 65535), 32, "about how many tags are in the field at once"),
        Option("version", choice(*llrp.VERSIONS), "1.0.1", "of LLRP; every reader has 1.0.1"),
        Option(
            "epc",
            choice(*_CODINGS),
            "binary",
            "hex, hex-twice: the reader sends EPCs as hex digits (some Zebra FX9600)",
        ),
    )
    MAX_FRAME: ClassVar[int] = llrp.MAX_MESSAGE + llrp.HEADER
    # TCP sends a lost packet again after 0.2 s, then after twice that, and so on: a pause of seconds is usual.
    STALL_MS: ClassVar[int] = 3_000
    # Only what it is (1), without the tables of its powers and frequencies.
    ASK: ClassVar[bytes] = message(llrp.GET_READER_CAPABILITIES, 1, b"\x01")
    HINT: ClassVar[str] = "check that LLRP is switched on at the reader, and its port, usually 5084"

    def __init__(
        self,
        device: str,
        *,
        antennas: tuple[int, ...] = (),
        power_dbm: int | None = None,
        session: int = 1,
        population: int = 32,
        version: str = "1.0.1",
        epc: str = "binary",
    ) -> None:
        super().__init__(device)
        self._antennas, self._power_dbm = antennas, power_dbm
        self._session, self._population = session, population
        self._wanted_version, self._codings = llrp.VERSIONS[version], _CODINGS[epc]
        self._version = 1
        self._capabilities: Message | None = None
        self._channels_khz: tuple[int, ...] = ()
        self._message: Message | None = None
        self._patient = True
        self._walked = 0
        """How far the parameters of the unfinished message were gone through."""
        self._effort = 0
        """Bytes gone through since the last message: see `MAX_EFFORT`."""
        self._warnings: dict[str, str] = {}

    # --- the conversation -------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Wait to be greeted, and ask what the reader is."""
        super().open(now)
        self._walked = self._effort = 0
        self._version, self._capabilities, self._channels_khz = self._wanted_version, None, ()
        self._warnings.clear()
        ask = self._say(llrp.GET_READER_CAPABILITIES, 2, b"\x00")
        # Reports and events that the reader holds until its client says that it is there.
        release = self._say(llrp.ENABLE_EVENTS_AND_REPORTS, _BESIDE)
        steps = [Step("its greeting", b"", _GREETING, _GREETING_MS, attempts=1, optional=True)]
        if self._version != 1:
            choose = self._say(llrp.SET_PROTOCOL_VERSION, 1, bytes([self._version]))
            steps.append(Step("the choice of its LLRP version", choose, 1, _ANSWER_MS))
        steps.append(Step("the question for its capabilities", release + ask, 2, _ANSWER_MS, again=ask))
        self.converse(steps, now, self._configure)

    def goodbye(self) -> bytes:
        """Stop reading, and let the next client in at once."""
        return self._say(llrp.DELETE_ROSPEC, _BESIDE, _ROSPEC) + self._say(llrp.CLOSE_CONNECTION, _BESIDE)

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """Nothing was heard for too long, or a warning is old."""
        if name == _SILENCE:
            self.fault = (
                f"the reader's last {_MOST_MISSED} keep-alives did not come: check its power and network"
            )
        else:
            self._take_back(name)

    def _configure(self, now: Moment) -> None:
        self.fault = self._unfit()
        if self.fault is not None:
            return
        self._channels_khz = self._channels()
        # What the client before has set is undone: nothing is held back, and what somebody must look at is told.
        events = tlv(244, b"", *(tlv(245, struct.pack(">HB", event, 0x80)) for event in _EVENTS)) + tlv(
            226, b"\0"
        )
        keepalive = tlv(220, struct.pack(">BI", 1, _KEEPALIVE_MS))
        delete = self._say(llrp.DELETE_ROSPEC, 3, _ALL)
        add = self._say(llrp.ADD_ROSPEC, 6, self._rospec())
        enable, start = self._say(llrp.ENABLE_ROSPEC, 7, _ROSPEC), self._say(llrp.START_ROSPEC, 8, _ROSPEC)
        # What may have been done although its answer was lost is undone before it is asked for again.
        undo_enable, undo_start = (
            self._say(undo, _BESIDE, _ROSPEC) for undo in (llrp.DISABLE_ROSPEC, llrp.STOP_ROSPEC)
        )
        steps = [
            Step("the removal of old ROSpecs", delete, 3, _ANSWER_MS),
            Step(
                "the setting of keep-alives",
                self._say(llrp.SET_READER_CONFIG, 4, b"\0" + keepalive),
                4,
                _ANSWER_MS,
            ),
            # A reader may have fewer events.
            Step(
                "the choice of events",
                self._say(llrp.SET_READER_CONFIG, 5, b"\0" + events),
                5,
                _ANSWER_MS,
                optional=True,
            ),
            Step("the adding of a ROSpec", add, 6, _ANSWER_MS, again=delete + add),
            Step("the enabling of the ROSpec", enable, 7, _ANSWER_MS, again=undo_enable + enable),
            Step("the start of the ROSpec", start, 8, _ANSWER_MS, again=undo_start + start),
        ]
        self.converse(steps, now, self._begin)

    def _begin(self, now: Moment) -> None:
        self.ready = True
        self._listen(now)

    def _listen(self, now: Moment) -> None:
        self.set_alarm(_SILENCE, _MOST_MISSED * _KEEPALIVE_MS + _LATE_MS, now)

    def _say(self, type_: int, number: int, content: bytes | int = b"") -> bytes:
        """A message; an int is the id of a ROSpec."""
        content = struct.pack(">I", content) if isinstance(content, int) else content
        return message(type_, number, content, self._version)

    # --- what the reader can and shall do ---------------------------------------------------------------------

    def _powers(self) -> dict[int, int]:
        """Hundredths of a dBm → their place in the reader's table."""
        table = self._regulatory(llrp.POWER_LEVEL)
        return {entry.integer("TransmitPowerValue"): entry.integer("Index") for entry in table}

    def _regulatory(self, *path: int) -> list[Parameter]:
        """What stands under UHF_BAND in the capabilities."""
        found = (
            self._capabilities.first(llrp.REGULATORY_CAPABILITIES) if self._capabilities is not None else None
        )
        return list(found.find(llrp.UHF_BAND, *path)) if found is not None else []

    def _unfit(self) -> str | None:
        """Why this reader cannot do what the options ask for."""
        general = (
            self._capabilities.first(llrp.GENERAL_CAPABILITIES) if self._capabilities is not None else None
        )
        most = general.integer("MaxSupportedAntennas") if general is not None else 0
        beyond = [antenna for antenna in self._antennas if most and antenna > most]
        if beyond:
            return (
                f"the reader has {most} antennas: take {', '.join(map(str, beyond))} out of option antennas"
            )
        if self._power_dbm is not None and not self._powers():
            return (
                "the reader does not say which powers it has: leave power_dbm out, and set it at its web page"
            )
        return None

    def _rospec(self) -> bytes:
        """Read on all these antennas until told to stop, and report every tag at once (LLRP 1.0.1 §10)."""
        singulation = tlv(336, struct.pack(">BHI", self._session << 6, self._population, 0))
        antenna = tlv(222, struct.pack(">H", _ALL), self._transmitter(), tlv(330, b"\0", singulation))
        antennas = self._antennas or (_ALL,)
        never = struct.pack(">BI", 0, 0)
        return tlv(
            177,
            struct.pack(">IBB", _ROSPEC, 0, 0),
            tlv(178, b"", tlv(179, b"\0"), tlv(182, never)),
            tlv(
                183,
                struct.pack(f">{1 + len(antennas)}H", len(antennas), *antennas),
                tlv(184, never),
                tlv(186, struct.pack(">HB", 1, _GEN2), antenna),
            ),
            tlv(
                237,
                struct.pack(">BH", _AT_END_OR_AFTER, 1),
                tlv(238, struct.pack(">H", _REPORTED), tlv(348, bytes([_REPORTED_PC]))),
            ),
        )

    def _transmitter(self) -> bytes:
        """The power that comes nearest to what is asked for, from below; nothing, if nothing is asked for."""
        if self._power_dbm is None:
            return b""
        powers = self._powers()
        asked = self._power_dbm * 100
        index = powers[max((power for power in powers if power <= asked), default=min(powers))]
        hops = self._regulatory(llrp.FREQUENCIES, llrp.HOP_TABLE)
        # Readers that hop have a table to name, the others a channel; each ignores the other (§12).
        table = hops[0].integer("HopTableID") if hops else 0
        return tlv(224, struct.pack(">HHH", table, 1, index))

    # --- messages ---------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """Header and lengths; and what follows, where a message is malformed inside, or may have lost bytes."""
        begun, self._walked = self._walked if at == 0 else 0, 0
        size, reached, fits = llrp.begins(data, at), 0, True
        if size:
            reached, fits = llrp.walk(data, at, size, begun)
            self._effort += reached - begun
        if size is None or not fits:
            return self._none_begins(data, at)
        if not size or len(data) - at < size:
            if self._effort > llrp.MAX_EFFORT:
                return self._none_begins(data, at)
            self._walked = reached
            return 0
        self._message = llrp.decode(data[at : at + size])
        broken = bool(self._message.broken)
        follows = llrp.begins(data, at + size)
        if follows is None and (broken or llrp.overlapped(data, at, at + size)):
            self._effort += size
            return self._none_begins(data, at)
        if broken and not follows and self._patient:
            return 0
        self._effort = 0
        return size

    def _none_begins(self, data: bytes, at: int) -> int:
        if self._effort > llrp.MAX_EFFORT:
            self._effort = 0
            return at - len(data)
        return at - llrp.nearest(data, at + 1)

    def _skip(self, data: bytes, now: Moment, reads: list[Read]) -> None:
        self._walked = 0
        super()._skip(data, now, reads)

    def _give_up(self, now: Moment, reads: list[Read]) -> None:
        # Nothing follows: the last message is taken as it is.
        self._patient = False
        self._rest = self._scan(self._rest, now, reads)
        super()._give_up(now, reads)
        self._patient = True

    def garbage(self, sample: bytes, size: int) -> str:
        """There is no bad cable behind TCP."""
        return f"{size} bytes that are no message of LLRP: is this the right port, usually 5084?"

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A report, a sign of life, something that happened, or an answer."""
        if _SILENCE in self._alarms:
            self._listen(now)
        told = self._message
        assert told is not None
        self._message = None
        broken = list(told.broken)
        if told.type == llrp.RO_ACCESS_REPORT:
            self._report(frame, told, broken, now, reads)
        elif told.type == llrp.KEEPALIVE:
            if len(self._output) < _MOST_WAITING:
                self.send(self._say(llrp.KEEPALIVE_ACK, told.id))
        elif told.type == llrp.READER_EVENT_NOTIFICATION:
            for event in [event for data in told.inside for event in data.inside]:
                if event.type in _NOTICES:
                    _NOTICES[event.type](self, event, now)
        elif (status := told.first(llrp.STATUS)) is not None:
            self._answer(told, status, now)
        if broken:
            reason = f"{len(broken)} parts of a message that cannot be read: {broken[0]}"
            reads.append(BadFrame(self.device, reason, frame[:MAX_SAMPLE], now.unix_s))

    def _answer(self, told: Message, status: Parameter, now: Moment) -> None:
        step = self._dialogue.step if self._dialogue is not None else None
        refused = status.integer("Status") != _SUCCESS
        if told.type == llrp.GET_READER_CAPABILITIES_RESPONSE and not refused:
            self._capabilities = told
            self._name(told)
        if step is None or step.answer != told.id:
            if told.type == llrp.ERROR_MESSAGE and self.ready:
                self._warn("error", f"the reader did not understand a message: {llrp.reason(status)}", now)
        elif refused and not step.optional:
            self.fault = f"the reader refused {step.name}: {llrp.reason(status)}; check the driver's options"
        else:
            self.heard(told.id, now)

    def _name(self, told: Message) -> None:
        general = told.first(llrp.GENERAL_CAPABILITIES)
        if general is not None:
            maker, model = general.integer("DeviceManufacturer"), general.integer("Model")
            maker_name = _MAKERS.get(maker, f"maker {maker}")
            model_name = _MODELS.get((maker, model), f"model {model}")
            self.model = f"{maker_name} {model_name}, {general.text('FirmwareVersion')[:60]}"

    def _channels(self) -> tuple[int, ...]:
        """Frequencies in kHz, as reports count them from 1."""
        tables = [
            *self._regulatory(llrp.FREQUENCIES, llrp.HOP_TABLE),
            *self._regulatory(llrp.FREQUENCIES, llrp.FIXED_TABLE),
        ]
        found = tables[0].values["Frequencies"] if tables else ()
        assert isinstance(found, tuple)
        return found

    # --- tags -------------------------------------------------------------------------------------------------

    def _report(self, frame: bytes, told: Message, broken: list[str], now: Moment, reads: list[Read]) -> None:
        for part, (start, end) in zip(told.inside, told.spans, strict=True):
            if part.type == llrp.TAG_REPORT_DATA:
                try:
                    reads.append(self._tag(part, frame[start:end], now))
                except Malformed as problem:
                    broken.append(str(problem))

    def _tag(self, part: Parameter, raw: bytes, now: Moment) -> TagRead:
        """Every field may be missing but the EPC. Raises `Malformed`."""
        values: dict[str, Any] = {}
        for parameter in part.inside:
            values.update(parameter.values)
        epc = self._epc(values)
        channel, seen_us, rssi = (
            values.get("ChannelIndex", 0),
            values.get("FirstSeenUTC"),
            values.get("PeakRSSI"),
        )
        return TagRead(
            self.device,
            raw,
            epc,
            now.unix_s,
            now.monotonic_ns,
            antenna=values.get("AntennaID"),
            rssi_dbm=None if rssi is None else float(rssi),
            pc=values.get("C1G2PC"),
            frequency_khz=self._channels_khz[channel - 1] if 0 < channel <= len(self._channels_khz) else None,
            count=max(1, values.get("TagSeenCount", 1)),
            seen_at=None if seen_us is None else seen_us / 1e6,
        )

    def _epc(self, values: dict[str, Any]) -> bytes:
        epc: bytes | None = values.get("EPC")
        if not epc:
            raise Malformed("a tag without an EPC")
        if values.get("EPCNumBits", 96) % 16:
            raise Malformed(f"an EPC of {values['EPCNumBits']} bits, which are no whole words")
        for _ in range(self._codings):
            try:
                epc = binascii.unhexlify(epc)
            except binascii.Error:
                raise Malformed("an EPC that is not in hex digits (leave option epc out)") from None
        if not 2 <= len(epc) <= _MAX_EPC or len(epc) % 2:
            raise Malformed(f"an EPC of {len(epc)} bytes")
        return epc

    # --- what happens at the reader ---------------------------------------------------------------------------

    def _greeting(self, event: Parameter, now: Moment) -> None:
        status = event.integer("Status")
        if status == _GREETED:
            self.heard(_GREETING, now)
        elif status == _ANOTHER_CAME:
            self._warn("another", "another client tried to connect to the reader, which serves only us", now)
        else:
            self.fault = _REFUSALS.get(status, _REFUSALS[_NO_REASON])

    def _closing(self, event: Parameter, now: Moment) -> None:
        self.fault = "the reader ends the connection: it restarts, or somebody told it to at its web page"

    def _antenna(self, event: Parameter, now: Moment) -> None:
        antenna = event.integer("AntennaID")
        if event.integer("Event") != _ANTENNA_LOST:
            self._take_back(f"antenna {antenna}")
        elif not self._antennas or antenna in self._antennas:
            text = f"antenna {antenna} is not connected: check its cable, or name those in use with option antennas"
            self._warn(f"antenna {antenna}", text, now, for_ms=None)

    def _rospec_event(self, event: Parameter, now: Moment) -> None:
        if event.integer("ROSpecID") != _ROSPEC or not self.ready:
            return
        if event.integer("Event") == _ROSPEC_ENDED:
            self.fault = "the reader has stopped reading by itself; it is told anew"
        elif event.integer("Event") == _ROSPEC_PREEMPTED:
            self._warn("rospec", "the reader does something else first: another program has told it to", now)

    def _buffer_fills(self, event: Parameter, now: Moment) -> None:
        percent = event.integer("ReportBufferPercentageFull")
        text = f"the reader's buffer for reports is {percent} % full: the network takes them too slowly"
        self._warn("buffer", text, now)

    def _buffer_overflowed(self, event: Parameter, now: Moment) -> None:
        text = "the reader has lost reports: the network took them too slowly, or we were away for too long"
        self._warn("overflow", text, now, for_ms=_OVERFLOW_MS)

    def _exception(self, event: Parameter, now: Moment) -> None:
        self._warn("exception", f"the reader reports: {event.text('Message')[:200]}", now)

    def _warn(self, key: str, text: str, now: Moment, for_ms: int | None = _WARNING_MS) -> None:
        """Say so until it is taken back, or for so long."""
        if key in self._warnings or len(self._warnings) < _MOST_WARNINGS:
            self._warnings[key] = text
            if for_ms is not None:
                self.set_alarm(key, for_ms, now)
        self.warning = "; ".join(self._warnings.values())

    def _take_back(self, key: str) -> None:
        self._warnings.pop(key, None)
        self.warning = "; ".join(self._warnings.values()) or None


# Event → what it means.
_NOTICES: dict[int, Callable[[Llrp, Parameter, Moment], None]] = {
    llrp.CONNECTION_ATTEMPT: Llrp._greeting,
    llrp.CONNECTION_CLOSE: Llrp._closing,
    llrp.ANTENNA_EVENT: Llrp._antenna,
    llrp.ROSPEC_EVENT: Llrp._rospec_event,
    llrp.BUFFER_WARNING: Llrp._buffer_fills,
    llrp.BUFFER_OVERFLOW: Llrp._buffer_overflowed,
    llrp.READER_EXCEPTION: Llrp._exception,
}
