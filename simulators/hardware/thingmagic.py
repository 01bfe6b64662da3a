"""A UHF module of ThingMagic (JADAK): `FF length command data CRC`; answers have a status of two bytes first.

Facts: the maker's Mercury API for C, whose names are used here, and SparkFun's library for the M6E Nano. Told to read
on, the module sends a record for each tag with the metadata that it was asked for, and a sign of life every second,
until it is told to stop or loses its power, whoever has the port open. A tag is found once.
"""

import random
from collections.abc import Mapping
from typing import ClassVar, Final

from simulators.hardware.checks import tag_crc
from simulators.hardware.device import Device, Frame, Thing

VERSION, BOOT_FIRMWARE, CURRENT_PROGRAM = 0x03, 0x04, 0x0C
READ_TAG_ID_MULTIPLE, MULTI_PROTOCOL_TAG_OP = 0x22, 0x2F
ANTENNA_PORT, TX_READ_POWER, TAG_PROTOCOL, REGION, READER_OPTIONAL_PARAMS = 0x91, 0x92, 0x93, 0x97, 0x9A
SUCCESS, WRONG_DATA, UNKNOWN_COMMAND, POWER_TOO_HIGH, INVALID_VALUE = 0, 0x0100, 0x0101, 0x0103, 0x0105
NO_TAGS_FOUND = 0x0400
"""Status: the search time is over; sent for each second of reading, and so a sign of life."""

_MODELS: Final[Mapping[str, tuple[int, int]]] = {
    # Hardware id, and the most power in 0.01 dBm.
    "m6e": (0x18, 3150),
    "m6e-nano": (0x30, 2700),
    "m7e": (0x38, 2700),
}
_GEN2: Final = 5
_EMBEDDED: Final = 0x04
"""Search flag: a command for each tag follows."""
_LONGEST: Final = 64
"""Data of a command: the start of reading with an embedded command has 28. One that announces more is noise."""
_FREQUENCY_KHZ: Final = 923_200


def crc(data: bytes) -> int:
    """The protocol's CRC: four bits at a time, the higher ones first; they enter at the low end."""
    value = 0xFFFF
    for byte in data:
        for nibble in (byte >> 4, byte & 0x0F):
            out = value >> 12
            value = (value << 4 & 0xFFFF) | nibble
            value ^= 0x1021 * out
    return value & 0xFFFF


def answer(command: int, status: int = SUCCESS, data: bytes = b"") -> bytes:
    """Any frame of the module."""
    body = bytes([len(data), command]) + status.to_bytes(2, "big") + data
    return b"\xff" + body + crc(body).to_bytes(2, "big")


