"""A gate as a UHF reader sees it: two antennas, and tags that move past them.

The one idea: what comes back from a passive tag falls with the fourth power of its distance, and below some strength
nothing comes at all. So each tag rises and falls at one antenna after the other, is read again and again where it
is near, is missed now and then, and is heard from both sides in between. Lengths are metres along the way through
the gate, which stands at 0: outside is below, inside above.
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from simulators.hardware.device import Thing

OUTSIDE, INSIDE = 1, 2
"""The antennas' numbers."""
ANTENNAS_M: Final[Mapping[int, float]] = {OUTSIDE: -1.0, INSIDE: 1.0}
_BESIDE_M: Final = 1.2
"""How far beside the way the antennas stand."""
# A fixed reader of 30 dBm with antennas of 6 dBi reads a good tag at one metre with some -42 dBm, and hears nothing
# below some -70 dBm, at about five metres; the path is travelled twice, hence 40 dB for each factor of ten.
_AT_ONE_METRE_DBM: Final = -42.0
_PER_DECADE_DB: Final = 40.0
_FAINTEST_DBM: Final = -70
# The usual picture of an antenna's beam (3GPP TR 36.814, table A.2.1.1-2): so much is lost aside, at most that. A tag
# is powered and heard through the same antenna, so it counts twice.
_BEAM_DEGREES: Final = 70.0
_ASIDE_DB: Final = 12.0
_ASIDE_MOST_DB: Final = 18.0
_TURNED_DEGREES: Final = 15.0
"""Each antenna looks across the way, and so much away from the gate's middle."""
_FADING_DB: Final = 2.5
"""Standard deviation of one reading: reflections change with every centimetre."""
_READ_ODDS: Final = 0.7
"""A tag that could answer in a round is not always heard: others answer at the same time."""
ROUND_MOST: Final = 30
"""Reads of one round: a reader manages some 300 in a second."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, and where it sits."""

    epc: str
    along_m: float = 0.0
    """From the middle of what carries it."""
    beside_m: float = 0.0
    """How much farther from the antennas than the way itself."""
    hidden_db: float = 0.0
    """What the goods around it swallow."""


@dataclass(slots=True)
class Load:
    """Something that carries tags, and where its middle is now."""

    tags: tuple[Tag, ...]
    at_m: float


@dataclass(slots=True)
class Portal:
    """All that is near the gate. `round` is one round of the reader on one antenna."""

    rng: random.Random
    loads: list[Load] = field(default_factory=list)

    def round(self, antenna: int) -> list[Thing]:
        """What is heard, at most ROUND_MOST, in no order."""
        heard = [thing for load in self.loads for thing in self._heard(antenna, load)]
        self.rng.shuffle(heard)
        return heard[:ROUND_MOST]

    def _heard(self, antenna: int, load: Load) -> Iterable[Thing]:
        for tag in load.tags:
            across_m = _BESIDE_M + tag.beside_m
            mean_dbm = strength(antenna, load.at_m + tag.along_m, across_m) - tag.hidden_db
            strength_dbm = mean_dbm + self.rng.gauss(0.0, _FADING_DB)
            if strength_dbm >= _FAINTEST_DBM and self.rng.random() < _READ_ODDS:
                yield Thing(epc=tag.epc, antenna=antenna, rssi_dbm=round(strength_dbm))


def strength(antenna: int, at_m: float, across_m: float) -> float:
    """In dBm, of a tag with nothing in between: at so many metres along the way, so many across from the antennas."""
    stands_m = ANTENNAS_M[antenna]
    along_m = at_m - stands_m
    turned = math.copysign(_TURNED_DEGREES, stands_m)
    off = math.degrees(math.atan2(along_m, across_m)) - turned
    aside_db = min(_ASIDE_MOST_DB, _ASIDE_DB * (off / _BEAM_DEGREES) ** 2)
    far_db = _PER_DECADE_DB * math.log10(math.hypot(along_m, across_m))
    return _AT_ONE_METRE_DBM - far_db - 2 * aside_db


def pallet(epcs: Iterable[str], rng: random.Random) -> tuple[Tag, ...]:
    """Cases stacked on a pallet of 1.2 m: some in front, some behind, some in the middle of the others."""
    return tuple(
        Tag(epc, rng.uniform(-0.6, 0.6), rng.uniform(0.0, 0.6), rng.uniform(0.0, 4.0)) for epc in epcs
    )
