"""A Zebra scanner that speaks SSI: it packs codes once it is told to, and repeats what nobody acknowledged.

Facts: Simple Serial Interface programmer's guide 72E-40451 (packets, handshake, three sendings, bare codes as the
default) and the DS9908 guide (parameters); rings of the RS51xx kind put a byte and a length of 16 bits before a code,
send long codes in numbered segments, and over Bluetooth LE a length before each packet. One packet is under way at a
time; the next one leaves when it was acknowledged, or given up.
"""

import random
from collections import deque
from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

PROFILES: Final = ("classic", "rsm", "ble")
SCANNER, FIRST_SEGMENT, HOST = 0x00, 0x02, 0x04
"""Sources; where a first segment has its own."""
AGAIN, CONTINUED, FOR_GOOD = 0x01, 0x02, 0x08
"""Bits of the status."""
SEGMENT, SEGMENT_ACK, ASK_REVISION, REVISION = 0x73, 0x74, 0xA3, 0xA4
PARAMETERS, ASK_PARAMETERS, DEFAULTS = 0xC6, 0xC7, 0xC8
ACK, NAK, CODE = 0xD0, 0xD1, 0xF3
BEEP, LED_ON, LED_OFF, ENABLE, DISABLE = 0xE6, 0xE7, 0xE8, 0xE9, 0xEA
RESEND, UNSUPPORTED, DENIED = 0x01, 0x02, 0x06
"""Reasons of a NAK."""
PACKETED, CODE_ID = 0xEE, 0x2D
"""Parameters."""

SENDINGS: Final = 3
MODEL: Final = b"PAACNS00-012-R01 DS9908 SIMULATED"
_ALLOWED: Final[Mapping[int, Collection[int]]] = {
    PACKETED: (0, 1),
    CODE_ID: (0, 1, 2),
    0xEB: range(8),
    0x9F: (0, 1),
}
_AT_POWER_UP: Final[Mapping[int, int]] = {PACKETED: 0, CODE_ID: 0, 0xEB: 0, 0x9F: 1}
_BEEPS_MOST: Final = 0x1A
# Commands that are acknowledged and change nothing here: flush, illumination, aim, decoding, sleep.
_OTHERS: Final = frozenset({0x10, 0xC0, 0xC1, 0xC4, 0xC5, 0xD2, 0xE4, 0xE5, 0xEB})
# AIM id → code type. A GS1 Data Matrix or QR code has the type of any other one.
_TYPES: Final[Mapping[str, int]] = {
    "]A0": 0x01, "]F0": 0x02, "]C0": 0x03, "]S0": 0x04, "]I0": 0x06, "]I1": 0x06, "]G0": 0x07, "]E0": 0x0B,
    "]E3": 0x4B, "]E4": 0x0A, "]H0": 0x0C, "]M0": 0x0E, "]C1": 0x0F, "]L2": 0x11, "]A4": 0x13, "]d1": 0x1B,
    "]d2": 0x1B, "]Q1": 0x1C, "]Q3": 0x1C, "]U0": 0x25, "]z0": 0x2D, "]z1": 0x2D, "]e0": 0x30,
}  # fmt: skip
_OTHER_TYPE: Final = 0x99
_DATA_MOST: Final = 0xFF - 4
_HEARD_MOST_BYTES: Final = 1024
_CHARACTER_S: Final = 0.2
"""A command whose rest does not come within this time is none."""
_KEPT: Final = 1000
"""How many beeps and lights are remembered."""


def checksum(data: bytes) -> int:
    """The two's complement of the sum of all bytes, in 16 bits."""
    total = 0
    for byte in data:
        total = (total + byte) & 0xFFFF
    return (0x10000 - total) & 0xFFFF


def packet(
    opcode: int, data: bytes = b"", *, source: int = SCANNER, status: int = 0, ble: bool = False
) -> bytes:
    """Any packet."""
    body = bytes([4 + len(data), opcode, source, status]) + data
    body += checksum(body).to_bytes(2, "big")
    return (len(body) + 2).to_bytes(2, "little") + body if ble else body


