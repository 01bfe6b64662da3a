"""What follows from protocols that have no start byte or no checksum, with the arithmetic.

What is not in this table is held to the most: random bytes never become a read, damaged ones neither, and a frame may
stand right behind noise.
"""

import struct
from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Noise:
    """What follows from a protocol that cannot tell noise from data."""

    ends_with: bytes = b""
    """What must stand between noise and a frame so that the frame is not touched by it."""
    phantoms_per_mb: float = 0
    """How many reads a megabyte of random bytes gives at the most."""
    looks_ahead: bool = False
    """What is read of garbage may hang on what had come behind it: lengths alone cannot say where a frame ends. Of
    whole frames, always the same is read.
    """
    misreads: bool = False
    """There is no checksum: where a byte was changed on the way, another code is read, and nobody can know."""


# ENTER, as a keyboard sends it: down, report, up, report.
ENTER = b"".join(
    struct.pack("llHHi", 1_790_000_000, 0, *event) for event in ((1, 28, 1), (0, 0, 0), (1, 28, 0), (0, 0, 0))
)

CLEAN = Noise()
NOISE: dict[str, Noise] = {
    # A line has neither start nor checksum: every run of bytes between two terminators is a code. CR and LF are 2 of
    # 256 byte values, so at most so many lines end in a megabyte (and some tolerance of chance).
    "text-line": Noise(ends_with=b"\r", phantoms_per_mb=MEGABYTE / 128 * 1.05, misreads=True),
    # Bytes that are no event may have been some: the code after them counts only if something ended the one before.
    # An event has 44 bits in its microseconds that are zero: no phantoms.
    "keyboard-wedge": Noise(ends_with=ENTER, misreads=True),
    # No start byte. What random bytes must be to become a tag, most easily one that an 18 pushes, which is an EPC and
    # nothing else: one of 65,536 values for command and status, a length that leaves 1 to 31 words, a CRC of 16 bits.
    # That is 31 / 2^40 for each byte. The other forms of a tag have lengths that must add up, and come to less than a
    # hundredth of it.
    "chafon": Noise(phantoms_per_mb=MEGABYTE * 31 / 2**40 * 1.05),
    # One event a line: what stands before it on its line belongs to it. Random bytes are no JSON: no phantoms.
    "impinj-r700": Noise(ends_with=b"\n", misreads=True),
    # Braces and quotes must fit, and what is inside must be an event: random bytes are none.
    "zebra-iotc": Noise(misreads=True),
    # Reports are laid out so that random bytes are none; within one, nothing protects the code.
    "hid-pos": Noise(misreads=True),
    # Lengths inside lengths must add up: random bytes never do. TCP protects what is inside. A message that lost
    # bytes is known by the next one, which begins inside it, as far as that has come.
    "llrp": Noise(misreads=True, looks_ahead=True),
}
