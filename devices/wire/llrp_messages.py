"""LLRP on the wire: messages and parameters as tables, and the way from bytes to values and back.

The one idea: everything in LLRP is a parameter that says its own type and length, and holds fields and then further
parameters. So one table of fields decodes all of them, and what is in no table is stepped over by its length. There
is no checksum: what tells a message from garbage is that lengths inside lengths must add up to the last byte.

Source: "Low Level Reader Protocol (LLRP)" of EPCglobal (GS1), versions 1.0.1 (binary encoding in §16) and 1.1 (§17).
The names are those of the standard, put shorter where it uses long ones.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

VERSIONS = {"1.0.1": 1, "1.1": 2}
HEADER = 10
"""Three reserved bits, three of version, ten of type; the length of the whole message; its id."""
MAX_MESSAGE = 0x40000
"""Bytes of the longest message that is taken. Capabilities come to 2 KiB; 256 KiB are some 5,000 tags in one report,
which only a reader that held them back for hours puts together.
"""
MAX_EFFORT = 4 * MAX_MESSAGE
"""Bytes of parameters that are looked at in vain, in search of a message that adds up. Whoever puts beginnings inside
beginnings could have the same bytes looked at without end.
"""
MAX_DEPTH = 10
"""Parameters inside parameters. The deepest of the standard, a filter's mask inside a ROSpec, is the seventh."""

# --- types of messages --------------------------------------------------------------------------------------------

GET_READER_CAPABILITIES, SET_READER_CONFIG, CLOSE_CONNECTION = 1, 3, 14
ADD_ROSPEC, DELETE_ROSPEC, START_ROSPEC, STOP_ROSPEC, ENABLE_ROSPEC, DISABLE_ROSPEC = range(20, 26)
SET_PROTOCOL_VERSION, ENABLE_EVENTS_AND_REPORTS, KEEPALIVE_ACK = 47, 64, 72
GET_READER_CAPABILITIES_RESPONSE, RO_ACCESS_REPORT, KEEPALIVE, READER_EVENT_NOTIFICATION = 11, 61, 62, 63
ERROR_MESSAGE, CUSTOM_MESSAGE = 100, 1023

# --- types of parameters ------------------------------------------------------------------------------------------

EPC_96, EPC_DATA, TAG_REPORT_DATA = 13, 241, 240
ANTENNA_ID, FIRST_SEEN_UTC, PEAK_RSSI, CHANNEL_INDEX, TAG_SEEN_COUNT, C1G2_PC = 1, 2, 6, 7, 8, 12
GENERAL_CAPABILITIES, REGULATORY_CAPABILITIES, UHF_BAND, POWER_LEVEL = 137, 143, 144, 145
FREQUENCIES, HOP_TABLE, FIXED_TABLE = 146, 147, 148
READER_EVENTS, ROSPEC_EVENT, BUFFER_WARNING, BUFFER_OVERFLOW, READER_EXCEPTION = 246, 249, 250, 251, 252
ANTENNA_EVENT, CONNECTION_ATTEMPT, CONNECTION_CLOSE = 255, 256, 257
STATUS, FIELD_ERROR, PARAMETER_ERROR, CUSTOM = 287, 288, 289, 1023

Value = int | bool | str | bytes | tuple[int, ...]


class Malformed(ValueError):
    """Lengths that do not add up; the text says where."""


class Parameter(NamedTuple):
    """One parameter, decoded."""

    type: int
    values: Mapping[str, Value]
    """Its fields by name; `raw` alone for a type that is in no table."""
    inside: "tuple[Parameter, ...]" = ()

    @property
    def name(self) -> str:
        """As the standard calls it."""
        kind = PARAMETERS.get(self.type) or TVS.get(self.type)
        return kind.name if kind is not None else f"Parameter{self.type}"

    def find(self, *path: int) -> "Iterator[Parameter]":
        """All that are reached by these types, one inside the other."""
        for parameter in self.inside:
            if parameter.type == path[0]:
                if len(path) == 1:
                    yield parameter
                else:
                    yield from parameter.find(*path[1:])

    def integer(self, name: str) -> int:
        """A field that is a number."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        """A field that is a text, as people may see it: a stranger wrote it, and it may not steer a terminal."""
        value = self.values[name]
        assert isinstance(value, str)
        return "".join(letter if letter.isprintable() else "�" for letter in value.strip("\0 \t\r\n"))


class Message(NamedTuple):
    """One message of a reader, decoded."""

    type: int
    id: int
    version: int
    values: Mapping[str, Value]
    inside: tuple[Parameter, ...]
    """Its parameters, those left out that cannot be decoded."""
    spans: tuple[tuple[int, int], ...]
    """Where each of `inside` begins and ends in the message."""
    broken: tuple[str, ...]
    """Of each that is left out: why."""

    def first(self, type_: int) -> Parameter | None:
        """The first parameter of this type."""
        return next((parameter for parameter in self.inside if parameter.type == type_), None)


# --- the tables ---------------------------------------------------------------------------------------------------
# Fields are written `Name:kind`. Kinds: B H I Q are unsigned and b h signed numbers of 1, 2, 4, 8 bytes; `text` and
# `bytes` have their length before them, `numbers` 32-bit numbers their count, `bits` a number of bits and so many
# bytes as hold them; `flags8`, `flags16` are single bits by name, from the highest on; `pad` is a byte to ignore.


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of parameter that says its length (TLV), or a message without its header: fields, then parameters."""

    name: str
    fields: str = ""


