"""How one place hears one tag, and what that says against how another place hears it.

The one idea: what counts is a *glance*, not a read. A reader that looks through an antenna for a moment reads the tag
many times from one spot on one channel, which says no more than one read; the next look says something new. And how
often a place usually catches a glance of this tag says what its silence means.
"""

from collections import deque
from itertools import islice, product
from typing import Final

from agent.smoothing.values import NS_PER_MS, Place
from devices.reads import TagRead

# Readers look through each antenna for 100 to 500 ms, and a walker's field changes within 100 ms (8 cm, λ/4).
GLANCE_NS: Final = 100 * NS_PER_MS
FIRST_GAP_NS: Final = (
    500 * NS_PER_MS
)  # between glances, as long as nothing else is known: four antennas in turn
GAP_SHIFT: Final = 3  # each gap counts for 1/8 of the usual one (as TCP's round-trip time, RFC 6298)
FORGOTTEN_GAPS: Final = 20  # after so many, a place does not hear it any more, and what it heard is old
# A tag that is known for long does not move lightly: its levels are means of the newest eighth of its glances, and
# of three at least, so that one lucky echo moves nothing.
LEAST_GLANCES: Final = 3
GLANCE_SHARE: Final = 8
DBM: Final = "dBm"
UNHEARD_DBM: Final = -200.0  # below all that is
# Strengths without a unit are only compared one by one: so many of the pairs must say the same (a rank test).
MOST_PAIRS: Final = 0.75


class Hearing:
    """One place's glances of one tag. Its memory is the newest read and at most `readings` numbers."""

    __slots__ = (
        "best_dbm",
        "gap_ns",
        "glances",
        "next_ns",
        "peak_dbm",
        "peak_ns",
        "place",
        "read",
        "scale",
        "strengths",
    )

    def __init__(self, place: Place, read: TagRead) -> None:
        self.place, self.read = place, read
        self.strengths: deque[float] = deque(maxlen=place.parameters.readings)
        self.scale: str | None = None
        """What the strengths can be compared with: "dBm", or those of the same device; None: there are none."""
        self.next_ns = 0
        """From when on a read is a new glance."""
        self.gap_ns, self.glances = FIRST_GAP_NS, 0
        self.peak_dbm, self.peak_ns = UNHEARD_DBM, 0
        """The best since the tag came or went, and when."""
        self.best_dbm = UNHEARD_DBM
        """The best before that."""

    def take(self, read: TagRead) -> None:
        """The place heard the tag once more."""
        self.read = read
        if read.monotonic_ns >= self.next_ns:
            self.glance(read)

    def glance(self, read: TagRead) -> None:
        """A read that says something new."""
        now_ns = read.monotonic_ns
        if self.glances:
            gap_ns = now_ns - self.next_ns + GLANCE_NS
            usual_ns = self.gap_ns
            if gap_ns > FORGOTTEN_GAPS * usual_ns:
                self.strengths.clear()
                self.glances = 0
            self.gap_ns = usual_ns + ((gap_ns - usual_ns) >> GAP_SHIFT)
        self.glances += 1
        self.next_ns = now_ns + GLANCE_NS
        strength = read.rssi_dbm
        if strength is None:
            self._take_raw(read)
            return
        if self.scale is not DBM:
            self._begin(DBM)
        self.strengths.append(strength)
        if strength > self.peak_dbm:
            self.peak_dbm, self.peak_ns = strength, now_ns

    def _take_raw(self, read: TagRead) -> None:
        if read.rssi_raw is not None:
            scale = f"raw of {read.device}"
            if self.scale != scale:
                self._begin(scale)
            self.strengths.append(read.rssi_raw)

    def _begin(self, scale: str) -> None:
        """What another device told in another unit goes: the newest unit stands."""
        self.scale = scale
        self.strengths.clear()

    @property
    def forgotten_ns(self) -> int:
        """After so long a silence, it does not hear the tag any more."""
        return FORGOTTEN_GAPS * self.gap_ns

    def hears(self, now_ns: int) -> bool:
        """Whether its silence is still shorter than that."""
        return now_ns - self.read.monotonic_ns < self.forgotten_ns

    def newest(self, number: int) -> list[float]:
        """So many of its newest strengths, if there are so many."""
        return list(islice(reversed(self.strengths), number))

    def forget_peak(self) -> None:
        """The tag went through, or away: what comes now is another time."""
        self.best_dbm = max(self.best_dbm, self.peak_dbm)
        self.peak_dbm = UNHEARD_DBM


def mean(strengths: "list[float]") -> float:
    """In dBm."""
    return sum(strengths) / len(strengths)


def margin_db(here: Hearing, silent_ns: int) -> float:
    """By how much another place must hear a tag better than its own, which has not heard it for so long."""
    own = here.place.parameters
    late_gaps = silent_ns / here.gap_ns - own.move_hold_gaps
    if late_gaps <= 0:
        return own.move_margin_db
    return max(own.move_floor_db, own.move_margin_db - own.move_decay_db * late_gaps)


def is_better(other: Hearing, here: Hearing, margin: float) -> bool:
    """Whether a tag that is `here` is at the other place by now: that hears it better by more than this margin."""
    if other.glances < other.place.parameters.move_reads:
        return False
    if here.scale is None or here.scale != other.scale:
        return margin <= 0  # strengths say nothing: silence decides
    number = max(LEAST_GLANCES, (here.glances + other.glances) // GLANCE_SHARE)
    theirs, ours = other.newest(number), here.newest(number)
    if not (theirs and ours):
        return margin <= 0
    if here.scale != DBM:
        pairs = [their > our for their, our in product(theirs, ours)]
        return sum(pairs) >= MOST_PAIRS * len(pairs)
    level_dbm = mean(theirs)
    tail_dbm = max(other.peak_dbm, here.peak_dbm) - here.place.parameters.move_tail_db
    return level_dbm >= tail_dbm and level_dbm > mean(ours) + margin


def went_through(first: Hearing, then: Hearing) -> bool:
    """Whether a tag passed from one side of a gate to the other: both heard it well, this one first."""
    own = then.place.parameters
    if not first.place.is_opposite(then.place) or first.peak_ns >= then.peak_ns:
        return False
    if then.peak_dbm <= max(UNHEARD_DBM, then.best_dbm - own.move_tail_db):
        return False  # it has been heard there, and much better: this is its tail
    is_last = then.read.monotonic_ns > first.read.monotonic_ns
    lead_db = first.peak_dbm - then.peak_dbm
    return -own.through_db <= lead_db <= (own.through_db if is_last else own.move_margin_db)


def is_far_below(other: Hearing, here: Hearing) -> bool:
    """Whether a place hears a tag so much worse that the tag is not there."""
    if not (other.strengths and here.strengths and other.scale == here.scale == DBM):
        return False
    return mean(list(other.strengths)) < mean(list(here.strengths)) - here.place.parameters.move_margin_db


def rank(hearing: Hearing) -> tuple[float, int, int]:
    """Of several places, the one with the highest is where a tag most likely is."""
    level_dbm = mean(list(hearing.strengths)) if hearing.scale == DBM and hearing.strengths else UNHEARD_DBM
    return (level_dbm, hearing.glances, hearing.read.monotonic_ns)
