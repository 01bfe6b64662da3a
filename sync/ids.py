"""Names that nobody hands out: event ids, incarnations, nonces.

Time and randomness come in as arguments, so that a simulation can replay them.
"""

from collections.abc import Callable
from uuid import UUID

RandomBytes = Callable[[int], bytes]


def event_id(unix_ms: int, random_bytes: RandomBytes) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then version, variant and 74 random bits.

    The time in it helps people and indexes; nothing reads an order or an age from it.
    """
    tail = int.from_bytes(random_bytes(10), "big") & ((1 << 74) - 1)
    value = (unix_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0b10 << 62
    return str(UUID(int=value | tail & ((1 << 62) - 1)))


def incarnation_id(random_bytes: RandomBytes) -> str:
    """128 random bits in hex: one life of an agent process."""
    return random_bytes(16).hex()


def nonce(random_bytes: RandomBytes) -> str:
    """What ties an answer to its hello: 96 random bits in hex."""
    return random_bytes(12).hex()