class Fixed(NamedTuple):
    """A type of parameter without a length (TV): one field."""

    name: str
    field: struct.Struct


TVS: dict[int, Fixed] = {
    1: Fixed("AntennaID", struct.Struct(">H")),
    2: Fixed("FirstSeenUTC", struct.Struct(">Q")),
    3: Fixed("FirstSeenUptime", struct.Struct(">Q")),
    4: Fixed("LastSeenUTC", struct.Struct(">Q")),
    5: Fixed("LastSeenUptime", struct.Struct(">Q")),
    6: Fixed("PeakRSSI", struct.Struct(">b")),
    7: Fixed("ChannelIndex", struct.Struct(">H")),
    8: Fixed("TagSeenCount", struct.Struct(">H")),
    9: Fixed("ROSpecID", struct.Struct(">I")),
    10: Fixed("InventoryParameterSpecID", struct.Struct(">H")),
    11: Fixed("C1G2CRC", struct.Struct(">H")),
    12: Fixed("C1G2PC", struct.Struct(">H")),
    13: Fixed("EPC", struct.Struct(">12s")),
    14: Fixed("SpecIndex", struct.Struct(">H")),
    15: Fixed("ClientRequestOpSpecResult", struct.Struct(">H")),
    16: Fixed("AccessSpecID", struct.Struct(">I")),
    17: Fixed("OpSpecID", struct.Struct(">H")),
    18: Fixed("C1G2SingulationDetails", struct.Struct(">I")),
    19: Fixed("C1G2XPCW1", struct.Struct(">H")),
    20: Fixed("C1G2XPCW2", struct.Struct(">H")),
}

