"""A reader of 125 kHz cards: RDM6300, or with `frame=id12` an ID-12 or ID-20. It only talks.

Facts: data sheets of RDM6300 and ID-12. STX, version and number in ten hex digits, their exclusive or in two, ETX; an
ID-12 says CR LF before the ETX. One card at a time is on the coil, and is said every 65 ms for as long as it lies
there. Some modules lose the first byte after power-up.
"""

import random
from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from simulators.hardware.device import Device, Frame, Thing

REPEAT_S: Final = 0.065
FRAMES: Final[Mapping[str, bytes]] = {"rdm6300": b"\x03", "id12": b"\r\n\x03"}
"""What stands behind the digits."""
_HELD_MS: Final = range(1, 60_001)
_SAME_AGAIN_S: Final = 0.5
"""Who shows the same card twice takes it away for so long."""


def frame(card: str, kind: str = "rdm6300", *, lower: bool = False) -> bytes:
    """One saying of a card of ten hex digits."""
    check = 0
    for place in range(0, 10, 2):
        check ^= int(card[place : place + 2], 16)
    digits = f"{card}{check:02X}"
    return b"\x02" + (digits.lower() if lower else digits.upper()).encode() + FRAMES[kind]


class Rdm6300(Device):
    """The kind `rdm6300`."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "frame": f"{' or '.join(FRAMES)} (usually rdm6300)",
        "digits": "upper or lower case (usually upper)",
        "held_ms": "how long each card lies on the coil, 1 to 60000 (usually 200)",
        "first": "whole, or cut: the first byte after power-up is lost (usually cut)",
    }

    def __init__(
        self,
        rng: random.Random,
        *,
        frame: str = "rdm6300",
        digits: str = "upper",
        held_ms: str = "200",
        first: str = "cut",
    ) -> None:
        super().__init__(rng)
        if frame not in FRAMES:
            raise ValueError(f"frame is one of {', '.join(FRAMES)}, not {frame!r}")
        if digits not in ("upper", "lower"):
            raise ValueError(f"digits is upper or lower, not {digits!r}")
        if not held_ms.isdecimal() or int(held_ms) not in _HELD_MS:
            raise ValueError(f"held_ms is a number from 1 to 60000, not {held_ms!r}")
        if first not in ("whole", "cut"):
            raise ValueError(f"first is whole or cut, not {first!r}")
        self._kind, self._lower = frame, digits == "lower"
        self._held_s, self._cuts = int(held_ms) / 1000, first == "cut"
        self._cold = True
        self._card: Thing | None = None
        self._until_s = self._next_s = 0.0

    def see(self, thing: Thing, now_s: float) -> list[Frame]:
        """A card is held to the coil, as soon as the one before it is taken away."""
        self.field.put(thing)
        return self.tick(now_s)

    def due_s(self) -> float | None:
        """The next repetition, or the next card."""
        return self._next_s if self._card is not None or self.field else None

    def tick(self, now_s: float) -> list[Frame]:
        """Say the card on the coil; when its time is over, the next one."""
        if now_s < self._next_s:
            return []
        if self._card is not None and now_s >= self._until_s:
            before, self._card = self._card, None
            if self.field and self.field.things[0].card == before.card:
                self._next_s = now_s + _SAME_AGAIN_S
                return []
        if self._card is None:
            taken = self.field.take(1)
            if not taken:
                return []
            self._card, self._until_s = taken[0], now_s + self._held_s
        self._next_s = now_s + REPEAT_S
        assert self._card.card is not None
        data = frame(self._card.card, self._kind, lower=self._lower)
        if self._cold and self._cuts:
            self._cold = False
            return [Frame(data[1:])]  # nobody learns anything from it
        self._cold = False
        return [Frame(data, (self._card,))]

    def says(self, thing: Thing) -> str:
        """What is printed on the card: its 32 bits as a number of ten digits."""
        assert thing.card is not None
        return f"{int(thing.card[2:], 16):010d}"

    def unplugged(self) -> None:
        """Its next frame is the first one again. What lies on the coil, lies there."""
        self._cold = True

    def holding(self) -> Collection[Thing]:
        """The card on the coil and those that wait for it."""
        return (*((self._card,) if self._card else ()), *self.field.things)
