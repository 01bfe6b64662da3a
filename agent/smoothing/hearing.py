"""How one place hears one tag: its newest strengths, and what they say against those of another place."""

from collections import deque
from math import sqrt
from typing import Final

from agent.smoothing.values import NS_PER_MS, NS_PER_S, Place
from devices.reads import TagRead

# Multipath moves a single reading by some 6 dB either way; the mean of n of them is uncertain by the n-th root less.
UNCERTAIN_DB: Final = 6.0


class Hearing:
    """One place's readings of one tag. Its memory is the newest read and `readings` numbers."""

    __slots__ = ("first_ns", "place", "read", "reads", "strengths")

    def __init__(self, place: Place, read: TagRead) -> None:
        self.place = place
        self.strengths: deque[float] = deque(maxlen=place.parameters.readings)
        self.read = read
        self.first_ns = read.monotonic_ns
        self.reads = 0
        """Not counted on for ever: only until it is clear that the tag is here."""

    def take(self, read: TagRead) -> None:
        """The place heard the tag once more."""
        self.read = read
        self.reads += read.count
        strength = read.rssi_dbm
        if strength is not None:
            self.strengths.append(strength)

    def level_dbm(self) -> float | None:
        """The mean strength, less what so few readings leave open; None where the reader tells none."""
        strengths = self.strengths
        if not strengths:
            return None
        return mean(strengths) - UNCERTAIN_DB / sqrt(len(strengths))


def mean(strengths: "deque[float]") -> float:
    """In dBm."""
    return sum(strengths) / len(strengths)


def margin_db(place: Place, silent_ns: int) -> float:
    """By how much another place must hear a tag better than `place`, which has not heard it for so long."""
    own = place.parameters
    late_ns = silent_ns - own.move_hold_ms * NS_PER_MS
    if late_ns <= 0:
        return own.move_margin_db
    return max(own.move_floor_db, own.move_margin_db - own.move_decay_db_per_s * late_ns / NS_PER_S)


def is_better(other: Hearing, here: Hearing, silent_ns: int) -> bool:
    """Whether a tag that is `here`, where it was not heard for so long, is at the other place by now."""
    if other.reads < other.place.parameters.move_reads:
        return False
    margin = margin_db(here.place, silent_ns)
    if other.strengths and here.strengths:
        return mean(other.strengths) > mean(here.strengths) + margin
    # Without strengths in one unit, only silence speaks: the margin is used up, and the other place hears it.
    return margin <= min(0.0, here.place.parameters.move_floor_db)


def is_far_below(first: Hearing, here: Hearing) -> bool:
    """Whether one place hears a tag so much worse that the tag was hardly there."""
    if not (first.strengths and here.strengths):
        return False
    return mean(first.strengths) < mean(here.strengths) - here.place.parameters.move_margin_db
