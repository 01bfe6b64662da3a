"""A UHF reader of the A0 family (Impinj R2000 or E710 boards): `A0 length address command data sum`.

Facts: "UHF RFID reader serial interface protocol" V2.2, section by section below. It answers who says its address or
FF, reads for one round when it is told to, tells each tag in a frame, and then that the round is over. While a round
is under way it takes no other; a tag is found once, by the antenna that it stands before.
"""

import random
from collections.abc import Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

RESET, FIRMWARE, ANTENNA, POWER, BEEPER = 0x70, 0x72, 0x74, 0x76, 0x7A
REALTIME, FAST, SESSION = 0x89, 0x8A, 0x8B
DONE, NO_ANTENNA, WRONG_PARAMETER = 0x10, 0x22, 0x41
"""Codes of an answer."""

_VERSION: Final = bytes([1, 9])
_LONGEST: Final = 12
"""Data of a command: a fast round has ten bytes. One that announces more is noise."""
_TAGS_A_ROUND: Final = 16
_ROUND_S: Final = 0.03
"""One round on one antenna."""
_FREQUENCY: Final = 0x01
"""865.5 MHz."""


def frame(address: int, command: int, data: bytes) -> bytes:
    """Any frame: the last byte makes the sum of all zero."""
    whole = bytes([0xA0, len(data) + 3, address, command]) + data
    return whole + bytes([(0x100 - sum(whole) % 0x100) % 0x100])


