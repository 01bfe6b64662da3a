"""A code as one look saw it, and when it is believed.

The one idea: what a linear symbology lacks in error correction is made up for by agreement. Beside a skewed or
blurred code, single scan lines give something else with a valid check digit: part of an ITF code, a UPC-E in an
EAN-13, an EAN-13 with one half wrong. But they give it in a line or two, and another look gives something else.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Point = tuple[float, float]
Key = tuple[str, bytes]
"""What makes two sightings the same code: its family and its content."""

# A linear code seen so tall, in parts of its length and in pixels of the frame, was read in many scan lines. Of
# drawn codes at every angle, misreadings in pictures as they came were 4 pixels and 3.3 % tall at the most.
TALL_PART, TALL_PX = 0.08, 8.0
# Of narrower modules the lines are no evidence for each other where the bars stand along the pixels: each is sampled
# at the same places, and a bar one pixel too wide in one of them is so in all.
FINE_PX = 2.0
# So much paper, in modules, is to be seen beside a symbol, for a part of it would be read for the whole when it comes
# into view: to the libraries, the edge of a picture is paper. No space within is wider (EAN/UPC 4, ITF 3).
QUIET_MODULES = 4
# What a sighting counts: of a tall one as much as two looks that agree against one that does not.
THIN, TALL = 1, 3
ENOUGH = 2
# ITF has neither a check digit nor a stop pattern that could not be a part of the code: shorter ones are not read
# (ISO/IEC 16390 warns of them; GS1 uses 14 digits).
MIN_ITF_DIGITS = 6
# "*A*" would be found in print that is no code.
MIN_CODE_39 = 2


@dataclass(frozen=True, slots=True)
class Sighting:
    """One code in one look."""

    family: str
    """`EAN/UPC`, `Code 128`, …"""
    certain: bool
    """By its error correction. Linear symbologies have none."""
    content: bytes
    text: str
    """What it says; separators are 1D hex."""
    aim: str | None
    quad: tuple[Point, Point, Point, Point]
    """Where, in pixels of the frame: top left, top right, bottom right, bottom left as seen upright. Of a linear
    code, what was read of its height."""

    resolution: float = 1.0
    """How many pixels there were in the picture that it was seen in, for one in the frame."""

    @property
    def key(self) -> Key:
        """See `Key`."""
        return self.family, self.content

    @property
    def length(self) -> float:
        """Along the reading direction."""
        return max(math.dist(self.quad[0], self.quad[1]), math.dist(self.quad[3], self.quad[2]), 1.0)

    @property
    def height(self) -> float:
        """Across it."""
        return min(math.dist(self.quad[0], self.quad[3]), math.dist(self.quad[1], self.quad[2]))

    @property
    def tall(self) -> bool:
        """Read in many scan lines that say the same. In PDF417 every line says something else; and UPC-E has no
        check digit but the parity of six.
        """
        if (
            self.family == "PDF417"
            or self._may_be_upc_e
            or self.length * self.resolution < FINE_PX * self._modules
        ):
            return False
        return self.height >= max(TALL_PX, TALL_PART * self.length)

    @property
    def _may_be_upc_e(self) -> bool:
        return self.family == "EAN/UPC" and bool(_UPC_E.fullmatch(self.content))

    @property
    def _modules(self) -> int:
        """How long the symbol is, where a misreading passes a single check digit, or none; else 0."""
        digits = len(self.content)
        if self.family == "ITF":
            return 8 * digits + 8  # ISO/IEC 16390, wide bars of 2.5 modules
        return {13: 95, 8: 67}.get(digits, 0) if self.family == "EAN/UPC" else 0  # ISO/IEC 15420

    def is_whole(self, width: int, height: int) -> bool:
        """Whether there is paper at both ends of it, in a picture of this size. Checked where a part of a symbol
        could be read for the whole.
        """
        if not self._modules:
            return True
        first, second, third, fourth = self.quad
        (left, top), (right, bottom) = _middle(first, fourth), _middle(second, third)
        part = QUIET_MODULES / self._modules
        across, down = part * (right - left), part * (bottom - top)
        return (
            min(left - across, right + across) >= 0
            and max(left - across, right + across) <= width
            and min(top - down, bottom + down) >= 0
            and max(top - down, bottom + down) <= height
        )

    @property
    def acceptable(self) -> bool:
        """Long enough for its symbology, and no mere stripes."""
        if self.family == "ITF":
            return len(self.content) >= MIN_ITF_DIGITS and not _striped(self.content)
        if self.family == "EAN/UPC":
            return not _striped(self.content[1:])
        return self.family != "Code 39" or len(self.content) >= MIN_CODE_39

    def near(self, other: "Sighting") -> bool:
        """Whether both may be readings of one symbol. What was read in few lines may go on above and below."""
        return not _apart(self, other)


@dataclass(slots=True)
class Evidence:
    """What was seen of one code so far, in one frame."""

    best: Sighting
    weight: int = 0
    looks: set[str] = field(default_factory=set)


class Belief:
    """What is believed of one frame."""

    def __init__(self, known: frozenset[Key] = frozenset()) -> None:
        """`known`: codes that are in view, believed before. One sighting is enough for them."""
        self._known = known
        self._seen: dict[Key, Evidence] = {}

    def add(self, look: str, sightings: Iterable[Sighting], *, faithful: bool) -> None:
        """What a look saw. `faithful`: at the levels as they came; only there is tall enough in one look, because
        whatever sharpens a picture also sharpens what is wrong in it."""
        for sighting in sightings:
            if not sighting.acceptable:
                continue
            evidence = self._seen.setdefault(sighting.key, Evidence(sighting))
            if look in evidence.looks and not (faithful and sighting.tall):
                continue
            evidence.looks.add(look)
            weight = TALL if faithful and sighting.tall else THIN
            evidence.weight += weight
            if sighting.height > evidence.best.height or evidence.best.aim is None:
                evidence.best = sighting

    @property
    def believed(self) -> list[Sighting]:
        """From top to bottom."""
        found = [evidence.best for key, evidence in self._seen.items() if self._believes(key, evidence)]
        return sorted(found, key=lambda sighting: (sighting.quad[0][1], sighting.quad[0][0]))

    @property
    def expects(self) -> bool:
        """Something is in view, or was a moment ago, and was not seen this time."""
        return not self._known <= self._seen.keys()

    @property
    def doubtful(self) -> bool:
        """Something was seen that is not believed."""
        return any(not self._believes(key, evidence) for key, evidence in self._seen.items())

    def _believes(self, key: Key, evidence: Evidence) -> bool:
        if evidence.best.certain:
            return True
        if key in self._known:
            return True
        rivals = (
            other.weight
            for other_key, other in self._seen.items()
            if other_key != key and not other.best.certain and evidence.best.near(other.best)
        )
        return evidence.weight >= ENOUGH + max(rivals, default=0)


# What UPC-E is handed over as: zeros were left out of it (GS1 General Specifications, 5.2.2.4.2).
_UPC_E = re.compile(rb"0[01](?:\d\d[012]0000\d{3}|\d{3}00000\d\d|\d{4}00000\d|\d{5}0000[5-9])\d")


def _middle(one: Point, other: Point) -> Point:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _striped(digits: bytes) -> bool:
    """Whether one pair is repeated to the end, the check digit aside: stripes that run across the scan line at an
    angle read like that (EAN-13 0121212121212), and no product has such a number.
    """
    return all(digits[place] == digits[place % 2] for place in range(len(digits) - 1))


def _apart(one: Sighting, other: Sighting) -> bool:
    """Whether a straight line separates the two boxes: they are convex, so an edge of one of them does."""
    boxes = (_box(one), _box(other))
    for box in boxes:
        for start, end in zip(box, (*box[1:], box[0]), strict=True):
            normal = (start[1] - end[1], end[0] - start[0])
            ranges = [[normal[0] * x + normal[1] * y for x, y in corners] for corners in boxes]
            if max(ranges[0]) < min(ranges[1]) or max(ranges[1]) < min(ranges[0]):
                return True
    return False


def _box(sighting: Sighting) -> tuple[Point, ...]:
    """The symbol's place; of a thin sighting a quarter of its length to both sides, as the bars may go on."""
    if sighting.tall:
        return sighting.quad
    (left, right, bottom_right, bottom_left) = sighting.quad
    x, y = right[0] - left[0], right[1] - left[1]
    down = (-y / 4, x / 4)
    return (
        (left[0] - down[0], left[1] - down[1]),
        (right[0] - down[0], right[1] - down[1]),
        (bottom_right[0] + down[0], bottom_right[1] + down[1]),
        (bottom_left[0] + down[0], bottom_left[1] + down[1]),
    )