PARAMETERS: dict[int, Kind] = {
    128: Kind("UTCTimestamp", "UTCTimestamp:Q"),
    129: Kind("Uptime", "Uptime:Q"),
    137: Kind(
        "GeneralDeviceCapabilities",
        "MaxSupportedAntennas:H CanSetAntennaProperties,HasUTCClock:flags16 DeviceManufacturer:I Model:I"
        " FirmwareVersion:text",
    ),
    139: Kind("ReceiveSensitivityTableEntry", "Index:H ReceiveSensitivity:H"),
    140: Kind("PerAntennaAirProtocol", "AntennaID:H AirProtocolIDs:bytes"),
    141: Kind("GPIOCapabilities", "NumGPIs:H NumGPOs:H"),
    142: Kind(
        "LLRPCapabilities",
        "CanDoRFSurvey,CanReportBufferFillWarning,SupportsClientRequestOpSpec,"
        "CanDoTagInventoryStateAwareSingulation,SupportsEventsAndReportHolding:flags8"
        " MaxPriorityLevelSupported:B ClientRequestedOpSpecTimeout:H MaxROSpecs:I MaxSpecsPerROSpec:I"
        " MaxInventoryParameterSpecsPerAISpec:I MaxAccessSpecs:I MaxOpSpecsPerAccessSpec:I",
    ),
    143: Kind("RegulatoryCapabilities", "CountryCode:H CommunicationsStandard:H"),
    144: Kind("UHFBandCapabilities"),
    145: Kind("TransmitPowerLevelTableEntry", "Index:H TransmitPowerValue:h"),
    146: Kind("FrequencyInformation", "Hopping:flags8"),
    147: Kind("FrequencyHopTable", "HopTableID:B pad Frequencies:numbers"),
    148: Kind("FixedFrequencyTable", "Frequencies:numbers"),
    149: Kind(
        "PerAntennaReceiveSensitivityRange",
        "AntennaID:H ReceiveSensitivityIndexMin:H ReceiveSensitivityIndexMax:H",
    ),
    240: Kind("TagReportData"),
    241: Kind("EPCData", "EPC:bits"),
    246: Kind("ReaderEventNotificationData"),
    247: Kind("HoppingEvent", "HopTableID:H NextChannelIndex:H"),
    248: Kind("GPIEvent", "GPIPort:H Event:flags8"),
    249: Kind("ROSpecEvent", "Event:B ROSpecID:I PreemptingROSpecID:I"),
    250: Kind("ReportBufferLevelWarningEvent", "ReportBufferPercentageFull:B"),
    251: Kind("ReportBufferOverflowErrorEvent"),
    252: Kind("ReaderExceptionEvent", "Message:text"),
    253: Kind("RFSurveyEvent", "Event:B ROSpecID:I SpecIndex:H"),
    254: Kind("AISpecEvent", "Event:B ROSpecID:I SpecIndex:H"),
    255: Kind("AntennaEvent", "Event:B AntennaID:H"),
    256: Kind("ConnectionAttemptEvent", "Status:H"),
    257: Kind("ConnectionCloseEvent"),
    287: Kind("LLRPStatus", "Status:H ErrorDescription:text"),
    288: Kind("FieldError", "FieldNum:H ErrorCode:H"),
    289: Kind("ParameterError", "ParameterType:H ErrorCode:H"),
    327: Kind(
        "C1G2LLRPCapabilities",
        "SupportsBlockErase,SupportsBlockWrite,SupportsBlockPermalock,SupportsTagRecommissioning,"
        "SupportsUMIMethod2,SupportsXPC:flags8 MaxSelectFiltersPerQuery:H",
    ),
    328: Kind("UHFC1G2RFModeTable"),
    329: Kind(
        "UHFC1G2RFModeTableEntry",
        "ModeID:I DivideRatio,IsEPCHagConformant:flags8 Modulation:B ForwardLinkModulation:B SpectralMask:B"
        " BackscatterDataRate:I PIERatio:I MinTariTime:I MaxTariTime:I StepTariTime:I",
    ),
    356: Kind("SpecLoopEvent", "ROSpecID:I LoopCount:I"),
    363: Kind("MaximumReceiveSensitivity", "MaximumSensitivityValue:H"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A message that a reader sends."""

    kind: Kind
    parameters: frozenset[int] | None
    """What its body may hold; None: anything. Checked as soon as a parameter begins, before its end has come."""
    least: int = HEADER
    most: int = MAX_MESSAGE
    prefix: int = 0
    """Bytes of fields before the first parameter."""


_STATUS_ONLY = frozenset((STATUS,))


def _answers(name: str, *more: int) -> Reply:
    """An answer: a status, and what was asked for."""
    return Reply(Kind(f"{name}_RESPONSE"), _STATUS_ONLY.union(more), HEADER + 8)


REPLIES: dict[int, Reply] = {
    4: _answers("CLOSE_CONNECTION"),
    11: _answers("GET_READER_CAPABILITIES", 137, 142, 143, 327, CUSTOM),
    12: Reply(Kind("GET_READER_CONFIG_RESPONSE"), None, HEADER + 8),
    13: _answers("SET_READER_CONFIG"),
    30: _answers("ADD_ROSPEC"),
    31: _answers("DELETE_ROSPEC"),
    32: _answers("START_ROSPEC"),
    33: _answers("STOP_ROSPEC"),
    34: _answers("ENABLE_ROSPEC"),
    35: _answers("DISABLE_ROSPEC"),
    36: _answers("GET_ROSPECS", 177),
    50: _answers("ADD_ACCESSSPEC"),
    51: _answers("DELETE_ACCESSSPEC"),
    52: _answers("ENABLE_ACCESSSPEC"),
    53: _answers("DISABLE_ACCESSSPEC"),
    54: _answers("GET_ACCESSSPECS", 207),
    56: Reply(
        Kind("GET_SUPPORTED_VERSION_RESPONSE", "CurrentVersion:B SupportedVersion:B"),
        _STATUS_ONLY,
        HEADER + 10,
        prefix=2,
    ),
    57: _answers("SET_PROTOCOL_VERSION"),
    61: Reply(Kind("RO_ACCESS_REPORT"), frozenset((TAG_REPORT_DATA, 242, CUSTOM))),
    62: Reply(Kind("KEEPALIVE"), frozenset(), most=HEADER),
    63: Reply(Kind("READER_EVENT_NOTIFICATION"), frozenset((READER_EVENTS,)), HEADER + 4),
    100: Reply(Kind("ERROR_MESSAGE"), _STATUS_ONLY, HEADER + 8),
    # Its content is the maker's, and cannot be checked: short ones are believed. We ask for none.
    1023: Reply(Kind("CUSTOM_MESSAGE"), None, HEADER + 5, 1024),
}

# LLRP 1.0.1 §14: wrong is the message (100), something inside a parameter (200), a value (300), the device (400).
_STATUSES = {
    100: "a parameter is wrong",
    101: "a field is wrong",
    102: "a parameter was not expected",
    103: "a parameter is missing",
    104: "a parameter is there twice",
    105: "there are too many of a parameter",
    106: "a field is too large",
    107: "it does not know a parameter",
    108: "it does not know a field",
    109: "it does not support the message",
    110: "it does not support this version of LLRP",
    111: "it does not support a parameter",
    112: "the message was not expected now",
    200: "something inside a parameter is wrong",
    201: "a field of a parameter is wrong",
    205: "there are too many of a parameter",
    206: "a field of a parameter is too large",
    209: "it does not support a parameter",
    300: "an attribute is invalid",
    301: "a value is out of its range",
    401: "the device itself failed",
}


def reason(status: Parameter) -> str:
    """Why the reader refused: its own words where it has some."""
    code = status.integer("Status")
    words = status.text("ErrorDescription") or _STATUSES.get(code, "it does not say why")
    where = "".join(
        f", type {each.integer('ParameterType')}" for each in status.find(PARAMETER_ERROR)
    ) + "".join(f", field {each.integer('FieldNum')}" for each in status.find(FIELD_ERROR))
    return f"{words[:200]} (status {code}{where})"


# --- from bytes ---------------------------------------------------------------------------------------------------


# A version, a type that readers send, and the first byte of a length, as far as they have come.
_TYPES = b"".join(re.escape(bytes([type_])) for type_ in REPLIES if type_ < CUSTOM_MESSAGE)
_FIRST = re.compile(rb"(?:[\x04\x08](?:[" + _TYPES + rb"]|\Z)|[\x07\x0b](?:\xff|\Z))(?:\x00|\Z)")


def nearest(data: bytes, at: int) -> int:
    """Where from here on the first bytes stand that may begin a message."""
    found = _FIRST.search(data, at)
    return found.start() if found is not None else len(data)


def begins(data: bytes, at: int) -> int | None:
    """The length of the message that begins here; 0: not yet to be known; None: none begins here."""
    left = len(data) - at
    if left and data[at] >> 2 not in (1, 2):
        return None
    if left < 2:
        return 0
    reply = REPLIES.get((data[at] & 3) << 8 | data[at + 1])
    if reply is None:
        return None
    if left < 6:
        return 0
    size = int.from_bytes(data[at + 2 : at + 6], "big")
    return size if reply.least <= size <= reply.most else None


def walk(data: bytes, at: int, size: int, begun: int = 0) -> tuple[int, bool]:
    """Goes from parameter to parameter of this message, as far as they have come: how far that was from where it
    begins, and whether they may be its own and end where it does. `begun`: so far it was gone before.
    """
    type_ = (data[at] & 3) << 8 | data[at + 1]
    reply = REPLIES[type_]
    if type_ == CUSTOM_MESSAGE:
        return HEADER, True
    end, here = at + size, at + max(begun, HEADER + reply.prefix)
    known = min(len(data), end)
    while here + 4 <= known:
        inner, length = data[here] << 8 | data[here + 1], data[here + 2] << 8 | data[here + 3]
        allowed = inner < 1024 if reply.parameters is None else inner in reply.parameters
        here += length
        if not allowed or length < 4 or here > end:
            return here - at, False
    return here - at, known < end or here == end


def overlapped(data: bytes, at: int, end: int) -> bool:
    """Whether another message begins inside this one and ends behind it: then this one has lost bytes."""
    here, left = nearest(data, at + 1), MAX_EFFORT
    while here < end and left > 0:
        size = begins(data, here)
        known = len(data) - here
        if size and here + size > end and known >= min(size, HEADER + 4):
            reached, fits = walk(data, here, size)
            if fits:
                return True
            left -= reached
        here = nearest(data, here + 1)
    return False


def decode(data: bytes) -> Message:
    """A whole message whose parameters add up; those of them that are malformed inside are left out and told."""
    first, size, number = struct.unpack_from(">HII", data)
    type_ = first & 0x3FF
    kind, at = REPLIES[type_].kind, HEADER + REPLIES[type_].prefix
    if type_ == CUSTOM_MESSAGE:
        return Message(type_, number, first >> 10, {"raw": data[at:size]}, (), (), ())
    values, _ = _fields(kind, data, HEADER, at)
    inside: list[Parameter] = []
    spans: list[tuple[int, int]] = []
    broken: list[str] = []
    while at < size:
        stop = at + (data[at + 2] << 8 | data[at + 3])
        try:
            inside += parameters(data, at, stop)
            spans.append((at, stop))
        except Malformed as problem:
            broken.append(str(problem))
        at = stop
    return Message(type_, number, first >> 10, values, tuple(inside), tuple(spans), tuple(broken))


def parameters(data: bytes, at: int, end: int, depth: int = 0) -> tuple[Parameter, ...]:
    """The parameters that fill this range. Raises `Malformed`."""
    if depth > MAX_DEPTH:
        raise Malformed(f"more than {MAX_DEPTH} parameters inside each other")
    found = []
    while at < end:
        first = data[at]
        if first & 0x80:
            fixed = TVS.get(first & 0x7F)
            if fixed is None:
                raise Malformed(f"no parameter has type {first & 0x7F} and no length")
            stop = at + 1 + fixed.field.size
            if stop > end:
                raise Malformed(f"{fixed.name} goes on behind the end")
            found.append(Parameter(first & 0x7F, {fixed.name: fixed.field.unpack_from(data, at + 1)[0]}))
        else:
            if at + 4 > end:
                raise Malformed("a parameter begins at the end")
            type_, length = first << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]
            stop = at + length
            if type_ > CUSTOM or length < 4 or stop > end:
                raise Malformed(f"a parameter of type {type_} cannot have {length} bytes here")
            kind = PARAMETERS.get(type_)
            if kind is None:
                found.append(Parameter(type_, {"raw": data[at + 4 : stop]}))
            else:
                values, inside = _fields(kind, data, at + 4, stop)
                found.append(Parameter(type_, values, parameters(data, inside, stop, depth + 1)))
        at = stop
    return tuple(found)


def _fields(kind: Kind, data: bytes, at: int, end: int) -> tuple[dict[str, Value], int]:
    """The fields that stand first, and where they end. Raises `Malformed`."""
    values: dict[str, Value] = {}
    for names, how in _layout(kind.fields):
        at += _take(values, names, how, data[at:end], kind)
    return values, at


@cache
def _layout(fields: str) -> tuple[tuple[list[str], str], ...]:
    """`A:H B,C:flags8 pad` taken apart."""
    parts = [field.rpartition(":") for field in fields.split()]
    return tuple((names.split(",") if names else [], how) for names, _, how in parts)


_NUMBERS = {
    "B": (1, False),
    "H": (2, False),
    "I": (4, False),
    "Q": (8, False),
    "b": (1, True),
    "h": (2, True),
}
_FLAGS = {"flags8": 1, "flags16": 2, "pad": 1}


def _take(values: dict[str, Value], names: list[str], how: str, data: bytes, kind: Kind) -> int:
    """Put the field that stands at the beginning into `values`; returns how many bytes it has."""
    if how in _NUMBERS:
        size, signed = _NUMBERS[how]
        values[names[0]] = int.from_bytes(data[:size], "big", signed=signed)
    elif how in _FLAGS:
        size = _FLAGS[how]
        bits = int.from_bytes(data[:size], "big")
        values.update({name: bool(bits >> size * 8 - 1 - place & 1) for place, name in enumerate(names)})
    else:
        count = data[0] << 8 | data[1] if len(data) > 1 else 0
        size = 2 + {"numbers": 4 * count, "bits": (count + 7) // 8}.get(how, count)
        if how == "bits":
            values[f"{names[0]}NumBits"] = count
        values[names[0]] = _content(how, data[2:size])
    if len(data) < size:
        raise Malformed(f"{kind.name} ends inside its {' '.join(names)}")
    return size


def _content(how: str, data: bytes) -> Value:
    if how == "text":
        return data.decode("utf-8", "replace")
    if how == "numbers":
        whole = len(data) // 4
        return struct.unpack(f">{whole}I", data[: whole * 4])
    return data


# --- to bytes -----------------------------------------------------------------------------------------------------


def message(type_: int, number: int, content: bytes = b"", version: int = 1) -> bytes:
    """A message with its header."""
    return struct.pack(">HII", version << 10 | type_, HEADER + len(content), number) + content


def tlv(type_: int, fields: bytes = b"", *inside: bytes) -> bytes:
    """A parameter that says its length: its fields, then the parameters inside it."""
    content = fields + b"".join(inside)
    return struct.pack(">HH", type_, 4 + len(content)) + content
