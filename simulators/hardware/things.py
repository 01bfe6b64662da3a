"""Where things come from: lines of a script, or a seed.

What a seed makes is what such a device meets in a warehouse: GTINs and SSCCs with right check digits, SGTIN-96 tags,
numbered cards. Everything is of the company prefix 9521234, which GS1 reserves for examples.
"""

import difflib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from simulators.hardware.device import Reads, Thing
from simulators.symbols import check_digit
from simulators.tags import SERIALS, sgtin_96

_PREFIX: Final = "9521234"
_GS: Final = "\x1d"
EPC_MOST_BYTES: Final = 62
"""31 words: what the protocol control word can say."""
AFTER_MOST_S: Final = 3600.0


class Unreadable(ValueError):
    """A line of a script is none; the text says which, and what is wrong."""


class Item(NamedTuple):
    """A thing, and how long after the one before it comes."""

    thing: Thing
    after_s: float = 0.0


# --- scripts -------------------------------------------------------------------------------------------------


def _code(value: object) -> str:
    return _text(value, r"(?s).+", "a text that is not empty")


def _aim(value: object) -> str:
    return _text(value, r"\][A-Za-z][0-9A-Za-z]", "an AIM id such as ]C1")


def _epc(value: object) -> str:
    return _words(value, EPC_MOST_BYTES)


def _tid(value: object) -> str:
    return _words(value, EPC_MOST_BYTES)


def _words(value: object, most: int) -> str:
    text = _text(value, r"([0-9A-Fa-f]{4})+", f"hex in whole words (4, 8, … digits), at most {most} bytes")
    if len(text) > 2 * most:
        raise ValueError(f"has {len(text) // 2} bytes; there are at most {most}")
    return text.upper()


def _card(value: object) -> str:
    return _text(value, r"[0-9A-Fa-f]{10}", "ten hex digits: the version and 32 bits").upper()


def _text(value: object, pattern: str, what: str) -> str:
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
        raise ValueError(f"must be {what}, not {json.dumps(value)}")
    return value


def _whole(least: int, most: int) -> Callable[[object], int]:
    def take(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {json.dumps(value)}")
        return value

    return take


def _after(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= AFTER_MOST_S:
        raise ValueError(f"must be seconds from 0 to {AFTER_MOST_S:g}, not {json.dumps(value)}")
    return float(value)


_MEMBERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "code": _code,
    "aim": _aim,
    "epc": _epc,
    "tid": _tid,
    "antenna": _whole(1, 64),
    "rssi_dbm": _whole(-127, 0),
    "card": _card,
    "after_s": _after,
}


def read_script(lines: Iterable[str], name: str, reads: Reads) -> Iterator[Item]:
    """The things of a script: JSON lines with the members of `Thing` and `after_s`; empty lines and # are skipped.

    Args:
        lines: the script.
        name: how to call it in complaints.
        reads: what the device reads: the member that each line needs.

    Raises:
        Unreadable: which line, and what is wrong with it.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield _item(line, reads)
        except ValueError as problem:
            raise Unreadable(f"{name}:{number}: {problem}") from None


def _item(line: str, reads: Reads) -> Item:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as problem:
        raise ValueError(f"no JSON: {problem.msg} at character {problem.pos + 1}") from None
    if not isinstance(found, dict):
        raise ValueError(f'a line is an object such as {{"{reads}": "…"}}')
    members = {}
    for member, value in found.items():
        if member not in _MEMBERS:
            near = difflib.get_close_matches(member, _MEMBERS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(_MEMBERS)}"
            raise ValueError(f"no member {member!r}; {hint}")
        try:
            members[member] = _MEMBERS[member](value)
        except ValueError as problem:
            raise ValueError(f"{member} {problem}") from None
    after_s = members.pop("after_s", 0.0)
    if reads not in members:
        raise ValueError(f"{reads} is missing: that is what this device reads")
    return Item(Thing(**members), after_s)


def as_json(thing: Thing) -> dict[str, Any]:
    """A thing as a script has it."""
    members = ((member, getattr(thing, member)) for member in _MEMBERS if member != "after_s")
    return {member: value for member, value in members if value is not None}


# --- made from a seed ----------------------------------------------------------------------------------------


def make(reads: Reads, seed: int) -> Iterator[Thing]:
    """Things without end; the same for the same seed."""
    rng = random.Random(f"{seed}/things")  # noqa: S311 (simulation)
    while True:
        yield _MAKERS[reads](rng)


def at_rate(things: Iterable[Thing], per_s: float, count: int | None = None) -> Iterator[Item]:
    """So many of them, evenly spaced."""
    return (Item(thing, 1 / per_s) for thing in islice(things, count))


def _make_code(rng: random.Random) -> Thing:
    return rng.choice(_CODES)(rng)


def _ean_13(rng: random.Random) -> Thing:
    return Thing(code=_with_check_digit(f"{_PREFIX}{rng.randrange(10**5):05d}"), aim="]E0")


def _sscc(rng: random.Random) -> Thing:
    digits = _with_check_digit(f"{rng.randrange(10)}{_PREFIX}{rng.randrange(10**9):09d}")
    return Thing(code=f"00{digits}", aim="]C1")


def _unit(rng: random.Random) -> Thing:
    """GTIN, expiry, lot and serial number: the lot has no fixed length, so a separator follows it."""
    gtin = _with_check_digit(f"{rng.randrange(9)}{_PREFIX}{rng.randrange(10**5):05d}")
    expiry = f"{rng.randint(27, 32)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    lot, serial = f"L{rng.randrange(10**4):04d}", f"{rng.randrange(10**8):08d}"
    return Thing(code=f"01{gtin}17{expiry}10{lot}{_GS}21{serial}", aim="]d2")


def _with_check_digit(digits: str) -> str:
    return digits + check_digit(digits)


_CODES: Final = (_ean_13, _sscc, _unit)


def _make_epc(rng: random.Random) -> Thing:
    gtin = _with_check_digit(f"{rng.randrange(10)}{_PREFIX}{rng.randrange(10**5):05d}")
    return Thing(epc=sgtin_96(gtin, rng.randrange(SERIALS)), antenna=1, rssi_dbm=rng.randint(-70, -40))


def _make_card(rng: random.Random) -> Thing:
    return Thing(card=f"{rng.choice((0x01, 0x67)):02X}{rng.getrandbits(32):08X}")


_MAKERS: Final[Mapping[Reads, Callable[[random.Random], Thing]]] = {
    "code": _make_code,
    "epc": _make_epc,
    "card": _make_card,
}