class ThingMagic(Device):
    """The kind `thingmagic`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "model": f"{', '.join(_MODELS)} (usually m6e-nano)",
        "boot": "yes: after power-up it waits in its boot loader, as an M6E does (usually no)",
    }

    def __init__(self, rng: random.Random, *, model: str = "m6e-nano", boot: str = "no") -> None:
        super().__init__(rng)
        if model not in _MODELS:
            raise ValueError(f"model is one of {', '.join(_MODELS)}, not {model!r}")
        if boot not in ("yes", "no"):
            raise ValueError(f"boot is yes or no, not {boot!r}")
        self._hardware, self._power_most = _MODELS[model]
        self._waits_for_boot = boot == "yes"
        self._heard = b""
        self.antennas: tuple[int, ...] = (1,)
        self.power_cdbm, self.region = 500, 0
        """As last set by the host: 0.01 dBm; the maker's number of a region."""
        self._booted = not self._waits_for_boot
        self._protocol = 0
        self._search, self._metadata, self._tid_words = 0, 0, 0
        self._alive_s: float | None = None
        self._told_alive_s = 0.0

    # --- tags ------------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag enters the field; a module that reads finds it at once, if it stands before an antenna in use."""
        self.field.put(thing)
        return self._found(now_s)

    def due_s(self) -> float | None:
        """The next sign of life, while it reads."""
        return self._alive_s

    def tick(self, now_s: float) -> list[Frame]:
        """A second is over."""
        if self._alive_s is None or now_s < self._alive_s:
            return []
        self._alive_s, self._told_alive_s = now_s + 1.0, now_s
        return [Frame(answer(READ_TAG_ID_MULTIPLE, NO_TAGS_FOUND))]

    def _found(self, now_s: float) -> list[Frame]:
        if self._alive_s is None:
            return []
        there = self.field.take(len(self.field))
        here = [thing for thing in there if thing.antenna in (None, *self.antennas)]
        for thing in there:
            if thing not in here:
                self.field.put(thing)
        return [self._tag(thing, now_s) for thing in here]

    def _tag(self, thing: Thing, now_s: float) -> Frame:
        """Option, search and metadata flags as in the command, the number of tags, metadata, length in bits, PC, EPC,
        the tag's CRC.
        """
        antenna = (thing.antenna or self.antennas[0]) % 16
        signal = thing.rssi_dbm if thing.rssi_dbm is not None else -55
        tid = bytes.fromhex(thing.tid or "")
        read = (
            tid[: self._tid_words * 2] if len(tid) >= self._tid_words * 2 else b""
        )  # all that was asked for, or none
        fields = (
            (0x001, b"\x01"),  # sightings
            (0x002, signal.to_bytes(1, "big", signed=True)),
            (0x004, bytes([antenna << 4 | antenna])),  # sends, receives
            (0x008, _FREQUENCY_KHZ.to_bytes(3, "big")),
            (0x010, int((now_s - self._told_alive_s) * 1000).to_bytes(4, "big")),
            (0x020, self.rng.randrange(180).to_bytes(2, "big")),
            (0x040, bytes([_GEN2])),
            (0x080, (len(read) * 8).to_bytes(2, "big") + read),
            (0x100, b"\x0f"),  # GPIO
        )
        data = b"\x10" + self._search.to_bytes(2, "big") + self._metadata.to_bytes(2, "big") + b"\x01"
        data += b"".join(value for flag, value in fields if self._metadata & flag)
        epc, pc = thing.epc_bytes, thing.pc
        data += ((len(epc) + 4) * 8).to_bytes(2, "big")
        data += pc.to_bytes(2, "big") + epc + tag_crc(pc, epc).to_bytes(2, "big")
        return Frame(answer(READ_TAG_ID_MULTIPLE, SUCCESS, data), (thing,))

    def unplugged(self) -> None:
        """It reads no more; settings are those of the factory."""
        self._heard, self._alive_s = b"", None
        self._booted = not self._waits_for_boot
        self.antennas, self.power_cdbm, self.region, self._protocol = (1,), 500, 0, 0

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Answer each whole command; what is none is skipped byte by byte."""
        self._heard += data
        answers: list[Frame] = []
        while (start := self._heard.find(0xFF)) >= 0:
            self._heard = self._heard[start:]
            if len(self._heard) < 2:
                return answers
            size = self._heard[1] + 5
            if self._heard[1] <= _LONGEST and len(self._heard) < size:
                return answers
            whole = self._heard[:size]
            if self._heard[1] <= _LONGEST and crc(whole[1:-2]) == int.from_bytes(whole[-2:], "big"):
                self._heard = self._heard[size:]
                answers += self._answer(whole[2], whole[3:-2], now_s)
            else:
                self._heard = self._heard[1:]
        self._heard = b""
        return answers

    def _answer(self, command: int, data: bytes, now_s: float) -> list[Frame]:
        status, told = SUCCESS, b""
        match command, len(data):
            case (0x03, 0) | (0x04, 0):
                self._booted = self._booted or command == BOOT_FIRMWARE
                # Boot loader, hardware, date and version of the firmware, protocols (Gen2).
                told = bytes.fromhex("12120013") + bytes([self._hardware, 0, 0, 2])
                told += bytes.fromhex("20161214 01070001 00000010")
            case 0x0C, 0:
                told = b"\x12" if self._booted else b"\x11"
            case _ if not self._booted:
                status = UNKNOWN_COMMAND
            case 0x2F, _:
                return self._tag_op(data, now_s)
            case 0x93, 2:
                self._protocol = data[1]
            case (0x91, size) if size >= 3 and size % 2 and data[0] == 2:  # pairs: sends, receives
                self.antennas = tuple(data[1::2])
            case 0x92, 2:
                asked = int.from_bytes(data, "big")
                self.power_cdbm = min(asked, self._power_most)
                status = POWER_TOO_HIGH if asked > self._power_most else SUCCESS
            case 0x97, 1:
                self.region = data[0]
            case 0x9A, 3:
                pass
            case ((0x91 | 0x92 | 0x93 | 0x97 | 0x9A), _):
                status = WRONG_DATA
            case _:
                status = UNKNOWN_COMMAND
        return [Frame(answer(command, status, told))]

    def _tag_op(self, data: bytes, now_s: float) -> list[Frame]:
        """Time-out (2 bytes), then 01: begin, or 02: end. What to do follows: a command, two reserved bytes, the
        protocol, and the command with its data: option, search flags, time-out, metadata flags, perhaps a command for
        each tag.
        """
        if data == b"\x00\x00\x02":
            self._alive_s = None
            return [Frame(answer(MULTI_PROTOCOL_TAG_OP, SUCCESS, b"\x02"))]
        body = data[9:]
        begins = data[:7] == bytes([0, 0, 1, READ_TAG_ID_MULTIPLE, 0, 0, _GEN2])
        if not begins or len(body) < 7 or data[7:9] != bytes([len(body), READ_TAG_ID_MULTIPLE]):
            return [Frame(answer(MULTI_PROTOCOL_TAG_OP, WRONG_DATA))]
        if self._protocol != _GEN2 or body[0] != 0x10:
            return [Frame(answer(MULTI_PROTOCOL_TAG_OP, INVALID_VALUE))]
        self._search, self._metadata = int.from_bytes(body[1:3], "big"), int.from_bytes(body[5:7], "big")
        # One command, its length, read (28): time-out, option, bank 2, the place, how many words.
        embedded = body[7:]
        wants = self._search & _EMBEDDED and embedded[:7] == bytes([1, 9, 0x28, 0, 0, 0, 2])
        self._tid_words = embedded[-1] if wants else 0
        self._alive_s, self._told_alive_s = now_s + 1.0, now_s
        return [Frame(answer(MULTI_PROTOCOL_TAG_OP, SUCCESS, b"\x01")), *self._found(now_s)]
