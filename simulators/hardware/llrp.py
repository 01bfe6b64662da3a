"""A fixed reader that speaks LLRP 1.0.1 and 1.1 on TCP: it greets its one client, does what ROSpecs say, and reports.

Facts: "Low Level Reader Protocol" of EPCglobal, 1.0.1 and 1.1, whose names are used here; what it can do is what an
Impinj Speedway R420 of firmware 5.14 says of itself. A ROSpec lives on when its client goes, as in the real one, and
what it found waits for the next client. Keep-alives are sent as often as the client asked for; one who leaves three
of them unanswered is hung up on.
"""

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

HEADER: Final = 10
_LONGEST: Final = 0x10000
"""A message that announces more is noise; the longest ROSpec of a client has some hundred bytes."""

GET_READER_CAPABILITIES, SET_READER_CONFIG, CLOSE_CONNECTION = 1, 3, 14
ADD_ROSPEC, DELETE_ROSPEC, START_ROSPEC, STOP_ROSPEC, ENABLE_ROSPEC, DISABLE_ROSPEC = 20, 21, 22, 23, 24, 25
GET_ROSPECS, GET_SUPPORTED_VERSION, SET_PROTOCOL_VERSION = 26, 46, 47
GET_REPORT, RO_ACCESS_REPORT, KEEPALIVE, READER_EVENT_NOTIFICATION = 60, 61, 62, 63
ENABLE_EVENTS_AND_REPORTS, KEEPALIVE_ACK, ERROR_MESSAGE = 64, 72, 100
"""Types of messages; most answers have a type ten higher than the question."""

SUCCESS, PARAMETER_ERROR, FIELD_ERROR, OVERFLOW_PARAMETER = 0, 100, 101, 105
UNSUPPORTED_MESSAGE, UNSUPPORTED_VERSION, OUT_OF_RANGE = 109, 110, 301
"""Codes of LLRPStatus."""

CONNECTED, ANOTHER_CLIENT, ANOTHER_TRIED = 0, 2, 4
"""Statuses of a ConnectionAttemptEvent."""

_MAKER, _MODEL, _FIRMWARE = 25882, 2001002, b"5.14.0.240"
_POWERS_CDBM: Final = range(1000, 3001, 25)
_HOPS_KHZ: Final = tuple(range(902_750, 927_251, 500))
_MISSED_MOST: Final = 3
_BATCH_MOST: Final = 16
"""Tags in one report, where the ROSpec does not limit them."""
_EPOCH_S: Final = 1_767_225_600
"""What its clock says when ours says 0: the beginning of 2026."""

_DISABLED, _INACTIVE, _ACTIVE = 0, 1, 2


def message(type_: int, number: int, body: bytes = b"", version: int = 1) -> bytes:
    """Three reserved bits, three of version, ten of type; the length of it all; an id."""
    return struct.pack(">HII", version << 10 | type_, HEADER + len(body), number) + body


def parameter(type_: int, *parts: bytes) -> bytes:
    """A parameter of the TLV encoding: its length includes the four bytes before its content."""
    content = b"".join(parts)
    return struct.pack(">HH", type_, 4 + len(content)) + content


def short(type_: int, layout: str, value: int) -> bytes:
    """A parameter of the TV encoding: one byte of type with its highest bit set, no length."""
    return struct.pack(">B" + layout, 0x80 | type_, value)


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The TLV parameters in a row: type and content. ValueError when their lengths do not fit."""
    while data:
        if len(data) < 4:
            raise ValueError("a parameter ends before its length")
        type_, length = struct.unpack_from(">HH", data)
        if type_ > 1023 or not 4 <= length <= len(data):
            raise ValueError(f"parameter {type_} cannot have {length} bytes")
        yield type_, data[4:length]
        data = data[length:]


def status(code: int = SUCCESS, words: str = "") -> bytes:
    """LLRPStatus."""
    return parameter(287, struct.pack(">HH", code, len(words)), words.encode())


class Refused(Exception):
    """A command that the reader answers with an error status."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(slots=True)
class RoSpec:
    """What a client wants read, and where its tags are reported from."""

    raw: bytes
    antennas: tuple[int, ...]
    every: int
    """Tags in a report; 0: as many as there are."""
    fields: int
    """Bits of a TagReportContentSelector."""
    memory: int
    """Bits of a C1G2EPCMemorySelector."""
    power: int | None
    session: int | None
    state: int = _DISABLED


