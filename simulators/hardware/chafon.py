"""A Chafon UHF reader: `length address command data crc`, and no start byte.

Facts: "UHFReader18 user's manual" V2.0 ("18" below) and, for the 288, "UHF RFID reader user manual" V1.14 of the UR
series ("UR"). A round lasts a moment, in which the reader hears nothing. The 288 tells a tag when it finds it, and
then that the round is over; the 18 tells all at the end. What reads by itself does so again after a power cut.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from simulators.hardware.checks import crc16
from simulators.hardware.device import Device, Frame, Thing

INVENTORY, INFO, SCAN_TIME, POWER = 0x01, 0x21, 0x25, 0x2F
BEEP, WORK_MODE, REAL_TIME, PUSHED = 0x33, 0x35, 0x76, 0xEE
BROADCAST: Final = 0xFF

DONE, OVER, MORE, HEARTBEAT = 0x00, 0x01, 0x03, 0x28
NO_ANTENNA, NO_TAG, WRONG_LENGTH, UNKNOWN_COMMAND, WRONG_PARAMETER = 0xF8, 0xFB, 0xFD, 0xFE, 0xFF
"""Statuses."""

GAP_S: Final = 0.015
"""A longer pause inside a command ends it unheard (18, section 2)."""
_LENGTH_LEAST, _LENGTH_MOST = 4, 0x60
"""Of a command (18, section 3.1)."""
_ENTRIES_MOST_BYTES: Final = 248
"""Of an answer with tags: the length is one byte, and seven are taken."""
_ROUND_S: Final = 0.05
"""Real ones last longer: a few tags take some 100 ms, an empty field up to the scan time."""
_HEARTBEAT_S: Final = 30.0
"""In front of an empty field, counted from the last tag (UR, 8.4.25: in steps of 30 s)."""
_RSSI: Final = 0x48
"""What the reader calls a good signal; the unit is its secret."""


@dataclass(frozen=True, slots=True)
class _Model:
    info: str
    """Firmware, type, protocols, upper and lower frequency; power and scan time follow (18 and UR, 8.4.1)."""
    info_end: str


_MODELS: Final = {
    # 2.36, UHFReader18, Gen2, 902.75 to 927.25 MHz.
    "18": _Model("0224 09 02 31 80", ""),
    # 0.22, UHFReader288M, 865.1 to 867.9 MHz; antenna 1, three bytes that nobody explains.
    "288": _Model("0016 0c 03 4e 00", "01000000"),
}


def frame(address: int, command: int, rest: bytes) -> bytes:
    """A command (`rest`: its data) or an answer (`rest`: its status and data)."""
    body = bytes([len(rest) + 4, address, command]) + rest
    return body + crc16(body, polynomial=0x8408, reflected=True).to_bytes(2, "little")


class Chafon(Device):
    """The kind `chafon`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "model": "18 or 288 (usually 288)",
        "antennas": "those that are connected, such as 1,3 (usually 1,2,3,4; an 18 has one)",
        "address": "0 to 254 (usually 0)",
    }

    def __init__(
        self, rng: random.Random, *, model: str = "288", antennas: str = "1,2,3,4", address: str = "0"
    ) -> None:
        super().__init__(rng)
        if model not in _MODELS:
            raise ValueError(f"model is 18 or 288, not {model!r}")
        if not all(each in tuple("12345678") for each in antennas.split(",")):
            raise ValueError(f"antennas are numbers from 1 to 8, such as 1,3, not {antennas!r}")
        if not (address.isascii() and address.isdigit() and int(address) < BROADCAST):
            raise ValueError(f"address is a number from 0 to 254, not {address!r}")
        self._model, self._address = model, int(address)
        self._antennas = sorted({int(each) for each in antennas.split(",")})
        self._heard, self._heard_s = b"", 0.0
        self._round_ends_s: float | None = None
        self._antenna = self._antennas[0]
        self._with_tid = False
        self._heartbeat_s = 0.0
        self._heartbeats = self._told = 0
        self.pushes = False
        """Reads by itself; survives a power cut."""
        self.power_dbm = self.saved_power_dbm = 30
        self.scan_100ms = 10
        self.beeps: list[tuple[int, int, int]] = []
        """What buzzer and lamp were told: on and off in 50 ms, how often; the last 100."""
        self.missed = 0
        """Commands, or pieces of them, that came while it was busy."""

    # --- tags ------------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag enters the field; found at once by a 288's running round, and by what reads by itself."""
        self.field.put(thing)
        return self._find(now_s)

    def due_s(self) -> float | None:
        """The end of the round, or the next heartbeat."""
        if self._round_ends_s is not None:
            return self._round_ends_s
        return self._heartbeat_s if self.pushes and self._model == "288" else None

    def tick(self, now_s: float) -> list[Frame]:
        """The round is over, or nothing was read for long."""
        due_s = self.due_s()
        if due_s is None or now_s < due_s:
            return []
        if self._round_ends_s is None:
            return [self._heartbeat(now_s)]
        self._round_ends_s = None
        return (
            self._all_of_18()
            if self._model == "18"
            else [self._answer(INVENTORY, OVER, self._where() + b"\0")]
        )

    def unplugged(self) -> None:
        """The round is lost; modes and what was saved stay."""
        self._heard, self._round_ends_s, self.power_dbm = b"", None, self.saved_power_dbm

    def _find(self, now_s: float) -> list[Frame]:
        if self.pushes:
            self._heartbeat_s = now_s + _HEARTBEAT_S
            return [self._push(thing) for thing in self.field.take(len(self.field))]
        if self._round_ends_s is None or self._model == "18":
            return []
        return self._frames_of_288(self._take_at_antenna())

    def _take_at_antenna(self) -> list[Thing]:
        """What is in front of the antenna of this round; the rest stays."""
        there = self.field.take(len(self.field))
        for thing in there:
            if self._of(thing) != self._antenna:
                self.field.put(thing)
        return [thing for thing in there if self._of(thing) == self._antenna]

    def _of(self, thing: Thing) -> int:
        return thing.antenna or self._antennas[0]

    def _where(self) -> bytes:
        return bytes([1 << self._antenna - 1])

    def _entry(self, thing: Thing) -> bytes:
        """Length, EPC, TID if asked for (bit 7 of the length says so), signal strength (UR, 8.2.1)."""
        rssi = _RSSI if thing.rssi_dbm is None else max(0, min(255, thing.rssi_dbm + 130))
        data, flag = thing.epc_bytes, 0
        if self._with_tid and thing.tid is not None:
            data, flag = data + bytes.fromhex(thing.tid)[:12].ljust(12, b"\0"), 0x80
        return bytes([len(data) | flag]) + data + bytes([rssi])

    def _frames_of_288(self, things: list[Thing]) -> list[Frame]:
        packed = _packed([(self._entry(thing), thing) for thing in things])
        return [self._answer(INVENTORY, MORE, self._where() + data, told) for data, told in packed]

    def _all_of_18(self) -> list[Frame]:
        """Number of tags, then length and EPC of each; the last frame ends the round (18, 8.2.1)."""
        things = self.field.take(len(self.field))
        packed = _packed([(bytes([len(thing.epc_bytes)]) + thing.epc_bytes, thing) for thing in things])
        if not packed:
            return [self._answer(INVENTORY, NO_TAG)]
        statuses = [MORE] * (len(packed) - 1) + [OVER]
        return [
            self._answer(INVENTORY, status, data, told)
            for status, (data, told) in zip(statuses, packed, strict=True)
        ]

    def _push(self, thing: Thing) -> Frame:
        """An 18: the EPC and nothing else (8.4.9). A 288: antenna, and what a round would tell (UR, 8.4.23)."""
        self._told += 1
        if self._model == "18":
            return self._answer(PUSHED, DONE, thing.epc_bytes, (thing,))
        self._antenna, self._with_tid = self._of(thing), False
        return self._answer(PUSHED, DONE, self._where() + self._entry(thing), (thing,))

    def _heartbeat(self, now_s: float) -> Frame:
        self._heartbeat_s = now_s + _HEARTBEAT_S
        self._heartbeats += 1
        states = bytes(antenna in self._antennas for antenna in range(1, 5))
        return self._answer(
            PUSHED,
            HEARTBEAT,
            self._heartbeats.to_bytes(4, "big") + states + self._told.to_bytes(4, "big"),
        )

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Answer each whole command, unless a round is on: then all is lost."""
        if self._heard and now_s - self._heard_s > GAP_S:
            self._heard = b""
        self._heard, self._heard_s = self._heard + data, now_s
        answers: list[Frame] = []
        while self._heard:
            if self._round_ends_s is not None:
                self.missed += 1
                self._heard = b""
                break
            length = self._heard[0]
            if not _LENGTH_LEAST <= length <= _LENGTH_MOST:
                self._heard = b""  # out of step; the next pause brings it back
            if len(self._heard) <= length:
                break
            whole, self._heard = self._heard[: length + 1], self._heard[length + 1 :]
            answers += self._obey(whole, now_s)
        return answers

    def _obey(self, whole: bytes, now_s: float) -> list[Frame]:
        if whole[1] not in (self._address, BROADCAST):
            return []
        command, data = whole[2], whole[3:-2]
        if frame(whole[1], command, data) != whole:
            return [self._answer(0, UNKNOWN_COMMAND)]
        if self.pushes and command not in _WHILE_IT_PUSHES[self._model]:
            return []
        obey = _COMMANDS[self._model].get(command)
        return [self._answer(0, UNKNOWN_COMMAND)] if obey is None else obey(self, data, now_s)

    def _info(self, data: bytes, now_s: float) -> list[Frame]:
        model = _MODELS[self._model]
        settings = bytes([self.power_dbm, self.scan_100ms])
        return [
            self._answer(INFO, DONE, bytes.fromhex(model.info) + settings + bytes.fromhex(model.info_end))
        ]

    def _set_scan_time(self, data: bytes, now_s: float) -> list[Frame]:
        if len(data) != 1:
            return [self._answer(SCAN_TIME, WRONG_LENGTH)]
        self.scan_100ms = max(data[0], 3)
        return [self._answer(SCAN_TIME, DONE)]

    def _set_power(self, data: bytes, now_s: float) -> list[Frame]:
        """Bit 7, which only a 288 knows: do not save it."""
        if len(data) != 1:
            return [self._answer(POWER, WRONG_LENGTH)]
        power_dbm = data[0] & 0x7F if self._model == "288" else data[0]
        if power_dbm > 30:
            return [self._answer(POWER, WRONG_PARAMETER)]
        self.power_dbm = power_dbm
        if power_dbm == data[0]:
            self.saved_power_dbm = power_dbm
        return [self._answer(POWER, DONE)]

    def _beep(self, data: bytes, now_s: float) -> list[Frame]:
        """18, 8.4.7."""
        if len(data) != 3:
            return [self._answer(BEEP, WRONG_LENGTH)]
        self.beeps = [*self.beeps[-99:], (data[0], data[1], data[2])]
        return [self._answer(BEEP, DONE)]

    def _work_mode(self, data: bytes, now_s: float) -> list[Frame]:
        """Of an 18: the two lowest bits, 00 answers, 01 reads by itself (8.4.9)."""
        if len(data) != 6:
            return [self._answer(WORK_MODE, WRONG_LENGTH)]
        self.pushes = data[0] & 3 == 1
        return [self._answer(WORK_MODE, DONE), *self._find(now_s)]

    def _real_time(self, data: bytes, now_s: float) -> list[Frame]:
        """Of a 288: 0 answers, 1 reads by itself, 2 reads when an input says so (UR, 8.4.23)."""
        if len(data) != 1:
            return [self._answer(REAL_TIME, WRONG_LENGTH)]
        if data[0] > 2:
            return [self._answer(REAL_TIME, WRONG_PARAMETER)]
        self.pushes = data[0] == 1
        return [self._answer(REAL_TIME, DONE), *self._find(now_s)]

    def _round_of_18(self, data: bytes, now_s: float) -> list[Frame]:
        """Without data: EPCs. With two bytes, TIDs in their place: not built."""
        if data:
            return [self._answer(INVENTORY, WRONG_LENGTH)]
        self._round_ends_s = now_s + _ROUND_S
        return []

    def _round_of_288(self, data: bytes, now_s: float) -> list[Frame]:
        """Q and flags, session, mask (memory, address, length in bits, bits), target, antenna, time (UR, 8.2.1)."""
        mask_bytes = (data[5] + 7) // 8 if len(data) > 5 else 0
        if len(data) != 9 + mask_bytes:
            return [self._answer(INVENTORY, WRONG_LENGTH)]
        q, session, antenna = data[0] & 0x1F, data[1], data[-2]
        if q > 15 or (session > 3 and session != 0xFF) or not 0x80 <= antenna <= 0x87:
            return [self._answer(INVENTORY, WRONG_PARAMETER)]
        self._antenna, self._with_tid = antenna - 0x7F, bool(data[0] & 0x20)
        if self._antenna not in self._antennas:
            return [self._answer(INVENTORY, NO_ANTENNA, self._where() + b"\0")]
        self._round_ends_s = now_s + _ROUND_S
        return self._find(now_s)

    def _answer(self, command: int, status: int, data: bytes = b"", things: tuple[Thing, ...] = ()) -> Frame:
        return Frame(frame(self._address, command, bytes([status]) + data), things)


def _packed(entries: list[tuple[bytes, Thing]]) -> list[tuple[bytes, tuple[Thing, ...]]]:
    """As many entries as fit into each frame, their number in front."""
    frames: list[list[tuple[bytes, Thing]]] = []
    room_bytes = 0
    for entry in entries:
        if room_bytes < len(entry[0]):
            frames.append([])
            room_bytes = _ENTRIES_MOST_BYTES
        frames[-1].append(entry)
        room_bytes -= len(entry[0])
    return [
        (bytes([len(each)]) + b"".join(data for data, _ in each), tuple(thing for _, thing in each))
        for each in frames
    ]


_Obey = Callable[[Chafon, bytes, float], list[Frame]]
_BOTH: Final[Mapping[int, _Obey]] = {
    INFO: Chafon._info,
    SCAN_TIME: Chafon._set_scan_time,
    POWER: Chafon._set_power,
    BEEP: Chafon._beep,
}
_COMMANDS: Final[Mapping[str, Mapping[int, _Obey]]] = {
    "18": {**_BOTH, INVENTORY: Chafon._round_of_18, WORK_MODE: Chafon._work_mode},
    "288": {**_BOTH, INVENTORY: Chafon._round_of_288, REAL_TIME: Chafon._real_time},
}
# An 18 that reads by itself obeys what is about the reader (8.4.9); a 288 answers two questions.
_WHILE_IT_PUSHES: Final = {
    "18": (INFO, SCAN_TIME, POWER, BEEP, WORK_MODE),
    "288": (INFO, REAL_TIME),
}
