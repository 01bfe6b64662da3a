"""Frames around what a fuzzer makes, so that it gets behind lengths and checksums, which nobody guesses.

The one idea: a body is what a frame says, without header, length and checksum. The simulated devices, which know
nothing of the decoders, make the frame.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simulators.hardware import a0, chafon, llrp, m100, rdm6300, thingmagic, zebra_ssi


@dataclass(frozen=True)
class Frames:
    """How bodies become frames, and frames bodies."""

    least_bytes: int
    """Of a body; what is missing is zero."""
    most_bytes: int
    """What a length can say; the rest is left out."""
    of: Callable[[bytes], bytes]
    body: Callable[[bytes], bytes]

    def around(self, data: bytes) -> bytes:
        """A valid frame that says this."""
        return self.of(data[: self.most_bytes].ljust(self.least_bytes, b"\0"))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


FRAMES: Final[Mapping[str, Frames]] = {
    # Type, command, parameters.
    "m100": Frames(
        2, 258, lambda body: m100.frame(body[0], body[1], body[2:]), lambda frame: frame[1:3] + frame[5:-2]
    ),
    # Address, command, status, data.
    "chafon": Frames(
        3, 253, lambda body: chafon.frame(body[0], body[1], body[2:]), lambda frame: frame[1:-2]
    ),
    # Address, command, data.
    "a0": Frames(2, 254, lambda body: a0.frame(body[0], body[1], body[2:]), lambda frame: frame[2:-1]),
    # Command, status, data.
    "thingmagic": Frames(
        3,
        258,
        lambda body: thingmagic.answer(body[0], _number(body[1:3]), body[3:]),
        lambda frame: frame[2:-2],
    ),
    # Opcode, source, status, data.
    "zebra-ssi": Frames(
        3,
        254,
        lambda body: zebra_ssi.packet(body[0], body[3:], source=body[1], status=body[2]),
        lambda frame: frame[1:-2],
    ),
    # Version and number.
    "rdm6300": Frames(
        5, 5, lambda body: rdm6300.frame(body.hex()), lambda frame: bytes.fromhex(frame[1:11].decode())
    ),
    # Version and type, id, parameters.
    "llrp": Frames(
        6,
        20_000,
        lambda body: llrp.message(_number(body[:2]), _number(body[2:6]), body[6:], version=0),
        lambda frame: frame[:2] + frame[6:],
    ),
}