class Llrp(Device):
    """The kind `llrp`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "antennas": "how many it has, 1 to 32 (usually 4)",
        "hold": "yes: after a connection it holds events and reports until it is told that it may (usually no)",
    }
    PORTS: ClassVar[tuple[str, ...]] = ("tcp",)

    def __init__(self, rng: random.Random, *, antennas: str = "4", hold: str = "no") -> None:
        super().__init__(rng)
        if not (antennas.isascii() and antennas.isdecimal() and 1 <= int(antennas[:3]) <= 32):
            raise ValueError(f"antennas is a number from 1 to 32, not {antennas!r}")
        if hold not in ("yes", "no"):
            raise ValueError(f"hold is yes or no, not {hold!r}")
        self.antennas = int(antennas)
        self._hold_at_first = hold == "yes"
        self._ids = count(1)
        self.unplugged()

    def unplugged(self) -> None:
        """Everything that clients have set is forgotten."""
        self.rospecs: dict[int, RoSpec] = {}
        self.events: set[int] = set()
        self.hold = self._hold_at_first
        self.keepalive_s: float | None = None
        self._held = False
        self._end_session()

    def _end_session(self) -> None:
        self._heard = b""
        self._connected = self._hangs_up = False
        self._version = 1
        self._missed = 0
        self._next_s = 0.0
        self._another = False

    # --- the connection --------------------------------------------------------------------------------------

    def opened(self, now_s: float) -> list[Frame]:
        """It speaks first; then comes what it has kept, unless it holds that."""
        self._end_session()
        self._connected, self._held = True, self.hold
        self._next_s = now_s + (self.keepalive_s or 0.0)
        return [self._greeting(CONNECTED, now_s), *self._found(now_s)]

    def closed(self, now_s: float) -> None:
        """ROSpecs and settings stay; the version of the protocol is that of the connection."""
        self._end_session()

    def refusal(self, now_s: float) -> bytes:
        """The second client learns that there is a first, and the first one that there was a second."""
        self._another = True
        return self._greeting(ANOTHER_CLIENT, now_s).data

    def hangs_up(self) -> bool:
        """After CLOSE_CONNECTION, and when nobody acknowledges its keep-alives."""
        return self._hangs_up

    def due_s(self) -> float | None:
        """The next keep-alive."""
        if self._another:
            return 0.0
        return self._next_s if self._connected and self.keepalive_s and not self._hangs_up else None

    def tick(self, now_s: float) -> list[Frame]:
        """A keep-alive, or the end of patience."""
        told = [self._greeting(ANOTHER_TRIED, now_s)] if self._another and self._connected else []
        self._another = False
        if not (self._connected and self.keepalive_s) or now_s < self._next_s or self._hangs_up:
            return told
        if self._missed >= _MISSED_MOST:
            self._hangs_up = True
            return told
        self._missed += 1
        self._next_s = now_s + self.keepalive_s
        return [*told, self._tell(KEEPALIVE)]

    def _tell(self, type_: int, body: bytes = b"", things: tuple[Thing, ...] = ()) -> Frame:
        """A message that answers nothing has a number of its own."""
        return Frame(message(type_, next(self._ids), body, self._version), things)

    def _event(self, event: bytes, now_s: float) -> Frame:
        return self._tell(
            READER_EVENT_NOTIFICATION, parameter(246, parameter(128, _microseconds(now_s)), event)
        )

    def _greeting(self, how: int, now_s: float) -> Frame:
        return self._event(parameter(256, struct.pack(">H", how)), now_s)

    # --- tags ------------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag enters the field of an antenna; it is found by the ROSpec that runs, now or later."""
        self.field.put(thing)
        return self._found(now_s)

    def survives(self, data: bytes, damaged: bytes) -> bool:
        """There is no checksum: a report tells of its tag while lengths and EPC are as they were."""
        at = HEADER + 4
        size = 13 if data[at] & 0x80 else struct.unpack_from(">H", data, at + 2)[0]
        return data[at : at + size] in damaged

    def _found(self, now_s: float) -> list[Frame]:
        running = next((spec for spec in self.rospecs.values() if spec.state == _ACTIVE), None)
        if running is None or not self._connected or self._held:
            return []
        number = next(number for number, spec in self.rospecs.items() if spec is running)
        frames = []
        while found := self.field.take(min(running.every or _BATCH_MOST, _BATCH_MOST)):
            body = b"".join(self._report(running, number, thing, now_s) for thing in found)
            frames.append(self._tell(RO_ACCESS_REPORT, body, tuple(found)))
        return frames

    def _report(self, spec: RoSpec, number: int, thing: Thing, now_s: float) -> bytes:
        """TagReportData: the EPC, and what the selector asks for, from its highest bit on."""
        epc = thing.epc_bytes
        antenna = thing.antenna or spec.antennas[0]
        rssi_dbm = thing.rssi_dbm if thing.rssi_dbm is not None else -55
        seen_us = int.from_bytes(_microseconds(now_s), "big")
        chosen = [
            (0x8000, short(9, "I", number)),
            (0x4000, short(14, "H", 1)),
            (0x2000, short(10, "H", 1)),
            (0x1000, short(1, "H", antenna)),
            (0x0800, short(7, "H", 1 + thing.number % len(_HOPS_KHZ))),
            (0x0400, short(6, "b", rssi_dbm)),
            (0x0200, short(2, "Q", seen_us)),
            (0x0100, short(4, "Q", seen_us)),
            (0x0080, short(8, "H", 1)),
            (0x0040, short(16, "I", 0)),
        ]
        whole = b"\x8d" + epc if len(epc) == 12 else parameter(241, struct.pack(">H", len(epc) * 8), epc)
        content = [value for bit, value in chosen if spec.fields & bit]
        pc = [short(12, "H", thing.pc)] if spec.memory & 0x40 else []
        return parameter(240, whole, *content, *pc)

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Answer every message; who sends something else is told so, once for all that came with it."""
        self._heard += data
        answers: list[Frame] = []
        while len(self._heard) >= HEADER and not self._hangs_up:
            first, length, number = struct.unpack_from(">HII", self._heard)
            if first >> 13 or not HEADER <= length <= _LONGEST:
                self._heard = b""
                return [*answers, self._error(0, UNSUPPORTED_MESSAGE, "this is no message of LLRP")]
            if len(self._heard) < length:
                break
            body, self._heard = self._heard[HEADER:length], self._heard[length:]
            answers += self._answer(first, number, body, now_s)
        return answers

    def _answer(self, first: int, number: int, body: bytes, now_s: float) -> list[Frame]:
        type_, version = first & 0x3FF, first >> 10
        if version not in (1, 2):
            return [self._error(number, UNSUPPORTED_VERSION, f"version {version} is none of 1 and 2")]
        known = _COMMANDS.get(type_)
        if known is None:
            return [self._error(number, UNSUPPORTED_MESSAGE, f"no message {type_}")]
        answer, obey = known
        try:
            content, more = obey(self, body, now_s)
        except Refused as refused:
            content, more = status(refused.code, str(refused)), []
        except (ValueError, struct.error):
            content, more = status(PARAMETER_ERROR, "the message is malformed"), []
        if answer is None:
            return more
        return [Frame(message(answer, number, content, self._version)), *more]

    def _error(self, number: int, code: int, words: str) -> Frame:
        return Frame(message(ERROR_MESSAGE, number, status(code, words), self._version))

    def _capabilities(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        """RequestedData: 0 everything, 1 the device, 2 LLRP, 3 the radio rules, 4 the air protocol."""
        (wanted,) = struct.unpack(">B", body[:1])
        chapters = (
            self._general(),
            _llrp_capabilities(),
            _regulatory(),
            parameter(327, struct.pack(">BH", 0x40, 2)),
        )
        if wanted > len(chapters):
            raise Refused(FIELD_ERROR, f"there is no data {wanted}")
        return status() + b"".join(chapters if wanted == 0 else chapters[wanted - 1 : wanted]), []

    def _general(self) -> bytes:
        sensitivities = (parameter(139, struct.pack(">HH", index, index + 8)) for index in range(2, 43))
        protocols = (parameter(140, struct.pack(">HHB", port, 1, 1)) for port in range(1, self.antennas + 1))
        return parameter(
            137,
            struct.pack(">HHIIH", self.antennas, 0x4000, _MAKER, _MODEL, len(_FIRMWARE)) + _FIRMWARE,
            parameter(139, struct.pack(">HH", 1, 0)),
            *sensitivities,
            parameter(141, struct.pack(">HH", 4, 4)),
            *protocols,
        )

    def _configure(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        """SET_READER_CONFIG: back to the factory's settings, keep-alives, events, holding."""
        (reset,) = struct.unpack(">B", body[:1])
        given = list(parts(body[1:]))
        if reset & 0x80:
            self.rospecs, self.events, self.keepalive_s, self.hold = {}, set(), None, False
        for type_, content in given:
            if type_ == 220:
                kind, period_ms = struct.unpack(">BI", content)
                self.keepalive_s = period_ms / 1000 if kind == 1 and period_ms else None
                self._missed, self._next_s = 0, now_s + (self.keepalive_s or 0.0)
            elif type_ == 226:
                self.hold = bool(content[0] & 0x80)
            elif type_ == 244:
                states = [struct.unpack(">HB", state) for kind, state in parts(content) if kind == 245]
                self.events = {event for event, on in states if on & 0x80}
        return status(), []

    def _release(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        self._held = False
        return b"", self._found(now_s)

    def _acknowledged(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        self._missed = 0
        return b"", []

    def _report_now(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        return b"", self._found(now_s) or [self._tell(RO_ACCESS_REPORT)]

    def _close(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        self._hangs_up = True
        return status(), []

    def _versions(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        return struct.pack(">BB", self._version, 2) + status(), []

    def _set_version(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        if body not in (b"\x01", b"\x02"):
            raise Refused(UNSUPPORTED_VERSION, "there are versions 1 and 2")
        self._version = body[0]
        return status(), []

    # --- ROSpecs ---------------------------------------------------------------------------------------------

    def _add(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        [(type_, content)] = parts(body)
        number, _, state = struct.unpack_from(">IBB", content)
        if type_ != 177 or number == 0 or state != _DISABLED:
            raise Refused(FIELD_ERROR, "a ROSpec has a number and is disabled when it is added")
        if self.rospecs:
            raise Refused(OVERFLOW_PARAMETER, "there is a ROSpec already, and only one can be")
        self.rospecs[number] = self._read(body, content[6:])
        return status(), []

    def _read(self, raw: bytes, content: bytes) -> RoSpec:
        """Which antennas the AISpec (183) names, what the ROReportSpec (237) asks for."""
        inside = dict(parts(content))
        if 178 not in inside or 183 not in inside:
            raise Refused(PARAMETER_ERROR, "a ROSpec needs a ROBoundarySpec and an AISpec")
        places = struct.unpack_from(">H", inside[183])[0]
        antennas = struct.unpack_from(f">{places}H", inside[183], 2)
        if not antennas or max(antennas) > self.antennas:
            raise Refused(OUT_OF_RANGE, f"there are antennas 1 to {self.antennas}, and not {antennas}")
        if 0 in antennas:
            antennas = tuple(range(1, self.antennas + 1))
        spec = RoSpec(raw, antennas, 0, 0xFFC0, 0, None, None)
        for type_, inner in parts(inside[183][2 + 2 * places :]):
            if type_ == 186:
                self._read_antenna(spec, dict(parts(inner[3:])).get(222))
        if 237 in inside:
            _, spec.every = struct.unpack_from(">BH", inside[237])
            selector = dict(parts(inside[237][3:])).get(238, b"\xff\xc0")
            (spec.fields,) = struct.unpack_from(">H", selector)
            spec.memory = dict(parts(selector[2:])).get(348, b"\0")[0]
        return spec

    def _read_antenna(self, spec: RoSpec, configuration: bytes | None) -> None:
        """Power and session of an AntennaConfiguration."""
        inside = dict(parts(configuration[2:])) if configuration is not None else {}
        if 224 in inside:
            _, _, spec.power = struct.unpack(">HHH", inside[224])
            if not 1 <= spec.power <= len(_POWERS_CDBM):
                raise Refused(OUT_OF_RANGE, f"there are powers 1 to {len(_POWERS_CDBM)}")
        if 330 in inside and 336 in (singulation := dict(parts(inside[330][1:]))):
            spec.session = singulation[336][0] >> 6

    def _one(self, body: bytes) -> tuple[int, RoSpec]:
        (number,) = struct.unpack(">I", body)
        if number not in self.rospecs:
            raise Refused(FIELD_ERROR, f"there is no ROSpec {number}")
        return number, self.rospecs[number]

    def _delete(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        wanted = list(self.rospecs) if body == bytes(4) else [self._one(body)[0]]
        ended = [self._ended(number, now_s) for number in wanted if self.rospecs[number].state == _ACTIVE]
        for number in wanted:
            del self.rospecs[number]
        return status(), [frame for frames in ended for frame in frames]

    def _enable(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        _, spec = self._one(body)
        if spec.state != _DISABLED:
            raise Refused(FIELD_ERROR, "the ROSpec is enabled already")
        spec.state = _INACTIVE
        return status(), []

    def _disable(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        number, spec = self._one(body)
        was, spec.state = spec.state, _DISABLED
        return status(), self._ended(number, now_s) if was == _ACTIVE else []

    def _start(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        number, spec = self._one(body)
        if spec.state != _INACTIVE:
            raise Refused(FIELD_ERROR, "only a ROSpec that is enabled and does not run can be started")
        spec.state = _ACTIVE
        return status(), [*self._spec_event(0, number, now_s), *self._found(now_s)]

    def _stop(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        number, spec = self._one(body)
        if spec.state != _ACTIVE:
            raise Refused(FIELD_ERROR, "the ROSpec does not run")
        spec.state = _INACTIVE
        return status(), self._ended(number, now_s)

    def _list(self, body: bytes, now_s: float) -> tuple[bytes, list[Frame]]:
        """Each as it was added, but for its state, which stands behind header, number and priority."""
        specs = (spec.raw[:9] + bytes([spec.state]) + spec.raw[10:] for spec in self.rospecs.values())
        return status() + b"".join(specs), []

    def _ended(self, number: int, now_s: float) -> list[Frame]:
        return self._spec_event(1, number, now_s)

    def _spec_event(self, what: int, number: int, now_s: float) -> list[Frame]:
        if 2 not in self.events or self._held:
            return []
        return [self._event(parameter(249, struct.pack(">BII", what, number, 0)), now_s)]


def _microseconds(now_s: float) -> bytes:
    return struct.pack(">Q", int((_EPOCH_S + now_s) * 1_000_000))


def _llrp_capabilities() -> bytes:
    """It tells of a full buffer and can hold reports; one ROSpec."""
    return parameter(142, struct.pack(">BBHIIIII", 0x48, 1, 0, 1, 32, 1, 1508, 8))


def _regulatory() -> bytes:
    """The USA (840) by FCC part 15 (1): powers, a hop table, one mode of the radio."""
    powers = (parameter(145, struct.pack(">Hh", index, power)) for index, power in enumerate(_POWERS_CDBM, 1))
    table = struct.pack(f">BBH{len(_HOPS_KHZ)}I", 1, 0, len(_HOPS_KHZ), *_HOPS_KHZ)
    mode = struct.pack(">IBBBBIIIII", 1000, 0, 0, 0, 0, 40_000, 1500, 6250, 6250, 0)
    band = parameter(
        144,
        *powers,
        parameter(146, b"\x80", parameter(147, table)),
        parameter(328, parameter(329, mode)),
    )
    return parameter(143, struct.pack(">HH", 840, 1), band)


_Obey = Callable[[Llrp, bytes, float], tuple[bytes, list[Frame]]]

# Command → the type of its answer, if it has one, and who obeys: the answer's content, and what is said after it.
_COMMANDS: Final[Mapping[int, tuple[int | None, _Obey]]] = {
    GET_READER_CAPABILITIES: (11, Llrp._capabilities),
    SET_READER_CONFIG: (13, Llrp._configure),
    CLOSE_CONNECTION: (4, Llrp._close),
    ADD_ROSPEC: (30, Llrp._add),
    DELETE_ROSPEC: (31, Llrp._delete),
    START_ROSPEC: (32, Llrp._start),
    STOP_ROSPEC: (33, Llrp._stop),
    ENABLE_ROSPEC: (34, Llrp._enable),
    DISABLE_ROSPEC: (35, Llrp._disable),
    GET_ROSPECS: (36, Llrp._list),
    GET_SUPPORTED_VERSION: (56, Llrp._versions),
    SET_PROTOCOL_VERSION: (57, Llrp._set_version),
    GET_REPORT: (None, Llrp._report_now),
    ENABLE_EVENTS_AND_REPORTS: (None, Llrp._release),
    KEEPALIVE_ACK: (None, Llrp._acknowledged),
}