class A0(Device):
    """The kind `a0`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "antennas": "those that are connected, such as 1,3 (usually 1,2,3,4)",
        "address": "0 to 254 (usually 1)",
        "phase": "yes: two more bytes behind each signal (usually no)",
    }

    def __init__(
        self, rng: random.Random, *, antennas: str = "1,2,3,4", address: str = "1", phase: str = "no"
    ) -> None:
        super().__init__(rng)
        if not all(each in tuple("12345678") for each in antennas.split(",")):
            raise ValueError(f"antennas are numbers from 1 to 8, such as 1,3, not {antennas!r}")
        if not (address.isascii() and address.isdigit() and int(address) <= 254):
            raise ValueError(f"address is a number from 0 to 254, not {address!r}")
        if phase not in ("yes", "no"):
            raise ValueError(f"phase is yes or no, not {phase!r}")
        self._connected = {int(each) for each in antennas.split(",")}
        self._address, self._phase = int(address), phase == "yes"
        self._heard = b""
        self.antenna, self.power_dbm, self.beeper = 1, 30, 0
        """As last set by the host; the beeper: 0 never, 1 after each round, 2 for each tag."""
        self._command = 0
        self._to_go: list[int] = []
        self._next_s: float | None = None
        self._began_s, self._told = 0.0, 0

    # --- tags ------------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag enters the field; if a round is under way on its antenna, it is found at once."""
        self.field.put(thing)
        return self._found() if self._next_s is not None else []

    def due_s(self) -> float | None:
        """The end of the round on the present antenna."""
        return self._next_s

    def tick(self, now_s: float) -> list[Frame]:
        """The round is over on this antenna: on to the next, or tell that all is over."""
        if self._next_s is None or now_s < self._next_s:
            return []
        self._to_go.pop(0)
        if self._to_go:
            self._next_s = now_s + _ROUND_S
            return self._found()
        self._next_s = None
        if self._command == FAST:  # 2.2.9: sum (3 bytes), duration in ms (4)
            took_ms = int((now_s - self._began_s) * 1000)
            return [self._says(FAST, self._told.to_bytes(3, "big") + took_ms.to_bytes(4, "big"))]
        rate = min(0xFFFF, int(self._told / _ROUND_S))  # 2.2.8: antenna, tags a second (2), sum (4)
        end = bytes([self.antenna - 1]) + rate.to_bytes(2, "big") + self._told.to_bytes(4, "big")
        return [self._says(self._command, end)]

    def _found(self) -> list[Frame]:
        there = self.field.take(len(self.field))
        antenna = self._to_go[0]
        here = [thing for thing in there if (thing.antenna or min(self._connected)) == antenna][
            :_TAGS_A_ROUND
        ]
        for thing in there:
            if thing not in here:
                self.field.put(thing)
        self._told += len(here)
        return [self._tag(thing, antenna) for thing in here]

    def _tag(self, thing: Thing, antenna: int) -> Frame:
        """2.2.8: frequency and antenna, PC, EPC, signal: 129 more than dBm. Of eight antennas, the upper half is told
        by the upper bit of the signal.
        """
        signal = max(0, min(0x7F, (thing.rssi_dbm if thing.rssi_dbm is not None else -55) + 129))
        place = _FREQUENCY << 2 | (antenna - 1) % 4
        data = bytes([place]) + thing.pc.to_bytes(2, "big") + thing.epc_bytes
        data += bytes([signal | (0x80 if antenna > 4 else 0)]) + (b"\x01\x02" if self._phase else b"")
        return Frame(frame(self._address, self._command, data), (thing,))

    def unplugged(self) -> None:
        """The round ends; settings are those of the factory."""
        self._heard, self._next_s, self._to_go = b"", None, []
        self.antenna, self.power_dbm, self.beeper = 1, 30, 0

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Answer each whole command; what is none is skipped byte by byte."""
        self._heard += data
        answers: list[Frame] = []
        while (start := self._heard.find(0xA0)) >= 0:
            self._heard = self._heard[start:]
            if len(self._heard) < 2:
                return answers
            length = self._heard[1]
            if 3 <= length <= _LONGEST + 3 and len(self._heard) < length + 2:
                return answers
            whole = self._heard[: length + 2]
            if 3 <= length <= _LONGEST + 3 and sum(whole) % 0x100 == 0:
                self._heard = self._heard[length + 2 :]
                if whole[2] in (0xFF, self._address):
                    answers += self._answer(whole[3], whole[4:-1], now_s)
            else:
                self._heard = self._heard[1:]
        self._heard = b""
        return answers

    def _answer(self, command: int, data: bytes, now_s: float) -> list[Frame]:
        code = DONE
        match command, len(data):
            case 0x70, 0:  # reset: no answer
                self.unplugged()
                return []
            case 0x72, 0:
                return [self._says(FIRMWARE, _VERSION)]
            case (0x74, 1) if data[0] < 8:
                self.antenna = data[0] + 1
            case (0x76, 1 | 4) if max(data) <= 33:
                self.power_dbm = data[0]
            case (0x7A, 1) if data[0] <= 2:
                self.beeper = data[0]
            # How many rounds, here always one; behind session and target, where they are said.
            case (0x89, 1) | (0x8B, 3):
                return self._round(command, [self.antenna], now_s)
            case 0x8A, 10:  # four times antenna and how long; the pause between them; how often
                return self._round(command, [antenna + 1 for antenna in data[0:8:2] if antenna < 4], now_s)
            case _:
                code = WRONG_PARAMETER
        return [self._says(command, bytes([code]))]

    def _round(self, command: int, antennas: list[int], now_s: float) -> list[Frame]:
        if self._next_s is not None:
            return []  # busy
        missing = [antenna for antenna in antennas if antenna not in self._connected]
        self._command, self._told, self._began_s = command, 0, now_s
        self._to_go = [antenna for antenna in antennas if antenna in self._connected]
        if command == FAST:
            told = [self._says(FAST, bytes([antenna - 1, NO_ANTENNA])) for antenna in missing]
        else:
            told = [self._says(command, bytes([NO_ANTENNA])) for _ in missing]
        if not self._to_go:
            return told
        self._next_s = now_s + _ROUND_S
        return told + self._found()

    def _says(self, command: int, data: bytes) -> Frame:
        return Frame(frame(self._address, command, data))