class ZebraSsi(Device):
    """The kind `zebra-ssi`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "profile": f"{', '.join(PROFILES)} (usually classic)",
        "timeout_ms": "how long it waits for an ACK before it repeats, 10 to 9900 (usually 2000)",
        "led": "yes, or no: it refuses to light (usually yes)",
        "aim": "yes, or no: it refuses to send AIM ids (usually yes)",
    }

    def __init__(
        self,
        rng: random.Random,
        *,
        profile: str = "classic",
        timeout_ms: str = "2000",
        led: str = "yes",
        aim: str = "yes",
    ) -> None:
        super().__init__(rng)
        if profile not in PROFILES:
            raise ValueError(f"profile is one of {', '.join(PROFILES)}, not {profile!r}")
        if not timeout_ms.isdecimal() or not 10 <= int(timeout_ms) <= 9900:
            raise ValueError(f"timeout_ms is a number from 10 to 9900, not {timeout_ms!r}")
        for name, value in (("led", led), ("aim", aim)):
            if value not in ("yes", "no"):
                raise ValueError(f"{name} is yes or no, not {value!r}")
        self._profile, self._ble = profile, profile == "ble"
        self._timeout_s = int(timeout_ms) / 1000
        self._has_led = led == "yes"
        self._refused = frozenset() if aim == "yes" else frozenset({CODE_ID})
        self.stored = dict(_AT_POWER_UP)
        """Parameters that survive a loss of power."""
        self.parameters = dict(_AT_POWER_UP)
        self.stored_times = 0
        """How often the host wrote to its memory, which wears out."""
        self.enabled = True
        self.lights = 0
        self.beeps: deque[int] = deque(maxlen=_KEPT)
        """What it beeped for the host."""
        self.lit: deque[int] = deque(maxlen=_KEPT)
        """What it lit for the host."""
        self.given_up = 0
        """How often nobody acknowledged."""
        self._forget()

    def _forget(self) -> None:
        self._heard, self._heard_s = b"", 0.0
        self._command = self._said = b""
        self._thing: Thing | None = None
        self._packets: list[tuple[int, int, int, bytes]] = []
        self._at = self._sent = 0
        self._due_s = 0.0

    # --- codes -----------------------------------------------------------------------------------------------

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """The trigger is pulled on a code. A bare code is nothing that a host of SSI learns anything from."""
        assert thing.code is not None
        if not self.enabled:
            self.field.dropped.append(thing)
            return []
        if not self.parameters[PACKETED]:
            self.field.dropped.append(thing)
            return [Frame(self._content(thing))]
        self.field.put(thing)
        return [] if self._thing is not None else self._begin(now_s)

    def due_s(self) -> float | None:
        """When it repeats what was not acknowledged."""
        return None if self._thing is None else self._due_s

    def tick(self, now_s: float) -> list[Frame]:
        """Nobody acknowledged in time."""
        return [] if self._thing is None or now_s < self._due_s else self._repeat(now_s)

    def holding(self) -> Collection[Thing]:
        """The code under way and those behind it."""
        return (*((self._thing,) if self._thing else ()), *self.field.things)

    def closed(self, now_s: float) -> None:
        """The line went down: a code under way begins anew with its first packet."""
        self._at = self._sent = 0

    def unplugged(self) -> None:
        """What was not delivered is gone, and so is every setting that was not stored."""
        self.field.dropped += self.field.take(len(self.field))
        self.parameters, self.enabled, self.lights = dict(self.stored), True, 0
        self._forget()

    def _content(self, thing: Thing) -> bytes:
        assert thing.code is not None
        said = (thing.aim or "]C0") if self.parameters[CODE_ID] == 1 else ""
        return (said + thing.code).encode()

    def _begin(self, now_s: float) -> list[Frame]:
        taken = self.field.take(1)
        if not taken:
            return []
        self._thing = taken[0]
        code_type = _TYPES.get(self._thing.aim or "]C0", _OTHER_TYPE)
        self._packets = self._packed(code_type, self._content(self._thing))
        self._at = self._sent = 0
        return self._send(now_s)

    def _packed(self, code_type: int, content: bytes) -> list[tuple[int, int, int, bytes]]:
        """Opcode, source, status and data of each packet."""
        if self._profile == "classic":
            pieces = [content[at : at + _DATA_MOST - 1] for at in range(0, len(content), _DATA_MOST - 1)] or [
                b""
            ]
            statuses = [CONTINUED] * (len(pieces) - 1) + [0]
            return [
                (CODE, SCANNER, status, bytes([code_type]) + piece)
                for piece, status in zip(pieces, statuses, strict=True)
            ]
        data = bytes([code_type, 0x01]) + len(content).to_bytes(2, "big") + content
        if len(data) <= _DATA_MOST:
            return [(CODE, SCANNER, 0, data)]
        data = bytes([CODE, 0, 0]) + (len(content) + 3).to_bytes(2, "big") + data
        return [
            (SEGMENT, SCANNER if at else FIRST_SEGMENT, 0, bytes([index]) + data[at : at + _DATA_MOST - 1])
            for index, at in enumerate(range(0, len(data), _DATA_MOST - 1))
        ]

    def _send(self, now_s: float) -> list[Frame]:
        assert self._thing is not None
        opcode, source, status, data = self._packets[self._at]
        if self._sent:
            status |= AGAIN
        self._sent += 1
        self._due_s = now_s + self._timeout_s
        whole = packet(opcode, data, source=source, status=status, ble=self._ble)
        return [Frame(whole, (self._thing,), self._at + 1, len(self._packets))]

    def _repeat(self, now_s: float) -> list[Frame]:
        if self._sent < SENDINGS:
            return self._send(now_s)
        self.given_up += 1
        return self._done(now_s)

    def _done(self, now_s: float) -> list[Frame]:
        self._thing = None
        return self._begin(now_s)

    def _acknowledged(self, now_s: float) -> list[Frame]:
        if self._thing is None:
            return []
        self._at, self._sent = self._at + 1, 0
        return self._send(now_s) if self._at < len(self._packets) else self._done(now_s)

    # --- commands --------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now_s: float) -> list[Frame]:
        """Take each whole packet of the host; what cannot begin one, such as a NUL that wakes it, is skipped."""
        if now_s - self._heard_s > _CHARACTER_S:
            self._heard = b""
        self._heard, self._heard_s = self._heard + data, now_s
        frames: list[Frame] = []
        before = 2 if self._ble else 0
        while len(self._heard) > before:
            length = self._heard[before]
            if length < 4 or (self._ble and int.from_bytes(self._heard[:2], "little") != length + 4):
                self._heard = self._heard[1:]
                continue
            if len(self._heard) < before + length + 2:
                break
            whole, self._heard = self._heard[before : before + length + 2], self._heard[before + length + 2 :]
            frames += self._heard_packet(whole, now_s)
        self._heard = self._heard[-_HEARD_MOST_BYTES:]
        return frames

    def _heard_packet(self, whole: bytes, now_s: float) -> list[Frame]:
        opcode, status, data = whole[1], whole[3], whole[4:-2]
        if checksum(whole[:-2]) != int.from_bytes(whole[-2:], "big"):
            return self._say(NAK, bytes([RESEND]))
        if whole[2] != HOST:
            return []
        if opcode in (ACK, SEGMENT_ACK):
            return self._acknowledged(now_s)
        if opcode == NAK:
            if self._thing is None:
                return []
            return self._repeat(now_s) if data == bytes([RESEND]) else self._done(now_s)
        command = bytes([opcode]) + data
        if not (status & AGAIN and command == self._command):
            self._command, self._said = command, self._answer(opcode, status, data)
        return [Frame(self._said)]

    def _say(self, opcode: int, data: bytes = b"") -> list[Frame]:
        return [Frame(packet(opcode, data, ble=self._ble))]

    def _answer(self, opcode: int, status: int, data: bytes) -> bytes:
        """Do it; the answer. A command that is repeated is answered again and not done again."""
        match opcode:
            case 0xA3:  # ASK_REVISION
                return packet(REVISION, MODEL, ble=self._ble)
            case 0xC7:  # ASK_PARAMETERS
                asked = [each for each in data if each in self.parameters]
                values = b"".join(bytes([each, self.parameters[each]]) for each in asked)
                return packet(PARAMETERS, b"\xff" + values, ble=self._ble)
            case 0xC6:
                reason = self._set(data[1:], for_good=bool(status & FOR_GOOD))
            case 0xC8:
                self.parameters, reason = dict(_AT_POWER_UP), None
            case 0xE6:
                reason = self._beep(data)
            case 0xE7 | 0xE8:
                reason = self._light(opcode, data)
            case 0xE9 | 0xEA:
                self.enabled, reason = opcode == ENABLE, None
            case _:
                reason = None if opcode in _OTHERS else UNSUPPORTED
        if reason is None:
            return packet(ACK, status=0x80, ble=self._ble)
        return packet(NAK, bytes([reason]), ble=self._ble)

    def _set(self, data: bytes, *, for_good: bool) -> int | None:
        pairs = list(zip(data[::2], data[1::2], strict=False))
        for parameter, value in pairs:
            if parameter in self._refused or value not in _ALLOWED.get(parameter, ()):
                return DENIED
        self.parameters.update(pairs)
        if for_good:
            self.stored.update(pairs)
            self.stored_times += 1
        return None

    def _beep(self, data: bytes) -> int | None:
        if len(data) != 1 or data[0] > _BEEPS_MOST:
            return DENIED
        self.beeps.append(data[0])
        return None

    def _light(self, opcode: int, data: bytes) -> int | None:
        if not self._has_led:
            return UNSUPPORTED
        if len(data) != 1:
            return DENIED
        if opcode == LED_ON:
            self.lights |= data[0]
            self.lit.append(data[0])
        else:
            self.lights &= ~data[0]
        return None
