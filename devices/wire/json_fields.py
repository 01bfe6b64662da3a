"""Members of JSON that a device sent: each is what it should be, or it is absent.

The one idea: a reader reports what it was set to report, and its firmware changes what that looks like. Only the
identity of a thing is needed; whatever else is missing, of another type or out of all bounds counts as not told, and
nothing here ever raises.
"""

import binascii
import re
from datetime import UTC, datetime

import msgspec

# What decoding raises for bytes that are no JSON: bad syntax, bad UTF-8, numbers beyond all bounds, deep nesting.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# An EPC has up to 31 words of 16 bits (Gen2 §6.3.2.1.2.2: five bits of the PC word say how many).
MAX_EPC = 62
# The longest TIDs that tags have are some 12 to 24 bytes; no more than this is believed.
MAX_TID = 64
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_URL_SAFE = str.maketrans("-_", "+/")
# The longest instant is 2025-10-07T15:00:00.123456789+00:00.
_MAX_INSTANT = 40


def whole(value: object, low: int, high: int) -> int | None:
    """An integer within these bounds. `true` is none."""
    return value if type(value) is int and low <= value <= high else None


def decimal(value: object, low: float, high: float) -> float | None:
    """A number within these bounds, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high else None


def text(value: object, most: int) -> str | None:
    """A string of 1 to `most` characters."""
    return value if type(value) is str and 0 < len(value) <= most else None


def hex_bytes(value: object, most: int) -> bytes | None:
    """Bytes written as pairs of hex digits, at most `most` of them."""
    if type(value) is not str or len(value) > 2 * most or not _HEX.fullmatch(value):
        return None
    return bytes.fromhex(value)


def base64_bytes(value: object, most: int) -> bytes | None:
    """Bytes in base64 (RFC 4648 §4 or §5, padded or not), at most `most` of them."""
    if type(value) is not str or not value or len(value) > (most + 2) // 3 * 4:
        return None
    bare = value.rstrip("=").translate(_URL_SAFE)
    try:
        found = binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is what is no ASCII
        return None
    return found if found and len(found) <= most else None


def epc(found: bytes | None) -> bytes | None:
    """These bytes, if an EPC can be like that: whole words."""
    return found if found is not None and len(found) % 2 == 0 and len(found) <= MAX_EPC else None


def instant(value: object) -> float | None:
    """Unix seconds of an ISO 8601 time, also with +0000 for its offset; without one it is UTC."""
    if type(value) is not str or len(value) > _MAX_INSTANT:
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
