"""A UHF module M100, QM100, YRM100 or R200: `BB type command length parameters sum 7E`, or with AA and DD.

Facts: the M100 user protocol manual, section by section below; firmware 2.3.3 of the R200 uses AA and DD. Its
inventory runs for a number of rounds that the host asked for and then falls silent; a tag is found once.
"""

import random
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from simulators.hardware.checks import tag_crc
from simulators.hardware.device import Device, Frame, Thing

FRAMINGS: Final[Mapping[str, tuple[int, int]]] = {"bb": (0xBB, 0x7E), "aa": (0xAA, 0xDD)}
"""Header and end; everything between is the same."""

COMMAND, RESPONSE, NOTIFICATION = 0x00, 0x01, 0x02
VERSION, REGION, SINGLE, MULTIPLE, STOP = 0x03, 0x07, 0x22, 0x27, 0x28
SET_POWER, GET_POWER, ERROR = 0xB6, 0xB7, 0xFF
NO_TAG, UNKNOWN_COMMAND = 0x15, 0x17
"""Error codes."""
_DONE: Final = b"\x00"

_INFO: Final = {0: b"M100 V1.00", 1: b"V2.3.5", 2: b"MagicRF"}
"""Parameter of the version command: hardware, software, maker."""
_PARAMETERS_MOST: Final = 64
"""A command that announces more is noise; the longest of those below has three."""
_STALL_S: Final = 0.1
"""A command that stops in its middle for so long is given up."""
_TAGS_A_ROUND: Final = 16
"""Q = 4: so many slots."""
_ROUND_S: Final = 0.05
"""One round with an empty field: as often the module says that there is no tag."""


def frame(kind: int, command: int, parameters: bytes, framing: str = "bb") -> bytes:
    """Any frame; the sum is the low byte over everything from the type on."""
    header, end = FRAMINGS[framing]
    body = bytes([kind, command]) + len(parameters).to_bytes(2, "big") + parameters
    return bytes([header]) + body + bytes([sum(body) & 0xFF, end])


class M100(Device):
    """The kind `m100`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "framing": "bb (M100, YRM100) or aa (R200 with firmware 2.3.3) (usually bb)"
    }

    def __init__(self, rng: random.Random, *, framing: str = "bb") -> None:
        super().__init__(rng)
        if framing not in FRAMINGS:
            raise ValueError(f"framing is one of {', '.join(FRAMINGS)}, not {framing!r}")
        self._framing = framing
        self._heard, self._heard_s = b"", 0.0
        self._rounds_left = 0
        self._next_round_s = 0.0
        self.power_cdbm, self.region = 2000, 1
        """As last set by the host: 0.01 dBm; 1 China 900, 2 US, 3 EU, 4 China 800, 6 Korea."""

    # --- tags ------------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A tag enters the field; a running inventory finds it at once."""
        self.field.put(thing)
        return self._found() if self._rounds_left else []

    def due_s(self) -> float | None:
        """The next round, while an inventory runs."""
        return self._next_round_s if self._rounds_left else None

    def tick(self, now_s: float) -> list[Frame]:
        """One round."""
        if not self._rounds_left or now_s < self._next_round_s:
            return []
        self._rounds_left -= 1
        self._next_round_s = now_s + _ROUND_S
        return self._found() or [self._error(NO_TAG)]

    def _found(self) -> list[Frame]:
        return [self._tag(thing) for thing in self.field.take(_TAGS_A_ROUND)]

    def _tag(self, thing: Thing) -> Frame:
        """RSSI as a signed byte of dBm, PC, EPC, the tag's own CRC (manual 2.2)."""
        rssi_dbm = thing.rssi_dbm if thing.rssi_dbm is not None else -55
        epc, pc = thing.epc_bytes, thing.pc
        parameters = rssi_dbm.to_bytes(1, "big", signed=True) + pc.to_bytes(2, "big")
        parameters += epc + tag_crc(pc, epc).to_bytes(2, "big")
        return Frame(frame(NOTIFICATION, SINGLE, parameters, self._framing), (thing,))

    def unplugged(self) -> None:
        """The inventory ends; settings are those of the factory."""
        self._heard, self._rounds_left = b"", 0
        self.power_cdbm, self.region = 2000, 1

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Answer each whole command; what is none is skipped byte by byte."""
        self._heard = data if now_s > self._heard_s + _STALL_S else self._heard + data
        self._heard_s = now_s
        answers: list[Frame] = []
        header, end = FRAMINGS[self._framing]
        while (start := self._heard.find(header)) >= 0:
            self._heard = self._heard[start:]
            if len(self._heard) < 5:
                return answers
            length = int.from_bytes(self._heard[3:5], "big")
            possible = self._heard[1] == COMMAND and length <= _PARAMETERS_MOST
            if possible and len(self._heard) < length + 7:
                return answers
            whole, rest = self._heard[: length + 7], self._heard[length + 7 :]
            body = whole[1:-2]
            if possible and whole[-2:] == bytes([sum(body) & 0xFF, end]):
                answers += self._answer(body[1], body[4:], now_s)
                self._heard = rest
            else:
                self._heard = self._heard[1:]
        self._heard = b""
        return answers

    def _answer(self, command: int, parameters: bytes, now_s: float) -> list[Frame]:
        length, answer = _COMMANDS.get(command, (0, None))
        if answer is None or len(parameters) != length:
            return [self._error(UNKNOWN_COMMAND)]
        return answer(self, parameters, now_s)

    def _version(self, parameters: bytes, now_s: float) -> list[Frame]:
        if parameters[0] not in _INFO:
            return [self._error(UNKNOWN_COMMAND)]
        return [self._response(VERSION, parameters + _INFO[parameters[0]])]

    def _set_region(self, parameters: bytes, now_s: float) -> list[Frame]:
        self.region = parameters[0]
        return [self._response(REGION, _DONE)]

    def _set_power(self, parameters: bytes, now_s: float) -> list[Frame]:
        self.power_cdbm = int.from_bytes(parameters, "big")
        return [self._response(SET_POWER, _DONE)]

    def _get_power(self, parameters: bytes, now_s: float) -> list[Frame]:
        return [self._response(GET_POWER, self.power_cdbm.to_bytes(2, "big"))]

    def _single(self, parameters: bytes, now_s: float) -> list[Frame]:
        return self._found() or [self._error(NO_TAG)]

    def _multiple(self, parameters: bytes, now_s: float) -> list[Frame]:
        """A reserved byte (22) and the number of rounds; there is no answer but the tags."""
        self._rounds_left = int.from_bytes(parameters[1:], "big")
        self._next_round_s = now_s + _ROUND_S
        return self._found() if self._rounds_left else []

    def _stop(self, parameters: bytes, now_s: float) -> list[Frame]:
        self._rounds_left = 0
        return [self._response(STOP, _DONE)]

    def _response(self, command: int, parameters: bytes) -> Frame:
        return Frame(frame(RESPONSE, command, parameters, self._framing))

    def _error(self, code: int) -> Frame:
        return self._response(ERROR, bytes([code]))


# Command → how many parameters it has, and who answers.
_COMMANDS: Final[Mapping[int, tuple[int, Callable[[M100, bytes, float], list[Frame]]]]] = {
    VERSION: (1, M100._version),
    REGION: (1, M100._set_region),
    SINGLE: (0, M100._single),
    MULTIPLE: (3, M100._multiple),
    STOP: (0, M100._stop),
    SET_POWER: (2, M100._set_power),
    GET_POWER: (0, M100._get_power),
}
